"""Parcel series that others made, through the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import builders
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.series import main
from model.checkpoint import load_encoder
from model.embed import embed_series
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CORTEX = list(parcel_names())[:400]


@pytest.fixture
def embed(checkpoint: Path) -> Callable[..., Result]:
    """Call ``semantoks series`` with the tiny checkpoint."""

    def call(*words: object) -> Result:
        arguments = [*map(str, words), "--checkpoint", str(checkpoint), "--n-cpus", "1"]
        return CliRunner().invoke(main, arguments)

    return call


def series(n_frames: int = 120, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100.0, 2.0, size=(n_frames, 400))


def write(path: Path, values: np.ndarray) -> Path:
    pd.DataFrame(values, columns=CORTEX).to_csv(path, sep="\t", index=False)
    return path


def statuses(out: Path) -> dict[str, dict]:
    found = sorted(out.rglob("*_status.json"))
    return {path.name.partition("_atlas")[0]: json.loads(path.read_text()) for path in found}


def scan_row(out: Path) -> pd.DataFrame:
    (path,) = out.glob("sub-*/**/*_desc-scan_embedding.tsv")
    return pd.read_csv(path, sep="\t", na_values="n/a")


def test_each_file_becomes_a_run_and_the_group_table_takes_them(
    tmp_path, embed, semantoks
) -> None:
    files = [write(tmp_path / f"sub-0{i}_task-rest.tsv", series(seed=i)) for i in (1, 2)]
    answer = embed(*files, tmp_path / "out", "--tr", 2)
    assert answer.exit_code == 0, answer.output
    assert {s["Status"] for s in statuses(tmp_path / "out").values()} == {"embedded"}
    assert semantoks(tmp_path, tmp_path / "out", "group").exit_code == 0
    table = pd.read_parquet(tmp_path / "out" / "group_desc-scan_embedding.parquet")
    assert table["participant_id"].tolist() == ["sub-01", "sub-02"]
    assert np.isfinite(table.filter(regex="^Vis_")).all(axis=None)
    assert table.filter(regex="^Cerebellum_").isna().all(axis=None)


def test_files_of_git_annex_keep_their_names_and_one_that_is_not_here_costs_itself(
    tmp_path, embed
) -> None:
    for label in ("01", "02"):
        key = tmp_path / "objects" / f"MD5E-s1--{label}.tsv"
        key.parent.mkdir(exist_ok=True)
        write(key, series(seed=int(label)))
        (tmp_path / f"sub-{label}_task-rest.tsv").symlink_to(key)
        (tmp_path / f"sub-{label}_task-rest.json").write_text('{"RepetitionTime": 2.0}')
    key.unlink()
    answer = embed(*sorted(tmp_path.glob("sub-*.tsv")), tmp_path / "out")
    assert answer.exit_code == 1, answer.output
    found = statuses(tmp_path / "out")
    assert found["sub-01_task-rest"]["Status"] == "embedded"
    assert "datalad get sub-02_task-rest.tsv" in found["sub-02_task-rest"]["Reason"]
    absent = embed(tmp_path / "nowhere.tsv", tmp_path / "out", "--tr", 2)
    assert absent.exit_code == 2
    assert "nowhere.tsv: no such file" in absent.output


def test_a_table_without_frames_is_named(tmp_path, embed) -> None:
    table = write(tmp_path / "sub-01_task-rest.tsv", series(0))
    answer = embed(table, tmp_path / "out", "--tr", 2)
    assert answer.exit_code == 1
    assert "sub-01_task-rest.tsv: holds no frames" in answer.output


@pytest.fixture
def scrubbed(tmp_path, semantoks) -> Path:
    """Outputs of one run of which volumes were dropped and interpolated, at a TR of 0.8 s."""
    data = builders.make_dataset(tmp_path / "in", tasks={"rest": 0.8}, n_volumes=300)
    table = builders.read_confounds(data.scans[0])
    table.loc[[40, 41, 42, 43, 120, 200, 201], "framewise_displacement"] = 2.0
    table.to_csv(data.scans[0].confounds, sep="\t", index=False, na_rep="n/a")
    out = tmp_path / "main"
    assert semantoks(data.root, out, "participant", "--dummy-scans", "3").exit_code == 0
    return out


def read_one(out: Path, ending: str) -> pd.DataFrame:
    (path,) = out.glob(f"sub-*/**/*_{ending}")
    return pd.read_csv(path, sep="\t", na_values="n/a")


def test_our_own_denoised_series_give_the_embedding_of_the_main_command(
    tmp_path, embed, scrubbed
) -> None:
    """To the digits of the tables: interpolated frames and StartTime are read with the series."""
    (denoised,) = scrubbed.rglob("*_desc-denoised_timeseries.tsv")
    answer = embed(denoised, tmp_path / "again")
    assert answer.exit_code == 0, answer.output
    outliers = read_one(scrubbed, "outliers.tsv")
    assert outliers["dropped"].sum() == 3
    assert outliers["interpolated"].sum() >= 7
    for ending in ("desc-scan_embedding.tsv", "desc-windows_embedding.tsv"):
        first, again = read_one(scrubbed, ending), read_one(tmp_path / "again", ending)
        assert first["Vis_000"].abs().max() > 0.1
        np.testing.assert_allclose(again, first, atol=1e-6, rtol=0)
    (sidecar,) = (tmp_path / "again").glob("sub-*/**/*_desc-model_timeseries.json")
    meta = json.loads(sidecar.read_text())
    assert meta["InputSeries"]["InterpolatedFrames"] == outliers["interpolated"].sum()
    assert meta["Sources"] == [
        f"bids:preprocessed:{denoised.name}",
        f"bids:preprocessed:{denoised.name.replace('desc-denoised_timeseries', 'outliers')}",
    ]


def test_our_own_denoised_series_give_the_same_embedding_in_python(scrubbed, checkpoint) -> None:
    outliers = read_one(scrubbed, "outliers.tsv")
    embedding = embed_series(
        read_one(scrubbed, "desc-denoised_timeseries.tsv"),
        tr_s=0.8,
        encoder=load_encoder(checkpoint),
        interpolated=outliers.interpolated[outliers.dropped == 0],
    )
    scan, windows = (read_one(scrubbed, f"desc-{d}_embedding.tsv") for d in ("scan", "windows"))
    parts = [embedding.scan_part(p).ravel() for p in ("mean", "cls", "networks")]
    np.testing.assert_allclose(np.concatenate(parts), scan.iloc[0], atol=1e-6, rtol=0)
    found = [embedding.mean, embedding.cls, embedding.networks.reshape(len(windows), -1)]
    np.testing.assert_allclose(
        np.concatenate(found, axis=1), windows.iloc[:, 3:], atol=1e-6, rtol=0
    )


def test_our_own_series_without_its_outliers_are_embedded_with_a_warning(
    tmp_path, embed, scrubbed
) -> None:
    (path,) = scrubbed.rglob("*_outliers.tsv")
    path.unlink()
    (denoised,) = scrubbed.rglob("*_desc-denoised_timeseries.tsv")
    answer = embed(denoised, tmp_path / "again")
    assert answer.exit_code == 0
    assert "frames were interpolated; without the outliers.tsv beside it" in answer.output
    first, again = (scan_row(out) for out in (scrubbed, tmp_path / "again"))
    assert np.abs(first - again).max(axis=None) > 0.01


def test_outliers_of_another_run_are_refused(tmp_path, embed, scrubbed) -> None:
    (path,) = scrubbed.rglob("*_outliers.tsv")
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    (denoised,) = scrubbed.rglob("*_desc-denoised_timeseries.tsv")
    assert embed(denoised, tmp_path / "again").exit_code == 1
    (status,) = statuses(tmp_path / "again").values()
    assert "295 volumes used, the series has 297 frames" in status["Reason"]


def test_the_parcel_table_says_which_parcels_were_there(tmp_path, embed) -> None:
    values = series()
    values[:, 3] = 7.0
    values[:, 5] = np.nan
    embed(write(tmp_path / "sub-01.tsv", values), tmp_path / "out", "--tr", 2)
    (path,) = (tmp_path / "out").rglob("*_coverage.tsv")
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    assert table["reason"][[0, 3, 5, 450]].tolist() == [
        "n/a",
        "constant series",
        "no value in the input",
        "no column in the input",
    ]
    assert (table["status"] == "missing").sum() == 59


def test_one_bad_file_costs_only_itself(tmp_path, embed) -> None:
    good = write(tmp_path / "sub-01.tsv", series())
    short = write(tmp_path / "sub-02.tsv", series(15))
    bad = tmp_path / "sub-03.npz"
    bad.write_bytes(b"nonsense")
    answer = embed(bad, short, good, tmp_path / "out", "--tr", 2)
    assert answer.exit_code == 1
    found = {name: status["Status"] for name, status in statuses(tmp_path / "out").items()}
    assert found == {"sub-01": "embedded", "sub-02": "excluded", "sub-03": "failed"}


def test_a_second_call_changes_nothing_and_another_input_is_redone(tmp_path, embed) -> None:
    file = write(tmp_path / "sub-01.tsv", series())
    embed(file, tmp_path / "out", "--tr", 2)
    first = scan_row(tmp_path / "out")
    assert (
        embed(file, tmp_path / "out", "--tr", 2).stdout.partition(" (")[0] == "1 embedded earlier"
    )
    assert embed(file, tmp_path / "out", "--tr", 2.5).stdout.partition(" (")[0] == "1 embedded"
    write(file, series(seed=9))
    assert embed(file, tmp_path / "out", "--tr", 2).stdout.partition(" (")[0] == "1 embedded"
    assert not np.allclose(first, scan_row(tmp_path / "out"), equal_nan=True)


def test_level_and_scale_of_a_parcel_do_not_matter(tmp_path, embed) -> None:
    values, gain = series(), np.random.default_rng(1).uniform(0.1, 10, size=400)
    embed(write(tmp_path / "sub-01.tsv", values), tmp_path / "a", "--tr", 2)
    embed(write(tmp_path / "sub-01.tsv", 50 + gain * values), tmp_path / "b", "--tr", 2)
    np.testing.assert_allclose(scan_row(tmp_path / "a"), scan_row(tmp_path / "b"), atol=1e-3)


def test_a_repetition_time_that_no_file_has_is_asked_for_once(tmp_path, embed):
    files = [write(tmp_path / f"sub-0{i}.tsv", series(seed=i)) for i in (1, 2, 3)]
    answer = embed(*files, tmp_path / "out")
    assert answer.exit_code == 2
    assert answer.output.count("no repetition time") == 1
    assert "none of 3 files" in answer.output
    assert "--tr" in answer.output
    assert not (tmp_path / "out").exists()


def test_misuse_has_the_exit_codes_of_the_main_command(tmp_path, embed) -> None:
    file = write(tmp_path / "sub-01.tsv", series())
    assert embed(tmp_path / "absent.tsv", tmp_path / "out", "--tr", 2).exit_code == 2
    assert embed(file, tmp_path / "out", "--tr", 0).exit_code == 2
    assert embed(file, tmp_path, "--tr", 2).exit_code == 2  # the output would hold the input
    (tmp_path / "file").touch()
    assert embed(file, tmp_path / "file", "--tr", 2).exit_code == 2
    twin = write(tmp_path / "sub-01_desc-x.tsv", series())
    answer = embed(file, twin, tmp_path / "out", "--tr", 2)
    assert (answer.exit_code, "both be called sub-01" in answer.output) == (2, True)
    model_input = write(tmp_path / "sub-02_desc-model_timeseries.tsv", series())
    assert embed(model_input, tmp_path / "out", "--tr", 2).exit_code == 1
    assert "normalized already" in statuses(tmp_path / "out")["sub-02"]["Reason"]


def test_real_series_are_embedded_and_a_wrong_order_is_flagged(
    tmp_path, embed, shared_data
) -> None:
    path = shared_data / "timeseries" / "stages_dev_schaefer400x7n_aseg19.npz"
    with np.load(path) as arrays:
        real = {key: arrays[key][:400] for key in arrays.files[:2]}
    np.savez(tmp_path / "right.npz", **real)
    np.savez(tmp_path / "wrong.npz", **{k: np.roll(v, 200, axis=0) for k, v in real.items()})
    flags = {}
    for name in ("right", "wrong"):
        file, out = tmp_path / f"{name}.npz", tmp_path / name
        answer = embed(file, out, "--tr", 2, "--order", "schaefer400x7")
        assert answer.exit_code == 0, answer.output
        assert sorted(statuses(out)) == sorted(real)
        flags[name] = [set(status["QC"]["flags"]) for status in statuses(out).values()]
    assert flags == {"right": [set(), set()], "wrong": [{"wrong_order"}, {"wrong_order"}]}


@pytest.mark.parametrize("content", [0.0, 100.0, "the frame before"])
def test_frames_without_signal_are_of_no_weight_and_told(tmp_path, embed, content) -> None:
    values, lost = series(), [10, 11, 60]
    values[lost] = values[9] if content == "the frame before" else content
    out = tmp_path / "out"
    assert embed(write(tmp_path / "sub-1_x.tsv", values), out, "--tr", 2).exit_code == 0
    (found,) = statuses(out).values()
    assert found["QC"]["n_without_signal"] == 3
    assert "11-12, 61" in found["QC"]["flags"]["frames_without_signal"]
    other = series()
    other[lost] = 0.0
    assert embed(write(tmp_path / "sub-2_x.tsv", other), tmp_path / "o2", "--tr", 2).exit_code == 0
    ours, theirs = (scan_row(folder).filter(regex="^Vis_") for folder in (out, tmp_path / "o2"))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_series_that_was_padded_is_excluded(tmp_path, embed) -> None:
    values = series()
    values[80:] = 0
    embed(write(tmp_path / "sub-1_x.tsv", values), tmp_path / "out", "--tr", 2)
    (found,) = statuses(tmp_path / "out").values()
    assert found["Status"] == "excluded"
    assert (
        "40 of 120 frames (33 %) hold no signal (blank; counted from 1: 81-120)" in found["Reason"]
    )
