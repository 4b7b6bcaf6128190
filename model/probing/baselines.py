"""Scikit-learn's linear models, made comparable: scaled rows, one grid of penalties for all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from model.probing.samples import Learned, ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from model.probing.samples import FloatArray, Samples

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""C of logistic regression and SVM, 1 / alpha of ridge, for rows of norm 1 on average."""
MAX_ITERATIONS = 5000
RANK_TOLERANCE = 1e-12
"""Share of the largest variance below which a direction is rounding; centring makes one."""


def learn_scaling(train: Samples, *, standardize: bool) -> Learned:
    """Learn to centre features, and to scale rows to norm 1 on average.

    Parameters
    ----------
    train
        (S, F) features.
    standardize
        Divide each feature by its own spread first, as for embeddings; not for
        connectivity, whose features have one unit.

    Notes
    -----
    With more features than samples, rows are also rotated into the space that the training
    rows span. Models penalized by the norm of their weights have no weights outside of it,
    so predictions are the same, from far fewer numbers.
    """
    rows = train.values.astype(float)
    mean, spread = rows.mean(axis=0), np.ones(rows.shape[1])
    if standardize:
        spread = rows.std(axis=0)
        spread[spread == 0] = 1
    rows = (rows - mean) / spread
    size = np.sqrt((rows**2).sum(axis=1).mean())
    if size == 0:
        raise ProbeError("all training samples have the same features.")
    axes = _spanned(rows) if rows.shape[1] > rows.shape[0] else None

    def apply(values: FloatArray) -> FloatArray:
        scaled = (values - mean) / spread / size
        return np.asarray(scaled if axes is None else scaled @ axes, np.float32)

    return Learned(apply=apply, seen=frozenset(train.subjects))


def _spanned(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(F, R) orthonormal axes of what (S, F) rows span, from their small Gram matrix."""
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > RANK_TOLERANCE * values[-1]
    return np.asarray(rows.T @ (vectors[:, kept] / np.sqrt(values[kept])))


def fit_linear(
    train: Samples, targets: npt.NDArray[np.float64], penalty: float, *, n_outputs: int
) -> Learned:
    """Fit logistic regression, or ridge if ``n_outputs`` is 1."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if n_outputs == 1:
        return _fit(Ridge(alpha=1 / penalty), train, targets)
    return _fit(LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS), train, targets)


def fit_svm(
    train: Samples, targets: npt.NDArray[np.float64], penalty: float, *, n_outputs: int
) -> Learned:
    """Fit a linear support vector machine, for regression if ``n_outputs`` is 1."""
    from sklearn.svm import SVC, SVR

    if n_outputs == 1:
        return _fit(SVR(kernel="linear", C=penalty), train, targets)
    return _fit(SVC(kernel="linear", C=penalty), train, targets)


def _fit(estimator: Any, train: Samples, targets: npt.NDArray[np.float64]) -> Learned:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            estimator.fit(train.values, targets)
        except ConvergenceWarning as err:
            raise ProbeError(f"{type(estimator).__name__} did not converge ({err}).") from err
    decide: Callable[[FloatArray], Any] = getattr(
        estimator, "decision_function", estimator.predict
    )
    binary = len(getattr(estimator, "classes_", ())) == 2

    def apply(values: FloatArray) -> FloatArray:
        scores = np.asarray(decide(values), np.float32)
        if binary:
            return np.stack([-scores, scores], axis=1)
        return scores[:, None] if scores.ndim == 1 else scores

    return Learned(apply=apply, seen=frozenset(train.subjects))
