"""Baselines that any embedding must stand beside: functional connectivity of the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.networks import parcels

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
LARGEST_CORRELATION = 1 - 1e-6
"""Two parcels with one series would be infinitely alike after Fisher's transform."""
PEARSON, FISHER, WITHIN, TANGENT = (
    "FC Pearson",
    "FC Fisher-z",
    "FC within networks",
    "FC tangent",
)


def connectivity(pieces: Sequence[npt.NDArray[np.floating]]) -> dict[str, Float32Array]:
    """Describe every piece of data by its connectivity.

    Parameters
    ----------
    pieces
        (T, P) series, NaN where a parcel is missing. Parcels that any piece lacks, or that are
        constant in one, are left out of all.

    Returns
    -------
    (R, edges) by kind: Pearson's correlations; Fisher's z of them; the same within networks
    only; and the tangent space at the mean covariance (shrunk after Ledoit and Wolf).
    """
    present = np.all([piece.std(axis=0) > 0 for piece in pieces], axis=0)
    series = [np.asarray(piece[:, present], dtype=np.float64) for piece in pieces]
    network = np.array([parcel.network for parcel in parcels()])[present]
    upper = np.triu_indices(present.sum(), 1)
    same = network[upper[0]] == network[upper[1]]
    pearson = np.stack([np.asarray(np.corrcoef(x.T), np.float32)[upper] for x in series])
    fisher = np.arctanh(np.clip(pearson, -LARGEST_CORRELATION, LARGEST_CORRELATION))
    found = {
        PEARSON: pearson,
        FISHER: fisher,
        WITHIN: fisher[:, same],
        TANGENT: tangent([shrunk_covariance(x) for x in series]),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def shrunk_covariance(series: Array) -> Array:
    """(P, P) correlation of (T, P) series, shrunk towards the identity (Ledoit and Wolf 2004)."""
    z = series - series.mean(axis=0)
    z /= np.sqrt((z**2).mean(axis=0))
    n_samples, n_parcels = z.shape
    sample = z.T @ z / n_samples
    target = np.trace(sample) / n_parcels
    distance = (sample**2).sum() - n_parcels * target**2
    # Mean squared distance of single frames' covariances to their mean, over the frames.
    spread = ((z**2).sum(axis=1) ** 2).sum() / n_samples**2 - (sample**2).sum() / n_samples
    share = min(max(spread / distance, 0.0), 1.0) if distance > 0 else 1.0
    return np.asarray((1 - share) * sample + share * target * np.eye(n_parcels))


def tangent(covariances: Sequence[Array]) -> Array:
    """(R, P (P + 1) / 2) logarithms of covariances, whitened by their arithmetic mean.

    The reference is taken over all pieces given, without labels.
    """
    values, vectors = np.linalg.eigh(np.mean(covariances, axis=0))
    whitener = (vectors / np.sqrt(values)) @ vectors.T
    rows, columns = np.triu_indices(len(whitener))
    # Off-diagonal entries stand for two, so that the distance is that of the matrices.
    scale = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return np.stack(
        [scale * _logarithm(whitener @ c @ whitener)[rows, columns] for c in covariances]
    )


def _logarithm(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.log(np.maximum(values, 1e-12))) @ vectors.T)
