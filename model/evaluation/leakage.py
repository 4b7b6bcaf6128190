"""What should not be in an embedding: motion and site, predicted for subjects not seen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.evaluation.compare import Measurement
from model.statistics.pairing import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from model.evaluation.vectors import Level, Vectors

Array = npt.NDArray[np.float64]
FEWEST_SUBJECTS = 10
N_FOLDS = 5
RIDGE = 1.0
"""Penalty as a share of the mean squared norm of the rows; not tuned: one number for all."""


def leakage(
    vectors: Vectors,
    labels: Mapping[str, Sequence[object]],
    *,
    level: Level,
    motion: str | None,
    site: str | None,
    seed: int,
) -> list[Measurement]:
    """Measure what every set of vectors tells about motion and site.

    Parameters
    ----------
    labels
        Columns of the table, one value per row of ``vectors``.
    motion, site
        Names of the columns; None: not measured.

    Raises
    ------
    EvaluationError
        A label is missing or no number, there is one site only, or there are too few subjects.
    """
    subjects = np.array([key.subject for key in vectors.keys])
    n_subjects = len(np.unique(subjects))
    if n_subjects < FEWEST_SUBJECTS:
        raise EvaluationError(
            f"expected at least {FEWEST_SUBJECTS} subjects to predict motion or site, found "
            f"{n_subjects}."
        )
    wanted: list[tuple[str, Callable[[Array], float], float | None]] = []
    if motion is not None:
        fd = _numbers(labels[motion], motion)
        wanted.append(
            ("motion_r2", partial(motion_r2, motion=fd, subjects=subjects, seed=seed), None)
        )
    if site is not None:
        sites = _sites(labels[site], site)
        chance = 100 / len(np.unique(sites))
        wanted.append(
            (
                "site_accuracy",
                partial(site_accuracy, site=sites, subjects=subjects, seed=seed),
                chance,
            )
        )
    return [
        Measurement(
            level=level,
            comparison="all",
            scaling="standardised",
            measure=measure,
            name=name,
            value=function(values.astype(np.float64)),
            n_subjects=n_subjects,
            chance=by_chance,
        )
        for name, values in vectors.sets.items()
        for measure, function, by_chance in wanted
    ]


def _numbers(values: Sequence[object], column: str) -> Array:
    try:
        found = np.array(values, dtype=np.float64)
    except Exception as err:
        raise EvaluationError(f"column {column} holds other things than numbers ({err}).") from err
    if not np.isfinite(found).all() or found.std() == 0:
        raise EvaluationError(f"column {column}: expected a number in every row, that varies.")
    return found


def _sites(values: Sequence[object], column: str) -> npt.NDArray[np.str_]:
    if any(value is None for value in values):
        raise EvaluationError(f"column {column}: expected a site in every row.")
    found = np.array([str(value) for value in values])
    if len(np.unique(found)) < 2:
        raise EvaluationError(f"column {column}: expected two sites or more, found {found[0]}.")
    return found


def motion_r2(values: Array, motion: Array, subjects: npt.NDArray[np.str_], *, seed: int) -> float:
    """Share of the variance of motion that the vectors predict in unseen subjects.

    Parameters
    ----------
    values
        (R, D)
    motion
        (R,) mean framewise displacement, mm.
    subjects
        (R,) all rows of a subject are in one fold.

    Returns
    -------
    1 - error / variance; zero or below where nothing is predicted.
    """
    predicted = _predict(values, motion[:, None], subjects, seed=seed)[:, 0]
    return float(1 - ((motion - predicted) ** 2).sum() / ((motion - motion.mean()) ** 2).sum())


def site_accuracy(
    values: Array, site: npt.NDArray[np.str_], subjects: npt.NDArray[np.str_], *, seed: int
) -> float:
    """Balanced accuracy, %, of the site (R,) that (R, D) vectors predict in unseen subjects."""
    names, label = np.unique(site, return_inverse=True)
    predicted = _predict(values, np.eye(len(names))[label], subjects, seed=seed).argmax(axis=1)
    hit = predicted == label
    return 100 * float(np.mean([hit[label == i].mean() for i in range(len(names))]))


def _predict(values: Array, target: Array, subjects: npt.NDArray[np.str_], *, seed: int) -> Array:
    """(R, C) out-of-fold predictions of ridge regression, folds by subject."""
    names, subject = np.unique(subjects, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names))[subject] % N_FOLDS
    found = np.empty_like(target, dtype=np.float64)
    for held in range(N_FOLDS):
        test = fold == held
        train = ~test
        mean, sd = values[train].mean(axis=0), values[train].std(axis=0)
        z = (values - mean) / np.where(sd > 0, sd, 1.0)
        gram = z[train] @ z[train].T
        penalty = RIDGE * np.trace(gram) / len(gram)
        constant = target[train].mean(axis=0)
        weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), target[train] - constant)
        found[test] = z[test] @ z[train].T @ weights + constant
    return found
