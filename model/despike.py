"""Bridge short spikes before a filter or an interpolation smears them. Pure functions, numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

MEDIAN_FRAMES = 5
"""Running median: what lasts at most two frames stands out from it."""
SPIKE_SDS = 2.5
"""Smallest distance from the running median, in robust sd of the parcel ..."""
SPIKE_MADS = 6.0
"""... and in robust sd of that distance: noise that was never low-passed is no spike."""


def despike(values: npt.NDArray[np.floating]) -> tuple[Float64Array, float]:
    """Replace short spikes of each parcel by straight lines between the frames around them.

    Parameters
    ----------
    values
        (T, P) series in any unit, before any filter or resampling: afterwards a spike is
        ringing that looks like signal. Columns that hold NaN are missing parcels and stay so.

    Returns
    -------
    The series, and the share of the present values that were replaced.

    Notes
    -----
    What lasts three frames or longer is not found; that is what scrubbing is for. The
    constants were measured (``docs/robustness.md``): of unperturbed real values fewer than one
    in 100,000 is touched.
    """
    repaired = np.array(values, dtype=np.float64)
    present = np.flatnonzero(~np.isnan(repaired).any(axis=0))
    found = short_spikes(repaired[:, present])
    frames = np.arange(len(repaired))
    for column in np.flatnonzero(found.any(axis=0)):
        spiked, series = found[:, column], repaired[:, present[column]]
        series[spiked] = np.interp(frames[spiked], frames[~spiked], series[~spiked])
    return repaired, float(found.mean()) if found.size else 0.0


def short_spikes(values: Float64Array) -> npt.NDArray[np.bool_]:
    """(T, P) true where a value stands out from both its neighbours and its parcel."""
    half = MEDIAN_FRAMES // 2
    if len(values) < MEDIAN_FRAMES:
        return np.zeros(values.shape, dtype=bool)
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_FRAMES, axis=0)
    distance = values - np.median(around, axis=-1)
    limit = np.maximum(SPIKE_SDS * _robust_sd(values), SPIKE_MADS * _robust_sd(distance))
    return np.asarray((np.abs(distance) > limit) & (limit > 0))


def _robust_sd(values: Float64Array) -> Float64Array:
    return np.asarray(1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0))
