"""Runs of made-up trees: names and links only, hardly any content."""

import json
import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from derivative_trees import CIFTI, RUN, A, C, G, discover, fill, names

from bids_app.cli.preview import dry_run_lines
from bids_app.dry_run import DryRun
from bids_app.errors import NothingSelectedError, OptionsError
from bids_app.images.stream import count_frames
from bids_app.inputs.locate import locate_derivative


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
    assert scan.sources.sidecars[-1].name == RUN.replace(".nii.gz", ".json")
    assert scan.sources.confounds_json.name == "sub-1_task-x_desc-confounds_timeseries.json"
    assert scan.source_uris() == [
        f"bids:preprocessed:sub-1/func/{RUN}",
        f"bids:preprocessed:sub-1/func/sub-1_task-x_space-{C}_res-2_desc-brain_mask.nii.gz",
        "bids:preprocessed:sub-1/func/sub-1_task-x_desc-confounds_timeseries.tsv",
    ]


def test_uncompressed_images_and_label_masks_are_taken(tmp_path):
    mask = f"sub-1_task-x_space-{A}_label-brain_mask.nii"
    fill(tmp_path, f"sub-1_task-x_space-{A}_desc-preproc_bold.nii", mask)
    (scan,) = discover(tmp_path).scans
    assert scan.sources.mask.name == mask


def test_both_hemispheres_make_one_row(tmp_path):
    fill(tmp_path, *(f"sub-1_task-x_hemi-{h}_space-fsaverage5_bold.func.gii" for h in "LR"))
    assert len(discover(tmp_path).files) == 1


def test_the_table_tells_the_volumes_of_a_grayordinate_run(tmp_path):
    fill(tmp_path, CIFTI)
    image = tmp_path / "sub-1/func" / CIFTI
    assert count_frames(image) is None  # an empty file
    header = nib.Nifti2Header()
    header.set_data_shape((1, 1, 1, 1, 7, 91282))
    header.set_data_offset(544)
    image.write_bytes(header.binaryblock)
    assert count_frames(image) == 7
    found = DryRun(discovery=discover(tmp_path, spaces=(G,)))
    assert " 7 " in dry_run_lines(found, verbose=False)[1]


def test_runs_acquisitions_and_directions_are_different_scans_with_their_own_files(tmp_path):
    stems = ["task-x", "task-x_run-1", "task-x_run-01", "task-x_acq-hi", "task-x_dir-AP_run-1"]
    bold = [f"sub-1_{stem}_space-{C}_desc-preproc_bold.nii.gz" for stem in stems]
    confounds = [f"sub-1_{stem}_desc-confounds_timeseries.tsv" for stem in stems]
    discovery = discover(fill(tmp_path, *bold, *confounds))
    assert sorted(names(discovery)) == sorted(bold)
    for scan in discovery.scans:
        assert (
            scan.sources.confounds.name
            == f"{scan.entities.run_stem}_desc-confounds_timeseries.tsv"
        )


def test_participants_whose_labels_begin_alike_are_kept_apart(tmp_path):
    runs = [RUN.replace("sub-1", f"sub-{label}") for label in ("01", "011", "0", "1")]
    fill(tmp_path, *runs)
    assert names(discover(tmp_path, participant_labels=["sub-01"])) == runs[:1]
    assert len(discover(tmp_path, exclude_participant_labels=["01"]).scans) == 3


def test_the_table_tells_volumes_and_repetition_time_where_nothing_more_is_known(tmp_path):
    fill(tmp_path, RUN, RUN.replace(".nii.gz", ".json"))
    fill(tmp_path, "sub-1_task-x_desc-confounds_regressors.tsv")
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 7), np.int16), np.eye(4))
    nib.save(image, tmp_path / "sub-1" / "func" / RUN)
    discovery = discover(tmp_path)
    (file,) = discovery.files
    assert file.run == "sub-1_task-x"
    row = dry_run_lines(DryRun(discovery=discovery), verbose=False)[1]
    assert row.split() == ["chosen", C, "2", "7", f"sub-1/func/{RUN}", "confounds:", "yes"]


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
    assert discovery.scans == sorted(discovery.scans, key=lambda scan: scan.sources.data)


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
    assert error.hint == "There are task-nback, task-rest."


def test_a_label_that_no_file_has_is_warned_of_once(sessions, caplog):
    discovery = discover(sessions, task_ids=["rest", "typo"], run_labels=["1", "7"])
    assert len(discovery.scans) == 4
    said = [record.getMessage().partition(" has ")[2] for record in caplog.records]
    tasks, runs = "task-nback, task-rest", "run-02, run-1"
    assert said == [f"task-typo; there are: {tasks}", f"run-7; there are: {runs}"]


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
    assert len(discovery.files) == 12
    inside = [p.removeprefix(str(sessions)) for p in touched if p.startswith(str(sessions))]
    assert any("/sub-01/ses-a/func/" in p for p in inside)
    forbidden = re.compile(r"/(sub-02|sourcedata|\.git|sub-01/anat|sub-01/figures)/.")
    assert [path for path in inside if forbidden.match(path)] == []


def test_nothing_is_written_to_the_input(sessions):
    before = sorted((str(p), p.stat().st_mtime_ns) for p in sessions.rglob("*"))
    discover(sessions)
    assert sorted((str(p), p.stat().st_mtime_ns) for p in sessions.rglob("*")) == before
