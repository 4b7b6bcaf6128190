"""The repair this study proposes: bridge short spikes before anything smears them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

if TYPE_CHECKING:
    from model.series import ParcelSeries

Array = npt.NDArray[np.float64]
MEDIAN_FRAMES = 5
"""Running median: what lasts at most two frames stands out from it."""
SPIKE_SDS = 2.5
"""Smallest distance from the running median, in robust sd of the parcel ..."""
SPIKE_MADS = 6.0
"""... and in robust sd of that distance: noise that was never low-passed is no spike."""


def despike(series: ParcelSeries) -> ParcelSeries:
    """Replace short spikes of each parcel by straight lines between the frames around them.

    Parameters
    ----------
    series
        (T, P), not normalized, at its own TR.
    """
    values = series.values.astype(np.float64)
    present = np.flatnonzero(~series.missing)
    found = short_spikes(values[:, present])
    frames = np.arange(series.n_frames)
    for column, spiked in zip(present, found.T, strict=True):
        if spiked.any():
            at = frames[~spiked]
            values[spiked, column] = np.interp(frames[spiked], at, values[at, column])
    return series.with_values(values)


def short_spikes(values: Array) -> npt.NDArray[np.bool_]:
    """(T, P) true where a value stands out from both its neighbours and its parcel."""
    distance = values - median_filter(values, size=(MEDIAN_FRAMES, 1), mode="nearest")
    limit = np.maximum(SPIKE_SDS * _robust_sd(values), SPIKE_MADS * _robust_sd(distance))
    return np.asarray((np.abs(distance) > limit) & (limit > 0))


def _robust_sd(values: Array) -> Array:
    return np.asarray(1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0))
