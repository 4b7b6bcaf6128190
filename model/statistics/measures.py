"""How well a subject's vectors find one another, and how many directions they use. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.statistics.pairing import Pairing


Array = npt.NDArray[np.float64]
Rows = Array | npt.NDArray[np.float32]
SCORES = ("identification", "i_diff", "discriminability")
"""Measures that are means over subjects."""
GOOD_ICC = 0.4
TINY = 1e-12
"""Smallest spread that is divided by."""


EPSILON = 1e-7
RIDGE = 1e-4
"""Share of the mean within-scan variance that is added to it in every direction."""


def identification(first: Array, second: Array) -> float:
    """Percent of subjects whose most similar vector of the other session is their own.

    Parameters
    ----------
    first, second
        (S, D), row i of both is subject i. Similarity is Pearson's correlation; the mean of
        both directions is taken (Finn et al. 2015). A tie counts as its chance.
    """
    return float(pair_scores(first, second)["identification"].mean())


def pair_scores(first: Array, second: Array) -> dict[str, Array]:
    """Score two sessions (S, D) against each other.

    Returns
    -------
    (S,) per measure:

    - ``identification``, %: 100 where the own vector is the most similar one, mean of both
      directions.
    - ``i_diff``: 100 x (similarity to oneself - mean similarity to the others) (Amico & Goñi).
    - ``discriminability``: share of the others' vectors, of both sessions, that are further
      away (Euclidean) than the own vector of the other session (Bridgeford et al. 2021).
    """
    similarity = _correlations(first, second)
    own = np.diagonal(similarity)
    others = ~np.eye(len(first), dtype=bool)
    mean_other = (similarity.sum(1) + similarity.sum(0) - 2 * own) / (2 * (len(first) - 1))
    distance = _distances(np.concatenate([first, second]))
    return {
        "identification": 50 * (_found(similarity) + _found(similarity.T)),
        "i_diff": 100 * (own - mean_other),
        "discriminability": _further(distance, others),
    }


def score(values: Rows, pairing: Pairing, *, standardised: bool) -> dict[str, Array]:
    """Score one set of vectors: mean over all pairs of one window per session.

    Parameters
    ----------
    values
        (R, D) vectors, rows as in the pairing.
    standardised
        Give every feature mean 0 and sd 1 over the two sessions that are compared.

    Returns
    -------
    (S,) per measure.
    """
    n_windows = pairing.rows.shape[2]
    total = {name: np.zeros(len(pairing.subjects)) for name in SCORES}
    for i in range(n_windows):
        for j in range(n_windows):
            first = values[pairing.rows[:, 0, i]].astype(np.float64)
            second = values[pairing.rows[:, 1, j]].astype(np.float64)
            if standardised:
                first, second = standardise(first, second)
            for name, found in pair_scores(first, second).items():
                total[name] += found / n_windows**2
    return total


def mean_scores(
    values: Rows, chosen: Sequence[Pairing], *, standardised: bool
) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Average each subject's scores over all pairings that it is part of.

    Returns
    -------
    The subjects, sorted, and (S,) scores per measure.
    """
    subjects = tuple(sorted({s for pairing in chosen for s in pairing.subjects}))
    place = {subject: i for i, subject in enumerate(subjects)}
    total = {name: np.zeros(len(subjects)) for name in SCORES}
    count = np.zeros(len(subjects))
    for pairing in chosen:
        at = [place[s] for s in pairing.subjects]
        count[at] += 1
        for name, found in score(values, pairing, standardised=standardised).items():
            total[name][at] += found
    return subjects, {name: found / count for name, found in total.items()}


def standardise(first: Array, second: Array) -> tuple[Array, Array]:
    """Give every feature of two sessions (S, D) mean 0 and sd 1 over both; no label is used."""
    both = np.concatenate([first, second])
    both = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), TINY)
    return both[: len(first)], both[len(first) :]


