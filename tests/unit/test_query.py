"""Discovery on made-up trees: names and links only, hardly any content."""

import json
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import InputError, NeverMadeError, NothingSelectedError, OptionsError
from bids_app.locate import locate_derivative
from bids_app.query import find_scans
from bids_app.selection import Selection

A, G, C = "MNI152NLin6Asym", "fsLR", "MNI152NLin2009cAsym"
ALL = {A: 457, G: 457, C: 450}
SIDECAR = '{"RepetitionTime": 2.0}'


def fill(root, *names):
    """Write files below ``sub-*/[ses-*/]func``; sidecars and confounds with content."""
    for name in names:
        labels = dict(word.split("-", 1) for word in name.split("_")[:-1] if "-" in word)
        folder = root / f"sub-{labels['sub']}"
        folder = folder / f"ses-{labels['ses']}" if "ses" in labels else folder
        path = folder / "func" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SIDECAR if name.endswith("_bold.json") else "")
    return root


@contextmanager
def unprivileged():
    """Be a user to whom file permissions apply; root reads everything."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


def discover(root, *, spaces=(A, C), **selection):
    preferred = {space: ALL[space] for space in spaces}
    return find_scans(root, Selection.build(**selection), preferred_spaces=preferred)


def reasons(discovery):
    return {row.path.rpartition("/")[2]: row.reason for row in discovery.rows}


def names(discovery):
    return [scan.bold_path.name for scan in discovery.scans]


RUN = f"sub-1_task-x_space-{C}_res-2_desc-preproc_bold.nii.gz"


def test_a_run_is_chosen_with_mask_confounds_and_sidecar(tmp_path):
    fill(
        tmp_path,
        RUN,
        RUN.replace(".nii.gz", ".json"),
        f"sub-1_task-x_space-{C}_res-2_desc-brain_mask.nii.gz",
        "sub-1_task-x_desc-confounds_timeseries.tsv",
        "sub-1_task-x_desc-confounds_timeseries.json",
    )
    (scan,) = discover(tmp_path).scans
    assert scan.name == RUN.removesuffix("_bold.nii.gz")
    assert scan.space == C
    assert scan.tr_s == 2.0
    assert scan.problem is None
    assert scan.sidecar_path.name == RUN.replace(".nii.gz", ".json")
    assert scan.confounds_meta_path.name == "sub-1_task-x_desc-confounds_timeseries.json"
    assert scan.source_uris() == [
        f"bids:preprocessed:sub-1/func/{RUN}",
        f"bids:preprocessed:sub-1/func/sub-1_task-x_space-{C}_res-2_desc-brain_mask.nii.gz",
        "bids:preprocessed:sub-1/func/sub-1_task-x_desc-confounds_timeseries.tsv",
    ]


def test_companions_that_are_not_there_are_none_and_no_problem(tmp_path):
    (scan,) = discover(fill(tmp_path, RUN)).scans
    assert (scan.mask_path, scan.confounds_path, scan.sidecar_path) == (None, None, None)
    assert (scan.tr_s, scan.problem) == (None, None)


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


def test_uncompressed_images_and_label_masks_are_taken(tmp_path):
    mask = f"sub-1_task-x_space-{A}_label-brain_mask.nii"
    fill(tmp_path, f"sub-1_task-x_space-{A}_desc-preproc_bold.nii", mask)
    (scan,) = discover(tmp_path).scans
    assert scan.mask_path.name == mask


def test_both_hemispheres_make_one_row(tmp_path):
    fill(tmp_path, *(f"sub-1_task-x_hemi-{h}_space-fsaverage5_bold.func.gii" for h in "LR"))
    assert len(discover(tmp_path).rows) == 1


def test_of_two_spaces_the_preferred_one_is_chosen_and_the_other_says_so(tmp_path):
    other = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"
    fill(tmp_path, RUN, other)
    assert names(discover(tmp_path, spaces=(A, C))) == [other]
    turned = discover(tmp_path, spaces=(C, A))
    assert names(turned) == [RUN]
    assert reasons(turned)[other] == f"same run chosen in space-{C} (450 parcels there, 457 here)"


CIFTI = "sub-1_task-x_space-fsLR_den-91k_bold.dtseries.nii"
VOLUMES = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"


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


@pytest.mark.parametrize("ending", [".json", ".dtseries.json"])
def test_a_grayordinate_run_has_confounds_and_sidecar_but_no_mask(tmp_path, ending):
    sidecar = CIFTI.replace(".dtseries.nii", ending)
    fill(
        tmp_path,
        CIFTI,
        sidecar,
        VOLUMES.replace("preproc_bold", "brain_mask"),
        "sub-1_task-x_desc-confounds_timeseries.tsv",
    )
    (tmp_path / "sub-1/func" / sidecar).write_text(SIDECAR)
    (scan,) = discover(tmp_path, spaces=(G,)).scans
    assert scan.is_cifti
    assert scan.tr_s == 2.0
    assert scan.sidecar_path.name == sidecar
    assert scan.mask_path is None
    assert scan.confounds_path.name == "sub-1_task-x_desc-confounds_timeseries.tsv"
    assert scan.name == CIFTI.removesuffix("_bold.dtseries.nii")


def test_rows_tell_the_volumes_of_a_grayordinate_run(tmp_path):
    fill(tmp_path, CIFTI)
    assert discover(tmp_path, spaces=(G,)).rows[0].n_volumes is None  # an empty file
    header = nib.Nifti2Header()
    header.set_data_shape((1, 1, 1, 1, 7, 91282))
    (tmp_path / "sub-1/func" / CIFTI).write_bytes(header.binaryblock)
    assert discover(tmp_path, spaces=(G,)).rows[0].n_volumes == 7


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
    assert name % 1 in scan.problem
    assert name % 3 in scan.problem
    assert {row.status for row in discovery.rows} == {"refused"}


def test_runs_acquisitions_and_directions_are_different_scans_with_their_own_companions(tmp_path):
    stems = ["task-x", "task-x_run-1", "task-x_run-01", "task-x_acq-hi", "task-x_dir-AP_run-1"]
    bold = [f"sub-1_{stem}_space-{C}_desc-preproc_bold.nii.gz" for stem in stems]
    confounds = [f"sub-1_{stem}_desc-confounds_timeseries.tsv" for stem in stems]
    discovery = discover(fill(tmp_path, *bold, *confounds))
    assert sorted(names(discovery)) == sorted(bold)
    for scan in discovery.scans:
        assert (
            scan.confounds_path.name == f"{scan.entities.run_stem}_desc-confounds_timeseries.tsv"
        )


def test_old_and_new_confounds_of_one_run_are_a_tie_and_the_run_fails(tmp_path):
    old, new = (f"sub-1_task-x_desc-confounds_{s}.tsv" for s in ("regressors", "timeseries"))
    (scan,) = discover(fill(tmp_path, RUN, old, new)).scans
    assert old in scan.problem
    assert new in scan.problem
    assert scan.confounds_path is None


def test_confounds_that_share_more_entities_win(tmp_path):
    bold = f"sub-1_task-x_part-mag_space-{C}_desc-preproc_bold.nii.gz"
    own = "sub-1_task-x_part-mag_desc-confounds_timeseries.tsv"
    fill(tmp_path, bold, own, "sub-1_task-x_desc-confounds_timeseries.tsv")
    (scan,) = discover(tmp_path).scans
    assert scan.confounds_path.name == own


def test_confounds_of_another_part_or_space_are_not_taken(tmp_path):
    bold = f"sub-1_task-x_part-mag_space-{C}_desc-preproc_bold.nii.gz"
    strangers = [
        f"sub-1_task-x_{x}_desc-confounds_timeseries.tsv" for x in ("part-phase", "space-T1w")
    ]
    assert discover(fill(tmp_path, bold, *strangers)).scans[0].confounds_path is None
    own = "sub-1_task-x_desc-confounds_timeseries.tsv"
    assert discover(fill(tmp_path, own)).scans[0].confounds_path.name == own


def test_compressed_confounds_are_found_with_their_json(tmp_path):
    stem = "sub-1_task-x_desc-confounds_timeseries"
    (scan,) = discover(fill(tmp_path, RUN, f"{stem}.tsv.gz", f"{stem}.json")).scans
    assert scan.confounds_path.name == f"{stem}.tsv.gz"
    assert scan.confounds_meta_path.name == f"{stem}.json"


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
    found = [path.name for path in (scan.bold_path, scan.mask_path, scan.confounds_path)]
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


def test_participants_whose_labels_begin_alike_are_kept_apart(tmp_path):
    runs = [RUN.replace("sub-1", f"sub-{label}") for label in ("01", "011", "0", "1")]
    fill(tmp_path, *runs)
    assert names(discover(tmp_path, participant_labels=["sub-01"])) == runs[:1]
    assert len(discover(tmp_path, exclude_participant_labels=["01"]).scans) == 3


def test_folders_without_a_bids_label_are_warned_of_and_named_if_there_is_nothing_else(
    tmp_path, caplog
):
    for label in ("CC_01", "A-1"):
        (tmp_path / f"sub-{label}" / "func").mkdir(parents=True)
    (tmp_path / "sub-1.html").touch()
    with pytest.raises(InputError, match=r"2 sub-\* folders.*sub-A-1"):
        locate_derivative(tmp_path)
    discover(fill(tmp_path, RUN))
    assert [record.getMessage().split()[0] for record in caplog.records] == ["2"]


def test_names_of_fmriprep_1_1_are_refused_one_by_one_beside_newer_ones(tmp_path):
    old = f"sub-0_task-x_bold_space-{C}_preproc.nii.gz"
    fill(tmp_path, RUN)
    (tmp_path / "sub-0" / "func").mkdir(parents=True)
    (tmp_path / "sub-0" / "func" / old).touch()
    discovery = discover(locate_derivative(tmp_path))
    assert names(discovery) == [RUN]
    assert "1.1" in reasons(discovery)[old]
    assert "1.1" in discovery.left_out()["0"]


def test_a_folder_that_cannot_be_listed_is_named_unless_it_is_another_participant_s():
    with tempfile.TemporaryDirectory() as folder:
        root = fill(Path(folder), RUN, RUN.replace("sub-1", "sub-2"))
        discover(root)  # the libraries must be loaded before the user changes
        for path in (root, root / "sub-2", root / "sub-2" / "func", root / "sub-1"):
            path.chmod(0o755)
        (root / "sub-1" / "func").chmod(0)
        try:
            with unprivileged():
                with pytest.raises(InputError, match=r"sub-1/func: cannot be listed") as caught:
                    discover(locate_derivative(root))
                others = discover(locate_derivative(root), exclude_participant_labels=["1"])
        finally:
            (root / "sub-1" / "func").chmod(0o755)
    assert "--exclude-participant-label" in caught.value.hint
    assert len(others.scans) == 1


def test_the_sidecar_is_inherited_within_the_folder_and_the_nearest_leads(tmp_path):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"), "sub-1_task-x_desc-preproc_bold.json")
    func = tmp_path / "sub-1" / "func"
    general = {"RepetitionTime": 9.0, "TaskName": "x"}
    (func / "sub-1_task-x_desc-preproc_bold.json").write_text(json.dumps(general))
    (scan,) = discover(tmp_path).scans
    assert dict(scan.sidecar) == {"RepetitionTime": 2.0, "TaskName": "x"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "JSON"), ("[]", "JSON object"), ('{"RepetitionTime": "2"}', "'2'"), ("", "JSON")],
)
def test_a_damaged_sidecar_fails_the_run(tmp_path, text, problem):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"))
    (tmp_path / "sub-1" / "func" / RUN.replace(".nii.gz", ".json")).write_text(text)
    (scan,) = discover(tmp_path).scans
    assert problem in scan.problem


def test_a_sparse_acquisition_stands_as_a_failure_with_its_reason(tmp_path):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"))
    sidecar = tmp_path / "sub-1" / "func" / RUN.replace(".nii.gz", ".json")
    sidecar.write_text('{"VolumeTiming": [0, 8], "AcquisitionDuration": 2}')
    discovery = discover(tmp_path)
    assert [scan.problem for scan in discovery.scans] == [discovery.rows[0].reason]
    assert "sparse" in reasons(discovery)[RUN]


def link_nowhere(root, name):
    path = fill(root, name) / "sub-1" / "func" / name
    path.unlink()
    path.symlink_to("../../.git/annex/objects/gone")


def test_an_annexed_image_is_refused_and_the_error_says_datalad_get(tmp_path):
    link_nowhere(tmp_path, RUN)
    discovery = discover(tmp_path)
    assert "datalad get" in reasons(discovery)[RUN]
    assert isinstance(discovery.nothing_chosen(), InputError)


def test_an_annexed_image_leaves_the_run_to_a_space_that_is_there(tmp_path):
    link_nowhere(tmp_path, RUN)
    other = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"
    assert names(discover(fill(tmp_path, other), spaces=(C, A))) == [other]


def test_an_annexed_mask_fails_the_run_instead_of_being_replaced(tmp_path):
    mask = f"sub-1_task-x_space-{C}_res-2_desc-brain_mask.nii.gz"
    link_nowhere(fill(tmp_path, RUN), mask)
    (scan,) = discover(tmp_path).scans
    assert mask in scan.problem


def test_rows_tell_volumes_repetition_time_and_confounds(tmp_path):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"))
    fill(tmp_path, "sub-1_task-x_desc-confounds_regressors.tsv")
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 7), np.int16), np.eye(4))
    nib.save(image, tmp_path / "sub-1" / "func" / RUN)
    (row,) = discover(tmp_path).rows
    assert (row.status, row.n_volumes, row.tr_s, row.confounds) == ("chosen", 7, 2.0, "yes")
    assert (row.path, row.entities) == (f"sub-1/func/{RUN}", "sub-1_task-x")


@pytest.fixture
def sessions(tmp_path):
    return fill(
        tmp_path,
        *(
            f"sub-{sub}_ses-{ses}_task-{task}{run}_space-{C}_desc-preproc_bold.nii.gz"
            for sub in ("01", "02")
            for ses in ("a", "b")
            for task in ("rest", "nback")
            for run in ("", "_run-1", "_run-02")
        ),
    )


@pytest.mark.parametrize(
    ("selection", "n_scans"),
    [
        ({}, 24),
        ({"participant_labels": ["sub-01"]}, 12),
        ({"exclude_participant_labels": ["01"]}, 12),
        ({"session_labels": ["ses-a"]}, 12),
        ({"task_ids": ["rest"], "session_labels": ["b"]}, 6),
        ({"run_labels": ["2"]}, 8),
        ({"run_labels": ["1", "02"], "task_ids": ["rest", "nback"]}, 16),
    ],
)
def test_labels_select(sessions, selection, n_scans):
    discovery = discover(sessions, **selection)
    assert len(discovery.scans) == n_scans
    assert discovery.scans == sorted(discovery.scans, key=lambda scan: scan.bold_path)


@pytest.mark.parametrize(
    ("bold", "n_scans"),
    [
        ({"session": "a"}, 12),
        ({"run": None}, 8),
        ({"run": "Query.NONE"}, 8),
        ({"run": "<Query.NONE: 1>"}, 8),
        ({"run": "*"}, 16),
        ({"run": "<Query.ANY: 2>"}, 16),
        ({"run": [1, 2]}, 16),
        ({"run": "02"}, 8),
        ({"task": "^n.*", "regex_search": True}, 12),
        ({"datatype": "func", "suffix": "bold", "task": ["rest", "nback"]}, 24),
        ({"echo": None, "part": ["mag", None]}, 24),
    ],
)
def test_a_filter_file_selects_as_in_fmriprep(sessions, tmp_path_factory, bold, n_scans):
    path = tmp_path_factory.mktemp("filter") / "filter.json"
    path.write_text(json.dumps({"bold": bold, "t1w": {"acquisition": None}, "fmap": {"x": 1}}))
    assert len(discover(sessions, bids_filter_file=path).scans) == n_scans


def test_an_unknown_entity_in_a_filter_file_is_a_usage_error(sessions, tmp_path_factory):
    path = tmp_path_factory.mktemp("filter") / "filter.json"
    path.write_text('{"bold": {"sessions": "a"}}')
    with pytest.raises(OptionsError, match="sessions"):
        discover(sessions, bids_filter_file=path)


def test_filters_that_match_nothing_end_with_a_count(sessions):
    discovery = discover(sessions, task_ids=["resting"])
    error = discovery.nothing_chosen()
    assert isinstance(error, NothingSelectedError)
    assert "24" in str(error)


def test_a_participant_without_bold_is_said_to_have_none(tmp_path):
    (tmp_path / "sub-2" / "anat").mkdir(parents=True)
    error = discover(fill(tmp_path, RUN), participant_labels=["2"]).nothing_chosen()
    assert "have no BOLD file" in str(error)


def test_a_label_that_no_file_has_is_warned_of_once(sessions, caplog):
    discovery = discover(sessions, task_ids=["rest", "typo"], run_labels=["1", "7"])
    assert len(discovery.scans) == 4
    assert [record.getMessage().split()[-1] for record in caplog.records] == ["task-typo", "run-7"]


def test_linked_participants_and_paths_with_blanks_and_special_characters_are_read(tmp_path):
    real = fill(tmp_path / "store", RUN, RUN.replace("sub-1", "sub-2"))
    root = tmp_path / "sub-9 (copy) [1]+$" / "fmriprep out"
    (root / "sub-2").mkdir(parents=True)
    (root / "sub-1").symlink_to(real / "sub-1")
    (root / "sub-2" / "func").symlink_to(real / "sub-2" / "func")
    assert names(discover(locate_derivative(root))) == [RUN, RUN.replace("sub-1", "sub-2")]


@pytest.mark.parametrize("spelling", ["out", "./out", "x/../out", "link"])
def test_the_folder_may_be_spelled_in_any_way(tmp_path, monkeypatch, spelling):
    fill(tmp_path / "out", RUN)
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    (scan,) = discover(locate_derivative(Path(spelling))).scans
    assert scan.source_uris() == [f"bids:preprocessed:sub-1/func/{RUN}"]


def test_a_derivative_in_t1w_only_names_what_was_found_and_what_is_needed(tmp_path):
    fill(tmp_path, "sub-1_task-x_space-T1w_desc-preproc_bold.nii.gz")
    error = discover(tmp_path).nothing_chosen()
    assert isinstance(error, NothingSelectedError)
    assert "space-T1w" in str(error)
    assert "--output-spaces" in str(error)


def test_other_participants_and_folders_are_never_touched(sessions, monkeypatch):
    for folder in ("sourcedata/raw/sub-01/func", "sub-01/figures", "sub-01/anat", ".git/annex"):
        (sessions / folder).mkdir(parents=True)
        (sessions / folder / RUN).write_text("")
    (sessions / "sub-01" / "ses-a" / "func" / f"._{RUN}").write_text("")
    touched = []

    def spied(name):
        real = getattr(os, name)

        def spy(path=".", *args, **kwargs):
            touched.append(str(path))
            return real(path, *args, **kwargs)

        return spy

    for name in ("stat", "lstat", "scandir", "listdir", "open", "readlink"):
        monkeypatch.setattr(os, name, spied(name))
    discovery = discover(sessions, participant_labels=["01"])
    monkeypatch.undo()
    assert len(discovery.rows) == 12
    inside = [p.removeprefix(str(sessions)) for p in touched if p.startswith(str(sessions))]
    assert any("/sub-01/ses-a/func/" in p for p in inside)
    forbidden = re.compile(r"/(sub-02|sourcedata|\.git|sub-01/anat|sub-01/figures)/.")
    assert [path for path in inside if forbidden.match(path)] == []


def test_nothing_is_written_to_the_input(sessions):
    before = sorted((str(p), p.stat().st_mtime_ns) for p in sessions.rglob("*"))
    discover(sessions)
    assert sorted((str(p), p.stat().st_mtime_ns) for p in sessions.rglob("*")) == before


# --- which folder -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "below",
    [
        "",
        "fmriprep",
        "derivatives/fmriprep",
        "derivatives/fmriprep-23.2.0",
        "derivatives/B/fmriprep",
        "derivatives/fmriprep/fmriprep",
        "derivatives/fMRIPrep",
        "derivatives/nibabies-24.0",
    ],
)
def test_the_derivative_is_found_from_the_dataset_above_it(tmp_path, below):
    fill(tmp_path / below, RUN)
    assert locate_derivative(tmp_path) == tmp_path / below


def test_a_raw_dataset_leads_to_its_derivative(tmp_path):
    fill(tmp_path, "sub-1_task-x_bold.nii.gz")
    fill(tmp_path / "derivatives" / "fmriprep", RUN)
    assert locate_derivative(tmp_path) == tmp_path / "derivatives" / "fmriprep"


def test_the_derivatives_option_wins_over_the_dataset(tmp_path):
    fill(tmp_path / "a" / "fmriprep", RUN)
    fill(tmp_path / "b", "sub-1_task-x_bold.nii.gz")
    found = locate_derivative(tmp_path / "b", tmp_path / "a")
    assert found == tmp_path / "a" / "fmriprep"


def test_several_derivatives_are_listed_and_none_is_chosen(tmp_path):
    for version in ("A", "B"):
        fill(tmp_path / "derivatives" / version / "fmriprep", RUN)
    with pytest.raises(InputError, match=r"A/fmriprep.*B/fmriprep"):
        locate_derivative(tmp_path)


def test_a_link_to_the_derivative_is_not_a_second_one(tmp_path):
    fill(tmp_path / "derivatives" / "fmriprep-23.2.0", RUN)
    (tmp_path / "derivatives" / "fmriprep").symlink_to("fmriprep-23.2.0")
    assert locate_derivative(tmp_path) == tmp_path / "derivatives" / "fmriprep"


def test_a_file_is_said_to_be_no_folder(tmp_path):
    fill(tmp_path, RUN)
    with pytest.raises(InputError, match="not a folder"):
        locate_derivative(tmp_path / "sub-1" / "func" / RUN)


def test_a_raw_dataset_alone_is_said_to_be_raw(tmp_path):
    fill(tmp_path, "sub-1_task-x_bold.nii.gz")
    with pytest.raises(InputError, match="raw BIDS"):
        locate_derivative(tmp_path)


def test_a_raw_dataset_beside_its_derivative_names_the_path_that_would_work(tmp_path):
    fill(tmp_path / "raw", "sub-1_task-x_bold.nii.gz")
    fill(tmp_path / "fmriprep", RUN)
    with pytest.raises(InputError, match=f"would work: {tmp_path}/fmriprep"):
        locate_derivative(tmp_path / "raw")


def test_the_folder_of_one_participant_names_the_folder_above(tmp_path):
    fill(tmp_path / "out", RUN)
    with pytest.raises(InputError, match=f"would work: {tmp_path}/out$"):
        locate_derivative(tmp_path / "out" / "sub-1")


def test_fmriprep_1_1_is_recognized_by_its_names(tmp_path):
    func = tmp_path / "sub-1" / "func"
    func.mkdir(parents=True)
    (func / "sub-1_task-x_bold_space-T1w_preproc.nii.gz").write_text("")
    with pytest.raises(InputError, match=r"1\.1"):
        locate_derivative(tmp_path)


def test_a_derivative_without_bold_was_never_made(tmp_path):
    fill(tmp_path, "sub-1_task-x_desc-hmc_boldref.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    with pytest.raises(NeverMadeError, match="--level minimal") as caught:
        locate_derivative(tmp_path)
    assert caught.value.exit_code == 66


def test_a_derivative_without_bold_is_known_by_its_names_too(tmp_path):
    fill(tmp_path, "sub-1_task-x_desc-hmc_boldref.nii.gz")
    with pytest.raises(NeverMadeError):
        locate_derivative(tmp_path)


def test_a_derivative_without_any_confounds_was_never_made_unless_none_are_needed(tmp_path):
    discovery = discover(fill(tmp_path, RUN, RUN.replace("sub-1", "sub-2")))
    with pytest.raises(NeverMadeError, match="--level resampling") as caught:
        discovery.require_usable(confounds=True)
    assert caught.value.exit_code == 66
    discovery.require_usable(confounds=False)


def test_one_participant_s_confounds_make_it_a_matter_of_single_runs(tmp_path):
    fill(tmp_path, RUN, "sub-2_task-x_desc-confounds_regressors.tsv")
    discover(tmp_path, participant_labels=["1"]).require_usable(confounds=True)


def test_an_empty_and_an_absent_folder_say_what_they_are(tmp_path):
    with pytest.raises(InputError, match="is empty"):
        locate_derivative(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        locate_derivative(tmp_path / "nowhere")
