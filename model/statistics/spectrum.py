"""How many directions a set of vectors uses: RankMe, alpha-ReQ, LiDAR."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
EPSILON = 1e-7
RIDGE = 1e-4
"""Share of the mean within-scan variance that is added to it in every direction."""


def rankme(rows: Array) -> float:
    """Effective rank of (R, D) vectors: exp of the entropy of singular values (Garrido 2023)."""
    return _effective_rank(_singular_values(rows))


def alpha_req(rows: Array) -> float:
    """Exponent a of the covariance spectrum, eigenvalue k ~ k ** -a (Agrawal 2022).

    By least squares in logarithms over the eigenvalues above 1e-6 of the largest.
    """
    eigenvalues = _singular_values(rows - rows.mean(axis=0)) ** 2
    eigenvalues = eigenvalues[eigenvalues > 1e-6 * eigenvalues[0]]
    if len(eigenvalues) < 3:
        return float("nan")
    slope = np.polyfit(np.log(np.arange(len(eigenvalues)) + 1), np.log(eigenvalues), 1)[0]
    return float(-slope)


def lidar(windows: Array) -> float:
    """Effective rank of what tells scans apart, in units of what varies within (Thilak 2024).

    Parameters
    ----------
    windows
        (N, W, D) vectors of W windows of N scans.
    """
    means = windows.mean(axis=1)
    within = (windows - means[:, None]).reshape(-1, windows.shape[2])
    within_covariance = within.T @ within / max(len(windows) * (windows.shape[1] - 1), 1)
    ridge = RIDGE * np.trace(within_covariance) / len(within_covariance)
    values, vectors = np.linalg.eigh(within_covariance)
    whitened = (means - means.mean(axis=0)) @ vectors / np.sqrt(np.maximum(values, 0) + ridge)
    return _effective_rank(_singular_values(whitened) ** 2)


def _singular_values(rows: Array) -> Array:
    """Singular values, largest first, from the smaller of the two Gram matrices."""
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[::-1], 0)))


def _effective_rank(values: Array) -> float:
    share = values / max(values.sum(), EPSILON) + EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))
