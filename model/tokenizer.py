"""One group's parcels, 40 s at a time, to one token: dense and structured convolution, or others.

Written from the description of Brain-Semantoks (arXiv 2512.11582) and of structured global
convolutions (SGConv, arXiv 2210.09298).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.spec import EncoderSpec, Pooling


def make_tokenizers(spec: EncoderSpec) -> nn.ModuleList:
    """Build one for each row of the grid; the linear projection is one for all rows."""
    if spec.branches == ("linear",):
        shared = ParcelProjection(spec)
        return nn.ModuleList(shared for _ in spec.rows)
    return nn.ModuleList(
        NetworkTokenizer(len(group.parcels), spec)
        for group in spec.groups
        for _ in range(group.tokens)
    )


class NetworkTokenizer(nn.Module):
    """Turn patches of one group of parcels, such as a network, into tokens.

    Parameters
    ----------
    n_parcels
        Parcels of the group.
    spec
        Architecture; each of its convolutions makes an equal part of the token, as published
        a dense and a structured one each a half.
    """

    dense: DenseConv
    """Where ``spec.branches`` has one; likewise the next."""
    structured: StructuredConv

    def __init__(self, n_parcels: int, spec: EncoderSpec) -> None:
        super().__init__()
        self.branches, width = spec.branches, spec.dim // len(spec.branches)
        for name in self.branches:
            self.add_module(name, _CONVOLUTIONS[name](n_parcels, width, spec))
        self.pools = nn.ModuleDict({name: Pool(spec.pooling, width) for name in self.branches})
        self.norm = nn.LayerNorm(spec.dim)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches (B, n_parcels, samples) to tokens (B, D); nothing crosses a patch border."""
        parts = [
            self.pools[name](functional.gelu(self.get_submodule(name)(patches)))
            for name in self.branches
        ]
        token: Tensor = self.norm(torch.cat(parts, dim=-1))
        return token


class ParcelProjection(nn.Module):
    """Turn patches of single parcels into tokens by one linear map: an ablation, no filters."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.linear = nn.Linear(spec.patch_samples, spec.dim)
        self.norm = nn.LayerNorm(spec.dim)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches (B, 1, samples) to tokens (B, D)."""
        token: Tensor = self.norm(self.linear(patches[:, 0]))
        return token


class Pool(nn.Module):
    """Sum up the samples of a patch: their mean, maximum, or a mean that learns what counts."""

    def __init__(self, kind: Pooling, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(width, 1) if kind == "attention" else None

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, samples, width) to (B, width)."""
        if self.score is not None:
            share: Tensor = self.score(features).softmax(dim=1)
            return (share * features).sum(dim=1)
        return features.mean(dim=1) if self.kind == "mean" else features.amax(dim=1)


class DenseConv(nn.Conv1d):
    """Convolve all parcels with all, with short kernels."""

    @classmethod
    def of(cls, n_parcels: int, width: int, spec: EncoderSpec) -> DenseConv:
        """Build that of an architecture."""
        return cls(n_parcels, width, spec.dense_kernel)

    def forward(self, patches: Tensor) -> Tensor:
        """Map (B, n_parcels, samples) to (B, samples, width); zeros beyond a patch's ends."""
        (length,) = self.kernel_size
        before, after = (length - 1) // 2, length // 2
        # Padded before the axes turn: torch 2.8 refuses to pad (n_parcels, samples, 0).
        padded = functional.pad(patches, (before, after)).permute(1, 2, 0).contiguous()
        near = padded.unfold(1, length, 1).permute(0, 3, 1, 2).flatten(0, 1)
        return _mix(near, self.weight.flatten(1), self.bias)


