"""The probe and what it must stand beside: features, transformations and fits by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from model.probing.baselines import PENALTIES, fit_linear, fit_svm, learn_scaling
from model.probing.head import RATES, train_probe
from model.probing.tangent import learn_tangent
from model.statistics.connectivity import fisher_z

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from model.probing.samples import Learned, Samples

    Prepare = Callable[[Samples], Learned]
    Fit = Callable[[Samples, npt.NDArray[np.float64], float], Learned]


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """Features and what is fitted to them."""

    name: str
    samples: Samples
    prepare: tuple[Prepare, ...]
    """Transformations, each learned from training samples as the one before left them."""
    fit: Fit
    """From training samples, targets and a setting to a predictor."""
    settings: tuple[float, ...]
    """Learning rates or penalties; validation chooses, the first of equals."""


WHITENED = "random-whitened-crops"
"""Features that there are of a whitened checkpoint only"""

_EACH = partial(learn_scaling, standardize=True)
_WHOLE = partial(learn_scaling, standardize=False)

_RECIPES: dict[str, tuple[str, tuple[Prepare, ...], str]] = {
    "probe": ("crops", (), "probe"),
    "linear": ("scans", (_EACH,), "linear"),
    "random-probe": ("random-crops", (), "probe"),
    "random-linear": ("random-scans", (_EACH,), "linear"),
    "random-whitened-probe": (WHITENED, (), "probe"),
    "random-whitened-linear": ("random-whitened-scans", (_EACH,), "linear"),
    "fc-svm": ("fc", (_WHOLE,), "svm"),
    "fisher-linear": ("fisher", (_WHOLE,), "linear"),
    "tangent-linear": ("covariance", (learn_tangent, _WHOLE), "linear"),
}
"""Features, transformations and fit of each of `model.probing.config.METHODS`"""


def features_of(method: str) -> str:
    """Name the features that a method is fitted to, as they are computed from the series."""
    derived = {
        "scans": "crops",
        "random-scans": "random-crops",
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
) -> list[Method]:
    """Set up methods.

    Parameters
    ----------
    names
        Of `model.probing.config.METHODS`.
    features
        What `features_of` tells for each: ``crops``, ``random-crops`` (the same through random
        weights), ``random-whitened-crops``, ``fc`` (correlations), ``covariance``.
    n_outputs
        Classes; 1 in regression.
    epochs, seed
        Of the probe.
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
            Method(name=name, samples=samples, prepare=prepare, fit=function, settings=settings)
        )
    return methods


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
