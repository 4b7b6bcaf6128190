"""Functional connectivity of parcel series: correlations, shrunk covariance, tangent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
LARGEST_CORRELATION = 1 - 1e-6
"""Two parcels with one series would be infinitely alike after Fisher's transform."""


def correlations(series: npt.NDArray[np.floating]) -> Float32Array:
    """(P (P - 1) / 2,) Pearson's correlations of (T, P) series: upper triangle by rows.

    NaN where a parcel is missing or constant.
    """
    with np.errstate(invalid="ignore"):
        matrix = np.asarray(np.corrcoef(series, rowvar=False), np.float32)
    return matrix[np.triu_indices(len(matrix), k=1)]


def fisher_z(correlations: Float32Array) -> Float32Array:
    """Transform correlations (...) of any shape to Fisher's z."""
    return np.arctanh(np.clip(correlations, -LARGEST_CORRELATION, LARGEST_CORRELATION))


def shrunk_covariance(series: npt.NDArray[np.floating]) -> Array:
    """(P, P) covariance of (T, P) series, shrunk towards the identity (Ledoit and Wolf 2004)."""
    from sklearn.covariance import ledoit_wolf

    return np.asarray(ledoit_wolf(series.astype(np.float64))[0])


def tangent_vectors(covariances: Iterable[Array], whitening: Array) -> Array:
    """(R, P (P + 1) / 2) deviations of R covariances (P, P) from a reference, in tangent space.

    Parameters
    ----------
    covariances
        Symmetric and positive definite.
    whitening
        (P, P) inverse square root of the reference.

    Returns
    -------
    Logarithms of the whitened matrices, lower triangle by rows. Off-diagonal entries stand for
    two and are multiplied by the square root of 2, so that distances are those of the matrices.
    """
    rows, columns = np.tril_indices(len(whitening))
    weight = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return np.stack(
        [
            weight * of_eigenvalues(np.log, whitening @ c @ whitening)[rows, columns]
            for c in covariances
        ]
    )


def inverse_root(values: Array) -> Array:
    """Return 1 / sqrt (n,); of the eigenvalues of a covariance it makes what whitens."""
    return 1 / np.sqrt(values)


def of_eigenvalues(function: Callable[[Array], Array], matrix: Array) -> Array:
    """Apply a function to a symmetric matrix (P, P), that is to its eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * function(values)) @ vectors.T)
