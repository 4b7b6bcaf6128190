"""Scikit-learn's linear models beside the probe: features, transformations and fits by name."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from model.probing.head import RATES, train_probe
from model.probing.options import COVARIATES
from model.probing.samples import Learned, ProbeError, UndefinedError, average
from model.statistics import adjustment
from model.statistics.connectivity import TangentSpace, fisher_z

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from model.probing.options import RegressBy
    from model.probing.samples import FloatArray, Samples

    Array = npt.NDArray[np.float64]
    Prepare = Callable[[Samples], Learned]
    Fit = Callable[[Samples, npt.NDArray[np.float64], Sequence[float]], list[Learned]]


PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
"""C of logistic regression and SVM, 1 / alpha of ridge, for rows of norm 1 on average."""
MAX_ITERATIONS = 5000
RANK_TOLERANCE = 1e-12
"""Share of the largest variance below which a direction is rounding; centring makes one."""


RANDOM, WHITENED = "random-crops", "random-whitened-crops"
"""Features by random weights; the latter of a whitened checkpoint only"""


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


def learn_tangent(train: Samples) -> Learned:
    """Learn the tangent space at the mean of the training subjects' covariances (S, P, P).

    Each subject counts once: the arithmetic mean of all scans stands for one who has several. What
    the mean costs grows with its matrices, and sessions would make it no better.
    """
    space = TangentSpace(average(train.values.astype(float), train.subjects))

    def apply(covariances: FloatArray) -> FloatArray:
        return space.vectors(covariances.astype(float)).astype(np.float32)

    return Learned(apply=apply, seen=frozenset(train.subjects))


def learn_residuals(train: Samples, *, covariates: Mapping[str, Array]) -> Learned:
    """Learn what covariates (C,) of each subject explain of (S, F) features, to take it out.

    Raises
    ------
    ProbeError
        There are as many covariates as training subjects.
    """
    design = np.array([covariates[subject] for subject in train.subjects])
    n_subjects = len(set(train.subjects))
    if design.shape[1] + 1 >= n_subjects:
        raise ProbeError(
            f"{design.shape[1]} covariates (each value of a group counts) of {n_subjects} "
            "training subjects explain everything."
        )
    take_out = adjustment.learn_residuals(train.values.astype(float), design)

    def apply(values: FloatArray, subjects: Sequence[str]) -> FloatArray:
        theirs = np.array([covariates[subject] for subject in subjects])
        return take_out(values.astype(float), theirs).astype(np.float32)

    return Learned(apply=apply, seen=frozenset(train.subjects), by_subject=True)


def learn_combat(train: Samples, *, sites: Mapping[str, str]) -> Learned:
    """Learn ComBat of the training subjects' sites from (S, F) features.

    Raises
    ------
    UndefinedError
        A site has one training sample only; or, when it is applied, none.
    """
    theirs = [sites[subject] for subject in train.subjects]
    few = sorted(site for site, n in Counter(theirs).items() if n < 2)
    if few:
        raise UndefinedError(f"one training sample only of {', '.join(few)}: no spread.")
    if len(set(theirs)) < 2:
        raise UndefinedError(f"all training subjects are of {theirs[0]}.")
    take_out = adjustment.learn_combat(train.values.astype(float), theirs)

    def apply(values: FloatArray, subjects: Sequence[str]) -> FloatArray:
        found = [sites[subject] for subject in subjects]
        unknown = sorted(set(found) - set(theirs))
        if unknown:
            raise UndefinedError(f"no training subject is of {', '.join(unknown)}.")
        return take_out(values.astype(float), found).astype(np.float32)

    return Learned(apply=apply, seen=frozenset(train.subjects), by_subject=True)


def _spanned(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(F, R) orthonormal axes of what (S, F) rows span, from their small Gram matrix."""
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > RANK_TOLERANCE * values[-1]
    return np.asarray(rows.T @ (vectors[:, kept] / np.sqrt(values[kept])))


