"""Functional connectivity of parcel series: correlations, shrunk covariance, tangent space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
LARGEST_CORRELATION = 1 - 1e-6
"""Two parcels with one series would be infinitely alike after Fisher's transform."""
TOLERANCE, MOST_STEPS = 1e-8, 100
"""Of a geometric mean: norm of the mean logarithm by its P² entries; when to give up"""


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


class TangentSpace:
    """Deviations of covariances from their geometric mean (Varoquaux et al., MICCAI 2010).

    Parameters
    ----------
    covariances
        (R, P, P) symmetric and positive definite: what the mean is of.

    Raises
    ------
    numpy.linalg.LinAlgError
        One is not positive definite.
    ArithmeticError
        The mean is not found.

    Notes
    -----
    The space is that of nilearn's `ConnectivityMeasure`, which seeks the mean with a fixed step
    and gives up before it is there: with 457 parcels, 30 steps come to a gradient that these
    steps reach in five.
    """

    def __init__(self, covariances: Iterable[Array]) -> None:
        with _one_thread():
            values, vectors = np.linalg.eigh(geometric_mean(list(covariances)))
            self._whiten: Array = (vectors / np.sqrt(values)) @ vectors.T

    def vectors(self, covariances: Iterable[Array]) -> Array:
        """Describe covariances (R, P, P) by their deviations (R, P (P + 1) / 2) from the mean.

        Returns
        -------
        Logarithms of the whitened covariances, lower triangle by rows. The diagonal is divided by
        the square root of 2, so that distances are those of the matrices, but for that factor.
        """
        rows, columns = np.tril_indices(len(self._whiten))
        weight = np.where(rows == columns, np.sqrt(0.5), 1.0)
        with _one_thread():
            found = [_log(self._whiten @ one @ self._whiten)[rows, columns] for one in covariances]
        return np.array(found) * weight


def geometric_mean(covariances: Sequence[Array]) -> Array:
    """(P, P) matrix to which covariances (R, P, P) have the smallest squared distances.

    Distance is the norm of the logarithm of the one whitened by the other. Each step follows
    the mean of the logarithms; its length is what the change of that mean over the last step
    tells of the curvature (Barzilai and Borwein 1988), which is never below 1 here.

    Raises
    ------
    numpy.linalg.LinAlgError
        One is not positive definite.
    ArithmeticError
        The mean is not found.
    """
    root = np.linalg.cholesky(np.mean(covariances, axis=0))  # the mean is root @ root.T
    whiten = np.linalg.inv(root)
    step = 1.0
    before: Array | None = None
    for _ in range(MOST_STEPS):
        gradient = np.zeros_like(root)
        for one in covariances:
            gradient += _log(whiten @ one @ whiten.T) / len(covariances)
        if np.linalg.norm(gradient) / gradient.size < TOLERANCE:
            return np.asarray(root @ root.T)
        if before is not None:
            curvature = np.sum(before * (before - gradient)) / (step * np.sum(before**2))
            step = 1 / max(float(curvature), 1.0)
        values, vectors = np.linalg.eigh(gradient)
        half = np.exp(step * values / 2)
        root = root @ (vectors * half) @ vectors.T
        whiten = (vectors / half) @ vectors.T @ whiten
        before = gradient
    raise ArithmeticError(
        f"{len(covariances)} covariances: no geometric mean after {MOST_STEPS} steps."
    )


def _log(matrix: Array) -> Array:
    """(P, P) logarithm of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] <= 0:
        raise np.linalg.LinAlgError("a covariance is not positive definite")
    return np.asarray((vectors * np.log(values)) @ vectors.T)


def _one_thread() -> threadpool_limits:
    """Keep matrix products to one thread: several wait for each other longer than they compute."""
    return threadpool_limits(1, user_api="blas")
