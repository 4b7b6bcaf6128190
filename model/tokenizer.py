"""One group's parcels, 40 s at a time, to one token: dense and structured convolution.

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
    from model.spec import EncoderSpec


class NetworkTokenizer(nn.Module):
    """Turn patches of one group of parcels, such as a network, into tokens.

    Parameters
    ----------
    n_parcels
        Parcels of the group.
    spec
        Architecture; each of the two convolutions makes half of the token.
    """

    def __init__(self, n_parcels: int, spec: EncoderSpec) -> None:
        super().__init__()
        half = spec.dim // 2
        self.dense = DenseConv(n_parcels, half, spec.dense_kernel)
        self.structured = StructuredConv(n_parcels, half, spec)
        self.norm = nn.LayerNorm(spec.dim)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches (B, n_parcels, samples) to tokens (B, D); nothing crosses a patch border."""
        convolutions = (self.dense, self.structured)
        halves = [functional.gelu(conv(patches)).mean(dim=1) for conv in convolutions]
        token: Tensor = self.norm(torch.cat(halves, dim=-1))
        return token


class DenseConv(nn.Conv1d):
    """Convolve all parcels with all, with short kernels."""

    def forward(self, patches: Tensor) -> Tensor:
        """Map (B, n_parcels, samples) to (B, samples, width); zeros beyond a patch's ends."""
        (length,) = self.kernel_size
        before, after = (length - 1) // 2, length // 2
        padded = functional.pad(patches.permute(1, 2, 0), (0, 0, before, after))
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
        # One batched product: on a CPU six times as fast as a grouped convolution.
        n_samples = patches.shape[2]
        matrices = self._matrices(self._stretched() / self.kernel_norm, n_samples)
        filtered = torch.bmm(matrices, patches.permute(1, 2, 0))
        filtered = filtered.view(self.projection.in_features, n_samples, len(patches))
        return _mix(filtered, self.projection.weight, self.projection.bias)

    def _matrices(self, taps: Tensor, n: int) -> Tensor:
        """Return (n_parcels, heads * n, n): what a sample s adds to sample t of each head.

        That is the kernel's tap ``s - t + before``, zero where there is none.
        """
        taps = taps.flip(-1)
        before, after = (taps.shape[-1] - 1) // 2, taps.shape[-1] // 2
        taps = taps + functional.pad(self.skip[..., None], (before, after))
        lags = functional.pad(taps, (n - 1 - before, n - 1 - after))
        matrices = lags.unfold(-1, n, 1).flip(-2)  # heads, parcels, t, s
        return matrices.transpose(0, 1).flatten(1, 2)


def _mix(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map features (n, samples, B) to (B, samples, m) with weights (m, n)."""
    mixed = functional.linear(features.flatten(1).T, weight, bias)
    return mixed.view(*features.shape[1:], len(weight)).transpose(0, 1)
