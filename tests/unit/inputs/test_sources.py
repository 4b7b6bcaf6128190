"""Mask, confounds and sidecar are those of the run."""

import json

import pytest
from derivative_trees import CIFTI, RUN, SIDECAR, VOLUMES, C, G, discover, fill, link_nowhere


def test_files_that_are_not_there_are_none_and_no_problem(tmp_path):
    (scan,) = discover(fill(tmp_path, RUN)).scans
    assert (scan.sources.mask, scan.sources.confounds, scan.sources.sidecars) == (None, None, ())
    assert (scan.tr_s, scan.problem) == (None, None)


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
    assert [path.name for path in scan.sources.sidecars] == [sidecar]
    assert scan.sources.mask is None
    assert scan.sources.confounds.name == "sub-1_task-x_desc-confounds_timeseries.tsv"
    assert scan.name == CIFTI.removesuffix("_bold.dtseries.nii")


def test_old_and_new_confounds_of_one_run_are_a_tie_and_the_run_fails(tmp_path):
    old, new = (f"sub-1_task-x_desc-confounds_{s}.tsv" for s in ("regressors", "timeseries"))
    (scan,) = discover(fill(tmp_path, RUN, old, new)).scans
    assert old in str(scan.problem)
    assert new in str(scan.problem)
    assert scan.sources.confounds is None


def test_confounds_that_share_more_entities_win(tmp_path):
    bold = f"sub-1_task-x_part-mag_space-{C}_desc-preproc_bold.nii.gz"
    own = "sub-1_task-x_part-mag_desc-confounds_timeseries.tsv"
    fill(tmp_path, bold, own, "sub-1_task-x_desc-confounds_timeseries.tsv")
    (scan,) = discover(tmp_path).scans
    assert scan.sources.confounds.name == own


def test_confounds_of_another_part_or_space_are_not_taken(tmp_path):
    bold = f"sub-1_task-x_part-mag_space-{C}_desc-preproc_bold.nii.gz"
    strangers = [
        f"sub-1_task-x_{x}_desc-confounds_timeseries.tsv" for x in ("part-phase", "space-T1w")
    ]
    assert discover(fill(tmp_path, bold, *strangers)).scans[0].sources.confounds is None
    own = "sub-1_task-x_desc-confounds_timeseries.tsv"
    assert discover(fill(tmp_path, own)).scans[0].sources.confounds.name == own


def test_compressed_confounds_are_found_with_their_json(tmp_path):
    stem = "sub-1_task-x_desc-confounds_timeseries"
    (scan,) = discover(fill(tmp_path, RUN, f"{stem}.tsv.gz", f"{stem}.json")).scans
    assert scan.sources.confounds.name == f"{stem}.tsv.gz"
    assert scan.sources.confounds_json.name == f"{stem}.json"


def test_the_sidecar_is_inherited_within_the_folder_and_the_nearest_leads(tmp_path):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"), "sub-1_task-x_desc-preproc_bold.json")
    func = tmp_path / "sub-1" / "func"
    general = {"RepetitionTime": 9.0, "TaskName": "x"}
    (func / "sub-1_task-x_desc-preproc_bold.json").write_text(json.dumps(general))
    (scan,) = discover(tmp_path).scans
    assert dict(scan.metadata) == {"RepetitionTime": 2.0, "TaskName": "x"}


def test_sidecars_are_inherited_from_every_folder_above_and_all_are_sources(tmp_path):
    bold = f"sub-1_ses-a_task-x_space-{C}_desc-preproc_bold.nii.gz"
    own = bold.replace(".nii.gz", ".json")
    fill(tmp_path, bold, own)
    inherited = {
        "bold.json": {"RepetitionTime": 9.0, "A": 0},
        "task-x_bold.json": {"A": 1, "B": 1},
        "sub-1/sub-1_bold.json": {"B": 2, "C": 2},
        "sub-1/ses-a/sub-1_ses-a_task-x_bold.json": {"C": 3},
    }
    others = ["task-y_bold.json", "task-x_T1w.json", "sub-1/sub-1_run-1_bold.json", "x.json"]
    for name, content in (inherited | {name: {"A": "wrong"} for name in others}).items():
        (tmp_path / name).write_text(json.dumps(content))
    (scan,) = discover(tmp_path).scans
    assert dict(scan.metadata) == {"RepetitionTime": 2.0, "A": 1, "B": 2, "C": 3}
    found = [path.relative_to(tmp_path).as_posix() for path in scan.sources.sidecars]
    assert found == [*inherited, f"sub-1/ses-a/func/{own}"]
    assert set(scan.sources.files()) == {scan.sources.data, *scan.sources.sidecars}


def test_two_sidecars_that_are_equally_near_and_differ_give_no_time(tmp_path):
    bold = f"sub-1_task-x_run-1_space-{C}_desc-preproc_bold.nii.gz"
    fill(tmp_path, bold)
    (tmp_path / "task-x_bold.json").write_text('{"RepetitionTime": 2.0, "A": 1}')
    (tmp_path / "run-1_bold.json").write_text('{"RepetitionTime": 3.0, "A": 2}')
    (scan,) = discover(tmp_path).scans
    assert scan.tr_s is None
    assert sorted(scan.metadata["RepetitionTime"]) == [2.0, 3.0]
    (tmp_path / "run-1_bold.json").write_text('{"RepetitionTime": 2.0}')
    assert discover(tmp_path).scans[0].tr_s == 2.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "JSON"), ("[]", "JSON object"), ("", "the file is empty")],
)
def test_a_damaged_sidecar_fails_the_run(tmp_path, text, problem):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"))
    (tmp_path / "sub-1" / "func" / RUN.replace(".nii.gz", ".json")).write_text(text)
    (scan,) = discover(tmp_path).scans
    assert problem in str(scan.problem)


def test_an_annexed_mask_fails_the_run_instead_of_being_replaced(tmp_path):
    mask = f"sub-1_task-x_space-{C}_res-2_desc-brain_mask.nii.gz"
    link_nowhere(fill(tmp_path, RUN), mask)
    (scan,) = discover(tmp_path).scans
    assert mask in str(scan.problem)
