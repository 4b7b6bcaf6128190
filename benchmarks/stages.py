"""The 14 STAGES development subjects, two sessions each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.networks import parcel_names
from model.series import ParcelSeries

N_CORTEX = 400
TR_S = 2.0
ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("SEMANTOKS_TEST_DATA", ROOT.parent / "shared" / "data"))
SERIES = SHARED / "timeseries/stages_dev_schaefer400x7n_aseg19.npz"


def load_scans(path: Path) -> list[tuple[ParcelSeries, ParcelSeries]]:
    """Series of both sessions, not yet normalized; subcortex and cerebellum are missing."""

    def series(values: npt.NDArray[np.float32]) -> ParcelSeries:
        full = np.full((values.shape[1], len(parcel_names())), np.nan)
        full[:, :N_CORTEX] = values[:N_CORTEX].T
        return ParcelSeries(values=full, tr_s=TR_S, unit="residual")

    with np.load(path) as file:
        subjects = sorted({key.split("_")[0] for key in file.files})
        return [(series(file[f"{s}_ses-1"]), series(file[f"{s}_ses-2"])) for s in subjects]
