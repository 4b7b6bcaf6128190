"""Functional connectivity of parcel series: correlations, shrunk covariance, tangent space."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

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


class TangentSpace:
    """Deviations of covariances from their geometric mean, by nilearn's `ConnectivityMeasure`.

    Parameters
    ----------
    covariances
        (R, P, P) symmetric and positive definite: what the mean is of.

    Notes
    -----
    Varoquaux et al., MICCAI 2010. The mean takes up to 30 steps of one eigendecomposition per
    covariance each.
    """

    def __init__(self, covariances: Iterable[Array]) -> None:
        # Here, for the import takes longer than most commands.
        from nilearn.connectome import ConnectivityMeasure

        measure = ConnectivityMeasure(_AsGiven(), kind="tangent", vectorize=True)
        with warnings.catch_warnings():
            # A reference near the mean serves as well; the tolerance is of exactness.
            warnings.filterwarnings("ignore", "Maximum number of iterations")
            self._measure = measure.fit(list(covariances))

    def vectors(self, covariances: Iterable[Array]) -> Array:
        """Describe covariances (R, P, P) by their deviations (R, P (P + 1) / 2) from the mean.

        Returns
        -------
        Logarithms of the whitened covariances, lower triangle by rows. The diagonal is divided by
        the square root of 2, so that distances are those of the matrices, but for that factor.
        """
        # nilearn refuses a single covariance: the mean stands beside it and is dropped again.
        return np.asarray(self._measure.transform([*covariances, self._measure.mean_])[:-1])


class _AsGiven:
    """Stands for nilearn's estimator of covariances where they are estimated already."""

    covariance_: Array

    def __sklearn_clone__(self) -> _AsGiven:
        return self

    def fit(self, covariance: Array) -> _AsGiven:
        self.covariance_ = covariance
        return self
