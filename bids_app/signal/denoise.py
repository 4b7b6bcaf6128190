"""Remove confounds and filter: one projection on the good frames, applied to all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError, ScanExcludedError
from model.series import shown

if TYPE_CHECKING:
    from bids_app.signal.confounds import Confounds

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MIN_DEGREES_OF_FREEDOM = 5
"""Below this, next to nothing of a scan is left. Scans little above are embedded and flagged."""
ORDER = 5
"""Of the Butterworth filter; it is applied forwards and backwards."""
MIN_FRAMES = 34
"""The filter mirrors 33 frames at each end (order 5, forwards and backwards)."""
NOTHING_LEFT = 1e-6
"""A residual below this share of its series is the rounding of float32 images, not signal."""
DEPENDENT = 1e-9
"""A regressor with a smaller share of its own is a combination of the others."""
ROUNDING = 1e-12
"""A regressor of which the filter leaves a smaller share is constant, or a straight line."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Denoised:
    """Residual series of one scan, and what was done to them."""

    values: FloatArray
    """(T', P) without the dropped frames; NaN columns are missing."""
    kept: BoolArray
    """(T',) false where a frame was interpolated."""
    n_dropped_start: int
    regressor_names: tuple[str, ...]
    dof: int
    """Degrees of freedom left: kept frames x share of the band - regressors."""
    high_pass_hz: float | None
    low_pass_hz: float | None
    """As applied; None where the scan's Nyquist frequency makes the filter void."""
    variance: FloatArray
    """(3, P) where the variance of each parcel over the kept frames went, in shares: outside the
    band, explained by the regressors, left. NaN for missing parcels."""

    __repr__ = shown


