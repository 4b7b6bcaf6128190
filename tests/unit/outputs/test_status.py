"""What the status of a scan says where the scan itself cannot be told about."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import killed
import outputs
import pytest

from bids_app.errors import OutputError, ScanError
from bids_app.inputs.entities import Entities
from bids_app.inputs.scan import LONGEST_NAME
from bids_app.outputs.paths import output_path, relative_text
from bids_app.outputs.status import (
    ScanOutcome,
    input_fingerprint,
    refuse_long_name,
    require_written,
    status_path,
    unchanged,
    write_outcome,
)
from model.cohort import names
from model.cohort.outputs import embedded_scans

if TYPE_CHECKING:
    from bids_app.options import CheckInputs
    from model.cohort.record import ScanRecord


def test_a_name_that_no_output_can_have_is_told_and_nothing_is_written(tmp_path) -> None:
    scan = killed.make_scan(tmp_path / "in", "01")
    long = replace(scan, entities=replace(scan.entities, acq="a" * 240))
    refuse_long_name(tmp_path, scan)
    with pytest.raises(ScanError, match="too long"):
        refuse_long_name(tmp_path, long)
    outcome = write_outcome(tmp_path / "out", long, "failed", reason="its name is too long")
    assert (outcome.status, outcome.reason) == ("failed", "its name is too long")
    require_written([outcome], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_longest_name_that_is_taken_has_room_for_every_output(tmp_path) -> None:
    stem = killed.make_scan(tmp_path, "01").entities.stem()
    entities = Entities(sub="01", task="rest", acq="a" * (LONGEST_NAME - len(f"{stem}_acq-")))
    scan = replace(killed.make_scan(tmp_path, "01"), entities=entities)
    assert len(entities.stem()) == LONGEST_NAME
    refuse_long_name(tmp_path, scan)
    endings = [f"{name}.json" for name in (*names.SERIES.values(), names.WINDOWS, names.TOKENS)]
    longest = max(len(output_path(tmp_path, entities, ending).name) for ending in endings)
    assert longest == 255


def test_what_was_written_now_must_be_there_and_what_was_done_earlier_was_looked_at(
    tmp_path,
) -> None:
    scan = killed.make_scan(tmp_path / "in", "01")
    outcome = killed.embed(scan, settings="A", output_dir=tmp_path, log_dir=tmp_path)
    require_written([outcome], tmp_path)
    status_path(tmp_path, scan).unlink()
    with pytest.raises(OutputError, match="is gone"):
        require_written([outcome], tmp_path)
    require_written([replace(outcome, fresh=False)], tmp_path)


@pytest.mark.parametrize("status", ["excluded", "failed"])
def test_a_scan_that_is_embedded_no_more_keeps_its_tables_and_nobody_reads_them(
    tmp_path, status
) -> None:
    scans = [killed.make_scan(tmp_path / "in", sub) for sub in ("01", "02")]
    for scan in scans:
        killed.embed(scan, settings="A", output_dir=tmp_path / "out", log_dir=tmp_path)
    before = outputs.contents(tmp_path / "out")
    assert len(embedded_scans(tmp_path / "out")) == 2
    outcome = write_outcome(tmp_path / "out", scans[0], status, reason="too short")
    after = outputs.contents(tmp_path / "out")
    name = status_path(tmp_path / "out", scans[0]).relative_to(tmp_path / "out").as_posix()
    assert {one for one in before if before[one] != after[one]} == {name}
    assert outcome.record.outputs == {}
    assert [one.columns["participant_id"] for one in embedded_scans(tmp_path / "out")] == [
        "sub-02"
    ]


def test_inputs_that_are_gone_have_a_mark_too(tmp_path) -> None:
    scan = killed.make_scan(tmp_path / "in", "01")
    before = input_fingerprint(scan)
    scan.sources.data.unlink()
    after = input_fingerprint(scan)
    assert list(before) == list(after) == ["sub-01_task-rest_bold.nii.gz"]
    assert before != after


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/in/sub-01/x.json: bad", "sub-01/x.json: bad"),
        ("in /data/in: no file", "in in: no file"),
        ("'/data/in/a b/c.nii' ends", "'a b/c.nii' ends"),
        ("see /home/me/cache/y.npy.", "see y.npy."),
        ("bids:preprocessed:sub-01/func/x and 3 mm/s or 1/2", None),
        ("https://doi.org/10.1/x and a/b/c", None),
        ("out/sub-01/x, without/x", "sub-01/x, without/x"),
    ],
)
def test_texts_name_files_by_where_they_lie(text, shown) -> None:
    assert relative_text(text, Path("/data/in"), Path("out")) == (shown or text)


def test_what_has_changed_is_named_with_how(tmp_path) -> None:
    scan, out = killed.make_scan(tmp_path / "in", "01"), tmp_path / "out"
    image = scan.sources.data
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"12")

    def ended(check: CheckInputs) -> ScanRecord:
        marks = input_fingerprint(scan, check)
        return write_outcome(out, scan, "excluded", inputs=marks).record

    def told(record: ScanRecord, check: CheckInputs) -> str | ScanOutcome:
        return unchanged(out, scan, record, check=check)

    by_time, by_content = ended("time"), ended("content")
    name = image.relative_to(scan.root).as_posix()
    assert isinstance(told(by_time, "time"), ScanOutcome)
    os.utime(image, ns=(1, 1))
    assert told(by_time, "time") == f"{name} (time of change)"
    assert told(by_time, "content") == f"{name} (content not hashed then)"
    assert isinstance(told(by_content, "content"), ScanOutcome)
    image.write_bytes(b"34")
    assert told(by_content, "content") == f"{name} (content)"
    image.write_bytes(b"345")
    assert told(by_content, "content") == f"{name} (size)"
