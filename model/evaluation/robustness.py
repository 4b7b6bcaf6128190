"""How far an artefact moves the embedding of a scan, and whether its subject is still found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.embed import embed_residual
from model.statistics.bootstrap import mean_interval, resample
from model.statistics.measures import TINY, pair_scores
from model.statistics.pairing import EvaluationError, pairings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.encoder import Encoder
    from model.evaluation.compare import Resampling
    from model.evaluation.perturbations import Condition
    from model.series import ParcelSeries
    from model.statistics.measures import Rows
    from model.statistics.pairing import Key, Pairing

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Displacement:
    """What one perturbation does; intervals are over subjects, 95 %."""

    family: str
    name: str
    cosine: float
    """Mean over scans of the cosine to the unperturbed scan's vector"""
    cosine_low: float
    cosine_high: float
    centred: float
    """The same after the mean over the unperturbed scans is taken from both"""
    centred_low: float
    centred_high: float
    identified: float
    """Percent; the perturbed session against the other one unperturbed, both ways round"""
    identified_low: float
    identified_high: float
    cka: float
    """Linear CKA of the perturbed and the unperturbed scans"""


def robustness(
    series: Mapping[Key, ParcelSeries],
    encoder: Encoder,
    conditions: Sequence[Condition],
    *,
    resampling: Resampling,
) -> list[Displacement]:
    """Perturb every scan, embed it, compare it with itself; the first row is no perturbation.

    A perturbation that leaves any scan as it is has no row.

    Parameters
    ----------
    series
        One per scan, of subjects with two sessions or more. What was normalized is normalized
        again after the perturbation.
    encoder
        With its card.
    """
    scans = [replace(s, unit="residual") for s in series.values()]
    clean = _vectors(scans, encoder)
    pairs = pairings(list(series))
    subjects = np.array([key.subject for key in series])
    found = [_displacement("reference", "unperturbed", clean, clean, subjects, pairs, resampling)]
    for number, condition in enumerate(conditions):
        rng = np.random.default_rng([resampling.seed, number])
        perturbed = [condition.apply(s, rng) for s in scans]
        if any(map(_same, perturbed, scans)):  # "first 400 s" of a scan that is shorter
            continue
        moved = _vectors(perturbed, encoder)
        about = (condition.family, condition.name)
        found.append(_displacement(*about, moved, clean, subjects, pairs, resampling))
    return found


def robustness_of_rows(
    keys: Sequence[Key], values: Rows, *, reference: str, resampling: Resampling
) -> list[Displacement]:
    """Compare perturbed scans with themselves where only their vectors are there.

    Parameters
    ----------
    keys
        One per row; ``pipeline`` says what was done to the scan.
    values
        (R, D)
    reference
        Pipeline of the rows that were not perturbed.

    Raises
    ------
    EvaluationError
        A perturbation has other scans than the reference.
    """
    rows: dict[str, dict[Key, int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key.pipeline, {})[replace(key, pipeline="")] = row
    scans = list(rows[reference])
    pairs, subjects = pairings(scans), np.array([key.subject for key in scans])
    clean = values[list(rows[reference].values())].astype(np.float64)
    found = []
    for name in (reference, *(name for name in rows if name != reference)):
        if rows[name].keys() != rows[reference].keys():
            other = sorted(rows[name].keys() ^ rows[reference].keys())[0]
            raise EvaluationError(
                f"{name}: expected the scans of {reference}, one has {other.subject} "
                f"{other.session} and the other has not.",
                hint="Every condition needs the same subjects and sessions; see --where.",
            )
        moved = values[[rows[name][scan] for scan in scans]].astype(np.float64)
        family = "reference" if name == reference else "conditions"
        found.append(_displacement(family, name, moved, clean, subjects, pairs, resampling))
    return found


def _same(one: ParcelSeries, other: ParcelSeries) -> bool:
    return one.tr_s == other.tr_s and np.array_equal(one.values, other.values, equal_nan=True)


def _vectors(scans: Sequence[ParcelSeries], encoder: Encoder) -> Array:
    """(R, N x D) means per network; what the encoder predicts where a network is masked."""
    found = [
        embed_residual(series, encoder, readout=("networks",)).embedding.filled_vector()
        for series in scans
    ]
    return np.array(found, dtype=np.float64)


def _displacement(
    family: str,
    name: str,
    moved: Array,
    clean: Array,
    subjects: npt.NDArray[np.str_],
    pairs: Sequence[Pairing],
    resampling: Resampling,
) -> Displacement:
    mean = clean.mean(axis=0)
    cosine, centred = (
        _mean(_by_subject(x, subjects), resampling)
        for x in (cosines(moved, clean), cosines(moved - mean, clean - mean))
    )
    identified = _mean(_found_again(moved, clean, pairs), resampling)
    return Displacement(
        family=family,
        name=name,
        cosine=cosine[0],
        cosine_low=cosine[1],
        cosine_high=cosine[2],
        centred=centred[0],
        centred_low=centred[1],
        centred_high=centred[2],
        identified=identified[0],
        identified_low=identified[1],
        identified_high=identified[2],
        cka=cka(moved, clean),
    )


def cosines(first: Array, second: Array) -> Array:
    """(R,) cosines of the rows of two arrays (R, D)."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / np.maximum(norms, TINY))


def cka(first: Array, second: Array) -> float:
    """Linear centred kernel alignment of two sets of vectors (R, D) and (R, D')."""
    a, b = ((x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T for x in (first, second))
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), TINY))


def _found_again(moved: Array, clean: Array, pairs: Sequence[Pairing]) -> Array:
    """(S,) percent found; either session perturbed, the other as it is."""
    total: dict[str, list[float]] = {}
    for pairing in pairs:
        a, b = pairing.rows[:, 0, 0], pairing.rows[:, 1, 0]
        both = [pair_scores(moved[a], clean[b]), pair_scores(clean[a], moved[b])]
        scores = np.mean([s["identification"] for s in both], axis=0)
        for subject, score in zip(pairing.subjects, scores, strict=True):
            total.setdefault(subject, []).append(float(score))
    return np.array([np.mean(scores) for scores in total.values()])


def _by_subject(values: Array, subjects: npt.NDArray[np.str_]) -> Array:
    return np.array([values[subjects == name].mean() for name in np.unique(subjects)])


def _mean(scores: Array, resampling: Resampling) -> tuple[float, float, float]:
    counts = resample(len(scores), resampling.n_resamples, seed=resampling.seed)
    return float(scores.mean()), *mean_interval(scores, counts)
