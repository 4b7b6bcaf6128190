"""Maps of embeddings: many numbers of each scan drawn on a plane."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

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
    """Project (n, F) centred rows on their main axes; None for fewer than `LEAST_SCANS`."""
    if len(rows) < LEAST_SCANS or not np.any(rows):
        return None
    from sklearn.decomposition import PCA

    n_components = min(N_COMPONENTS, len(rows) - 1, rows.shape[1])
    solver = "full" if min(rows.shape) <= 500 else "randomized"
    fitted = PCA(n_components, svd_solver=solver, random_state=SEED)
    points = fitted.fit_transform(rows)
    return Map(points, np.asarray(fitted.explained_variance_ratio_))


def umap(rows: Float32Array) -> Map | None:
    """Lay (n, F) unit rows out by UMAP, by cosine; None for fewer than `LEAST_OF_UMAP`.

    Raises
    ------
    OptionsError
        It is not installed.
    """
    refuse_without_umap()
    if len(rows) < LEAST_OF_UMAP:
        return None
    with warnings.catch_warnings():
        # Of its own dependencies, and that a seed means one thread.
        warnings.simplefilter("ignore")
        from umap import UMAP

        n_neighbors = min(15, len(rows) - 1)
        fitted = UMAP(n_neighbors=n_neighbors, metric="cosine", random_state=SEED, n_jobs=1)
        return Map(np.asarray(fitted.fit_transform(rows)), np.empty(0))


def refuse_without_umap() -> None:
    """Say that UMAP is an extra, where it is not installed.

    Raises
    ------
    OptionsError
        It is not.
    """
    from importlib.util import find_spec

    if find_spec("umap") is None:
        raise OptionsError(
            "--umap: the package umap-learn is not installed.",
            hint="pip install 'semantoks[umap]', or leave --umap out: the page has PCA without.",
        )
