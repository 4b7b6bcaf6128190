"""Connectivity in tangent space: deviations from the training subjects' geometric mean.

Formulas: Varoquaux et al., MICCAI 2010, and the gradient descent of Fletcher and Joshi (2007),
with the same steps and stops as nilearn's `ConnectivityMeasure`, which the tests compare with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.probing.samples import Learned
from model.statistics.connectivity import inverse_root, of_eigenvalues, tangent_vectors

if TYPE_CHECKING:
    from model.probing.samples import FloatArray, Samples

Matrix = npt.NDArray[np.float64]

MAX_STEPS = 30
TOLERANCE = 1e-7
"""Of the gradient's norm per element."""


def learn_tangent(train: Samples) -> Learned:
    """Learn the reference from training covariances (S, P, P).

    Returns
    -------
    What maps covariances (S, P, P) to (S, P (P + 1) / 2) deviations: lower triangle by rows,
    off-diagonal times the square root of 2, so that distances are kept.
    """
    whitening = of_eigenvalues(inverse_root, geometric_mean(train.values.astype(float)))

    def apply(covariances: FloatArray) -> FloatArray:
        return tangent_vectors(covariances.astype(float), whitening).astype(np.float32)

    return Learned(apply=apply, seen=frozenset(train.subjects))


def geometric_mean(matrices: Matrix) -> Matrix:
    """Return the (P, P) matrix with the smallest squared distances to (S, P, P) matrices."""
    mean: Matrix = matrices.mean(axis=0)
    step, smallest = 1.0, np.inf
    for _ in range(MAX_STEPS):
        root = of_eigenvalues(np.sqrt, mean)
        whitening = of_eigenvalues(inverse_root, mean)
        gradient = np.zeros_like(mean)
        for matrix in matrices:
            gradient += of_eigenvalues(np.log, whitening @ matrix @ whitening) / len(matrices)
        norm = float(np.linalg.norm(gradient))
        mean = root @ of_eigenvalues(np.exp, step * gradient) @ root
        if norm < smallest:
            smallest = norm
        else:
            step /= 2
        if norm / mean.size < TOLERANCE:
            break
    return mean
