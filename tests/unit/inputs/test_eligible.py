"""Which series of a run is taken, and the reason of every other."""

import pytest
from derivative_trees import (
    ALL,
    CIFTI,
    RUN,
    VOLUMES,
    A,
    C,
    G,
    discover,
    fill,
    link_nowhere,
    names,
    reasons,
)

from bids_app.inputs.locate import locate_derivative


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sub-1_task-x_desc-preproc_bold.nii.gz", "own space"),
        ("sub-1_task-x_space-T1w_desc-preproc_bold.nii.gz", "space-T1w"),
        ("sub-1_task-x_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz", "AROMA"),
        ("sub-1_task-x_space-MNI152NLin6Asym_bold.nii.gz", "not desc-preproc"),
        ("sub-1_task-x_echo-2_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", "echo"),
        ("sub-1_task-x_space-MNIInfant_cohort-3_desc-preproc_bold.nii.gz", "MNIInfant_cohort-3"),
        ("sub-1_task-x_space-MNIInfant+3_desc-preproc_bold.nii.gz", "space-MNIInfant+3"),
        ("sub-1_task-x_part-phase_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz", "phase"),
        ("sub-1_task-x_space-fsLR_den-91k_bold.dtseries.nii", "no atlas is installed"),
        (
            "sub-1_task-x_space-fsLR_den-170k_bold.dtseries.nii",
            "no atlas is installed for space-fsLR_den-170k",
        ),
        ("sub-1_task-x_space-fsLR_den-32k_bold.dtseries.nii", "only den-91k and den-170k"),
        ("sub-1_task-x_space-fsLR_den-91k_desc-denoised_bold.dtseries.nii", "desc-denoised"),
        ("sub-1_task-x_space-MNI152NLin6Asym_bold.dtseries.nii", "not fsLR"),
        ("sub-1_task-x_space-fsLR_desc-preproc_bold.nii.gz", "not a .dtseries.nii"),
        ("sub-1_task-x_hemi-L_space-fsaverage5_bold.func.gii", "surface"),
        ("sub-1_task-x_space-MNI152NLin6Asym_desc-preproc-smooth_bold.nii.gz", "hyphen"),
        ("sub-1_task-x_space-MNI152NLin6Asym_desc-optcomDenoised_bold.nii.gz", "optcom"),
    ],
)
def test_every_other_bold_file_is_refused_with_its_reason(tmp_path, name, reason):
    discovery = discover(fill(tmp_path, name))
    assert discovery.scans == []
    assert reason in reasons(discovery)[name]


def test_of_two_spaces_the_preferred_one_is_chosen_and_the_other_says_so(tmp_path):
    other = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"
    fill(tmp_path, RUN, other)
    assert names(discover(tmp_path, spaces=(A, C))) == [other]
    turned = discover(tmp_path, spaces=(C, A))
    assert names(turned) == [RUN]
    assert reasons(turned)[other] == f"same run chosen in space-{C} (450 parcels there, 457 here)"


@pytest.mark.parametrize(
    ("present", "chosen", "why"),
    [
        ((VOLUMES, CIFTI, RUN), VOLUMES, {CIFTI: "comes first at 457", RUN: "450 here"}),
        ((CIFTI, RUN), CIFTI, {RUN: f"space-{G} (457 parcels there, 450 here)"}),
        ((CIFTI,), CIFTI, {}),
    ],
)
def test_grayordinates_come_after_equally_complete_volumes_and_before_others(
    tmp_path, present, chosen, why
):
    discovery = discover(fill(tmp_path, *present), spaces=ALL)
    assert names(discovery) == [chosen]
    for name, text in why.items():
        assert text in reasons(discovery)[name]


def test_grayordinates_can_be_forced_and_forbidden(tmp_path):
    fill(tmp_path, VOLUMES, CIFTI)
    assert names(discover(tmp_path, spaces=ALL, space=G)) == [CIFTI]
    forbidden = discover(tmp_path, spaces=ALL, space=A)
    assert "--space MNI152NLin6Asym was asked for" in reasons(forbidden)[CIFTI]


