"""Participant level through the command line, on simulated derivatives."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import builders
import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from pathlib import Path


def statuses(out: Path) -> dict[str, dict]:
    return {
        path.name.partition("_space")[0]: json.loads(path.read_text())
        for path in sorted(out.rglob("*_status.json"))
    }


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "logs" not in path.relative_to(folder).parts
    }


def read(out: Path, ending: str) -> pd.DataFrame:
    (path,) = out.rglob(f"*{ending}")
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def test_every_run_is_embedded_and_the_input_is_untouched(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"), sessions=("1", "2"))
    before = snapshot(data.root)
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    assert {s["Status"] for s in statuses(tmp_path / "out").values()} == {"embedded"}
    assert len(statuses(tmp_path / "out")) == 4
    assert snapshot(data.root) == before


def test_a_second_run_changes_no_file(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    semantoks(data.root, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 0
    assert "earlier" in answer.output
    assert snapshot(tmp_path / "out") == before


def test_overwriting_gives_the_same_bytes(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    semantoks(data.root, tmp_path / "out")
    first = {name: content for name, (_, content) in snapshot(tmp_path / "out").items()}
    semantoks(data.root, tmp_path / "out", "participant", "--overwrite")
    again = {name: content for name, (_, content) in snapshot(tmp_path / "out").items()}
    assert first == again


def test_another_batch_size_changes_the_rounding_only(tmp_path, semantoks) -> None:
    """How many windows a product of matrices has decides in which order it adds."""
    data = builders.make_dataset(tmp_path / "in")
    pattern = "sub-*/func/*_desc-tokens_embedding.npy"
    found = []
    for size in ("1", "16"):
        semantoks(data.root, tmp_path / size, "participant", "--batch-size", size)
        found.append({p.name: np.load(p) for p in (tmp_path / size).glob(pattern)})
    one, many = found
    assert one
    assert one.keys() == many.keys()
    for name, tokens in one.items():
        np.testing.assert_allclose(tokens, many[name], atol=2e-5)


def test_other_settings_redo_the_run(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    semantoks(data.root, tmp_path / "out")
    answer = semantoks(data.root, tmp_path / "out", "participant", "--normalization", "zscore")
    assert answer.stdout.partition(" (")[0] == "1 embedded"
    (sidecar,) = (tmp_path / "out").rglob("*_desc-model_timeseries.json")
    assert json.loads(sidecar.read_text())["Normalization"] == "zscore"


def test_a_deleted_output_is_made_again(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    semantoks(data.root, tmp_path / "out")
    (victim,) = (tmp_path / "out").rglob("*_desc-tokens_embedding.npy")
    victim.unlink()
    semantoks(data.root, tmp_path / "out")
    assert victim.exists()


def test_a_changed_input_is_noticed(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    semantoks(data.root, tmp_path / "out")
    os.utime(data.scans[0].confounds, ns=(1, 1))
    assert semantoks(data.root, tmp_path / "out").stdout.partition(" (")[0] == "1 embedded"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (builders.truncate_image, "truncated|Compressed|ends|end"),
        (builders.drop_last_volume_bytes, "expected"),
        (builders.blank_image, "zero|variance"),
        (lambda scan: scan.confounds.unlink(), "confounds"),
        (lambda scan: scan.confounds.write_text(""), "confounds|table"),
    ],
    ids=["cut gzip", "short data", "all zero", "no confounds", "empty confounds"],
)
def test_a_damaged_run_fails_alone_with_its_reason(tmp_path, semantoks, damage, reason) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    damage(data.scans[0])
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1, answer.output
    found = statuses(tmp_path / "out")
    assert found["sub-01_task-rest"]["Status"] == "failed"
    assert pd.Series([found["sub-01_task-rest"]["Reason"]]).str.contains(reason).all()
    assert found["sub-02_task-rest"]["Status"] == "embedded"
    assert len(list((tmp_path / "out" / "sub-01" / "func").iterdir())) == 1


def test_a_run_of_8_volumes_is_excluded_and_that_is_no_failure(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    builders.cut_volumes(data.scans[0], keep=8)
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 0
    excluded = statuses(tmp_path / "out")["sub-01_task-rest"]
    assert excluded["Status"] == "excluded"
    assert "expected at least 40 s" in excluded["Reason"]


def test_a_bug_met_by_one_scan_leaves_a_traceback_and_spares_the_others(
    tmp_path, semantoks, monkeypatch
) -> None:
    from bids_app import one_scan

    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    honest = one_scan.denoise

    def broken(values, **settings):
        if not broken.met:
            broken.met = True
            raise ZeroDivisionError("a bug")
        return honest(values, **settings)

    broken.met = False
    monkeypatch.setattr(one_scan, "denoise", broken)
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1
    assert [s["Status"] for s in statuses(tmp_path / "out").values()] == ["failed", "embedded"]
    (crash,) = (tmp_path / "out" / "logs").rglob("crash-*.txt")
    assert "ZeroDivisionError: a bug" in crash.read_text()


def test_stop_on_first_crash_stops(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    builders.blank_image(data.scans[0])
    answer = semantoks(data.root, tmp_path / "out", "participant", "--stop-on-first-crash")
    assert answer.exit_code == 1
    assert set(statuses(tmp_path / "out")) == {"sub-01_task-rest"}


def test_a_failed_run_is_tried_again_and_then_done(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    table = data.scans[0].confounds.read_bytes()
    data.scans[0].confounds.unlink()
    assert semantoks(data.root, tmp_path / "out").exit_code == 1
    data.scans[0].confounds.write_bytes(table)
    assert semantoks(data.root, tmp_path / "out").exit_code == 0


def test_a_cut_cerebellum_is_missing_everywhere_and_never_zero(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    builders.cut_cerebellum(data.scans[0])
    out = tmp_path / "out"
    assert semantoks(data.root, out).exit_code == 0
    for ending in ("desc-denoised_timeseries.tsv", "desc-model_timeseries.tsv"):
        series = read(out, ending)
        assert series.iloc[:, 450:].isna().all(axis=None)
        assert series.iloc[:, :450].notna().all(axis=None)
    scan = read(out, "desc-scan_embedding.tsv")
    assert scan.filter(like="Cerebellum_").isna().all(axis=None)
    assert scan.filter(regex="^(mean|cls|Vis)_").notna().all(axis=None)
    coverage = read(out, "coverage.tsv")
    assert set(coverage["status"][450:]) == {"missing"}
    assert (coverage["reason"][450:] != "").all()
    (tokens,) = out.rglob("*_desc-tokens_embedding.npy")
    values = np.load(tokens)
    assert np.isnan(values[:, 8]).all()
    assert np.isfinite(values[:, :8]).all()


def test_a_missing_mask_is_derived_and_said_so(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", with_mask=False)
    assert semantoks(data.root, tmp_path / "out").exit_code == 0
    (sidecar,) = (tmp_path / "out").rglob("*_desc-denoised_timeseries.json")
    assert json.loads(sidecar.read_text())["Mask"] == "derived"


def test_without_sidecar_the_header_gives_the_repetition_time(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", with_sidecar=False)
    assert semantoks(data.root, tmp_path / "out").exit_code == 0
    (sidecar,) = (tmp_path / "out").rglob("*_desc-denoised_timeseries.json")
    assert json.loads(sidecar.read_text())["RepetitionTimeSource"] == "NIfTI header"


def test_a_contradicting_repetition_time_fails_until_tr_is_given(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    sidecar = data.scans[0].sidecar
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"RepetitionTime": 1.0}))
    answer = semantoks(data.root, tmp_path / "out")
    assert answer.exit_code == 1
    assert "--tr" in answer.output
    answer = semantoks(data.root, tmp_path / "out", "participant", "--tr", "2.0")
    assert answer.exit_code == 0, answer.output


def test_no_strategy_needs_no_confounds(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", with_confounds=False)
    words = ("--denoise-strategy", "none")
    assert semantoks(data.root, tmp_path / "out", "participant", *words).exit_code == 0
    table = read(tmp_path / "out", "outliers.tsv")
    assert table["framewise_displacement"].isna().all()
    assert (table["interpolated"] == 0).all()


def test_dry_run_writes_nothing(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    answer = semantoks(data.root, tmp_path / "out", "participant", "--dry-run")
    assert answer.exit_code == 0
    assert "chosen" in answer.output
    assert not (tmp_path / "out").exists()


def test_series_at_another_repetition_time_come_out_at_two_seconds(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", tasks={"rest": 0.8}, n_volumes=300)
    assert semantoks(data.root, tmp_path / "out").exit_code == 0
    native = read(tmp_path / "out", "desc-denoised_timeseries.tsv")
    (meta,) = (tmp_path / "out").rglob("*desc-model_timeseries.json")
    model = read(tmp_path / "out", "desc-model_timeseries.tsv")
    assert json.loads(meta.read_text())["RepetitionTime"] == 2.0
    assert len(model) == int((len(native) - 1) * 0.8 / 2.0) + 1


@pytest.mark.parametrize(
    ("make_output", "code"),
    [
        (lambda root: root / "derived", 2),
        (lambda root: root, 2),
        (lambda root: root.parent / "a_file" / "out", 73),
    ],
    ids=["inside the input", "the input itself", "not writable"],
)
def test_an_impossible_output_stops_at_once(tmp_path, semantoks, make_output, code) -> None:
    data = builders.make_dataset(tmp_path / "in")
    (tmp_path / "a_file").write_text("")
    before = snapshot(data.root)
    answer = semantoks(data.root, make_output(data.root))
    assert answer.exit_code == code, answer.output
    assert snapshot(data.root) == before


def test_a_folder_of_another_dataset_is_not_written_to(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "precious"}')
    assert semantoks(data.root, other).exit_code == 2
    assert [path.name for path in other.iterdir()] == ["dataset_description.json"]


def test_without_an_atlas_the_way_to_one_is_told(tmp_path, checkpoint, monkeypatch) -> None:
    from click.testing import CliRunner

    from bids_app.cli.app import main

    monkeypatch.setenv("SEMANTOKS_HOME", str(tmp_path / "empty"))
    data = builders.make_dataset(tmp_path / "in")
    words = [str(data.root), str(tmp_path / "out"), "participant", "--checkpoint", str(checkpoint)]
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 78
    assert "semantoks assets atlas" in answer.output


def test_a_damaged_checkpoint_stops_before_anything_is_written(
    tmp_path, atlas, checkpoint
) -> None:
    import shutil

    from click.testing import CliRunner

    from bids_app.cli.app import main

    damaged = tmp_path / "weights"
    shutil.copytree(checkpoint, damaged)
    weights = damaged / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    data = builders.make_dataset(tmp_path / "in")
    words = [data.root, tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint", damaged]
    answer = CliRunner().invoke(main, [str(word) for word in words])
    assert answer.exit_code == 78
    assert "sha256" in answer.output.lower() or "hash" in answer.output.lower()
    assert not (tmp_path / "out").exists()


def test_each_participant_gets_a_report_that_names_failures(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    builders.blank_image(data.scans[0])
    semantoks(data.root, tmp_path / "out")
    failed = (tmp_path / "out" / "sub-01.html").read_text()
    assert statuses(tmp_path / "out")["sub-01_task-rest"]["Reason"].split(";")[0][:40] in failed
    assert (tmp_path / "out" / "sub-02.html").exists()


def test_a_fault_in_a_report_is_told_and_costs_nothing_else(
    tmp_path, semantoks, monkeypatch
) -> None:
    from bids_app import invocation

    def broken(*_):
        raise ZeroDivisionError("a bug in a figure")

    monkeypatch.setattr(invocation, "write_report", broken)
    data = builders.make_dataset(tmp_path / "in")
    assert semantoks(data.root, tmp_path / "out").exit_code == 1
    assert {s["Status"] for s in statuses(tmp_path / "out").values()} == {"embedded"}
    (crash,) = (tmp_path / "out" / "logs").rglob("crash-report-sub-01.txt")
    assert "a bug in a figure" in crash.read_text()


def test_no_temporary_folder_is_needed(tmp_path, semantoks, monkeypatch) -> None:
    import tempfile

    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(tempfile, "tempdir", None)
    data = builders.make_dataset(tmp_path / "in")
    assert semantoks(data.root, tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "sub-01.html").exists()
    assert not list((tmp_path / "out").glob(".tmp-*"))