def reliability(first: Array, second: Array) -> Array:
    """Intraclass correlation ICC(2,1) of every feature over two sessions.

    Parameters
    ----------
    first, second
        (S, D)

    Returns
    -------
    (D,) absolute agreement of single measurements; NaN for a feature that does not vary.
    """
    n = len(first)
    own = (first + second) / 2
    grand = own.mean(axis=0)
    shift = (first - second).mean(axis=0) / 2
    left = (first - second) / 2 - shift
    # Mean squares of the two-way table: subjects, sessions, rest.
    subjects = 2 * ((own - grand) ** 2).sum(axis=0) / (n - 1)
    sessions = 2 * n * shift**2
    rest = 2 * (left**2).sum(axis=0) / (n - 1)
    denominator = subjects + rest + 2 * (sessions - rest) / n
    nan = np.full(denominator.shape, np.nan)
    return np.asarray(np.divide(subjects - rest, denominator, out=nan, where=denominator > TINY))


def _correlations(first: Array, second: Array) -> Array:
    """(S, S) Pearson's correlations between the rows of two arrays."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (first, second))
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), TINY) for x in (a, b))
    return np.asarray(a @ b.T)


def _found(similarity: Array) -> Array:
    """(S,) 1 where the diagonal is the largest of its row, 1/k where k share that place."""
    best = similarity >= similarity.max(axis=1, keepdims=True)
    return np.asarray(np.diagonal(best) / best.sum(axis=1))


def _distances(rows: Array) -> Array:
    """(R, R) squared Euclidean distances."""
    gram = rows @ rows.T
    squared = np.diagonal(gram)
    return np.asarray(squared[:, None] + squared[None, :] - 2 * gram)


def _further(distance: Array, others: npt.NDArray[np.bool_]) -> Array:
    """(S,) share of others' vectors further away than the own one; a tie counts half."""
    n = len(others)
    own = np.concatenate([np.diagonal(distance, n), np.diagonal(distance, -n)])[:, None]
    wins = (distance > own) + 0.5 * (distance == own)
    share = (wins * np.tile(others, (2, 2))).sum(axis=1) / (2 * (n - 1))
    return np.asarray((share[:n] + share[n:]) / 2)


def rankme(rows: Array) -> float:
    """Effective rank of (R, D) vectors: exp of the entropy of singular values (Garrido 2023)."""
    return _effective_rank(_singular_values(rows))


def alpha_req(rows: Array) -> float:
    """Exponent a of the covariance spectrum of (R, D) rows, eigenvalue k ~ k ** -a (Agrawal 2022).

    By least squares in logarithms over the eigenvalues above 1e-6 of the largest.
    """
    eigenvalues = _singular_values(rows - rows.mean(axis=0)) ** 2
    eigenvalues = eigenvalues[eigenvalues > 1e-6 * eigenvalues[0]]
    if len(eigenvalues) < 3:
        return float("nan")
    slope = np.polyfit(np.log(np.arange(len(eigenvalues)) + 1), np.log(eigenvalues), 1)[0]
    return float(-slope)


def lidar(windows: Array) -> float:
    """Effective rank of what tells scans apart, in units of what varies within (Thilak 2024).

    Parameters
    ----------
    windows
        (N, W, D) vectors of W windows of N scans.
    """
    means = windows.mean(axis=1)
    within = (windows - means[:, None]).reshape(-1, windows.shape[2])
    within_covariance = within.T @ within / max(len(windows) * (windows.shape[1] - 1), 1)
    ridge = RIDGE * np.trace(within_covariance) / len(within_covariance)
    values, vectors = np.linalg.eigh(within_covariance)
    whitened = (means - means.mean(axis=0)) @ vectors / np.sqrt(np.maximum(values, 0) + ridge)
    return _effective_rank(_singular_values(whitened) ** 2)


def _singular_values(rows: Array) -> Array:
    """Singular values, largest first, from the smaller of the two Gram matrices."""
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)))


def _effective_rank(values: Array) -> float:
    share = values / max(values.sum(), EPSILON) + EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))
