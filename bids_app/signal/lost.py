"""Frames in which nothing was measured: blank, constant, repeated or dim ones, told from values.

They are treated as motion outliers are: interpolated, and left out of every statistic. Up to a
limit, beyond which a scan is excluded. What the numbers rest on: docs/quality.md.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanExcludedError
from model.errors import some

if TYPE_CHECKING:
    from bids_app.signal.confounds import Confounds

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Reasons = npt.NDArray[np.str_]
"""(T,) why a frame holds no signal; empty where it does"""

MOST_LOST = 0.2
"""Share of the frames: more is no longer the scan with gaps, but another one."""
BLANK_SHARE = 0.05
"""Of the voxels, zero or not finite in a frame beyond what is usual in the scan: a slice or two"""
MOSTLY = 0.5
"""The same share, whatever is usual in the scan"""
REPEATED_SHARE = 0.25
"""Of the parcels, exactly as in the frame before beyond what is usual in the scan; at most 0.18
where levels were rounded to 16 bits"""
DIM = 0.5
"""Of the usual level: motion and drift move it by a fifth at most"""
_LEVEL_SDS = 5.0
"""Level of a series that has one, in robust standard deviations"""
_FEWEST_PARCELS = 10
"""With fewer, equal values may be chance"""


def frames_without_signal(values: Float64Array, *, blank: Float64Array | None) -> Reasons:
    """Tell which frames hold no signal, and why.

    Parameters
    ----------
    values
        (T, P) parcel means as they were measured; NaN columns are missing.
    blank
        (T,) share of the voxels that are zero or not finite; None: no voxels are known, and
        only what concerns a frame as a whole is told.

    Returns
    -------
    (T) ``blank``, ``constant``, ``repeated`` or ``dim``; empty where there is signal.
    """
    is_blank = np.zeros(len(values), dtype=bool)
    if blank is not None:
        is_blank |= (blank > MOSTLY) | (blank > np.median(blank) + BLANK_SHARE)
    series = values[:, np.isfinite(values).all(axis=0) & (np.ptp(values, axis=0) > 0)]
    if series.shape[1] < _FEWEST_PARCELS:
        return np.where(is_blank, "blank", "")
    is_blank |= (series == 0).all(axis=1)
    found = {
        "blank": is_blank,
        "constant": np.ptp(series, axis=1) == 0,
        "repeated": _repeated(series, in_part=blank is not None),
        "dim": np.zeros(len(series), dtype=bool) if blank is None else _dim(series, ~is_blank),
    }
    return np.select(list(found.values()), list(found), default="")


def leave_out(confounds: Confounds, reasons: Reasons) -> Confounds:
    """Add frames without signal (T) to the outliers."""
    lost = reasons != ""
    if not lost.any():
        return confounds
    joined = [
        "+".join(filter(None, (earlier, f"{reason}_volume"))) if gone else earlier
        for earlier, reason, gone in zip(confounds.outlier_reasons, reasons, lost, strict=True)
    ]
    return replace(confounds, kept=confounds.kept & ~lost, outlier_reasons=tuple(joined))


def check_lost(where: str, reasons: Reasons, *, tr_s: float, longest_s: float) -> None:
    """Refuse a scan that holds too little signal to interpolate the rest.

    Parameters
    ----------
    where
        The scan, for the error.
    reasons
        (T) of `frames_without_signal`.
    longest_s
        What may be missing in a row: one patch of the model, which would hold nothing else.

    Raises
    ------
    ScanExcludedError
        More than `MOST_LOST` of the frames are without signal, or more in a row.
    """
    lost = reasons != ""
    longest = max((stop - start for start, stop in _runs(lost)), default=0)
    if lost.mean() <= MOST_LOST and longest * tr_s <= longest_s:
        return
    raise ScanExcludedError(
        f"{where}: {lost_text(reasons)}, up to {longest * tr_s:g} s in a row; expected at most "
        f"{MOST_LOST:.0%} of them and {longest_s:g} s.",
        hint="Was the acquisition broken off, or the file not written to its end?",
    )


def lost_text(reasons: Reasons, *, most: int = 8) -> str:
    """Say how many of (T,) frames are without signal, why, and which; empty where none is.

    >>> lost_text(np.array(["blank", "", "repeated", "repeated", "", "", "", ""]))
    '3 of 8 frames (38 %) hold no signal (blank, repeated; counted from 1: 1, 3-4)'
    """
    lost = reasons != ""
    if not lost.any():
        return ""
    runs = [
        f"{start + 1}" if stop == start + 1 else f"{start + 1}-{stop}"
        for start, stop in _runs(lost)
    ]
    return (
        f"{lost.sum()} of {lost.size} frames ({100 * lost.mean():.2g} %) hold no signal "
        f"({', '.join(np.unique(reasons[lost]))}; counted from 1: {some(runs, most=most)})"
    )


def bridged(values: Float64Array, lost: BoolArray) -> Float64Array:
    """Replace lost frames of (T, P) linearly in time; the ends hold the nearest frame."""
    if not lost.any():
        return values
    frames = np.arange(len(values))
    filled = values.copy()
    for column in filled.T:
        column[lost] = np.interp(frames[lost], frames[~lost], column[~lost])
    return filled


def _runs(lost: BoolArray) -> list[tuple[int, int]]:
    """Return first frame and the one behind the last of each run."""
    edges = np.flatnonzero(np.diff(lost, prepend=False, append=False)).tolist()
    return list(pairwise(edges))[::2]


def _repeated(series: Float64Array, *, in_part: bool) -> BoolArray:
    """(T,) true where a frame is one that was there before, or much of it stands still.

    Of tables with few digits many values repeat, but never a whole frame.
    """
    seen: set[bytes] = set()
    repeated = np.zeros(len(series), dtype=bool)
    for frame, row in enumerate(series):
        content = row.tobytes()
        repeated[frame] = content in seen
        seen.add(content)
    if not in_part:
        return repeated
    share = (series[1:] == series[:-1]).mean(axis=1)
    repeated[1:] |= share > np.median(share) + REPEATED_SHARE
    return repeated


def _dim(series: Float64Array, measured: BoolArray) -> BoolArray:
    """(T,) true far below the usual level, where the series has one."""
    if not measured.any():
        return ~measured
    level = np.median(series[measured], axis=0)
    spread = 1.4826 * np.median(np.abs(series[measured] - level), axis=0)
    bright = level > _LEVEL_SDS * spread
    if bright.mean() < MOSTLY:
        return np.zeros(len(series), dtype=bool)
    return np.asarray(np.median(series[:, bright] / level[bright], axis=1) < DIM)
