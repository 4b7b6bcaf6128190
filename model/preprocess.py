"""From a parcel series at any TR to the windows the encoder takes. Pure functions, numpy only.

Used by the app, by the Python API and by pretraining alike; formulas and the measurements
behind the constants are in ``docs/preprocessing.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from model.despike import despike
from model.errors import SeriesError, TooShortError
from model.files.shared_options import TR_LIMITS_S
from model.networks import parcel_names, predict_missing
from model.series import BoolArray, ParcelSeries, Windows
from model.spec import Normalization

if TYPE_CHECKING:
    from model.spec import InputSpec

Float64Array = npt.NDArray[np.float64]

SAME_TR = 1e-6
"""Relative difference below which two TRs are one (float32 headers differ by 1e-7)."""
KERNEL_HALF_WIDTH = 16
"""Half width of the interpolation kernel, in intervals of the slower of the two rates."""
KERNEL_BETA = 7.0
"""Kaiser parameter: about 70 dB of stop-band attenuation."""

MIN_KEPT_FRAMES = 20
"""With fewer kept frames than this, statistics use the interpolated frames too."""
CONSTANT = 1e-6
"""A parcel whose spread is below this share of its magnitude is constant to float32 rounding."""
OUTLIER_MADS = 4.0
"""Frames further than this many scaled MADs from the median do not enter mean and std."""
SOFT_LIMITS = (3.0, 5.0)
"""Robust z-scores are unchanged up to the first number and never reach the second."""


def to_windows(
    series: ParcelSeries, spec: InputSpec, *, continue_short: bool = False
) -> tuple[ParcelSeries, Windows]:
    """Take a denoised series all the way to what the encoder takes.

    Parameters
    ----------
    series
        (T, P) in unit ``residual`` (or ``bold``), at any TR; ``kept`` is respected.
    spec
        As `model.spec.CheckpointCard.input_with` gives it.
    continue_short
        Continue a series that is shorter than one patch with its mean, instead of refusing it.

    Returns
    -------
    The series as the encoder sees it (T', P), and its windows (W, P, L).

    Raises
    ------
    TooShortError
        The series is shorter than one patch, before or after resampling.
    SeriesError
        As `prepare` and `window`.
    """
    if not continue_short:
        check_length(series.n_frames, tr_s=series.tr_s, spec=spec)
    prepared = prepare(series, spec)
    if continue_short:
        prepared = _at_least_a_patch(prepared, spec)
    return prepared, window(prepared, spec)


def check_length(n_frames: int, *, tr_s: float, spec: InputSpec) -> None:
    """Refuse a series that is shorter than one patch of the model, before or after resampling.

    Raises
    ------
    TooShortError
        It is.
    SeriesError
        A TR that cannot be one in seconds.
    """
    _check_tr(tr_s)
    for n, each_s in ((n_frames, tr_s), (_n_samples(n_frames, spec.tr_s / tr_s), spec.tr_s)):
        if n * each_s < spec.patch_s:
            raise TooShortError(
                f"{n} frames at TR {each_s:g} s are {n * each_s:g} s of data; "
                f"expected at least {spec.patch_s:g} s, one patch of the model."
            )


def _check_tr(tr_s: float) -> None:
    if not TR_LIMITS_S[0] <= tr_s <= TR_LIMITS_S[1]:
        raise SeriesError(
            f"expected a TR between {TR_LIMITS_S[0]} and {TR_LIMITS_S[1]} s, found {tr_s}.",
            hint="TR is given in seconds, not milliseconds.",
        )


def _n_samples(n_frames: int, ratio: float) -> int:
    """Count the samples up to the last frame; `ratio` is a sample's distance in frames."""
    if abs(ratio - 1) < SAME_TR:
        return n_frames
    return int(np.floor((n_frames - 1) / ratio + SAME_TR)) + 1


def _at_least_a_patch(series: ParcelSeries, spec: InputSpec) -> ParcelSeries:
    """Continue a normalized series with its mean to one patch, as the paper does with clips."""
    lacking = spec.patch_samples - series.n_frames
    if lacking <= 0:
        return series
    values = np.pad(series.values, ((0, lacking), (0, 0)))
    values[:, series.missing] = np.nan
    return series.with_values(values, kept=None)


def prepare(series: ParcelSeries, spec: InputSpec) -> ParcelSeries:
    """Take a denoised series to the checkpoint's TR and unit: despike, resample, normalize.

    Despiking belongs to ``robust``; with ``zscore`` the series is treated as published.

    Raises
    ------
    SeriesError
        As `resample` and `normalize`.
    """
    if spec.normalization == "robust":
        series = series.with_values(despike(series.values)[0])
    return normalize(resample(series, tr_s=spec.tr_s), spec.normalization)


def resample(series: ParcelSeries, *, tr_s: float) -> ParcelSeries:
    """Resample a series to another TR by windowed-sinc interpolation with anti-aliasing.

    Parameters
    ----------
    series
        (T, P) at any TR and in any unit.
    tr_s
        Wanted distance of samples, in seconds.

    Returns
    -------
    Series whose sample k lies at ``start_s + k * tr_s``, up to the last input frame. Missing
    parcels stay missing. A sample is kept where all frames around it were kept. A series that
    has the wanted TR already is returned with the same values.

    Raises
    ------
    SeriesError
        A TR that cannot be one in seconds.

    Notes
    -----
    The kernel cuts off at the lower of the two Nyquist frequencies. Both ends are continued by
    odd reflection, which keeps value and slope. The TR ratio may be any real number.

    Examples
    --------
    300 frames at 0.8 s end at 239.2 s: 120 samples at 2 s, the last at 238 s. Sample 52 lies at
    104 s, which is frame 130.

    >>> time_s = 0.8 * np.arange(300)
    >>> wave = np.sin(2 * np.pi * 0.05 * time_s)  # a period is 20 s: 25 frames, 10 samples
    >>> series = ParcelSeries(
    ...     values=np.tile(wave[:, None], 457), tr_s=0.8, unit="residual",
    ...     kept=np.arange(300) != 130,
    ... )
    >>> sampled = resample(series, tr_s=2.0)
    >>> sampled.values.shape
    (120, 457)
    >>> [round(float(x), 3) for x in sampled.values[51:56, 0]]  # at 102, 104, ... 110 s
    [0.588, 0.951, 0.951, 0.588, 0.0]
    >>> np.flatnonzero(~sampled.kept)
    array([52])
    """
    for value in (series.tr_s, tr_s):
        _check_tr(value)
    ratio = tr_s / series.tr_s
    if abs(ratio - 1) < SAME_TR:
        return series.with_values(series.values, tr_s=tr_s)
    at = np.arange(_n_samples(series.n_frames, ratio), dtype=np.float64) * np.float64(ratio)
    values = _interpolate(np.where(series.missing, 0.0, series.values), at=at, ratio=ratio)
    values[:, series.missing] = np.nan
    kept = None if series.kept is None else _kept_samples(series.kept, at=at, ratio=ratio)
    return series.with_values(values, tr_s=tr_s, kept=kept)


def _interpolate(values: Float64Array, *, at: Float64Array, ratio: float) -> Float64Array:
    """Evaluate (T, P) values at fractional frames ``at``, band-limited to the slower rate."""
    slower = max(1.0, ratio)
    margin = int(np.ceil(KERNEL_HALF_WIDTH * slower))
    extended = np.pad(values, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    frames = np.arange(-margin, len(values) + margin)
    distance = (at[:, None] - frames[None, :]) / slower
    inside = np.clip(1 - (distance / KERNEL_HALF_WIDTH) ** 2, 0, None)
    weights = np.sinc(distance) * np.i0(KERNEL_BETA * np.sqrt(inside)) * (inside > 0)
    # Rows of sum one: a constant stays that constant, whatever the window's ripple.
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights @ extended)


def _kept_samples(kept: BoolArray, *, at: Float64Array, ratio: float) -> BoolArray:
    """Tell which samples have only kept frames within a frame or half a sample of them."""
    distance = np.abs(at[:, None] - np.arange(len(kept))[None, :])
    near = distance < max(1.0, ratio / 2) - SAME_TR
    return np.asarray(~(near & ~kept[None, :]).any(axis=1))


def normalize(series: ParcelSeries, method: Normalization) -> ParcelSeries:
    """Centre and scale each parcel over its own scan.

    Parameters
    ----------
    series
        (T, P) in unit ``bold`` or ``residual``.
    method
        ``zscore``: (x - mean) / (std + 1e-8), population std, as published. ``robust``: the
        same with mean and std of the frames within `OUTLIER_MADS` of the median, then a soft
        limit on what is left of spikes; a z-score on clean data.

    Returns
    -------
    Series in unit ``method``. Parcels that are constant to rounding become missing.

    Raises
    ------
    SeriesError
        The series is normalized already, or no parcel has a signal.

    Notes
    -----
    Interpolated frames do not enter the statistics while `MIN_KEPT_FRAMES` others remain.
    Where more than half of a parcel's frames share one value, the MAD is zero and cannot
    find spikes: all frames enter.

    Examples
    --------
    A spike spoils the z-score of all other frames, but not the robust one:

    >>> course = np.tile([0.0, 1.0, 2.0, 3.0, 4.0], 4)
    >>> course[7] = 100.0  # instead of 2.0
    >>> series = ParcelSeries(values=np.tile(course[:, None], 457), tr_s=2.0, unit="residual")
    >>> [round(float(z), 2) for z in normalize(series, "robust").values[5:10, 0]]
    [-1.38, -0.69, 5.0, 0.69, 1.38]
    >>> [round(float(z), 2) for z in normalize(series, "zscore").values[5:10, 0]]
    [-0.32, -0.28, 4.35, -0.18, -0.14]
    """
    if method not in get_args(Normalization):
        raise SeriesError(
            f"expected a normalization of {get_args(Normalization)}, not {method!r}."
        )
    if series.unit not in ("bold", "residual"):
        raise SeriesError(
            f"expected a series in unit bold or residual, found {series.unit}.",
            hint="It is normalized already; pass the series before normalization.",
        )
    values = series.values.astype(np.float64)
    used = values[_frames_for_statistics(series)]
    spread = used.std(axis=0)
    missing = series.missing | (spread <= CONSTANT * np.abs(used).max(axis=0, initial=0.0))
    if missing.all():
        raise SeriesError(
            f"expected signal in at least one of {len(missing)} parcels, found none: all are "
            "missing or constant.",
            hint="Was an empty image or mask extracted?",
        )
    values[:, missing] = np.nan
    present = ~missing
    transform = {"zscore": _zscore, "robust": _robust_z}[method]
    values[:, present] = transform(values[:, present], used[:, present])
    return series.with_values(values, unit=method)


def _frames_for_statistics(series: ParcelSeries) -> BoolArray:
    """(T,) true for the frames that mean and spread are taken from."""
    if series.kept is not None and series.kept.sum() >= MIN_KEPT_FRAMES:
        return series.kept
    return np.ones(series.n_frames, dtype=bool)


def _zscore(values: Float64Array, used: Float64Array) -> Float64Array:
    """Return (T, P) standard scores by mean and population std of the used frames."""
    return np.asarray((values - used.mean(axis=0)) / (used.std(axis=0) + 1e-8))


def _robust_z(values: Float64Array, used: Float64Array) -> Float64Array:
    """Return (T, P) standard scores by mean and std of the frames that are no spikes."""
    deviation = np.abs(used - np.median(used, axis=0))
    mad = 1.4826 * np.median(deviation, axis=0)
    has_mad = mad > CONSTANT * used.std(axis=0)
    inlier = (deviation <= OUTLIER_MADS * mad) | ~has_mad
    count = inlier.sum(axis=0)
    mean = np.where(inlier, used, 0).sum(axis=0) / count
    variance = np.where(inlier, used - mean, 0) ** 2
    return _soft_limit((values - mean) / np.sqrt(variance.sum(axis=0) / count))


def _soft_limit(z: Float64Array) -> Float64Array:
    """Bend values beyond the first limit towards the second (the curve of AFNI 3dDespike)."""
    low, high = SOFT_LIMITS
    excess = (np.abs(z) - low) / (high - low)
    bent = np.sign(z) * (low + (high - low) * np.tanh(excess))
    return np.where(excess > 0, bent, z)


def window(
    series: ParcelSeries, spec: InputSpec, *, starts: npt.NDArray[np.intp] | None = None
) -> Windows:
    """Cut a normalized scan into windows as the encoder takes them.

    Parameters
    ----------
    series
        (T, P) in the unit and at the TR of ``spec``.
    spec
        Length of window and patch, and the largest distance between windows.
    starts
        (W,) first sample of each window; None: evenly spread, the first at the first sample
        and the last at the last, so that every sample is used.

    Returns
    -------
    Windows (W, P, L).
    A scan shorter than a window gives windows of as many whole patches as it holds, padded
    with zeros that are marked invalid, so that no patch is padded in part. Parcels that are
    missing hold what the rest of their network predicts (`model.networks.predict_missing`),
    and zeros where the network is missing too.

    Raises
    ------
    TooShortError
        The scan is shorter than one patch.
    SeriesError
        Another TR or unit than the checkpoint's.

    Examples
    --------
    230 samples (460 s) need four windows of 100, no more than 50 apart:

    >>> from model.spec import InputSpec
    >>> noise = np.random.default_rng(0).normal(size=(230, 457))
    >>> series = ParcelSeries(values=noise, tr_s=2.0, unit="residual")
    >>> windows = window(normalize(series, "robust"), InputSpec())
    >>> windows.values.shape
    (4, 457, 100)
    >>> windows.start_s
    array([  0.,  86., 174., 260.])
    """
    _check_input(series, spec)
    n_samples = series.n_frames
    length = min(spec.window_samples, n_samples // spec.patch_samples * spec.patch_samples)
    if starts is None:
        n_windows = 1 + -(-(n_samples - length) // spec.stride_samples)
        # Whole numbers are divided last, so that exact halves are seen as such.
        evenly = np.arange(n_windows) * (n_samples - length) / max(1, n_windows - 1)
        starts = np.round(evenly).astype(np.intp)
    filled = predict_missing(series.values, series.missing).astype(np.float32)
    # The only place where time turns from the first axis to the last.
    pieces = np.stack([filled[start : start + length].T for start in starts])
    padding: Any = ((0, 0), (0, 0), (0, spec.window_samples - length))
    valid = np.zeros((len(starts), spec.window_samples), dtype=bool)
    valid[:, :length] = True
    return Windows(
        values=np.pad(pieces, padding),
        valid=valid,
        start_s=np.asarray(series.start_s + starts * series.tr_s, dtype=np.float64),
        missing=series.missing,
        spec=spec,
    )


def _check_input(series: ParcelSeries, spec: InputSpec) -> None:
    """Refuse a series that is not what the checkpoint was trained on."""
    if abs(series.tr_s / spec.tr_s - 1) >= SAME_TR:
        raise SeriesError(
            f"expected a TR of {spec.tr_s} s, found {series.tr_s} s.",
            hint="Resample the series first (model.preprocess.resample).",
        )
    if series.unit != spec.normalization:
        raise SeriesError(
            f"expected a series in unit {spec.normalization}, found {series.unit}.",
            hint="Normalize it as the checkpoint's card says (model.preprocess.normalize).",
        )
    if series.missing.all():
        raise SeriesError(f"all {len(parcel_names())} parcels are missing.")
    check_length(series.n_frames, tr_s=spec.tr_s, spec=spec)
