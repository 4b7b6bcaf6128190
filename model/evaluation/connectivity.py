"""Baselines that any embedding must stand beside: functional connectivity of the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.networks import parcels
from model.statistics.connectivity import (
    correlations,
    fisher_z,
    inverse_root,
    of_eigenvalues,
    shrunk_covariance,
    tangent_vectors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
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
    rows, columns = np.triu_indices(present.sum(), 1)
    same = network[rows] == network[columns]
    pearson = np.stack([correlations(x) for x in series])
    fisher = fisher_z(pearson)
    found: dict[str, Array | Float32Array] = {
        PEARSON: pearson,
        FISHER: fisher,
        WITHIN: fisher[:, same],
        TANGENT: tangent([shrunk_covariance(_standardised(x)) for x in series]),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def tangent(covariances: Sequence[Array]) -> Array:
    """(R, P (P + 1) / 2) vectors in the tangent space at the arithmetic mean of R covariances.

    The reference is taken over all pieces given, without labels.
    """
    return tangent_vectors(covariances, of_eigenvalues(inverse_root, np.mean(covariances, axis=0)))


def _standardised(series: Array) -> Array:
    """(T, P) series with mean 0 and variance 1 over time, so that covariance is correlation."""
    z = series - series.mean(axis=0)
    return np.asarray(z / np.sqrt((z**2).mean(axis=0)))
