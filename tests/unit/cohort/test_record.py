"""The record of a scan: what is written is read back, and what no status can hold is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from model.cohort.record import ScanRecord, read_record
from model.files.faults import FileError
from model.files.write import Digest

if TYPE_CHECKING:
    from pathlib import Path

STEM = "sub-01_task-rest_space-X_atlas-Semantoks457"
RECORD = ScanRecord(
    status="embedded",
    reason="",
    entities={"sub": "01", "task": "rest", "space": "X", "desc": "preproc"},
    source="bids:preprocessed:sub-01/func/sub-01_task-rest_bold.nii.gz",
    configuration="0123-4567",
    software="semantoks 1",
    inputs={"bold.nii.gz": "10:20"},
    outputs={f"{STEM}_coverage.tsv": Digest.of(b"one\n"), f"{STEM}_x.npy": Digest.of(b"")},
    qc={"tr": 2, "mask": "file", "missing_networks": ["Vis"], "flags": {"short": "too short"}},
)
LETTER = "\ud800"


def write(folder: Path, record: ScanRecord = RECORD, /, **changes: Any) -> Path:
    path = folder / f"{STEM}_status.json"
    path.write_text(json.dumps(record.as_json() | changes))
    return path


def test_what_was_written_is_read_back(tmp_path) -> None:
    assert read_record(write(tmp_path)) == RECORD


def digest(**changes: Any) -> dict[str, Any]:
    return {f"{STEM}_x.tsv": {"Size": 1, "SHA256": 64 * "a"} | changes}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Status", "banana"),
        ("Status", ["embedded"]),
        ("Reason", 7),
        ("Reason", LETTER),
        ("Source", None),
        ("ConfigurationHash", 7),
        ("SoftwareVersion", {}),
        ("Entities", [1]),
        ("Entities", {}),
        ("Entities", {"sub": "01", "task": "rest", "space": None}),
        ("Entities", {"sub": "02", "task": "rest", "space": "X"}),
        ("Entities", {"sub": "01", "space": "X"}),
        ("Entities", {"sub": "01", "task": "rest", "space": "X", "run": "1"}),
        ("Inputs", {"a": 1}),
        ("Inputs", ["a"]),
        ("Outputs", [f"{STEM}_coverage.tsv"]),
        ("Outputs", {"sub-02_x.tsv": {"Size": 1, "SHA256": 64 * "a"}}),
        ("Outputs", {f"{STEM}_/../../x": {"Size": 1, "SHA256": 64 * "a"}}),
        ("Outputs", {f"{STEM}_x.tsv": 1}),
        ("Outputs", digest(Size=-1)),
        ("Outputs", digest(Size=True)),
        ("Outputs", digest(Size=1.0)),
        ("Outputs", digest(SHA256="a")),
        ("Outputs", digest(More=1)),
        ("QC", [1, 2]),
        ("QC", {"tr": float("nan")}),
        ("QC", {"tr": float("inf")}),
        ("QC", {"tr": True}),
        ("QC", {"tr": None}),
        ("QC", {"tr": [[1]]}),
        ("QC", {"mask": LETTER}),
        ("QC", {"flags": ["short"]}),
        ("QC", {"flags": {"short": 1}}),
    ],
)
def test_what_no_status_can_hold_is_refused_by_its_key(tmp_path, key, value) -> None:
    with pytest.raises(FileError, match=f"_status.json: key {key}"):
        read_record(write(tmp_path, **{key: value}))


@pytest.mark.parametrize("key", RECORD.as_json())
def test_a_key_that_is_gone_is_named(tmp_path, key) -> None:
    path = write(tmp_path)
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match=f"key {key}: is not there"):
        read_record(path)


def test_outputs_that_are_gone_or_not_as_written_are_named(tmp_path) -> None:
    table, array = RECORD.outputs
    (tmp_path / table).write_bytes(b"one\n")
    assert RECORD.differing(tmp_path) == [array]
    (tmp_path / array).write_bytes(b"")
    assert RECORD.differing(tmp_path) == []
    (tmp_path / table).write_bytes(b"two\n")
    assert RECORD.differing(tmp_path) == [table]
    (tmp_path / table).unlink()
    (tmp_path / table).mkdir()
    assert RECORD.differing(tmp_path) == [table]
