"""What was written about one embedded scan, read back as arrays: series, coverage, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NewType

import numpy as np
import numpy.typing as npt

from bids_app.files import read_table
from bids_app.outputs.pictures import read_pictures
from model.cohort import names
from model.files.arrays import read_array
from model.files.faults import FileError, faults_of
from model.files.read import read_json
from model.networks import parcel_names
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bids_app.outputs.pictures import Pictures

Metadata = NewType("Metadata", dict[str, Any])
"""A sidecar: open-ended JSON, keys as in docs/outputs.md."""
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Motion of the (V,) acquired volumes, and what was done with each."""

    onset_s: FloatArray
    fd_mm: FloatArray
    """Framewise displacement; NaN where it is not known."""
    std_dvars: FloatArray
    dropped: BoolArray
    interpolated: BoolArray
    fd_threshold_mm: float | None
    std_dvars_threshold: float | None
    """Values beyond which volumes were interpolated; None: not used."""

    __repr__ = shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Extraction:
    """What was done to an image before there was a model input."""

    denoised: npt.NDArray[np.float32]
    """(T, P) at the scan's own repetition time; NaN columns are missing parcels."""
    denoised_meta: Metadata
    motion: Motion
    pictures: Pictures

    __repr__ = shown


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanTables:
    """The tables of one embedded scan, each with its sidecar."""

    extraction: Extraction | None
    """None: the input was a parcel series that others made."""
    model: npt.NDArray[np.float32]
    """(S, P) as the encoder saw it; NaN columns are missing parcels."""
    model_meta: Metadata
    used: BoolArray
    """(P,) whether a parcel has a series"""
    coverage: FloatArray
    """(P,) share of a parcel's voxels that carry signal; NaN where no voxels are known"""
    reasons: tuple[str, ...]
    """(P,) why a parcel is missing; empty where it is used"""
    coverage_meta: Metadata
    tokens: npt.NDArray[np.float32]
    """(W, N, K, D); NaN where a token saw no data."""
    tokens_meta: Metadata

    __repr__ = shown

    @property
    def end_s(self) -> float:
        """End of the acquisition, in seconds after its first frame."""
        if self.extraction is None:
            given = self.model_meta["InputSeries"]
            return float(given["NumberOfFrames"] * given["RepetitionTime"])
        repetition_time_s = self.extraction.denoised_meta["RepetitionTime"]
        return float(len(self.extraction.motion.onset_s) * repetition_time_s)


def read_scan_tables(status_path: Path) -> ScanTables:
    """Read the tables of an embedded scan, which lie beside its status.

    Raises
    ------
    FileError
        A file is gone or damaged.
    """

    def named(ending: str) -> Path:
        return names.beside(status_path, names.STATUS, ending)

    model_meta = _read_json(named(f"{names.MODEL}.json"))
    path = named(f"{names.COVERAGE}.tsv")
    table = read_table(path, dtype={"reason": str})
    with faults_of(path):
        used = (table["status"] == "used").to_numpy()
        coverage = np.asarray(table.get("coverage", [np.nan] * len(table)), dtype=float)
        reasons = table["reason"].fillna("")
    if len(table) != len(parcel_names()):
        raise FileError(path, f"{len(table)} rows; expected {len(parcel_names())}, one per parcel")
    path = named(f"{names.TOKENS}.npy")
    tokens = read_array(path)
    return ScanTables(
        extraction=None if "InputSeries" in model_meta else _read_extraction(named),
        model=_read_series(named(f"{names.MODEL}.tsv")),
        model_meta=model_meta,
        used=used,
        coverage=coverage,
        reasons=tuple(reasons),
        coverage_meta=_read_json(named(f"{names.COVERAGE}.json")),
        tokens=tokens,
        tokens_meta=_read_json(named(f"{names.TOKENS}.json")),
    )


def _read_extraction(named: Callable[[str], Path]) -> Extraction:
    return Extraction(
        denoised=_read_series(named(f"{names.DENOISED}.tsv")),
        denoised_meta=_read_json(named(f"{names.DENOISED}.json")),
        motion=_read_motion(
            named(f"{names.OUTLIERS}.tsv"), _read_json(named(f"{names.OUTLIERS}.json"))
        ),
        pictures=read_pictures(named(f"{names.PICTURES}.npz")),
    )


def _read_motion(path: Path, meta: Metadata) -> Motion:
    table, limits = read_table(path), meta.get("Thresholds", {})
    with faults_of(path):
        return Motion(
            onset_s=table[names.ONSET].to_numpy(float),
            fd_mm=table["framewise_displacement"].to_numpy(float),
            std_dvars=table["std_dvars"].to_numpy(float),
            dropped=(table[names.DROPPED] == 1).to_numpy(),
            interpolated=(table[names.INTERPOLATED] == 1).to_numpy(),
            fd_threshold_mm=limits.get("FramewiseDisplacement"),
            std_dvars_threshold=limits.get("StdDVARS"),
        )


def _read_series(path: Path) -> npt.NDArray[np.float32]:
    table = read_table(path, dtype=np.float32)
    if tuple(table.columns) != parcel_names():
        raise FileError(path, f"the columns are not the {len(parcel_names())} parcels")
    return table.to_numpy()


def _read_json(path: Path) -> Metadata:
    return Metadata(read_json(path))
