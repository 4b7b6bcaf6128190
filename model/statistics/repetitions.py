"""What repeated splits of one cohort say: intervals within a measure's range, and p-values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


class Bounds(NamedTuple):
    """The values that a measure can have."""

    low: float = -math.inf
    high: float = math.inf

    def of_differences(self) -> Bounds:
        """Return the bounds of a difference of two such measures."""
        width = self.high - self.low
        return Bounds(-width, width)


SHARE = Bounds(0, 1)
"""Of balanced accuracy, area under the curve and the like."""


def interval(
    values: Sequence[float],
    ratio: float,
    *,
    bounds: Bounds = Bounds(),  # noqa: B008 frozen
    most: float = math.inf,
) -> dict[str, float]:
    """Return number, mean, sd and the interval of the mean over overlapping splits.

    Parameters
    ----------
    ratio
        Test subjects per training subject.
    bounds
        Of the measure; the interval lies within.
    most
        As how many independent answers all test sets together count at most: no repetition
        of splits makes a cohort larger. It gives splits that agree, and a single split, an
        interval too.

    Notes
    -----
    Splits of one cohort share subjects, so the standard error of independent repetitions is
    far too small. The variance of the mean is taken as sd² (1 / n + ratio), the corrected
    resampled t-test of Nadeau and Bengio (2003). Between two bounds the interval is Wilson's for
    as many answers as have this variance; with one bound it is symmetric on the logarithm of the
    distance to it. Values that agree have none where ``most`` is not known.
    """
    from scipy.stats import norm, t

    n, mean = len(values), float(np.mean(values))
    tail = (1 + CONFIDENCE) / 2
    described = {"n": n, "mean": mean}
    found = [within(mean, 0.0, float(norm.ppf(tail)), bounds=bounds, most=most)]
    if n > 1:
        described["sd"] = 0.0 if np.ptp(values) == 0 else float(np.std(values, ddof=1))
        variance = described["sd"] ** 2 * (1 / n + ratio)
        found.append(within(mean, variance, float(t.ppf(tail, n - 1)), bounds=bounds))
    ends = [pair for pair in found if pair is not None]
    if not ends:
        return described
    return described | {"low": min(low for low, _ in ends), "high": max(high for _, high in ends)}


def within(
    mean: float, variance: float, quantile: float, *, bounds: Bounds, most: float = math.inf
) -> tuple[float, float] | None:
    """Return the ends of an interval that lies within bounds, or None where nothing is known.

    Parameters
    ----------
    mean, variance
        The estimate, and its own variance.
    quantile
        Of the distribution of the standardized estimate.
    """
    low, high = bounds
    if math.isfinite(low) and math.isfinite(high):
        width = high - low
        share = (mean - low) / width
        spread = variance / width**2
        n = min(most, share * (1 - share) / spread) if spread else most
        if math.isinf(n) or n <= 0:
            return None
        centre = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
        half = math.sqrt(share * (1 - share) / n + (quantile / (2 * n)) ** 2)
        half *= quantile / (1 + quantile**2 / n)
        return low + width * max(0.0, centre - half), low + width * min(1.0, centre + half)
    if variance == 0:
        return None
    half = quantile * math.sqrt(variance)
    if math.isinf(low) and math.isinf(high):
        return mean - half, mean + half
    bound, side = (low, 1) if math.isfinite(low) else (high, -1)
    distance = abs(mean - bound)
    ends = [bound + side * distance * math.exp(step * half / distance) for step in (-1, 1)]
    return min(ends), max(ends)


def effective_size(counts: Sequence[int]) -> float:
    """Say how many answers to one balanced question people of classes are worth.

    Parameters
    ----------
    counts
        (K,) people of each class.

    Examples
    --------
    >>> effective_size([10, 10])
    20.0
    >>> round(effective_size([18, 2]), 1)
    7.2
    """
    return len(counts) ** 2 / sum(1 / n for n in counts)


def permutation_p(observed: float, null: Sequence[float]) -> float:
    """Return how rarely chance is as good: never 0, for the labels as they are count as one.

    Examples
    --------
    >>> permutation_p(0.9, [0.5, 0.6, 0.4])
    0.25
    """
    return (1 + sum(one >= observed for one in null)) / (1 + len(null))


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Return the two-sided p of the signed-rank test that paired differences are about 0."""
    from scipy.stats import wilcoxon

    if not np.any(differences):
        return 1.0
    return float(wilcoxon(differences).pvalue)


def corrected_t_p(differences: Sequence[float], ratio: float) -> float:
    """Return the two-sided p of Nadeau and Bengio's t-test of paired differences over splits.

    Parameters
    ----------
    ratio
        Test subjects per training subject.
    """
    from scipy.stats import t

    n, spread = len(differences), float(np.std(differences, ddof=1))
    if np.ptp(differences) == 0:
        return 1.0 if differences[0] == 0 else 0.0
    statistic = abs(float(np.mean(differences))) / (spread * math.sqrt(1 / n + ratio))
    return float(2 * t.sf(statistic, n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979), in their order.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
