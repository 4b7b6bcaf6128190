"""What a second invocation redoes and what it leaves; nothing is written beyond the output."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import builders
import pytest
from outputs import contents

from bids_app import one_scan, participant
from model.cohort.record import read_record
from model.files import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path):
    return builders.make_dataset(tmp_path / "in")


def outcomes(answer) -> list[str]:
    """Return ``now`` or ``earlier`` of each scan, all of which are embedded."""
    assert answer.exit_code == 0, answer.output
    found = []
    counts = re.sub(r" \(\d+ with flags: [^)]*\)", "", answer.stdout.splitlines()[0])
    for part in counts.split(", "):
        number, *words = part.split()
        assert words in (["embedded"], ["embedded", "earlier"]), part
        found += int(number) * ["earlier" if words[1:] else "now"]
    return found


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [truncate, edit, remove])
def test_outputs_that_are_not_as_written_are_made_again(tmp_path, data, semantoks, harm) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    before = contents(out)
    names = [name for name in before if name.startswith("sub-01/") and "status" not in name]
    for name in [name for name in names if "/figures/" not in name]:
        harm(out / name)
        assert outcomes(semantoks(data.root, out, "participant", "--no-reports")) == ["now"], name
        if harm is not truncate:
            break
    figures = [name for name in names if "/figures/" in name]
    assert figures
    harm(out / figures[-1])  # drawn again from the tables: the scan is as it was
    assert outcomes(semantoks(data.root, out)) == ["earlier"]
    assert contents(out) == before


def test_a_folder_in_place_of_an_output_fails_its_scan_and_stays(
    tmp_path, data, semantoks
) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    (table,) = out.glob("sub-01/**/*_coverage.tsv")
    table.unlink()
    (table / "of a user").mkdir(parents=True)
    answer = semantoks(data.root, out, "participant", "--no-reports")
    assert answer.exit_code == 1, answer.output
    assert "coverage.tsv" in answer.output
    assert (table / "of a user").is_dir()
    shutil.rmtree(table)
    assert outcomes(semantoks(data.root, out)) == ["now"]


def test_what_an_inherited_sidecar_says_is_part_of_the_inputs(tmp_path, data, semantoks) -> None:
    out = tmp_path / "out"
    builders.edit_sidecar(data.scans[0], StartTime=None)
    semantoks(data.root, out)
    inherited = data.scans[0].bold.with_name("sub-01_task-rest_bold.json")
    inherited.write_text('{"StartTime": 0.0}')
    assert outcomes(semantoks(data.root, out)) == ["now"]
    assert outcomes(semantoks(data.root, out)) == ["earlier"]
    inherited.write_text('{"StartTime": 0.5}')
    os.utime(inherited, ns=(1, 1))
    assert outcomes(semantoks(data.root, out)) == ["now"]
    inherited.unlink()
    assert outcomes(semantoks(data.root, out)) == ["now"]
    assert outcomes(semantoks(data.root, out)) == ["earlier"]


@pytest.mark.parametrize(
    "change",
    [
        {"readout": ["cls"]},
        {"licence": "another"},
        {"training": {"seed": 1}},
        {"version": "2"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_card_of_the_same_weights_redoes_the_scan(
    tmp_path, data, semantoks, checkpoint, change
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    semantoks(data.root, out)
    shutil.copytree(checkpoint, other)
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps(card | change))
    words = ("--checkpoint", str(other))
    assert outcomes(semantoks(data.root, out, "participant", *words)) == ["now"]


def test_inputs_are_known_by_time_or_where_asked_for_by_content(tmp_path, data, semantoks) -> None:
    out = tmp_path / "out"
    words = ("participant", "--check-inputs", "content")
    semantoks(data.root, out)
    assert outcomes(semantoks(data.root, out, *words)) == ["now"]  # no hash was kept
    assert outcomes(semantoks(data.root, out, *words)) == ["earlier"]
    confounds = data.scans[0].confounds
    os.utime(confounds, ns=(1, 1))  # fetched again: another time, the same content
    assert outcomes(semantoks(data.root, out, *words)) == ["earlier"]
    assert outcomes(semantoks(data.root, out)) == ["now"]
    semantoks(data.root, out, *words)
    time_ns = confounds.stat().st_mtime_ns
    confounds.write_text(confounds.read_text().replace("0.1", "0.2"))
    os.utime(confounds, ns=(time_ns, time_ns))
    assert outcomes(semantoks(data.root, out)) == ["earlier"]  # as documented
    assert outcomes(semantoks(data.root, out, *words)) == ["now"]


def test_a_file_that_changes_while_it_is_read_is_noticed_next_time(
    tmp_path, data, semantoks, monkeypatch
) -> None:
    out, original = tmp_path / "out", one_scan.embed_scan

    def slow(scan, *words, **settings):
        result = original(scan, *words, **settings)
        os.utime(scan.sources.confounds, ns=(1, 1))
        return result

    with monkeypatch.context() as patched:
        patched.setattr(one_scan, "embed_scan", slow)
        semantoks(data.root, out)
    assert outcomes(semantoks(data.root, out)) == ["now"]


@pytest.mark.parametrize("place", ["sub-01", "sub-01/func", "sub-01/figures", "logs"])
def test_nothing_is_written_through_a_link_out_of_the_output(
    tmp_path, data, semantoks, place
) -> None:
    before = contents(data.root)
    link = tmp_path / "out" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(data.root / "sub-01" / "func")
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 73, answer.output
    assert "outside the output folder" in answer.output
    assert contents(data.root) == before
    assert not (tmp_path / "out" / "dataset_description.json").exists()
    assert semantoks(data.root, tmp_path / "out", "participant", "--dry-run").exit_code == 73


def test_neither_reports_nor_matrices_go_through_a_link_out(tmp_path, data, semantoks) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    semantoks(data.root, out)
    shutil.rmtree(out / "sub-01" / "figures")
    outside.mkdir()
    (out / "sub-01" / "figures").symlink_to(outside)
    assert semantoks(data.root, out, "participant", "--reports-only").exit_code == 73
    (out / "sub-01").rename(outside / "sub-01")
    (out / "sub-01").symlink_to(outside / "sub-01")
    before = contents(outside)
    assert semantoks(data.root, out, "group", "--connectivity").exit_code == 73
    assert contents(outside) == before


def test_leftovers_go_where_nothing_is_left_to_do(tmp_path, data, semantoks) -> None:
    semantoks(data.root, tmp_path / "out")
    left = tmp_path / "out" / "sub-01" / "func" / f".{write._kernel()}-{'0' * 12}.part"
    left.write_bytes(b"half")
    assert outcomes(semantoks(data.root, tmp_path / "out")) == ["earlier"]
    assert not left.exists()


def test_the_output_folder_itself_may_be_a_link(tmp_path, data, semantoks) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert outcomes(semantoks(data.root, tmp_path / "out")) == ["now"]
    (tmp_path / "disk" / "sub-01" / "func").rename(tmp_path / "disk" / "moved")
    (tmp_path / "disk" / "sub-01" / "func").symlink_to("../moved")  # a link that stays inside
    assert outcomes(semantoks(data.root, tmp_path / "out")) == ["earlier"]


def test_outputs_that_vanish_meanwhile_are_not_called_done(
    tmp_path, semantoks, monkeypatch
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out, original = tmp_path / "out", participant.run_scan

    def clean_up(scan, **settings):
        if scan.entities.sub == "02":
            shutil.rmtree(out / "sub-01")
        return original(scan, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(participant, "run_scan", clean_up)
        answer = semantoks(data.root, out)
    assert answer.exit_code == 73, answer.output
    assert "sub-01" in answer.output
    assert sorted(outcomes(semantoks(data.root, out))) == ["earlier", "now"]


def test_reasons_name_files_by_where_they_lie_in_the_dataset(
    tmp_path, data, semantoks, monkeypatch
) -> None:
    out = tmp_path / "out"
    builders.truncate_image(data.scans[0])
    semantoks(data.root, out)

    def bug(*_words, **_settings):
        raise RuntimeError(f"met in {tmp_path}/elsewhere/x.py and {data.root}/sub-01/y")

    monkeypatch.setattr(one_scan, "embed_scan", bug)
    first = contents(out)
    semantoks(data.root, out)
    for name, content in (first | contents(out)).items():
        # The one link of the dataset to its source is for programs.
        if name != "dataset_description.json":
            assert str(tmp_path).encode() not in content, name
    (status,) = out.rglob("*_status.json")
    reason = read_record(status).reason
    assert reason.startswith("unexpected RuntimeError: met in x.py and sub-01/y (traceback in log")
    assert (out / reason.rpartition(" in ")[2].rstrip(")")).is_file()


def test_a_legal_name_that_is_too_long_for_its_outputs_costs_its_scan(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    room = 255 - len(data.scans[0].bold.name) - len("_acq-")
    for path in data.scans[0].bold.parent.iterdir():
        name = path.name.replace("_task-rest", f"_task-rest_acq-{'a' * room}")
        path.rename(path.with_name(name))
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1, answer.output
    found = [
        read_record(path).entities["sub"] for path in (tmp_path / "out").rglob("*_status.json")
    ]
    assert found == ["02"]


def test_a_damaged_status_costs_a_report_and_not_the_scans(tmp_path, data, semantoks) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    stray = out / "sub-01" / "func" / "sub-01_task-other_atlas-Semantoks457_status.json"
    for harm in (lambda: stray.write_text('{"Status": "banana"}'), lambda: os.mkfifo(stray)):
        harm()
        answer = semantoks(data.root, out)
        assert answer.exit_code == 1, answer.output
        assert "1 embedded" in answer.output
        assert not list(out.rglob("crash*"))
        stray.unlink()
    assert outcomes(semantoks(data.root, out)) == ["earlier"]


def test_whatever_goes_wrong_with_what_was_done_earlier_costs_its_scan_alone(
    tmp_path, semantoks, monkeypatch
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out, original = tmp_path / "out", one_scan.recorded
    semantoks(data.root, out)

    def odd(folder, scan):
        if scan.entities.sub == "01":
            raise RecursionError("deep")
        return original(folder, scan)

    monkeypatch.setattr(one_scan, "recorded", odd)
    assert outcomes(semantoks(data.root, out)) == ["now", "earlier"]
