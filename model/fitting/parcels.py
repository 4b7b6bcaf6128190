"""Whitening of parcels: the mean covariance of people, taken out by a tokenizer's first weights.

What a tangent space does to connectivity, done to the series: what all people share is divided
out before parcels are mixed, and what is left is what tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from model.errors import ConfigError, some
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from model.encoder import Encoder
    from model.fitting.data import FitCohort, FitData
    from model.tokenizer import NetworkTokenizer

    Float64Array = npt.NDArray[np.float64]


@torch.no_grad()
def whiten_parcels(encoder: Encoder, data: FitData) -> None:
    """Let the tokenizers that ``fit.parcels`` names, in place, see whitened parcels.

    Their parcels' series x (n,) become ``P x`` with ``P = ((1 - s) C + s I) ** -1/2``, where C
    is their mean correlation in people and s ``fit.parcels_shrinkage``. It goes into the weights
    that mix parcels, for filtering and mixing can change places where all parcels are filtered
    alike: the architecture stays as it is.

    Raises
    ------
    ConfigError
        There is no such group or row, or a tokenizer filters parcels in different ways.
    """
    covariance = mean_correlation(data)
    for tokenizer, columns in _rows(encoder, data.config.parcels):
        root = inverse_root(
            covariance[np.ix_(columns, columns)], shrinkage=data.config.parcels_shrinkage
        )
        fold(tokenizer, torch.from_numpy(root))


def _rows(
    encoder: Encoder, names: Sequence[str]
) -> Iterator[tuple[NetworkTokenizer, tuple[int, ...]]]:
    """Yield the tokenizers and the parcels of the rows that are named, singly or by group."""
    groups = encoder.spec.groups
    known = {name for group in groups for name in (group.name, *group.rows)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"fit.parcels: no such group or row: {some(unknown)}.",
            hint=f"The encoder has {some(list(encoder.spec.rows))}.",
        )
    tokenizers = iter(cast("Iterable[NetworkTokenizer]", encoder.tokenizers))
    for group in groups:
        for row, tokenizer in zip(group.rows, tokenizers, strict=False):
            if {group.name, row} & set(names):
                yield tokenizer, group.parcels


@torch.no_grad()
def fold(tokenizer: NetworkTokenizer, matrix: Tensor) -> None:
    """Give a tokenizer, in place, weights that mix ``matrix @ x`` instead of parcels x.

    Parameters
    ----------
    matrix
        (n, n)

    Raises
    ------
    ConfigError
        It filters parcels in different ways: mixing before is not mixing after it.
    """
    foldable = {"dense", "structured"}
    if not foldable >= set(tokenizer.branches) or not _filters_alike(tokenizer):
        raise ConfigError(
            "a tokenizer filters its parcels in different ways, so that they cannot be whitened "
            "by its weights.",
            hint='run.init = "high-pass" filters all alike in dense and structured convolutions.',
        )
    if "dense" in tokenizer.branches:
        dense = tokenizer.dense.weight
        dense.copy_(torch.einsum("opk,pq->oqk", dense.double(), matrix))
    if "structured" in tokenizer.branches:  # its features are parcels by heads
        mixing = tokenizer.structured.projection.weight
        by_parcel = mixing.double().view(len(mixing), len(matrix), -1)
        mixing.copy_(torch.einsum("oph,pq->oqh", by_parcel, matrix).flatten(1))


def _filters_alike(tokenizer: NetworkTokenizer) -> bool:
    """Tell whether the structured convolution, if any, filters all parcels in one way."""
    if "structured" not in tokenizer.branches:
        return True
    conv = tokenizer.structured
    filters = [*conv.kernels, conv.skip, conv.kernel_norm]
    return all(torch.equal(f, f[:, :1].expand_as(f)) for f in filters)


def inverse_root(covariance: Float64Array, *, shrinkage: float) -> Float64Array:
    """(n, n) symmetric inverse square root of a covariance shrunk towards the identity.

    Negative variances, which an average over scans of unlike coverage may have, count as none.
    """
    variance, directions = np.linalg.eigh(covariance)
    shrunk = (1 - shrinkage) * variance.clip(min=0) + shrinkage
    if shrunk.min() <= 0:
        raise ConfigError("fit.parcels_shrinkage 0 leaves directions of parcels without variance.")
    return np.asarray((directions / np.sqrt(shrunk)) @ directions.T)


def mean_correlation(data: FitData) -> Float64Array:
    """Average the correlation of parcels over scans, cohorts weighing as ``fit.weigh`` says.

    Returns
    -------
    (P, P). The simulator's stands among parcels that no stored scan has, and
    zero between those and the others, and between any two that no scan has together.
    """
    by_windows = data.config.weigh == "windows"
    total, weight = _zeros(), _zeros()
    for cohort in data.cohorts:
        correlation, n_frames = _cohort_correlation(cohort)
        weighs = n_frames if by_windows else (n_frames > 0).astype(np.float64)
        total += weighs * correlation
        weight += weighs
    real = total / np.where(weight, weight, 1)
    has = weight.diagonal() > 0
    share = np.where(np.outer(has, has), data.config.simulated, np.equal.outer(has, has))
    if share.any():
        real = (1 - share) * real + share * _simulated_correlation(data)
    np.fill_diagonal(real, 1.0)
    return real


def _zeros() -> Float64Array:
    return np.zeros((len(parcel_names()), len(parcel_names())))


def _cohort_correlation(cohort: FitCohort) -> tuple[Float64Array, Float64Array]:
    """(P, P) mean correlation over a cohort's scans, by length, and (P, P) frames it is of."""
    total, n_frames = _zeros(), _zeros()
    for scan in cohort.scans:
        values = cohort.shards.read(scan).astype(np.float64)
        there = np.flatnonzero(~np.isnan(values[0]))
        block = np.ix_(there, there)
        total[block] += len(values) * np.corrcoef(values[:, there].T)
        n_frames[block] += len(values)
    return total / np.where(n_frames, n_frames, 1), n_frames


def _simulated_correlation(data: FitData) -> Float64Array:
    """(P, P) mean correlation over simulated scans."""
    total, n_scans = _zeros(), 0
    for scans in data.populations():
        for values in scans.double().numpy():
            total += np.corrcoef(values)
            n_scans += 1
    return total / n_scans