def fit_linear(
    train: Samples,
    targets: npt.NDArray[np.float64],
    penalties: Sequence[float],
    *,
    n_outputs: int,
) -> list[Learned]:
    """Fit logistic regression to (S, F) samples and (S,) targets, once per penalty.

    Ridge regression if ``n_outputs`` is 1.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    if n_outputs == 1:
        return [_fit(Ridge(alpha=1 / one), train, targets) for one in penalties]
    return [
        _fit(LogisticRegression(C=one, max_iter=MAX_ITERATIONS), train, targets)
        for one in penalties
    ]


def fit_svm(
    train: Samples,
    targets: npt.NDArray[np.float64],
    penalties: Sequence[float],
    *,
    n_outputs: int,
) -> list[Learned]:
    """Fit a linear support vector machine to (S, F) samples and (S,) targets, once per penalty.

    For regression if ``n_outputs`` is 1.
    """
    from sklearn.svm import SVC, SVR

    kind = SVR if n_outputs == 1 else SVC
    return [_fit(kind(kernel="linear", C=one), train, targets) for one in penalties]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """Features and what is fitted to them."""

    name: str
    samples: Samples
    prepare: tuple[Prepare, ...]
    """Transformations, each learned from training samples as the one before left them."""
    fit: Fit
    """From training samples, targets and settings to a predictor for each."""
    settings: tuple[float, ...]
    """Learning rates or penalties; validation chooses, the first of equals."""
    regress_by: RegressBy = "r2"
    """What it chooses by, of numbers."""


_EACH = partial(learn_scaling, standardize=True)
_WHOLE = partial(learn_scaling, standardize=False)

_RECIPES: dict[str, tuple[str, tuple[Prepare, ...], str]] = {
    "probe": ("crops", (), "probe"),
    "linear": ("scans", (_EACH,), "linear"),
    "random-probe": (RANDOM, (), "probe"),
    "random-linear": ("random-scans", (_EACH,), "linear"),
    "random-whitened-probe": (WHITENED, (), "probe"),
    "random-whitened-linear": ("random-whitened-scans", (_EACH,), "linear"),
    "fc-svm": ("fc", (_WHOLE,), "svm"),
    "fc-svm-raw": ("fc", (), "svm"),
    COVARIATES: ("covariates", (_EACH,), "linear"),
    "fisher-linear": ("fisher", (_WHOLE,), "linear"),
    "tangent-linear": ("covariance", (learn_tangent, _WHOLE), "linear"),
}
"""Features, transformations and fit of each of `model.probing.options.METHODS`"""


def features_of(method: str) -> str:
    """Name the features that a method is fitted to, as they are computed from the series."""
    derived = {
        "scans": "crops",
        "random-scans": RANDOM,
        "random-whitened-scans": WHITENED,
        "fisher": "fc",
    }
    name = _RECIPES[method][0]
    return derived.get(name, name)


def make_methods(
    names: Sequence[str],
    features: Mapping[str, Samples],
    *,
    n_outputs: int,
    epochs: int,
    seed: int,
    regress_by: RegressBy = "r2",
    adjust: Sequence[Prepare] = (),
) -> list[Method]:
    """Set up methods.

    Parameters
    ----------
    names
        Of `model.probing.options.METHODS`.
    features
        What `features_of` tells for each: ``crops``, ``random-crops`` (the same through random
        weights), ``random-whitened-crops``, ``fc`` (correlations), ``covariance``.
    n_outputs
        Classes; 1 in regression.
    epochs, seed
        Of the probe.
    regress_by
        What validation chooses by, of numbers.
    adjust
        Transformations of the features of every method, before these are scaled.
    """
    fits: dict[str, tuple[Fit, tuple[float, ...]]] = {
        "probe": (partial(train_probe, n_outputs=n_outputs, epochs=epochs, seed=seed), RATES),
        "linear": (partial(fit_linear, n_outputs=n_outputs), PENALTIES),
        "svm": (partial(fit_svm, n_outputs=n_outputs), PENALTIES),
    }
    methods = []
    for name in names:
        kind, prepare, fit = _RECIPES[name]
        samples = features[features_of(name)]
        samples = _DERIVE[kind](samples) if kind in _DERIVE else samples
        function, settings = fits[fit]
        methods.append(
            Method(
                name=name,
                samples=samples,
                prepare=_adjusted(prepare, () if name == COVARIATES else adjust),
                fit=function,
                settings=settings,
                regress_by=regress_by,
            )
        )
    return methods


def _adjusted(prepare: tuple[Prepare, ...], adjust: Sequence[Prepare]) -> tuple[Prepare, ...]:
    """Put adjustments before the scaling, which is last where there is any."""
    return (*prepare[:-1], *adjust, *prepare[-1:])


def _fisher(fc: Samples) -> Samples:
    return fc.with_values(fisher_z(fc.values))


def _per_scan(crops: Samples) -> Samples:
    return crops.per_scan()


_DERIVE: dict[str, Callable[[Samples], Samples]] = {
    "scans": _per_scan,
    "random-scans": _per_scan,
    "random-whitened-scans": _per_scan,
    "fisher": _fisher,
}
