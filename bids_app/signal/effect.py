"""What denoising did to the parcels of a scan, before and after: small arrays for its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.signal.denoise import without_trend
from model.series import shown

if TYPE_CHECKING:
    from bids_app.signal.denoise import Denoised

FloatArray = npt.NDArray[np.floating]
MOST_COLUMNS = 200
"""Of a carpet: more would be finer than it is drawn."""
MOST_BINS = 160
"""Of a spectrum"""
REACH = 4.0
"""Standard deviations at both ends of a carpet's shades"""
SHADES = 254


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect:
    """A scan's parcels before and after denoising; NaN for parcels without a series."""

    raw: npt.NDArray[np.uint8]
    """(C, P) carpet as extracted: `shades` of the parcel's standard deviations"""
    despiked: npt.NDArray[np.uint8]
    """(C, P) the same, spikes bridged"""
    global_signal: npt.NDArray[np.float32]
    """(T,) mean over parcels of their change in standard deviations"""
    frequency_hz: npt.NDArray[np.float32]
    """(F,)"""
    power: npt.NDArray[np.float32]
    """(2, F) before and after: median over parcels, in shares of all power before"""
    fd_correlation: npt.NDArray[np.float32]
    """(2, P) of framewise displacement with each parcel, before and after; NaN where FD is not
    known"""
    variance: npt.NDArray[np.float32]
    """(3, P) shares of each parcel's variance: outside the band, explained by confounds, left"""

    __repr__ = shown


def effect_of(
    extracted: FloatArray,
    despiked: FloatArray,
    cleaned: Denoised,
    *,
    fd_mm: FloatArray | None,
    tr_s: float,
) -> Effect:
    """Compare the (T, P) series that were extracted and despiked with what denoising left."""
    begin = cleaned.n_dropped_start
    steady = extracted[begin:]
    with np.errstate(invalid="ignore", divide="ignore"):
        centre, spread = steady.mean(axis=0), steady.std(axis=0)
        spread[~(spread > 0)] = np.nan
        before, bridged = (extracted - centre) / spread, (despiked - centre) / spread
        after = cleaned.values / spread
    present = np.isfinite(before).all(axis=0) & np.isfinite(after).all(axis=0)
    frequency_hz, power = _spectra(before[begin:, present], after[:, present], tr_s)
    known = None if fd_mm is None else fd_mm[begin:]
    motion = _with_motion(bridged[begin:], after, known, cleaned.kept)
    return Effect(
        raw=shades(before),
        despiked=shades(bridged),
        global_signal=before[:, present].mean(axis=1).astype(np.float32),
        frequency_hz=frequency_hz.astype(np.float32),
        power=power.astype(np.float32),
        fd_correlation=motion.astype(np.float32),
        variance=cleaned.variance.astype(np.float32),
    )


def thin(values: FloatArray, *, most: int) -> tuple[FloatArray, int]:
    """Average successive frames of (T, P) until at most `most` are left; tell how many each."""
    step = int(np.ceil(values.shape[0] / most))
    if step == 1:
        return values, 1
    starts = np.arange(0, values.shape[0], step)
    counts = np.diff(starts, append=values.shape[0])
    return np.add.reduceat(values, starts, axis=0) / counts[:, None], step


def shades(values: FloatArray) -> npt.NDArray[np.uint8]:
    """Write (T, P) standard deviations as (C, P) bytes: 1 to 255, 0 where a parcel is missing."""
    few, _ = thin(values, most=MOST_COLUMNS)
    level = np.clip((few + REACH) / (2 * REACH), 0, 1) * SHADES + 1
    return np.where(np.isfinite(few), np.rint(np.nan_to_num(level)), 0).astype(np.uint8)


def unshaded(stored: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the (T, P) standard deviations that `shades` wrote; NaN where a parcel is missing."""
    values = (stored.astype(np.float32) - 1) * (2 * REACH / SHADES) - REACH
    values[stored == 0] = np.nan
    return values


def _spectra(
    before: FloatArray, after: FloatArray, tr_s: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(F,) frequencies and (2, F) median power of (T, P) series in one unit, neighbours joined."""
    taper = np.hanning(len(after))[:, None]
    ends: list[npt.NDArray[Any]] = [before.astype(float), after.astype(float)]
    straight = [without_trend(one) for one in ends]
    powers = [np.abs(np.fft.rfft(taper * one, axis=0)) ** 2 for one in straight]
    total = np.maximum(powers[0].sum(axis=0), np.finfo(float).tiny)
    medians = np.stack([np.median(power / total, axis=1) for power in powers])
    frequency = np.fft.rfftfreq(len(after), tr_s)
    starts = np.arange(0, frequency.size, int(np.ceil(frequency.size / MOST_BINS)))
    counts = np.diff(starts, append=frequency.size)
    joined = np.add.reduceat(medians, starts, axis=1) / counts
    return np.add.reduceat(frequency, starts) / counts, joined


def _with_motion(
    before: FloatArray, after: FloatArray, fd_mm: FloatArray | None, kept: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(2, P) correlations of framewise displacement with (T, P) series, before and after.

    Over the frames that were kept and whose displacement is known.
    """
    unknown = np.full((2, before.shape[1]), np.nan)
    if fd_mm is None:
        return unknown
    told = kept & np.isfinite(fd_mm)
    fd = fd_mm[told]
    if fd.size < 3 or fd.std() == 0:
        return unknown
    unit = (fd - fd.mean()) / np.linalg.norm(fd - fd.mean())
    for row, series in enumerate((before, after)):
        values = series[told] - series[told].mean(axis=0)
        length = np.linalg.norm(values, axis=0)
        np.divide(unit @ values, length, out=unknown[row], where=length > 0)
    return unknown
