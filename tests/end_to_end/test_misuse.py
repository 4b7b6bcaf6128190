"""What a user can do wrong, and what a bad neighbour can do to the others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import builders
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from model.files.tables import read_cells

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path):
    return builders.make_dataset(tmp_path / "in", subjects=("01", "02"))


@pytest.mark.parametrize("words", [("--participant-label", ""), ("--task-id", " ")])
def test_an_empty_label_does_not_select_everybody(tmp_path, data, semantoks, words) -> None:
    answer = semantoks(data.root, tmp_path / "out", "participant", *words)
    assert answer.exit_code == 2
    assert "at least one label" in answer.output
    assert not (tmp_path / "out").exists()


def test_a_damaged_atlas_stops_and_leaves_finished_work_alone(
    tmp_path, data, semantoks, atlas
) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    before = {path: path.read_bytes() for path in out.rglob("*_status.json")}
    damaged = tmp_path / "atlas"
    shutil.copytree(atlas, damaged)
    (table,) = damaged.glob("*_dseg.tsv")
    lines = table.read_text().splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    table.write_text("\n".join(lines) + "\n")
    answer = semantoks(data.root, out, "participant", "--atlas", damaged)
    assert answer.exit_code == 78, answer.output
    assert before == {path: path.read_bytes() for path in out.rglob("*_status.json")}


def test_a_run_in_another_space_than_its_name_says_fails_with_the_reason(
    tmp_path, data, semantoks
) -> None:
    bold = data.scans[0].bold
    image = nib.load(bold)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-91, -126, -72)  # where MNI152NLin6Asym begins
    moved = nib.Nifti1Image(np.asarray(image.dataobj), affine, image.header)
    moved.set_sform(affine, code="mni")
    nib.save(moved, bold)
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1
    assert "the name says space-MNI152NLin2009cAsym, but the grid begins" in answer.output


def test_a_header_nibabel_cannot_read_fails_alone(tmp_path, data, semantoks) -> None:
    header = nib.load(data.scans[0].bold).header.copy()
    raw = bytearray(header.binaryblock)
    raw[70:72] = (999).to_bytes(2, "little")  # datatype code
    data.scans[0].bold.unlink()
    plain = data.scans[0].bold.with_suffix("")
    plain.write_bytes(bytes(raw) + bytes(4 + 1000))
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1, answer.output
    assert "1 failed" in answer.output
    assert "1 embedded" in answer.output


def test_a_participant_without_a_usable_run_is_named(tmp_path, data, semantoks) -> None:
    for path in (data.scans[0].bold, data.scans[0].sidecar):
        path.rename(path.with_name(path.name.replace(builders.SPACE, "T1w")))
    answer = semantoks(
        data.root, tmp_path / "out", "participant", "--participant-label", "01", "02"
    )
    assert answer.exit_code == 0
    assert "sub-01: no scan to process: space-T1w" in answer.output


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_a_derivative_without_any_confounds_ends_with_66_and_writes_nothing(
    tmp_path, semantoks, words
) -> None:
    data = builders.make_dataset(tmp_path / "in", with_confounds=False)
    answer = semantoks(data.root, tmp_path / "out", "participant", *words)
    assert answer.exit_code == 66, answer.output
    assert "--level full" in answer.output
    assert "--denoise-strategy none" in answer.output
    assert not (tmp_path / "out").exists()


def test_confounds_that_only_one_run_lacks_fail_that_run_alone(tmp_path, data, semantoks) -> None:
    data.scans[0].confounds.unlink()
    data.scans[0].confounds_metadata.unlink()
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1, answer.output
    assert "1 failed" in answer.output
    assert "1 embedded" in answer.output


def test_tables_without_expansions_are_embedded_and_the_sidecar_says_what_was_computed(
    tmp_path, data, semantoks
) -> None:
    for scan in data.scans:
        table = pd.read_csv(scan.confounds, sep="\t", na_values="n/a")
        table = table.drop(columns=table.filter(regex="_derivative1|_power2").columns)
        table.to_csv(scan.confounds, sep="\t", index=False, na_rep="n/a")
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    sidecar = next((tmp_path / "out").rglob("*_desc-denoised_timeseries.json"))
    meta = json.loads(sidecar.read_text())
    assert len(meta["ComputedRegressors"]) == 18
    assert set(meta["ComputedRegressors"]) < set(meta["ConfoundRegressors"])


@pytest.mark.parametrize("where", ["", "sub-01/out"])
def test_an_output_in_the_raw_dataset_or_a_participant_is_refused(
    tmp_path, semantoks, where
) -> None:
    data = builders.make_dataset(tmp_path / "raw" / "derivatives" / "fmriprep")
    (tmp_path / "raw" / "sub-01").mkdir()
    answer = semantoks(tmp_path / "raw", tmp_path / "raw" / where)
    assert answer.exit_code == 2, answer.output
    assert not (tmp_path / "raw" / "dataset_description.json").exists()
    assert not list(data.root.rglob("*_status.json"))


def test_an_output_beside_the_derivative_is_fine(tmp_path, semantoks) -> None:
    builders.make_dataset(tmp_path / "raw" / "derivatives" / "fmriprep")
    answer = semantoks(tmp_path / "raw", tmp_path / "raw" / "derivatives" / "semantoks")
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize(
    "words",
    [
        ("--device", "mps"),
        ("--device", "cuda:x"),
        ("--device", "cuda:99"),
        ("--tr", "nan"),
        ("--tr", "900"),
        ("--tr", "0.01"),
        ("--low-pass", "inf"),
        ("--high-pass", "1e-12"),
        ("--min-coverage", "nan"),
    ],
)
def test_impossible_values_are_usage_errors(tmp_path, data, semantoks, words) -> None:
    answer = semantoks(data.root, tmp_path / "out", "participant", *words)
    assert answer.exit_code == 2, answer.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize("option", ["--atlas", "--checkpoint"])
def test_an_atlas_or_checkpoint_that_is_not_there_ends_with_78(
    tmp_path, data, semantoks, option, words
) -> None:
    for path in ("nowhere", "/etc/hosts", "nowhere.pth"):
        answer = semantoks(data.root, tmp_path / "out", "participant", option, path, *words)
        assert answer.exit_code == 78, answer.output
    assert not (tmp_path / "out").exists()


def test_a_dry_run_that_finds_nothing_exits_with_18(tmp_path, data, semantoks) -> None:
    words = ("--dry-run", "--task-id", "nosuchtask")
    answer = semantoks(data.root, tmp_path / "out", "participant", *words)
    assert answer.exit_code == 18


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        ("*_status.json", "{"),
        ("*_status.json", "{}"),
        ("*_desc-scan_embedding.tsv", ""),
        ("*_desc-scan_embedding.tsv", "mean_000\tmean_001\n"),
        ("*_desc-scan_embedding.json", "[]"),
    ],
)
def test_group_leaves_out_a_scan_with_a_damaged_file_and_names_it(
    tmp_path, data, semantoks, pattern, content
) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    victim = sorted(out.rglob(pattern))[0]
    victim.write_text(content)
    answer = semantoks(data.root, out, "group")
    assert answer.exit_code == 1, answer.output
    assert victim.name in answer.output
    table = pd.read_parquet(out / "group_desc-scan_embedding.parquet")
    assert list(table["participant_id"]) == ["sub-02"]
    told = read_cells(out / "group_status.tsv").by_name()
    assert [row["status"] for row in told] == ["damaged", "embedded"]


def test_a_report_older_than_a_status_is_made_again(tmp_path, data, semantoks) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    report = out / "sub-01.html"
    whole = report.read_bytes()
    report.write_text("of an interrupted invocation")
    os.utime(report, ns=(1, 1))
    semantoks(data.root, out)
    assert report.read_bytes() == whole


def test_a_changed_component_description_is_noticed(tmp_path, data, semantoks) -> None:
    semantoks(data.root, tmp_path / "out")
    os.utime(data.scans[0].confounds_metadata, ns=(1, 1))
    answer = semantoks(data.root, tmp_path / "out", "participant", "--participant-label", "01")
    assert answer.stdout.partition(" (")[0] == "1 embedded"


def test_terminated_it_leaves_no_partial_file_and_goes_on_later(
    tmp_path, semantoks, atlas, checkpoint
) -> None:
    subjects = tuple("abcdefgh")
    data = builders.make_dataset(tmp_path / "in", subjects=subjects)
    out = tmp_path / "out"
    command = [
        sys.executable, str(ROOT / "entrypoint.py"), str(data.root), str(out), "participant",
        "--atlas", str(atlas), "--checkpoint", str(checkpoint),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(out.rglob("*_status.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"call again to go on" in errors
    assert not list(out.rglob("*.part"))
    assert semantoks(data.root, out).exit_code == 0
    assert len(list(out.rglob("*_status.json"))) == len(subjects)


def test_without_a_home_folder_it_works(tmp_path, data, atlas, checkpoint) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become a user without a passwd entry")
    open_to_all = tmp_path / "out"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o777)
    for parent in (tmp_path, *list(tmp_path.parents)[:2], *atlas.parents, *checkpoint.parents):
        if parent != Path("/") and parent.owner() == "root" and "pytest" in str(parent):
            parent.chmod(0o755)
    command = [
        "setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "env", "-u", "HOME",
        f"PYTHONPATH={ROOT}", sys.executable, "-m", "bids_app", str(data.root), str(open_to_all),
        "participant", "--dry-run", "--participant-label", "01",
        "--atlas", str(atlas), "--checkpoint", str(checkpoint),
    ]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if "Permission denied" in answer.stderr and str(sys.prefix) in answer.stderr:
        pytest.skip("the interpreter is not readable by other users")
    assert answer.returncode == 0, answer.stderr
    assert "chosen" in answer.stdout


def test_a_damaged_description_of_the_input_is_named(tmp_path, data, semantoks) -> None:
    (data.root / "dataset_description.json").write_text(json.dumps([1]))
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 0
    assert "WARNING" in answer.output
    assert "dataset_description.json: expected a JSON object" in answer.output