def test_the_space_asked_for_wins_over_the_preferred_one(tmp_path):
    fill(tmp_path, RUN, f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz")
    assert names(discover(tmp_path, space=C)) == [RUN]


def test_a_space_without_an_atlas_says_so(tmp_path):
    discovery = discover(fill(tmp_path, RUN), spaces=(A,))
    assert reasons(discovery)[RUN] == f"no atlas is installed for space-{C}"


@pytest.mark.parametrize(
    ("resolutions", "chosen"),
    [
        (("", "_res-1", "_res-2"), "_res-2"),
        (("", "_res-1"), ""),
        (("_res-native",), "_res-native"),
    ],
)
def test_of_several_resolutions_2_mm_then_native_is_chosen(tmp_path, resolutions, chosen):
    name = f"sub-1_task-x_space-{C}%s_desc-preproc_bold.nii.gz"
    fill(tmp_path, *(name % res for res in resolutions))
    assert names(discover(tmp_path)) == [name % chosen]


def test_an_undecidable_resolution_is_one_failed_run_that_names_the_files(tmp_path):
    name = f"sub-1_task-x_space-{C}_res-%s_desc-preproc_bold.nii.gz"
    fill(tmp_path, name % 1, name % 3)
    discovery = discover(tmp_path)
    (scan,) = discovery.scans
    assert name % 1 in str(scan.problem)
    assert name % 3 in str(scan.problem)
    assert {row.status for row in discovery.files} == {"refused"}


def test_a_single_echo_is_taken_where_the_filter_file_asks_for_it(tmp_path):
    bold = [f"sub-1_task-x_echo-{n}_space-{C}_desc-preproc_bold.nii.gz" for n in (1, 2)]
    mask, confounds = (
        f"sub-1_task-x_{x}"
        for x in (f"space-{C}_desc-brain_mask.nii.gz", "desc-confounds_timeseries.tsv")
    )
    fill(tmp_path / "in", *bold, mask, confounds)
    assert discover(tmp_path / "in").scans == []
    (tmp_path / "filter.json").write_text('{"bold": {"echo": 2}}')
    (scan,) = discover(tmp_path / "in", bids_filter_file=tmp_path / "filter.json").scans
    found = [path.name for path in (scan.sources.data, scan.sources.mask, scan.sources.confounds)]
    assert found == [bold[1], mask, confounds]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("sub-1/func", RUN.replace("sub-1", "sub-2")),
        ("sub-1/ses-a/func", RUN),
        ("sub-1/ses-a/func", RUN.replace("sub-1", "sub-1_ses-b")),
        ("sub-1/func", RUN.replace("sub-1", "sub-1_ses-b")),
    ],
)
def test_a_file_that_lies_in_another_folder_than_its_name_says_is_refused(tmp_path, folder, name):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / name).touch()
    discovery = discover(tmp_path)
    assert discovery.scans == []
    assert "misplaced" in reasons(discovery)[name]


def test_names_of_fmriprep_1_1_are_refused_one_by_one_beside_newer_ones(tmp_path):
    old = f"sub-0_task-x_bold_space-{C}_preproc.nii.gz"
    fill(tmp_path, RUN)
    (tmp_path / "sub-0" / "func").mkdir(parents=True)
    (tmp_path / "sub-0" / "func" / old).touch()
    discovery = discover(locate_derivative(tmp_path))
    assert names(discovery) == [RUN]
    assert "1.1" in reasons(discovery)[old]
    assert "1.1" in discovery.left_out()["0"]


def test_a_sparse_acquisition_stands_as_a_failure_with_its_reason(tmp_path):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"))
    sidecar = tmp_path / "sub-1" / "func" / RUN.replace(".nii.gz", ".json")
    sidecar.write_text('{"VolumeTiming": [0, 8], "AcquisitionDuration": 2}')
    discovery = discover(tmp_path)
    assert [scan.problem for scan in discovery.scans] == [discovery.files[0].reason]
    assert "sparse" in reasons(discovery)[RUN]


def test_an_annexed_image_leaves_the_run_to_a_space_that_is_there(tmp_path):
    link_nowhere(tmp_path, RUN)
    other = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"
    assert names(discover(fill(tmp_path, other), spaces=(C, A))) == [other]
