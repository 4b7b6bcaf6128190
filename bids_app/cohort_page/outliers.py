"""Scans that are unlike the others of their cohort, number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_app.cohort_page.scans import Column
    from bids_app.cohort_page.similarity import FloatArray, IntArray

LEAST_SCANS = 8
"""With fewer, quartiles say nothing of the cohort."""
FAR = 3.0
"""Interquartile ranges beyond a quartile: what Tukey calls far out."""
FEW = 0.05
"""Where half of a cohort or more have the same value, others stand out if no more than this."""
EMBEDDING = "embedding"
"""Key of the similarity of a scan's embedding to those of everybody else"""
BOTH_SIDES = ("tr", "duration")
"""How a scan was acquired: more is as odd as less. Volumes say the same as the two."""


class Outlier(NamedTuple):
    """One number of one scan that is unlike those of the others."""

    place: int
    key: str
    value: float
    low: float
    """First quartile of the cohort"""
    high: float
    """Third quartile"""

    @property
    def distance(self) -> float:
        """Interquartile ranges beyond the nearer quartile; infinite where most are the same."""
        beyond = max(self.low - self.value, self.value - self.high)
        return beyond / (self.high - self.low) if self.high > self.low else np.inf


def outliers(
    columns: Sequence[Column],
    better: Mapping[str, str],
    usual: FloatArray | None = None,
) -> list[Outlier]:
    """Find the numbers that lie far out, on the side that is bad.

    Parameters
    ----------
    columns
        Quality numbers of all scans.
    better
        ``low`` or ``high`` by key: the end that nobody worries about; of `BOTH_SIDES` either
        counts, and what is in neither is not looked at.
    usual
        (n,) mean similarity of each scan's embedding to those of other people, NaN for scans
        without one; None: not looked at.

    Returns
    -------
    The farthest first.
    """
    numbers = {
        column.key: np.array([np.nan if v is None else float(v) for v in column.values])
        for column in columns
        if column.is_number and (column.key in better or column.key in BOTH_SIDES)
    }
    if usual is not None:
        numbers[EMBEDDING] = usual
    sides = {**better, EMBEDDING: "high"}
    found = [
        outlier
        for key, values in numbers.items()
        for outlier in _far_out(key, values, better="" if key in BOTH_SIDES else sides[key])
    ]
    return sorted(found, key=lambda one: (-one.distance, one.place))


def _far_out(key: str, values: FloatArray, *, better: str) -> list[Outlier]:
    known = values[np.isfinite(values)]
    if len(known) < LEAST_SCANS:
        return []
    low, high = (float(q) for q in np.quantile(known, (0.25, 0.75)))
    reach = FAR * (high - low)
    # Rounding of equal numbers is no distance.
    slack = 1e-9 * max(abs(low), abs(high))
    below, above = values < low - reach - slack, values > high + reach + slack
    odd = {"low": above, "high": below}.get(better, above | below)
    if high - low <= slack and odd.sum() > FEW * len(known):
        return []
    places: IntArray = np.flatnonzero(odd)
    return [Outlier(int(i), key, float(values[i]), low, high) for i in places]
