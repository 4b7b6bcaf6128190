"""What should not be in an embedding: motion and site, predicted for subjects not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
N_FOLDS = 5
RIDGE = 1.0
"""Penalty as a share of the mean squared norm of the rows; not tuned: one number for all."""


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
    """Balanced accuracy, %, of the site that the vectors predict in unseen subjects."""
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