def denoise(
    values: npt.NDArray[np.floating],
    *,
    tr_s: float,
    confounds: Confounds | None,
    high_pass_hz: float | None,
    low_pass_hz: float | None,
    planned: Projection | None = None,
) -> Denoised:
    """Drop dummies, interpolate outliers, detrend, filter, regress, fill outliers again.

    Parameters
    ----------
    values
        (T, P) parcel series; NaN columns are missing parcels and stay so.
    tr_s
        Repetition time in seconds.
    confounds
        Regressors (T, R) and kept frames (T,); None: no regression, all frames are good.
    high_pass_hz, low_pass_hz
        Edges of the Butterworth band-pass (order 5, zero phase); None: open on that side.
        A low-pass at or above the Nyquist frequency is left out.
    planned
        What `plan_projection` gave for all of these; None: it is planned here.

    Raises
    ------
    ScanError
        Frames and confounds differ in number; the high-pass lies above Nyquist.
    ScanExcludedError
        Too few frames, or too few degrees of freedom, to leave a signal.

    Notes
    -----
    Without outliers the result is that of ``nilearn.signal.clean(standardize=None,
    detrend=True, filter="butterworth", …)``. With outliers it is the same order of steps
    (Lindquist et al. 2019: interpolate, filter series *and* regressors, regress on the good
    frames), but: interpolation is linear where nilearn's cubic spline overshoots in long
    gaps; nothing is cut off at the ends; and the time axis stays whole, outliers being
    filled by interpolating the residual.

    A column without variation, before or after the regression, comes back as NaN.

    Examples
    --------
    200 volumes of one parcel, 2 s apart: a signal at 0.05 Hz, three times as much motion at
    0.03 Hz, breathing at 0.2 Hz, and a jump in volume 61, which is marked as an outlier.

    >>> from bids_app.signal.confounds import Confounds
    >>> time_s = 2.0 * np.arange(200)
    >>> signal, motion, breath = (np.sin(2 * np.pi * hz * time_s) for hz in (0.05, 0.03, 0.2))
    >>> values = 100 + signal + 3 * motion + breath
    >>> values[61] += 40
    >>> confounds = Confounds(
    ...     regressors=motion[:, None], names=("trans_x",), kept=np.arange(200) != 61,
    ...     outlier_reasons=("",) * 200, n_dummy=2, fd_mm=np.zeros(200),
    ...     std_dvars=np.ones(200), strategy="example",
    ... )
    >>> cleaned = denoise(
    ...     values[:, None], tr_s=2.0, confounds=confounds, high_pass_hz=0.01, low_pass_hz=0.1
    ... )
    >>> cleaned.values.shape  # two dummies fewer
    (198, 1)
    >>> round(float(np.corrcoef(values, signal)[0, 1]), 2)
    0.24
    >>> round(float(np.corrcoef(cleaned.values[:, 0], signal[2:])[0, 1]), 2)
    0.97

    The 197 kept frames have 70 degrees of freedom within 0.01-0.1 Hz of the 0.25 Hz that a TR
    of 2 s can hold (197 * 0.09 / 0.25); the regressor takes one.

    >>> cleaned.dof
    69
    """
    plan = planned or plan_projection(
        confounds,
        n_frames=len(values),
        tr_s=tr_s,
        high_pass_hz=high_pass_hz,
        low_pass_hz=low_pass_hz,
    )
    series = np.asarray(values, dtype=np.float64)[plan.n_dropped :]
    band, basis, kept = plan.band, plan.basis, plan.kept
    present = ~np.isnan(series).any(axis=0)
    filled = _interpolate(series[:, present], kept)
    residual = band.apply(filled)
    powers = [_power(without_trend(filled), kept), _power(residual, kept)]
    residual[kept] -= basis @ (basis.T @ residual[kept])
    powers.append(_power(residual, kept))
    residual = _interpolate(residual, kept)
    vanished = residual.std(axis=0) <= NOTHING_LEFT * np.abs(filled).max(axis=0, initial=0)
    residual[:, vanished] = np.nan

    result = np.full(series.shape, np.nan)
    result[:, present] = residual
    variance = np.full((len(powers), series.shape[1]), np.nan)
    variance[:, present] = _shares(powers)
    return Denoised(
        values=result,
        kept=kept.copy(),
        n_dropped_start=plan.n_dropped,
        regressor_names=confounds.names if confounds else (),
        dof=plan.dof,
        high_pass_hz=band.high_pass_hz,
        low_pass_hz=band.low_pass_hz,
        variance=variance,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Projection:
    """What is removed from the series of one scan; known before any of them is read."""

    n_dropped: int
    """Leading frames"""
    kept: BoolArray
    """(T',) false where a frame is to be interpolated"""
    band: _Band
    basis: FloatArray
    """(kept frames, rank) orthonormal, of the filtered regressors"""
    dof: int
    """Degrees of freedom left"""

    __repr__ = shown


def plan_projection(
    confounds: Confounds | None,
    *,
    n_frames: int,
    tr_s: float,
    high_pass_hz: float | None,
    low_pass_hz: float | None,
) -> Projection:
    """Plan what `denoise` removes; `n_frames` as the image has them, the rest as there.

    Raises
    ------
    ScanError, ScanExcludedError
        As `denoise`.
    """
    n_dropped = confounds.n_dummy if confounds else 0
    n_left = n_frames - n_dropped
    kept = confounds.kept[n_dropped:] if confounds else np.ones(n_left, dtype=bool)
    regressors = confounds.regressors[n_dropped:] if confounds else np.zeros((n_left, 0))
    if kept.size != n_left:
        raise ScanError(f"{n_frames} frames, but confounds of {kept.size + n_dropped}.")
    low_pass_hz = _within_nyquist(high_pass_hz, low_pass_hz, tr_s=tr_s)
    band = _Band(tr_s=tr_s, high_pass_hz=high_pass_hz, low_pass_hz=low_pass_hz)
    _check_frames(n_left, int(kept.sum()), band)
    filtered = band.apply(_interpolate(regressors, kept))[kept]
    magnitude = np.abs(regressors).max(axis=0, initial=0)
    basis = _orthonormal(filtered[:, filtered.std(axis=0) > ROUNDING * magnitude])
    dof = band.dof(int(kept.sum())) - basis.shape[1]
    if dof < MIN_DEGREES_OF_FREEDOM:
        raise _too_few(dof, kept, basis.shape[1], band)
    return Projection(n_dropped=n_dropped, kept=kept, band=band, basis=basis, dof=dof)


@dataclass(frozen=True, kw_only=True)
class _Band:
    """Linear detrending and band-pass filter at one repetition time."""

    tr_s: float
    high_pass_hz: float | None
    low_pass_hz: float | None

    def apply(self, series: FloatArray) -> FloatArray:
        """Detrend and filter the columns of (T, N)."""
        # Not nilearn's butterworth, which is this: importing it takes half a second more.
        from scipy.signal import butter, detrend, sosfiltfilt

        if series.shape[1] == 0:
            return series
        straight: FloatArray = detrend(series, axis=0)
        high, low, fs = self.high_pass_hz, self.low_pass_hz, 1 / self.tr_s
        if high is not None and low is not None:
            sections = butter(ORDER, (high, low), "bandpass", output="sos", fs=fs)
        elif high is not None:
            sections = butter(ORDER, high, "highpass", output="sos", fs=fs)
        elif low is not None:
            sections = butter(ORDER, low, "lowpass", output="sos", fs=fs)
        else:
            return straight
        filtered: FloatArray = sosfiltfilt(sections, straight, axis=0)
        return filtered

    def dof(self, n_kept: int) -> int:
        """Return the degrees of freedom that `n_kept` frames have within the band."""
        nyquist_hz = 0.5 / self.tr_s
        low_edge, high_edge = self.high_pass_hz or 0, self.low_pass_hz or nyquist_hz
        trend = 0 if self.high_pass_hz else 2  # a high-pass takes the trend along
        return int(n_kept * (high_edge - low_edge) / nyquist_hz) - trend

    def __str__(self) -> str:
        edges = (self.high_pass_hz, self.low_pass_hz)
        return "-".join("" if edge is None else f"{edge:g}" for edge in edges) + " Hz"


def _within_nyquist(
    high_pass_hz: float | None, low_pass_hz: float | None, *, tr_s: float
) -> float | None:
    """Return the low-pass edge, or None where the scan holds no such frequencies anyway."""
    nyquist_hz = 0.5 / tr_s
    if high_pass_hz is not None and high_pass_hz >= nyquist_hz:
        raise ScanError(
            f"the high-pass of {high_pass_hz:g} Hz lies above the Nyquist frequency "
            f"{nyquist_hz:.4g} Hz of TR {tr_s:g} s: nothing would be left."
        )
    return None if low_pass_hz is None or low_pass_hz >= nyquist_hz else low_pass_hz


def _check_frames(n_frames: int, n_kept: int, band: _Band) -> None:
    filters = band.high_pass_hz is not None or band.low_pass_hz is not None
    if filters and n_frames < MIN_FRAMES:
        raise ScanExcludedError(
            f"too short: {n_frames} frames ({n_frames * band.tr_s:g} s), the filter needs "
            f"{MIN_FRAMES}."
        )
    if n_kept < 2:
        raise ScanExcludedError(f"{n_kept} of {n_frames} frames are free of motion.")


def _too_few(dof: int, kept: BoolArray, rank: int, band: _Band) -> ScanExcludedError:
    n_kept = int(kept.sum())
    return ScanExcludedError(
        f"too few degrees of freedom: {n_kept} good of {kept.size} frames have "
        f"{band.dof(n_kept)} within {band}, {rank} regressors leave {dof}, fewer than "
        f"{MIN_DEGREES_OF_FREEDOM}.",
        hint="A --denoise-strategy with fewer regressors or a wider band leaves more.",
    )


def without_trend(series: FloatArray) -> FloatArray:
    """Take mean and linear trend out of the columns of (T, N)."""
    time = np.arange(len(series)) - (len(series) - 1) / 2
    centred = series - series.mean(axis=0)
    straight: FloatArray = centred - np.outer(time, time @ centred / (time @ time))
    return straight


def _power(series: FloatArray, kept: BoolArray) -> FloatArray:
    """(N,) sums of squares over the kept frames of (T, N)."""
    power: FloatArray = np.einsum("tn,tn->n", series[kept], series[kept])
    return power


def _shares(powers: list[FloatArray]) -> FloatArray:
    """(3, N) shares of all power: what each step took, and what is left at the end."""
    total, in_band, left = powers
    steps = np.stack([np.maximum(total - in_band, 0), np.maximum(in_band - left, 0), left])
    whole = steps.sum(axis=0)
    shares: FloatArray = np.full_like(steps, np.nan)
    np.divide(steps, whole, out=shares, where=whole > 0)
    return shares


def _interpolate(series: FloatArray, kept: BoolArray) -> FloatArray:
    """Replace frames of (T, N) that are not kept, linearly in time; hold the ends."""
    good = np.flatnonzero(kept)
    position = np.interp(np.arange(kept.size), good, np.arange(good.size))
    left = position.astype(int)
    right = np.minimum(left + 1, good.size - 1)
    weight = (position - left)[:, None]
    filled: FloatArray = (1 - weight) * series[good[left]] + weight * series[good[right]]
    return filled


def _orthonormal(regressors: FloatArray) -> FloatArray:
    """Return an orthonormal basis (n, rank) of the centred columns of (n, R).

    `nilearn.signal.clean` scales alike, but its absolute threshold on the rank lets the
    rounding left of a constant or repeated column through, which removes a random direction.
    """
    from scipy.linalg import qr

    if regressors.shape[1] == 0:
        return regressors
    scaled = (regressors - regressors.mean(axis=0)) / regressors.std(axis=0)
    basis, triangle, _ = qr(scaled, mode="economic", pivoting=True)
    shares = np.abs(np.diag(triangle))
    independent: FloatArray = basis[:, shares > DEPENDENT * shares[0]]
    return independent
