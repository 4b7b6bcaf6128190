"""Scans whose files are not what their status says: each is left out alone, with its reason."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import outputs
import pandas as pd
import pytest
from click.testing import CliRunner

from bids_app.cli.app import main
from bids_app.errors import AppError, OutputError
from bids_app.group.export import export_group, preview_group
from bids_app.group.options import GroupOptions
from model.cohort.outputs import OutputsError, embedded_scans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHERS = ["sub-00", "sub-01", "sub-02"]
STATUS, TABLE, SIDECAR = "status.json", "desc-scan_embedding.tsv", "desc-scan_embedding.json"


def path_of(out: Path, ending: str, sub: str = "03") -> Path:
    return out / f"sub-{sub}" / "func" / f"sub-{sub}_{outputs.STEM}_{ending}"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for seed in range(4):
        outputs.write_run(tmp_path, f"{seed:02d}", seed=seed)
    return tmp_path


def changed(key: str, value: Any) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        path = path_of(out, STATUS)
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


def written(ending: str, content: bytes) -> Callable[[Path], None]:
    return lambda out: path_of(out, ending).write_bytes(content) and None


def of_another(ending: str) -> Callable[[Path], None]:
    return lambda out: shutil.copy(path_of(out, ending, "02"), path_of(out, ending)) and None


def signed(ending: str, edit: Callable[[str], str]) -> Callable[[Path], None]:
    """Edit a file and let the status say that it is so."""

    def change(out: Path) -> None:
        path = path_of(out, ending)
        path.write_text(edit(path.read_text()))
        outputs.sign(path_of(out, STATUS), path)

    return change


def said(key: str, value: Any) -> Callable[[Path], None]:
    return signed(SIDECAR, lambda text: json.dumps(json.loads(text) | {key: value}))


def cells(edit: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def edited(text: str) -> str:
        header, row, end = text.split("\n")
        return "\n".join((header, "\t".join(edit(row.split("\t"))), end))

    return signed(TABLE, edited)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "no longer JSON": (STATUS, lambda out: path_of(out, STATUS).write_text("{") and None),
    "deep": (STATUS, written(STATUS, b"[" * 100_000 + b"]" * 100_000)),
    "a list": (STATUS, written(STATUS, b"[1]")),
    "not UTF-8": (STATUS, written(STATUS, b'{"Status": "\xff"}')),
    "banana": (STATUS, changed("Status", "banana")),
    "entities a list": (STATUS, changed("Entities", [1])),
    "entities of another": (STATUS, changed("Entities", {"sub": "02", "task": "rest"})),
    "no configuration": (STATUS, changed("ConfigurationHash", None)),
    "configuration a number": (STATUS, changed("ConfigurationHash", 7)),
    "QC a list": (STATUS, changed("QC", [1, 2])),
    "QC infinite": (STATUS, changed("QC", {"tr": float("inf")})),
    "QC in another's column": (STATUS, changed("QC", {"participant_id": "sub-99"})),
    "QC in the embedding": (STATUS, changed("QC", {"mean_000": 1.0})),
    "outputs as before they had hashes": (STATUS, changed("Outputs", ["a.tsv"])),
    "outputs unknown": (SIDECAR, changed("Outputs", {})),
    "configuration of other options": (SIDECAR, changed("ConfigurationHash", "f" * 25)),
    "status of another": (STATUS, of_another(STATUS)),
    "table empty": (TABLE, written(TABLE, b"")),
    "table of another": (TABLE, of_another(TABLE)),
    "sidecar empty": (SIDECAR, written(SIDECAR, b"")),
    "table gone": (TABLE, lambda out: path_of(out, TABLE).unlink()),
    "sidecar gone": (SIDECAR, lambda out: path_of(out, SIDECAR).unlink()),
    "one digit": (
        TABLE,
        lambda out: path_of(out, TABLE).write_text(
            path_of(out, TABLE).read_text().replace("\t0.", "\t1.", 1)
        )
        and None,
    ),
    "sidecar of other options": (SIDECAR, said("ConfigurationHash", "0123456789abcdef-ffffffff")),
    "10^12 dimensions": (TABLE, said("EmbeddingDimension", 10**12)),
    "-1 dimensions": (TABLE, said("EmbeddingDimension", -1)),
    "true dimensions": (SIDECAR, said("EmbeddingDimension", True)),
    "settings a list": (SIDECAR, said("Settings", [1])),
    "a pipe": (TABLE, lambda out: path_of(out, TABLE).unlink() or os.mkfifo(path_of(out, TABLE))),
    "a link that leads nowhere": (
        STATUS,
        lambda out: path_of(out, STATUS).unlink() or path_of(out, STATUS).symlink_to("gone"),
    ),
    "other missing networks": (TABLE, said("MissingNetworks", [])),
    "other weights": ("", said("Model", {"WeightsSHA256": "1" * 64})),
    "infinite": (TABLE, cells(lambda row: ["inf", *row[1:]])),
    "beyond float32": (TABLE, cells(lambda row: ["1e39", *row[1:]])),
    "all n/a": (TABLE, cells(lambda row: ["n/a"] * len(row))),
    "half of a network n/a": (TABLE, cells(lambda row: [*row[:4], "n/a", *row[5:]])),
    "text": (TABLE, cells(lambda row: ["no", *row[1:]])),
    "a cell less": (TABLE, cells(lambda row: row[1:])),
    "two rows": (TABLE, signed(TABLE, lambda text: text + text.split("\n")[1] + "\n")),
    "moved": (
        STATUS,
        lambda out: (out / "sub-03" / "func").rename(out / "sub-03" / "anat") and None,
    ),
}  # fmt: skip


def rows(out: Path) -> pd.DataFrame:
    table = pd.read_csv(out / "group_status.tsv", sep="\t", keep_default_na=False)
    return table.set_index("participant_id")


@pytest.mark.parametrize(("ending", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_scan_is_left_out_alone_and_its_file_is_named(ending, damage, out) -> None:
    export_group(out)
    damage(out)
    assert export_group(out).n_damaged == 1
    table = pd.read_parquet(out / "group_desc-scan_embedding.parquet")
    assert table["participant_id"].tolist() == OTHERS
    found = rows(out)
    assert found["status"].to_dict() == dict.fromkeys(OTHERS, "embedded") | {"sub-03": "damaged"}
    reason = found["reason"]["sub-03"]
    assert ending in reason
    assert reason.count("\n") == 0
    assert not reason.startswith("/")
    assert str(out) not in reason
    described = json.loads((out / "group_desc-scan_embedding.json").read_text())
    assert (described["NumberOfRuns"], described["NumberOfDamagedRuns"]) == (3, 1)
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize(
    "damage",
    [DAMAGE[name][1] for name in ("table empty", "one digit", "banana", "moved")],
)
def test_evaluation_refuses_what_the_group_level_leaves_out(damage, out) -> None:
    damage(out)
    with pytest.raises(OutputsError, match="sub-03"):
        [scan.numbers(TABLE) for scan in embedded_scans(out)]


def test_a_scan_that_comes_twice_counts_once(out) -> None:
    shutil.copytree(out / "sub-03", out / "sub-04")
    assert export_group(out).n_damaged == 1
    table = pd.read_parquet(out / "group_desc-scan_embedding.parquet")
    assert table["participant_id"].tolist() == [*OTHERS, "sub-03"]
    other = path_of(out, STATUS).with_name(f"task-rest_sub-03_{STATUS}")
    shutil.copy(path_of(out, STATUS), other)
    assert export_group(out).n_damaged == 2


def test_reasons_are_told_and_counted(out, caplog) -> None:
    for sub in ("01", "02"):
        path_of(out, TABLE, sub).write_bytes(b"")
    export_group(out)
    assert "2 of 4 scans are left out" in caplog.text
    assert "sub-01" in caplog.text
    assert "(0 bytes, not " in caplog.text


def test_a_dry_run_names_damage_and_ends_as_the_run_would(out) -> None:
    (status,) = (out / "sub-01").rglob("*status.json")
    status.write_text("{")
    words = [str(word) for word in (out, out, "group", "--dry-run")]
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 1
    assert "group_status.tsv, which a dry run does not write, names all" in answer.output
    assert status.name in answer.output
    assert not list(out.glob("group*"))
    for one in out.rglob("*status.json"):
        one.write_text("{")
    with pytest.raises(AppError, match="which a dry run does not write, gives the reason"):
        preview_group(out, GroupOptions())


def test_where_no_scan_is_left_the_last_table_stays_and_the_status_is_new(out) -> None:
    export_group(out)
    before = (out / "group_desc-scan_embedding.parquet").read_bytes()
    for sub in ("00", "01", "02", "03"):
        path_of(out, TABLE, sub).write_bytes(b"")
    with pytest.raises(AppError, match="none of 4 scans can stand in a table, 4 are damaged"):
        export_group(out)
    assert (out / "group_desc-scan_embedding.parquet").read_bytes() == before
    assert set(rows(out)["status"]) == {"damaged"}


def test_a_name_that_is_no_text_and_a_formula_break_no_table(out) -> None:
    folder = out / "sub-\udcff" / "func"
    folder.mkdir(parents=True)
    (folder / f"sub-\udcff_task-+1_{STATUS}").write_text("{}")
    outputs.write_run(out, "04", seed=4, Source="=cmd|' /C calc'!A0", Status="failed", Reason="@a")
    assert export_group(out, GroupOptions(tsv=True)).n_damaged == 1
    lines = (out / "group_status.tsv").read_text().splitlines()
    assert len(lines) == 7
    assert not [cell for line in lines for cell in line.split("\t") if cell[0] in "=+-@"]


def test_whole_numbers_beyond_a_column_s_are_no_fault(out) -> None:
    outputs.write_run(out, "03", seed=3, QC={"n_volumes": 10**200})
    assert export_group(out).n_damaged == 0


def test_a_folder_that_cannot_be_listed_is_named(out, monkeypatch) -> None:
    listed = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("sub-02/func"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(OutputError, match=r"sub-02: cannot be read \(Permission denied\)"):
        export_group(out)
