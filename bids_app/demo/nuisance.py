"""The confounds that fMRIPrep would report for a simulated scan, computed from the scan.

Column names, units, ``n/a`` rows and metadata are those of fMRIPrep 21 and later. The numbers
are measured on the simulated volumes, not copied from what was put into them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.demo.phantom import motion_terms
from model.series import shown

if TYPE_CHECKING:
    from bids_app.demo.phantom import FloatArray, Head, SimulatedScan

MOTION_AXES = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_HEAD_RADIUS_MM = 50.0
_COSINE_CUTOFF_S = 128.0
_FD_THRESHOLD_MM = 0.5
_DVARS_THRESHOLD = 1.5
_N_COMPONENTS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfoundTable:
    """A confounds TSV and its JSON, in memory."""

    columns: dict[str, FloatArray]
    """Column name to (T,) values; NaN is written as ``n/a``"""
    metadata: dict[str, dict[str, Any]]

    __repr__ = shown


def confound_table(head: Head, scan: SimulatedScan) -> ConfoundTable:
    """Measure the confounds of a simulated scan."""
    csf, white = (mask[head.brain] for mask in (head.csf, head.white_matter))
    means = {
        "csf": scan.bold[:, csf].mean(axis=1, dtype=float),
        "white_matter": scan.bold[:, white].mean(axis=1, dtype=float),
        "global_signal": scan.bold.mean(axis=1, dtype=float),
        "csf_wm": scan.bold[:, csf | white].mean(axis=1, dtype=float),
    }
    columns: dict[str, FloatArray] = {}
    for name in ("global_signal", "csf", "white_matter"):
        columns |= _expanded(name, means[name])
    columns["csf_wm"] = means["csf_wm"]
    columns |= _jump_measures(scan)
    cosines = _cosines(scan.bold.shape[0], scan.tr_s)
    metadata: dict[str, dict[str, Any]] = {name: {"Method": "Mean"} for name in means}
    for letter, mask_name, mask in (
        ("c", "CSF", csf),
        ("w", "WM", white),
        ("a", "combined", csf | white),
    ):
        values, described = _components(scan, mask, cosines)
        names = [f"{letter}_comp_cor_{k:02d}" for k in range(values.shape[1])]
        columns |= dict(zip(names, values.T, strict=True))
        for name, entry in zip(names, described, strict=True):
            metadata[name] = {"Mask": mask_name, "Method": "aCompCor", "Retained": True} | entry
    columns |= {f"cosine{k:02d}": values for k, values in enumerate(cosines.T)}
    columns |= _outliers(scan, columns)
    columns |= _motion_columns(scan.motion)
    return ConfoundTable(columns=columns, metadata=dict(sorted(metadata.items())))


def _expanded(name: str, values: FloatArray) -> dict[str, FloatArray]:
    """Return a signal, its derivative (first row NaN) and their squares, named by fMRIPrep."""
    derivative = np.r_[np.nan, np.diff(values)]
    return {
        name: values,
        f"{name}_derivative1": derivative,
        f"{name}_derivative1_power2": derivative**2,
        f"{name}_power2": values**2,
    }


def _motion_columns(motion: FloatArray) -> dict[str, FloatArray]:
    columns: dict[str, FloatArray] = {}
    for axis, values in zip(MOTION_AXES, motion.T, strict=True):
        columns |= _expanded(axis, values)
    return columns


def _jump_measures(scan: SimulatedScan) -> dict[str, FloatArray]:
    """Return framewise displacement (Power, mm) and DVARS, plain and relative.

    ``std_dvars`` is DVARS over its median; fMRIPrep divides by what a model of the series'
    autocorrelation predicts, which is also about one in quiet frames.
    """
    step = np.abs(motion_terms(scan.motion)[:, 6:12])
    displacement = step[:, :3].sum(axis=1) + _HEAD_RADIUS_MM * step[:, 3:].sum(axis=1)
    change = np.diff(scan.bold, axis=0)
    dvars = np.sqrt(np.square(change).mean(axis=1, dtype=float))
    displacement[0] = np.nan
    return {
        "std_dvars": np.r_[np.nan, dvars / np.median(dvars)],
        "dvars": np.r_[np.nan, dvars],
        "framewise_displacement": displacement,
    }


def _cosines(n_volumes: int, tr_s: float) -> FloatArray:
    """(T, n) discrete cosines slower than 128 s, without the constant; n is 0 in short scans."""
    n_cosines = math.floor(2 * n_volumes * tr_s / _COSINE_CUTOFF_S)
    phase = np.pi * (np.arange(n_volumes) + 0.5) / n_volumes
    return np.asarray(
        math.sqrt(2 / n_volumes) * np.cos(phase[:, None] * np.arange(1, n_cosines + 1))
    )


def _components(
    scan: SimulatedScan, mask: np.ndarray[Any, np.dtype[np.bool_]], cosines: FloatArray
) -> tuple[FloatArray, list[dict[str, float]]]:
    """Return aCompCor: (T, k) components of high-passed voxels, 0 in the dummy volumes."""
    steady = scan.bold[scan.n_dummy :, mask].astype(float)
    trend = np.c_[np.ones(len(steady)), cosines[scan.n_dummy :]]
    steady -= trend @ np.linalg.lstsq(trend, steady, rcond=None)[0]
    # Volumes are fewer than voxels: the eigenvectors of the small Gram matrix are the same.
    eigenvalues, vectors = np.linalg.eigh(steady @ steady.T)
    share = eigenvalues[::-1] / eigenvalues.sum()
    n_kept = min(_N_COMPONENTS, steady.shape[1])
    singular = np.sqrt(eigenvalues[::-1][:n_kept])
    values = np.zeros((len(scan.bold), n_kept))
    values[scan.n_dummy :] = vectors[:, ::-1][:, :n_kept]
    described = [
        {
            "SingularValue": round(float(singular[k]), 6),
            "VarianceExplained": round(float(share[k]), 6),
            "CumulativeVarianceExplained": round(float(share[: k + 1].sum()), 6),
        }
        for k in range(n_kept)
    ]
    return values, described


def _outliers(scan: SimulatedScan, columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """One column with a single 1 for each dummy volume and each volume with a jump."""
    n_volumes = len(scan.bold)
    jump = (np.nan_to_num(columns["framewise_displacement"]) > _FD_THRESHOLD_MM) | (
        np.nan_to_num(columns["std_dvars"]) > _DVARS_THRESHOLD
    )
    # As in fMRIPrep, jumps are not counted where the steady state is not reached.
    jump[: scan.n_dummy + 1] = False
    spikes = np.eye(n_volumes)
    named = {f"non_steady_state_outlier{k:02d}": spikes[k] for k in range(scan.n_dummy)}
    return named | {
        f"motion_outlier{k:02d}": spikes[frame] for k, frame in enumerate(np.flatnonzero(jump))
    }
