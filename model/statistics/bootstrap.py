"""Intervals over subjects. One set of resamples serves all sets, so differences are paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[np.float64]
LEVEL = 0.95
NORMAL_95 = 1.96


def resample(n_subjects: int, n_resamples: int, *, seed: int) -> Array:
    """(B, S) how often each subject is drawn, with replacement, in each resample."""
    rng = np.random.default_rng(seed)
    share = np.full(n_subjects, 1 / n_subjects)
    return rng.multinomial(n_subjects, share, size=n_resamples).astype(np.float64)


def mean_interval(scores: Array, counts: Array) -> tuple[float, float]:
    """Return the percentile interval of the mean of (S,) scores over the resamples.

    Others that a subject is compared with stay the same in all resamples: the interval says
    how the score varies over subjects, not over studies of another size.
    """
    return percentiles(counts @ scores / counts.sum(axis=1))


def percentiles(statistics: Array) -> tuple[float, float]:
    """Return the central 95 % of (n,) resampled statistics, those that are NaN left out."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(statistics, [tail, 100 - tail])
    return float(low), float(high)


def leave_out(n_subjects: int, n_groups: int) -> list[npt.NDArray[np.intp]]:
    """Return who (n,) is left when each of at most ``n_groups`` groups of subjects is not."""
    everyone = np.arange(n_subjects)
    return [
        np.setdiff1d(everyone, out) for out in np.array_split(everyone, min(n_subjects, n_groups))
    ]


def jackknife_error(estimates: Sequence[Sequence[float]]) -> Array:
    """Return standard errors from (G, numbers) estimates, each with one group left out."""
    found = np.asarray(estimates)
    return np.asarray(np.sqrt((len(found) - 1) * found.var(axis=0)))
