"""Numbers that the report draws and no table holds: connectivity, likeness of tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.networks import NETWORKS, network_columns

FloatArray = npt.NDArray[np.floating]


def thin(values: FloatArray, *, most: int) -> tuple[FloatArray, int]:
    """Average successive frames of (T, P) until at most `most` are left; tell how many each."""
    step = int(np.ceil(values.shape[0] / most))
    if step == 1:
        return values, 1
    starts = np.arange(0, values.shape[0], step)
    counts = np.diff(starts, append=values.shape[0])
    return np.add.reduceat(values, starts, axis=0) / counts[:, None], step


def correlation(values: FloatArray) -> npt.NDArray[np.float64]:
    """Correlate the columns of (S, P); rows and columns of missing parcels are NaN."""
    present = np.flatnonzero(~np.isnan(values).any(axis=0))
    matrix = np.full((values.shape[1], values.shape[1]), np.nan)
    matrix[np.ix_(present, present)] = np.corrcoef(values[:, present].astype(float), rowvar=False)
    return matrix


def network_means(matrix: FloatArray) -> npt.NDArray[np.float64]:
    """Average (P, P) over pairs of different parcels: (N, N), NaN where there is none."""
    pairs = np.where(np.eye(matrix.shape[0], dtype=bool), np.nan, matrix)
    members = np.zeros((len(NETWORKS), matrix.shape[0]))
    for row, network in enumerate(NETWORKS):
        members[row, network_columns(network)] = 1
    total = members @ np.nan_to_num(pairs) @ members.T
    count = members @ np.isfinite(pairs).astype(float) @ members.T
    means: npt.NDArray[np.float64] = np.full_like(total, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def window_similarity(tokens: FloatArray) -> npt.NDArray[np.float64]:
    """Compare windows by the cosine between their networks' mean tokens, joined.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data. A network that lacks tokens in a whole
        window does not enter.

    Returns
    -------
    (W, W)
    """
    count, means = _token_means(tokens, axis=2)
    common = (count > 0).all(axis=0).ravel()
    vectors = means[:, common].reshape(tokens.shape[0], -1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def token_distance(tokens: FloatArray) -> npt.NDArray[np.float64]:
    """Compare each token with the mean of its network's tokens in the scan.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data.

    Returns
    -------
    (W, N, K) one minus cosine; NaN where a token saw no data.
    """
    _, means = _token_means(tokens, axis=(0, 2))
    product = np.einsum("wnkd,nd->wnk", tokens, means)
    lengths = np.linalg.norm(tokens, axis=3) * np.linalg.norm(means, axis=1)[:, None]
    distance: npt.NDArray[np.float64] = np.full(product.shape, np.nan)
    np.divide(product, lengths, out=distance, where=lengths > 0)
    return 1 - distance


def norm_range(tokens: FloatArray) -> tuple[float, float]:
    """Return the smallest and the largest norm of (W, N, K, D) tokens that saw data."""
    norms = np.linalg.norm(tokens, axis=3)
    return float(np.nanmin(norms)), float(np.nanmax(norms))


def _token_means(
    tokens: FloatArray, *, axis: int | tuple[int, ...]
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.float64]]:
    """Count and average the tokens that saw data; zero where there is none."""
    valid = np.isfinite(tokens).all(axis=3, keepdims=True)
    count = valid.sum(axis=axis)
    total = np.where(valid, tokens, 0).sum(axis=axis, dtype=np.float64)
    return count, total / np.maximum(count, 1)
