"""What tokenizers mix at first: parcels, whitened ones, or components of the whole brain.

A random mixture's variance is a sketch of connectivity. What it is a sketch of follows from what
is mixed: parcels whitened by the mean correlation of people, as a tangent space does, show what
tells people apart; the large components show what brains do.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from model.errors import ConfigError
from model.fitting.settings import mixture_of_rows
from model.networks import N_CORTEX, parcel_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from model.encoder import Encoder
    from model.fitting.data import FitCohort, FitData
    from model.fitting.settings import Mixture
    from model.partition.groups import Group
    from model.tokenizer import NetworkTokenizer, StructuredConv

    Float64Array = npt.NDArray[np.float64]

COMPONENT_POWER = 0.25
"""Of a component's variance, by which it is divided: half-way, on the scale of logarithms, between
components as they are and all of variance 1."""


@torch.no_grad()
def mix_parcels(encoder: Encoder, data: FitData) -> None:
    """Let tokenizers, in place, mix what ``fit.mixtures`` names.

    It goes into the weights that mix parcels, for filtering and mixing can change places where
    all parcels are filtered alike: the architecture stays as it is.

    Raises
    ------
    ConfigError
        There is no such group or row.
    """
    correlation = mean_correlation(data)
    groups = encoder.spec.groups
    own = cache(
        lambda group, mixture: directions(
            _block(correlation, group),
            mixture,
            seen=_contrasts(group) if mixture.contrasts else None,
        )
    )
    rows = [group for group in groups for _ in group.rows]
    tokenizers = cast("Iterable[NetworkTokenizer]", encoder.tokenizers)
    named = mixture_of_rows(groups, data.config.mixtures)
    for tokenizer, group, mixture in zip(tokenizers, rows, named, strict=True):
        if mixture is not None:
            mix(tokenizer.structured, [torch.from_numpy(m) for m in own(group, mixture)])


def _block(correlation: Float64Array, group: Group) -> Float64Array:
    return correlation[np.ix_(group.parcels, group.parcels)]


def _contrasts(group: Group) -> Float64Array:
    """(n, n - 1 or n - 2) orthonormal weights that sum to zero over cortex, and over all else.

    Over each, for scans without subcortex and cerebellum are common.
    """
    cortical = np.array(group.parcels) < N_CORTEX
    parts = [part for part in (cortical, ~cortical) if part.any()]
    if alone := [group.parcels[part.argmax()] for part in parts if part.sum() == 1]:
        name = parcel_names()[alone[0]]
        raise ConfigError(
            f"fit.mixtures: {group.name} has nothing to contrast {name} with: a weight that sums "
            "to zero by itself is zero, and the parcel would never be seen.",
            hint="Weights sum to zero over cortex, and over all else. Leave contrasts away for "
            "the group, or the parcel.",
        )
    sums = np.stack([part / np.sqrt(part.sum()) for part in parts])
    _, along = np.linalg.eigh(np.eye(len(cortical)) - sums.T @ sums)
    return np.asarray(along[:, len(sums) :])


def directions(
    correlation: Float64Array, mixture: Mixture, *, seen: Float64Array | None = None
) -> list[Float64Array]:
    """Return for each kind of a mixture the directions (n, r) that are mixed.

    A mixture of them with r coefficients of mean square 1 / r has, on average, the variance 1.

    Parameters
    ----------
    correlation
        (n, n)
    mixture
        What is mixed.
    seen
        (n, m) orthonormal directions in which all of it lies; None: no limit.
    """
    space = np.eye(len(correlation)) if seen is None else seen
    variance, along = np.linalg.eigh(space.T @ correlation @ space)
    s, n_components = mixture.shrinkage or 0.0, mixture.n_components or 0
    # An average over scans of unlike coverage may have negative variances: they count as none.
    shrunk = (1 - s) * variance.clip(min=0) + s
    # Fewer frames than parcels leave directions in which nothing but rounding varies.
    n_there = int((variance > np.finfo(float).eps * len(variance) * variance[-1]).sum())
    if "whitened" in mixture.of and not s and n_there < len(variance):
        raise ConfigError("shrinkage 0 leaves directions of parcels without variance.")
    if n_components > n_there:
        raise ConfigError(f"expected {n_components} components, found {n_there} among parcels.")
    large = slice(len(variance) - n_components, None)
    made = {
        "parcels": np.eye(len(variance)),
        "whitened": along / np.sqrt(np.where(shrunk > 0, shrunk, 1.0)),
        "components": along[:, large] / variance[large] ** COMPONENT_POWER,
    }
    found = [space @ made[kind] for kind in mixture.of]
    return [m * np.sqrt(m.shape[1] / np.trace(m.T @ correlation @ m)) for m in found]


@torch.no_grad()
def mix(conv: StructuredConv, directions: Sequence[Tensor]) -> None:
    """Give a convolution, in place, random mixtures of directions in place of those of parcels.

    Its random weights are taken over, made orthogonal as far as there are dimensions: mixtures
    alike tell the same, and how well a sketch comes out depends less on the draw.

    Parameters
    ----------
    conv
        All its heads filter all parcels alike, as first weights that pass no constant do.
    directions
        (n, r), each for an equal part of the channels.

    Raises
    ------
    ConfigError
        There are fewer channels.
    """
    heads, n_parcels = conv.skip.shape
    weight = conv.projection.weight.view(-1, n_parcels, heads)
    if len(weight) < len(directions):
        raise ConfigError(f"{len(weight)} channels cannot mix {len(directions)} kinds.")
    for part, along in zip(torch.tensor_split(weight, len(directions)), directions, strict=True):
        drawn = part.double().sum(dim=-1) @ along
        pieces = torch.split(drawn, along.shape[1])
        rows = [torch.linalg.qr(piece.T).Q.T for piece in pieces]
        part.copy_((torch.cat(rows) @ along.T)[..., None] / heads)


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
