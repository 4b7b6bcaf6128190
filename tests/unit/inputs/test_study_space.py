"""One space per study: which, for whom, and what becomes of runs that lack it."""

from __future__ import annotations

import json
import logging
import os

import pytest
from derivative_trees import ALL, A, C, G, fill, link_nowhere, reasons

from bids_app.inputs.discovery import find_scans
from bids_app.inputs.selection import Selection
from bids_app.inputs.study_space import decide_space
from bids_app.outputs.paths import spaces_in


def volumes(space: str, sub: str = "1", run: str = "") -> str:
    return f"sub-{sub}_task-x{run}_space-{space}_desc-preproc_bold.nii.gz"


def cifti(sub: str = "1", density: str = "91k") -> str:
    return f"sub-{sub}_task-x_space-fsLR_den-{density}_bold.dtseries.nii"


def decided(root, *, held=None, spaces=ALL, **selection):
    return decide_space(root, Selection(**selection), spaces=spaces, held=held or {})


def found(root, **selection):
    study = decided(root, **selection)
    return find_scans(root, Selection(**selection), preferred_spaces=ALL, study=study)


def test_it_is_the_one_that_serves_most_runs(tmp_path) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(C, "1"), volumes(C, "2"))
    study = decided(tmp_path)
    assert study.name == C  # 450 parcels for both, not 457 for one
    assert study.why == f"2 runs, 450 parcels; {A}: 1 runs, 457 parcels"


def test_of_several_it_is_the_one_with_most_parcels_and_then_the_preferred(tmp_path) -> None:
    fill(tmp_path, volumes(C), cifti())
    assert decided(tmp_path).name == G
    assert decided(tmp_path, spaces={C: 457, G: 457}).name == C


def test_two_resolutions_of_a_run_count_once(tmp_path) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(A, "2"))
    fill(tmp_path, *(volumes(f"{C}_res-{res}", "1") for res in "123"))
    assert decided(tmp_path).name == A


def test_every_job_of_an_array_decides_alike(tmp_path) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(A, "2"), volumes(C, "2"), volumes(C, "3"))
    fill(tmp_path, volumes(A, "4"))
    labels = [*"1234"]
    one_by_one = {decided(tmp_path, participant_labels=(label,)).name for label in labels}
    assert one_by_one == {A}
    assert decided(tmp_path, exclude_participant_labels=("1", "4")).name == A


def test_sessions_tasks_and_filters_are_of_the_study(tmp_path) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(A, "2"))
    other = volumes(C, "1").replace("task-x", "task-y")
    fill(tmp_path, other, other.replace("_space", "_run-1_space"))
    assert decided(tmp_path, task_ids=("y",)).name == C
    assert decided(tmp_path, task_ids=("x",)).name == A
    file = tmp_path / "filter.json"
    file.write_text(json.dumps({"bold": {"task": "y"}}))
    assert decided(tmp_path, bids_filter_file=file).name == C
    file.write_text(json.dumps({"bold": {"space": A}}))
    assert decided(tmp_path, bids_filter_file=file, participant_labels=("2",)).name == A


def test_what_was_fetched_counts_before_what_is_named(tmp_path) -> None:
    fill(tmp_path, volumes(C))
    link_nowhere(tmp_path, volumes(A))
    study = decided(tmp_path)
    assert study.name == C
    assert "1 runs, 0 of them fetched, 457 parcels" in study.why


def test_where_nothing_was_fetched_names_decide(tmp_path) -> None:
    for name in (volumes(A), volumes(C)):
        link_nowhere(tmp_path, name)
    assert decided(tmp_path).name == A


def test_what_the_output_holds_is_kept(tmp_path, caplog) -> None:
    fill(tmp_path / "in", volumes(A, "1"), volumes(A, "2"), volumes(C, "1"))
    out = tmp_path / "out" / "sub-1" / "func"
    out.mkdir(parents=True)
    assert spaces_in(tmp_path / "out") == {}
    (out / f"sub-1_task-x_space-{C}_atlas-Semantoks457_status.json").write_text("{}")
    held = spaces_in(tmp_path / "out")
    assert held == {C: 1}
    study = decided(tmp_path / "in", held=held)
    assert (study.name, study.why) == (C, "as in the output folder")
    assert not caplog.records
    assert decided(tmp_path / "in", held={C: 1, G: 3}).name == G
    assert "several spaces: 1 in MNI152NLin2009cAsym, 3 in fsLR" in caplog.text


