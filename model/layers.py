"""The transformer's parts: attention, MLP, scaled residual branches, one block of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.spec import EncoderSpec

_WINDOWS_IN_CACHE = 8
"""Windows whose widened tokens a CPU's caches hold."""


class Attention(nn.Module):
    """Multi-head self-attention over all tokens of a window; queries and keys without bias."""

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, *, first: int | None = None) -> Tensor:
        """Map (B, S, D) to (B, S, D), or to what the ``first`` tokens see, (B, first, D)."""
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q[:, :, :first], k, v)
        mixed: Tensor = self.proj(seen.transpose(1, 2).flatten(start_dim=2))
        return mixed


class LayerScale(nn.Module):
    """Scale a residual branch per channel, small at first."""

    def __init__(self, dim: int, *, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, branch: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return branch * self.gamma


class Mlp(nn.Sequential):
    """Widen, GELU, narrow."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, S, D) to (B, S, D)."""
        whole: Callable[[Tensor], Tensor] = super().forward
        if tokens.device.type != "cpu" or torch.is_grad_enabled():
            return whole(tokens)
        return torch.cat([whole(part) for part in torch.split(tokens, _WINDOWS_IN_CACHE)])


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.dim)
        self.attention = Attention(spec.dim, heads=spec.heads)
        self.scale1 = LayerScale(spec.dim, init=spec.layer_scale_init)
        self.norm2 = nn.LayerNorm(spec.dim)
        self.mlp = Mlp(spec.dim, spec.mlp_dim)
        self.scale2 = LayerScale(spec.dim, init=spec.layer_scale_init)

    def forward(self, tokens: Tensor, *, first: int | None = None) -> Tensor:
        """Map (B, S, D) to (B, S, D), or to its ``first`` tokens only, (B, first, D)."""
        seen = self.attention(self.norm1(tokens), first=first)
        tokens = tokens[:, :first] + self.scale1(seen)
        result: Tensor = tokens + self.scale2(self.mlp(self.norm2(tokens)))
        return result


class NetworkWhitening(nn.Module):
    """Give every direction of a network's tokens (a row's of the grid) the same weight.

    Directions in which scans differ a lot drown those in which they differ a little, though
    both tell people apart. `model.fitting.whitening` fits it to scans.
    """

    def __init__(self, n_rows: int, dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(n_rows, dim))
        self.matrix = nn.Parameter(torch.eye(dim).repeat(n_rows, 1, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, N, K, D) to (B, N, K, D)."""
        centred = (tokens - self.mean[:, None]).transpose(0, 1)
        # One product per row: `@` would copy all matrices for every window.
        whitened = torch.bmm(centred.flatten(1, 2), self.matrix)
        return whitened.view(centred.shape).transpose(0, 1)


class ShortForm(nn.Module):
    """Map the rows' means of a window or scan to few numbers. It is fitted, never trained."""

    mean: Tensor
    """(N, D) subtracted first, so that a row without data may count as zero"""
    matrix: Tensor
    """(N, D, S)"""

    def __init__(self, n_rows: int, dim: int, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_rows, dim))
        self.register_buffer("matrix", torch.zeros(n_rows, dim, size))

    def forward(self, means: Tensor) -> Tensor:
        """Map (B, N, D), NaN in rows without data, to (B, S).

        Such a row stands at its mean over the scans fitted to, and adds nothing.
        """
        centred = (means - self.mean).nan_to_num(nan=0.0)
        return centred.flatten(1) @ self.matrix.flatten(0, 1)
