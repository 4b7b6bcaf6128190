"""Frames without signal, through the command line: found, told, and of no weight."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import builders
import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from pathlib import Path

N_VOLUMES = 120
FEW = np.r_[20:30, 77, 119]
MANY = {
    "second half": np.r_[60:120],
    "a fifth and one": np.r_[5:120:5, 6, 7],
    "50 s": np.r_[40:65],
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lost")
    return builders.make_dataset(folder / "in", n_volumes=N_VOLUMES)


def damaged(intact, folder, frames, content):
    """Copy the data set with other frames in its image, as `content` fills (X, Y, Z, frames)."""
    shutil.copytree(intact.root, folder)
    bold = folder / intact.scans[0].bold.relative_to(intact.root)
    scan = replace(intact.scans[0], bold=bold)

    def change(values: np.ndarray) -> np.ndarray:
        values[..., frames] = content
        return values

    builders.edit_bold(scan, change)
    return folder


def status(out: Path) -> dict:
    (path,) = out.rglob("*_status.json")
    return json.loads(path.read_text())


def table(out: Path, ending: str) -> pd.DataFrame:
    (path,) = out.rglob(f"*_{ending}.tsv")
    return pd.read_csv(path, sep="\t", na_values="n/a")


def test_what_stands_in_lost_frames_is_of_no_weight(tmp_path, intact, semantoks) -> None:
    noise = np.random.default_rng(0).normal(5, 1, (12, 14, 12, 1))
    for name, content in {"zero": 0, "nan": np.nan, "constant": 321.0, "dim": noise}.items():
        root = damaged(intact, tmp_path / name, FEW, content)
        answer = semantoks(root, tmp_path / f"{name}_out")
        assert answer.exit_code == 0, answer.output
        qc = status(tmp_path / f"{name}_out")["QC"]
        assert qc["n_without_signal"] == FEW.size
        text = qc["flags"]["frames_without_signal"]
        assert "12 of 120 frames (10 %)" in text
        assert "21-30, 78, 120" in text
        outliers = table(tmp_path / f"{name}_out", "outliers")
        assert np.flatnonzero(outliers.reason.str.contains("_volume", na=False)).tolist() == list(
            FEW
        )
        assert outliers.interpolated[FEW].all()
    for ending in ("desc-denoised_timeseries", "desc-scan_embedding"):
        first, *others = (
            table(tmp_path / f"{name}_out", ending) for name in ("zero", "nan", "constant", "dim")
        )
        for other in others:
            pd.testing.assert_frame_equal(other, first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", MANY)
def test_too_many_exclude_the_scan_with_numbers(tmp_path, intact, semantoks, kind) -> None:
    frames = MANY[kind]
    root = damaged(intact, tmp_path / "in", frames, 0)
    assert semantoks(root, tmp_path / "out").exit_code == 0
    found = status(tmp_path / "out")
    assert found["Status"] == "excluded"
    assert f"{frames.size} of 120 frames" in found["Reason"]
    assert "hold no signal (blank; counted from 1:" in found["Reason"]


def test_an_intact_scan_says_that_none_is_lost(tmp_path, intact, semantoks) -> None:
    assert semantoks(intact.root, tmp_path / "out").exit_code == 0
    qc = status(tmp_path / "out")["QC"]
    assert qc["n_without_signal"] == 0
    assert "frames_without_signal" not in qc["flags"]