@pytest.mark.parametrize("others", [0, 1])
def test_of_many_participants_of_one_space_few_are_listed(tmp_path, monkeypatch, others) -> None:
    def write(sub: str, space: str) -> None:
        func = tmp_path / f"sub-{sub}" / "func"
        func.mkdir(parents=True)
        (func / f"sub-{sub}_task-x_space-{space}_atlas-Semantoks457_status.json").touch()

    for number in range(1000 - others):
        write(f"{number:04d}", A)
    for _ in range(others):
        write("0", C)  # the first of those that are looked at
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    held = spaces_in(tmp_path)
    if others:
        assert held == {A: 999, C: 1}
        assert len(listed) > 2000
    else:
        assert [*held] == [A]
        assert len(listed) < 300
    assert decided(tmp_path, held=held).name == A


def test_an_output_folder_that_is_not_there_or_cannot_be_listed_holds_nothing(tmp_path) -> None:
    assert spaces_in(tmp_path / "none") == {}
    (tmp_path / "file").write_text("")
    assert spaces_in(tmp_path / "file") == {}


@pytest.mark.parametrize("space", ["each", A])
def test_nothing_is_decided_where_the_user_says(tmp_path, space) -> None:
    fill(tmp_path, volumes(A), volumes(C))
    assert decided(tmp_path, space=space) is None


def test_a_run_without_the_studys_space_is_left_out_with_the_reason(tmp_path, caplog) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(A, "2"), volumes(C, "2"), volumes(C, "3"), cifti("3"))
    fill(tmp_path, volumes(A, "4"))
    with caplog.at_level(logging.WARNING):
        discovery = found(tmp_path)
    assert [scan.name for scan in discovery.scans] == [
        volumes(A, sub).removesuffix("_bold.nii.gz") for sub in "124"
    ]
    why = reasons(discovery)
    assert why[volumes(C, "2")] == f"same run chosen in space-{A} (that of the study)"
    only = (
        f"the run is only in space-{C}, space-fsLR, and this study is taken in space-{A}; "
        "--space each takes every run in a space that it has"
    )
    assert why[volumes(C, "3")] == why[cifti("3")] == only
    assert discovery.left_out() == {"3": only}
    assert f"1 of 4 runs are not in space-{A}, that of this study" in caplog.text


def test_each_takes_every_run_in_its_best_space(tmp_path) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(A, "2"), volumes(C, "2"), volumes(C, "3"))
    assert [scan.space for scan in found(tmp_path, space="each").scans] == [A, A, C]


def test_a_file_of_the_studys_space_that_was_not_fetched_is_not_passed_over(tmp_path) -> None:
    fill(tmp_path, volumes(A, "1"), volumes(A, "2"), volumes(C, "3"))
    link_nowhere(tmp_path, volumes(A, "3"))  # a folder of its own would be mixed otherwise
    scans = {scan.entities.sub: scan for scan in found(tmp_path).scans}
    assert scans["3"].space == A
    assert "datalad get" in str(scans["3"].problem)


def test_a_participant_that_cannot_be_listed_decides_nothing(tmp_path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can list everything")
    fill(tmp_path, volumes(A, "1"), volumes(C, "2"), volumes(C, "3"))
    (tmp_path / "sub-2").chmod(0)
    try:
        assert decided(tmp_path).name == A
    finally:
        (tmp_path / "sub-2").chmod(0o755)


def test_an_output_folder_of_another_study_is_to_be_exchanged(tmp_path) -> None:
    fill(tmp_path, volumes(A))
    study = decided(tmp_path, held={C: 3})
    error = find_scans(tmp_path, Selection(), preferred_spaces=ALL, study=study).nothing_chosen()
    assert "(as in the output folder)" in error.message
    assert error.hint.startswith("If OUTPUT_DIR holds another study, name another folder.")
