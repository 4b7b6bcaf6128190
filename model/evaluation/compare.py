"""Every number of an evaluation, with its interval: sets of vectors, and differences of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.statistics.bootstrap import (
    NORMAL_95,
    jackknife_error,
    leave_out,
    mean_interval,
    resample,
)
from model.statistics.measures import GOOD_ICC, alpha_req, lidar, mean_scores, rankme, reliability
from model.statistics.pairing import Pairing, pairings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.evaluation.vectors import ByLevel, Level, Vectors

Array = npt.NDArray[np.float64]
JACKKNIFE_GROUPS = 50
"""Most groups of subjects that are left out in turn."""
LARGEST_LIDAR = 4096
"""Vectors longer than this have no LiDAR: it needs a covariance of their features."""


Scores = dict[str, dict[str, Array]]
"""(S,) by set of vectors, by measure"""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number."""

    level: Level
    comparison: str
    """``within`` one pipeline, ``across`` two, or ``all`` rows"""
    scaling: str
    """``raw``, or ``standardised`` over the compared sessions"""
    measure: str
    name: str
    """Set of vectors"""
    minus: str | None = None
    """Set that is subtracted, subject by subject; None: a number of its own"""
    value: float
    low: float | None = None
    high: float | None = None
    """95 % interval over subjects"""
    n_subjects: int
    chance: float | None = None
    """What identification reaches by chance"""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made."""

    n_resamples: int
    seed: int


def measurements(
    by_level: ByLevel,
    *,
    baselines: Sequence[str],
    replicates: Mapping[str, Sequence[str]],
    resampling: Resampling,
) -> list[Measurement]:
    """Measure every set of vectors, and the difference of each to every baseline.

    Parameters
    ----------
    baselines
        Names of sets that the others are compared with.
    replicates
        Sets that differ by their seed only, by the name of their average.
    """
    found, of_features = [], _spectra(by_level)
    for level, vectors in by_level.items():
        pairs = pairings(vectors.keys)
        for comparison in dict.fromkeys(pairing.comparison for pairing in pairs):
            chosen = [pairing for pairing in pairs if pairing.comparison == comparison]
            for standardised in (False, True):
                scores = _scores(vectors, chosen, replicates, standardised=standardised)
                found += _means(
                    scores,
                    level=level,
                    pairs=chosen,
                    standardised=standardised,
                    baselines=baselines,
                    resampling=resampling,
                )
            if level == "scan":
                of_features += _reliabilities(vectors, chosen)
    found += _averaged(of_features, replicates)
    # A spectrum of one direction has no slope, and features that are constant no reliability.
    return [one for one in found if np.isfinite(one.value)]


def _scores(
    vectors: Vectors,
    pairs: Sequence[Pairing],
    replicates: Mapping[str, Sequence[str]],
    *,
    standardised: bool,
) -> Scores:
    scores = {
        name: mean_scores(values, pairs, standardised=standardised)[1]
        for name, values in vectors.sets.items()
    }
    for average, members in replicates.items():
        each = [scores.pop(name) for name in members if name in scores]
        if each:
            scores[average] = {m: np.mean([s[m] for s in each], axis=0) for m in each[0]}
    return scores


def _means(
    scores: Scores,
    *,
    level: Level,
    pairs: Sequence[Pairing],
    standardised: bool,
    baselines: Sequence[str],
    resampling: Resampling,
) -> list[Measurement]:
    """Means over subjects, then paired differences to the baselines."""
    n_subjects = len(next(iter(next(iter(scores.values())).values())))
    counts = resample(n_subjects, resampling.n_resamples, seed=resampling.seed)
    chance = 100 * float(np.mean([1 / len(pairing.subjects) for pairing in pairs]))
    candidates = [name for name in scores if name not in baselines]
    compared: list[tuple[str, str | None]] = [(name, None) for name in scores]
    compared += [(n, b) for n in candidates for b in baselines if b in scores]
    found = []
    for name, minus in compared:
        for measure, values in scores[name].items():
            each = values if minus is None else values - scores[minus][measure]
            low, high = mean_interval(each, counts)
            identifies = measure == "identification" and minus is None
            found.append(
                Measurement(
                    level=level,
                    comparison=pairs[0].comparison,
                    scaling="standardised" if standardised else "raw",
                    measure=measure,
                    name=name,
                    minus=minus,
                    value=float(each.mean()),
                    low=low,
                    high=high,
                    n_subjects=n_subjects,
                    chance=chance if identifies else None,
                )
            )
    return found


def _reliabilities(vectors: Vectors, pairs: Sequence[Pairing]) -> list[Measurement]:
    """Mean ICC over features, and the share that is good, averaged over the pairings.

    Intervals are by the jackknife: a subject drawn twice would agree with itself.
    """
    n_subjects = min(len(pairing.subjects) for pairing in pairs)
    found = []
    for name, values in vectors.sets.items():
        whole, errors = [], []
        for pairing in pairs:
            first, second = (values[pairing.rows[:, s, 0]].astype(np.float64) for s in (0, 1))
            whole.append(_icc_summary(reliability(first, second)))
            # Without one of two subjects nobody is left to differ from.
            kept = leave_out(len(first), JACKKNIFE_GROUPS) if len(first) > 2 else []
            left_out = [_icc_summary(reliability(first[k], second[k])) for k in kept]
            errors.append(jackknife_error(left_out or [(np.nan, np.nan)]))
        value, error = np.mean(whole, axis=0), np.mean(errors, axis=0)
        for i, (measure, least) in enumerate((("icc_mean", -1.0), (f"icc_above_{GOOD_ICC}", 0.0))):
            found.append(
                Measurement(
                    level="scan",
                    comparison=pairs[0].comparison,
                    scaling="raw",
                    measure=measure,
                    name=name,
                    value=float(value[i]),
                    low=_within(least, float(value[i] - NORMAL_95 * error[i]), 1.0),
                    high=_within(least, float(value[i] + NORMAL_95 * error[i]), 1.0),
                    n_subjects=n_subjects,
                )
            )
    return found


def _icc_summary(icc: Array) -> tuple[float, float]:
    """Mean, and share that is good, of the features whose reliability is known; NaN for none."""
    known = icc[np.isfinite(icc)]
    if not known.size:
        return np.nan, np.nan
    return float(known.mean()), float(np.mean(known > GOOD_ICC))


def _within(low: float, value: float, high: float) -> float | None:
    """Cut an interval's end to what there can be; None where it is unknown."""
    return min(max(low, value), high) if np.isfinite(value) else None


