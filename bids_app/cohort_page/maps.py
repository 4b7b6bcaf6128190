"""Maps of embeddings: many numbers of each scan drawn on a plane."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bids_app.errors import OptionsError

if TYPE_CHECKING:
    from bids_app.cohort_page.similarity import Float32Array, FloatArray

N_COMPONENTS = 4
LEAST_SCANS = 3
"""Fewer lie on a line whatever they are."""
LEAST_OF_UMAP = 10
SEED = 0


class Map(NamedTuple):
    """Where the scans lie."""

    points: FloatArray
    """(n, components)"""
    shares: FloatArray
    """(components,) share of the variance; empty where there is none to speak of"""


def pca(rows: Float32Array) -> Map | None:
    """Project (n, F) centred rows on their main axes; None for fewer than `LEAST_SCANS`.

    The rows are the caller's no more: they are worked on in place.
    """
    if len(rows) < LEAST_SCANS or not np.any(rows):
        return None
    from sklearn.decomposition import PCA

    n_components = min(N_COMPONENTS, len(rows) - 1, rows.shape[1])
    solver = "full" if min(rows.shape) <= 500 else "randomized"
    fitted = PCA(n_components, svd_solver=solver, copy=False, random_state=SEED)
    points = fitted.fit_transform(rows)
    return Map(points, np.asarray(fitted.explained_variance_ratio_))


def umap(rows: Float32Array) -> Map | None:
    """Lay (n, F) unit rows out by UMAP, by cosine; None for fewer than `LEAST_OF_UMAP`.

    Raises
    ------
    OptionsError
        It is not installed, or cannot be imported.
    """
    umap_class = _umap_class()
    if len(rows) < LEAST_OF_UMAP:
        return None
    with warnings.catch_warnings():
        # That a seed means one thread, among others.
        warnings.simplefilter("ignore")
        n_neighbors = min(15, len(rows) - 1)
        fitted = umap_class(n_neighbors=n_neighbors, metric="cosine", random_state=SEED, n_jobs=1)
        return Map(np.asarray(fitted.fit_transform(rows)), np.empty(0))


def refuse_without_umap() -> None:
    """Refuse a map by UMAP, which is an extra, before anything is done for it.

    Raises
    ------
    OptionsError
        It is not installed, or cannot be imported.
    """
    _umap_class()


def _umap_class() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            from umap import UMAP
    except ImportError as err:
        raise OptionsError(
            f"--umap needs the library umap-learn ({err}).",
            hint="In the checkout: pip install '.[umap]'. Or leave --umap out: the page has PCA "
            "without.",
        ) from err
    return UMAP
