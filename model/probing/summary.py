"""What repetitions say together: mean, spread, interval, and difference to the probe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from model.probing.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.probing.config import Task
    from model.probing.scoring import Row
    from model.probing.splits import Split

CONFIDENCE = 0.95
REFERENCE = "probe"


def summarize(
    rows: Sequence[Row], splits: Sequence[Split], task: Task
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict[str, dict[str, float]]]]:
    """Summarize the rows with scores.

    Returns
    -------
    By method and metric: ``n`` splits, ``mean``, ``sd``, and ``low`` and ``high`` of the 95 %
    interval where splits differ. Then the same of the probe's score minus the
    method's, over the splits where both have one.
    """
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        scores.setdefault(row.method, {})[row.split] = row.scores
    ratio = {split.name: len(split.test) / len(split.train) for split in splits}

    def describe(values: dict[str, float]) -> dict[str, float]:
        return interval(list(values.values()), float(np.mean([ratio[name] for name in values])))

    summary: dict[str, dict[str, dict[str, float]]] = {}
    differences: dict[str, dict[str, dict[str, float]]] = {}
    for method, by_split in scores.items():
        for metric in METRICS[task]:
            own = {s: v[metric] for s, v in by_split.items() if metric in v}
            if own:
                summary.setdefault(method, {})[metric] = describe(own)
            reference = scores.get(REFERENCE, {})
            shared = {
                s: reference[s][metric] - v
                for s, v in own.items()
                if metric in reference.get(s, {})
            }
            if shared and method != REFERENCE:
                differences.setdefault(method, {})[metric] = describe(shared)
    return summary, differences


def interval(values: Sequence[float], ratio: float) -> dict[str, float]:
    """Return number, mean, sd and the interval of the mean over overlapping splits.

    Parameters
    ----------
    ratio
        Test subjects per training subject.

    Notes
    -----
    Splits of one cohort share subjects, so the standard error of independent repetitions is
    far too small. The variance of the mean is taken as sd² (1 / n + ratio), the corrected
    resampled t-test of Nadeau and Bengio (2003). Equal values have no interval: that a few
    splits agree is not certainty.
    """
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return {"n": n, "mean": mean}
    sd = float(np.std(values, ddof=1))
    if np.ptp(values) == 0:
        return {"n": n, "mean": mean, "sd": 0.0}
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd * math.sqrt(1 / n + ratio)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}