class StructuredConv(nn.Module):
    """Convolve every parcel with long smooth kernels of few parameters, then mix parcels.

    A kernel joins pieces of ``sg_kernel`` parameters each, stretched x1, x1, x2, x4, ... and
    weighted ..., 4, 2, 1: fine and strong first, coarse and weak last, which is the prior that
    BOLD is smooth and near in time. It is divided by its own initial norm.

    Parameters
    ----------
    n_parcels
        Parcels of the group.
    width
        Output channels; every parcel gets just enough kernels (heads) to reach it.
    spec
        Architecture.
    """

    kernel_norm: Tensor
    """(heads, n_parcels, 1) L2 norm of the kernels at construction, never trained. A buffer
    that is saved: it cannot be recomputed once the kernels have been trained."""

    def __init__(self, n_parcels: int, width: int, spec: EncoderSpec) -> None:
        super().__init__()
        heads = math.ceil(width / n_parcels)
        self.kernels = nn.ParameterList(
            torch.randn(heads, n_parcels, spec.sg_kernel) for _ in range(spec.sg_scales)
        )
        self.skip = nn.Parameter(torch.randn(heads, n_parcels))
        self.projection = nn.Linear(heads * n_parcels, width)
        with torch.no_grad():
            self.register_buffer("kernel_norm", self._stretched().norm(dim=-1, keepdim=True))

    @torch.no_grad()
    def fix_norm(self) -> None:
        """Take the kernels as they are for the initial ones, by whose norm they are divided."""
        self.kernel_norm.copy_(self._stretched().norm(dim=-1, keepdim=True))

    def taps(self) -> Tensor:
        """Join the scales to kernels (heads, n_parcels, length)."""
        return self._stretched() / self.kernel_norm

    def _stretched(self) -> Tensor:
        """Join the scales to kernels (heads, n_parcels, length), not yet normed."""
        n = len(self.kernels)
        pieces = [
            2 ** (n - 1 - i) * kernel.repeat_interleave(2 ** max(0, i - 1), dim=-1)
            for i, kernel in enumerate(self.kernels)
        ]
        return torch.cat(pieces, dim=-1)

    def forward(self, patches: Tensor) -> Tensor:
        """Map (B, n_parcels, samples) to (B, samples, width); zeros beyond a patch's ends."""
        taps = self.taps().flip(-1)
        taps = taps + functional.pad(self.skip[..., None], around(taps.shape[-1]))
        filtered = _filter(taps, patches)
        return _mix(filtered, self.projection.weight, self.projection.bias)


class DepthwiseConv(nn.Module):
    """Convolve every parcel with kernels of free taps, as long and as many as structured ones.

    An ablation: what `StructuredConv` is without its prior, its norm and its skip.
    """

    def __init__(self, n_parcels: int, width: int, spec: EncoderSpec) -> None:
        super().__init__()
        heads, length = math.ceil(width / n_parcels), spec.structured_length
        bound = length**-0.5
        self.kernels = nn.Parameter(torch.empty(heads, n_parcels, length).uniform_(-bound, bound))
        self.projection = nn.Linear(heads * n_parcels, width)

    def forward(self, patches: Tensor) -> Tensor:
        """Map (B, n_parcels, samples) to (B, samples, width); zeros beyond a patch's ends."""
        filtered = _filter(self.kernels, patches)
        return _mix(filtered, self.projection.weight, self.projection.bias)


_CONVOLUTIONS: dict[str, Callable[[int, int, EncoderSpec], nn.Module]] = {
    "dense": DenseConv.of,
    "structured": StructuredConv,
    "depthwise": DepthwiseConv,
}


def around(length: int) -> tuple[int, int]:
    """Return how many samples a kernel reaches back, and how many ahead."""
    return (length - 1) // 2, length // 2


def _filter(taps: Tensor, patches: Tensor) -> Tensor:
    """Filter each parcel of (B, n, samples) with its kernels (heads, n, length).

    Tap ``i`` weighs the sample ``i - before`` from the present one. Returns
    (n * heads, samples, B).
    """
    # One batched product: on a CPU six times as fast as a grouped convolution.
    n_samples = patches.shape[2]
    before, after = around(taps.shape[-1])
    lags = functional.pad(taps, (n_samples - 1 - before, n_samples - 1 - after))
    matrices = lags.unfold(-1, n_samples, 1).flip(-2)  # heads, parcels, t, s
    filtered = torch.bmm(matrices.transpose(0, 1).flatten(1, 2), patches.permute(1, 2, 0))
    n_filters = taps.shape[0] * taps.shape[1]
    return filtered.view(n_filters, n_samples, len(patches))


def _mix(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map features (n, samples, B) to (B, samples, m) with weights (m, n)."""
    mixed = functional.linear(features.flatten(1).T, weight, bias)
    return mixed.view(*features.shape[1:], len(weight)).transpose(0, 1)
