"""The published encoder's computation, step by step, to compare speeds with on equal weights.

Written from a description of what the published code does (arXiv 2512.11582), not from the code:
one boolean index operation per network and forward, one tokenizer call per network, kernels
stretched by interpolation, a grouped convolution per network, attention that is not fused, mask
tokens written in place, and a Python branch on a tensor per tokenizer. Its two unused copies of
the tokenizers and its unused norm are left out, which can only make it faster.

Parameters and buffers have the names of `model.encoder.Encoder`, so that one loads the other's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.encoder import Encoder, build_encoder, sincos
from model.networks import NETWORKS, network_columns, parcel_names

if TYPE_CHECKING:
    from model.spec import CheckpointCard, EncoderSpec


class PublishedStructure(nn.Module):
    """Takes the place of an `Encoder`: the same input, mask and output, in eval and train mode."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.card: CheckpointCard | None = None
        network_map = torch.zeros(len(parcel_names()), dtype=torch.long)
        for i, network in enumerate(NETWORKS):
            network_map[torch.from_numpy(network_columns(network))] = i
        self.register_buffer("network_map", network_map, persistent=False)
        sizes = torch.bincount(network_map).tolist()
        self.tokenizers = nn.ModuleList(_Tokenizer(n, spec) for n in sizes)
        self.mask_token = nn.Parameter(torch.zeros(spec.dim))
        self.cls_token = nn.Parameter(torch.zeros(spec.dim))
        self.network_embedding = nn.Parameter(torch.zeros(len(NETWORKS), spec.dim))
        self.register_buffer("positions", sincos(spec.n_patches, spec.dim), persistent=False)
        self.blocks = nn.ModuleList(_Block(spec) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.dim)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        summary_only: bool = False,  # noqa: ARG002 - all tokens are computed always
    ) -> Tensor:
        tokens = self.tokenize(x)
        if mask is not None:
            tokens[mask] = self.mask_token.to(tokens.dtype)
        tokens = tokens + self.positions[None, None] + self.network_embedding[None, :, None]
        tokens = tokens.reshape(len(x), -1, self.spec.dim)
        tokens = torch.cat([self.cls_token.expand(len(x), 1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        encoded: Tensor = self.norm(tokens)
        return encoded

    def tokenize(self, x: Tensor) -> Tensor:
        """Turn windows (B, P, L) into tokens (B, N, K, D), one network after the other."""
        tokens = []
        for i, tokenizer in enumerate(self.tokenizers):
            parcels = x[:, self.network_map == i, :]
            patches = parcels.unflatten(2, (self.spec.n_patches, -1)).transpose(1, 2)
            patches = patches.reshape(-1, parcels.shape[1], self.spec.patch_samples)
            tokens.append(tokenizer(patches).reshape(len(x), self.spec.n_patches, -1))
        return torch.stack(tokens, dim=1)


class _Tokenizer(nn.Module):
    def __init__(self, n_parcels: int, spec: EncoderSpec) -> None:
        super().__init__()
        half = spec.dim // 2
        self.dense = nn.Conv1d(n_parcels, half, spec.dense_kernel, padding="same")
        self.structured = _StructuredConv(n_parcels, half, spec)
        self.norm = nn.LayerNorm(spec.dim)

    def forward(self, patches: Tensor) -> Tensor:
        features = torch.cat([self.dense(patches), self.structured(patches)], dim=1)
        token: Tensor = self.norm(functional.gelu(features).mean(dim=2))
        return token


class _StructuredConv(nn.Module):
    kernel_norm: Tensor

    def __init__(self, n_parcels: int, width: int, spec: EncoderSpec) -> None:
        super().__init__()
        heads = math.ceil(width / n_parcels)
        self.kernels = nn.ParameterList(
            torch.zeros(heads, n_parcels, spec.sg_kernel) for _ in range(spec.sg_scales)
        )
        self.skip = nn.Parameter(torch.zeros(heads, n_parcels))
        self.projection = nn.Linear(heads * n_parcels, width)
        self.register_buffer("kernel_norm", torch.ones(heads, n_parcels, 1))
        # True from the first forward pass on, which every trained model has had.
        self.register_buffer("initialized", torch.tensor(data=True), persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        n_parcels = patches.shape[1]
        scales = [
            functional.interpolate(kernel, scale_factor=2 ** max(0, i - 1), mode="nearest")
            * 2 ** (len(self.kernels) - 1 - i)
            for i, kernel in enumerate(self.kernels)
        ]
        kernel = torch.cat(scales, dim=-1)
        if not self.initialized:
            raise RuntimeError
        kernel = (kernel / self.kernel_norm).flip(-1)
        before = (kernel.shape[-1] - 1) // 2
        padded = functional.pad(patches, (before, kernel.shape[-1] - 1 - before))
        weight = kernel.transpose(0, 1).reshape(-1, 1, kernel.shape[-1])
        filtered = functional.conv1d(padded, weight, groups=n_parcels)
        filtered = filtered + torch.einsum("bnt,hn->bnht", patches, self.skip).flatten(1, 2)
        mixed: Tensor = self.projection(filtered.transpose(1, 2))
        return mixed.transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(spec.dim)
        self.attention = _Attention(spec)
        self.scale1 = _LayerScale(spec.dim)
        self.norm2 = nn.LayerNorm(spec.dim)
        self.mlp = nn.Sequential(
            nn.Linear(spec.dim, spec.mlp_dim), nn.GELU(), nn.Linear(spec.mlp_dim, spec.dim)
        )
        self.scale2 = _LayerScale(spec.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.scale1(self.attention(self.norm1(tokens)))
        result: Tensor = tokens + self.scale2(self.mlp(self.norm2(tokens)))
        return result


class _Attention(nn.Module):
    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.qkv = nn.Linear(spec.dim, 3 * spec.dim, bias=False)
        self.proj = nn.Linear(spec.dim, spec.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        n_windows, n_tokens, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(n_windows, n_tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        seen = weights.softmax(dim=-1) @ v
        mixed: Tensor = self.proj(seen.transpose(1, 2).reshape(n_windows, n_tokens, dim))
        return mixed


class _LayerScale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, branch: Tensor) -> Tensor:
        return branch * self.gamma


def published_structure(encoder: Encoder) -> PublishedStructure:
    """Return the published structure with a copy of an encoder's weights, on its device.

    In the encoder's mode; every parameter asks for gradients where the encoder's does.
    """
    structure = PublishedStructure(encoder.spec).to(encoder.cls_token.device)
    structure.load_state_dict(encoder.state_dict())
    structure.card = encoder.card
    wanted = dict(encoder.named_parameters())
    for name, parameter in structure.named_parameters():
        parameter.requires_grad_(wanted[name].requires_grad)
    return structure.train(encoder.training)


def build_published(spec: EncoderSpec, *, seed: int) -> PublishedStructure:
    """Return the published structure with the random weights of `build_encoder`."""
    return published_structure(build_encoder(spec, seed=seed))
