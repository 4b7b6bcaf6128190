"""Scans that the user leaves out: of every table, not of the list of what became of them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import outputs
import pandas as pd
import pytest

from bids_app.errors import OptionsError
from bids_app.group.exclusions import read_exclusions
from bids_app.group.export import export_group, preview_group
from bids_app.group.options import GroupOptions
from model.cohort.outputs import embedded_scans
from semantoks import load_embeddings

if TYPE_CHECKING:
    from pathlib import Path

SPACE = "_space-MNI152NLin6Asym"
TABLE = "group_desc-scan_embedding.parquet"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    for seed, sub in enumerate(("01", "02", "03", "04")):
        outputs.write_run(folder, sub, seed=seed)
    return folder


def listed(tmp_path: Path, text: str, name: str = "bad.tsv") -> GroupOptions:
    (tmp_path / name).write_text(text)
    return GroupOptions(exclude_scans=tmp_path / name, tsv=True)


def people(out: Path) -> list[str]:
    return list(pd.read_parquet(out / TABLE)["participant_id"])


def test_they_are_in_no_table_and_keep_their_row_with_the_reason(out, tmp_path, caplog) -> None:
    export_group(out, GroupOptions(tsv=True), page=True)
    options = listed(tmp_path, f"scan\treason\nsub-02_task-rest{SPACE}\tsleeping\n")
    assert f"would write {TABLE}: 3 scans" in preview_group(out, options).lines
    export_group(out, options, page=True)
    assert people(out) == ["sub-01", "sub-03", "sub-04"]
    table = pd.read_csv(out / "group_status.tsv", sep="\t").set_index("participant_id")
    assert tuple(table.loc["sub-02", ["status", "reason"]]) == (
        "excluded", "excluded by bad.tsv: sleeping",
    )  # fmt: skip
    assert "3 scans of 4; 1 excluded: group_status.tsv says why" in caplog.text
    page = (out / "group.html").read_text()
    assert "excluded by bad.tsv: sleeping" in page
    assert 'title="deliberately left out, such as for too little usable data"' in page
    said = json.loads((out / TABLE).with_suffix(".json").read_text())
    assert said["ExcludedScans"] == {f"sub-02_task-rest{SPACE}": "excluded by bad.tsv: sleeping"}
    export_group(out, GroupOptions(tsv=True), page=True)
    assert len(people(out)) == 4
    assert "excluded" not in (out / "group_status.tsv").read_text()


def test_whoever_reads_the_folder_goes_without_them(out, tmp_path) -> None:
    assert len(load_embeddings(out).X) == 4
    export_group(out, listed(tmp_path, "sub-02_task-rest\n"))
    assert len(load_embeddings(out).X) == 3
    assert [scan.columns["participant_id"] for scan in embedded_scans(out)] == [
        "sub-01", "sub-03", "sub-04",
    ]  # fmt: skip
    outputs.write_run(out, "05", seed=5)  # the group's table is older now and is not read
    found = load_embeddings(out).table["participant_id"]
    assert [*found] == ["sub-01", "sub-03", "sub-04", "sub-05"]
    shutil.rmtree(out / "sub-02")  # what is gone need not be left out any more
    assert len(load_embeddings(out).X) == 4


def test_a_damaged_scan_or_one_of_other_settings_can_be_left_out(out, tmp_path, caplog) -> None:
    outputs.write_run(out, "02", seed=1, ConfigurationHash="fedcba9876543210-01234567")
    (table,) = (out / "sub-03").rglob("*_desc-scan_embedding.tsv")
    table.write_text("cut short")
    options = listed(
        tmp_path, f"sub-02_task-rest\nsub-03_task-rest{SPACE}_desc-preproc\n", "a.txt"
    )
    assert export_group(out, options).n_damaged == 0
    assert people(out) == ["sub-01", "sub-04"]
    assert "not as they were written" not in caplog.text


def test_a_table_with_quotation_marks_is_a_table(tmp_path) -> None:
    text = '"scan","reason"\n"sub-02_task-rest","moved, twice"\n'
    found = read_exclusions(listed(tmp_path, text, "bad.csv").exclude_scans)
    assert found.reasons == {"sub-02_task-rest": "excluded by bad.csv: moved, twice"}


def test_a_name_that_no_scan_has_is_refused_with_near_ones_and_nothing_is_written(
    out, tmp_path
) -> None:
    with pytest.raises(OptionsError, match=r"called sub-02_task-rst\.") as caught:
        export_group(out, listed(tmp_path, "sub-01_task-rest\nsub-02_task-rst\n"))
    assert f"sub-02_task-rest{SPACE}" in caught.value.hint
    assert not list(out.glob("group*"))


@pytest.mark.parametrize("text", ["", "\n# none yet\n", "scan\treason\n"])
def test_a_file_that_names_no_scan_is_refused(tmp_path, text) -> None:
    with pytest.raises(OptionsError, match="names no scan"):
        read_exclusions(listed(tmp_path, text).exclude_scans)