def _averaged(
    found: list[Measurement], replicates: Mapping[str, Sequence[str]]
) -> list[Measurement]:
    """Replace the measurements of sets that differ by seed only by their mean."""
    average_of = {member: name for name, members in replicates.items() for member in members}
    together: dict[Measurement, list[Measurement]] = {}
    for one in found:
        name = average_of.get(one.name, one.name)
        kind = replace(one, name=name, value=0.0, low=None, high=None)
        together.setdefault(kind, []).append(one)

    def mean(values: list[float | None]) -> float | None:
        numbers = [v for v in values if v is not None]
        return sum(numbers) / len(numbers) if numbers else None

    return [
        replace(
            kind,
            value=mean([m.value for m in members]) or 0.0,
            low=mean([m.low for m in members]),
            high=mean([m.high for m in members]),
        )
        for kind, members in together.items()
    ]


def _spectra(by_level: ByLevel) -> list[Measurement]:
    """Effective ranks over all rows of the finest level; no interval, for they grow with N."""
    level: Level = "window" if "window" in by_level else "scan"
    vectors = by_level[level]
    found = []
    for name, values in vectors.sets.items():
        rows = values.astype(np.float64)
        numbers = {"rankme": rankme(rows), "alpha_req": alpha_req(rows)}
        grouped = _windows_by_scan(vectors, rows) if rows.shape[1] <= LARGEST_LIDAR else None
        if grouped is not None:
            numbers["lidar"] = lidar(grouped)
        for measure, value in numbers.items():
            found.append(
                Measurement(
                    level=level,
                    comparison="all",
                    scaling="raw",
                    measure=measure,
                    name=name,
                    value=value,
                    n_subjects=len({key.subject for key in vectors.keys}),
                )
            )
    return found


def _windows_by_scan(vectors: Vectors, rows: Array) -> Array | None:
    """(N, W, D) windows of every scan, as many as the shortest has; None for fewer than two."""
    at: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(vectors.keys):
        at.setdefault((key.subject, key.session, key.pipeline), []).append(row)
    n_windows = min(map(len, at.values()))
    if n_windows < 2:
        return None
    chosen = np.array([found[:n_windows] for found in at.values()])
    return np.asarray(rows[chosen])
