"""The encoder: a tokenizer for each row, positions, a transformer. Live parameters only.

Written from the description of Brain-Semantoks (arXiv 2512.11582): the published files also
hold two copies of the tokenizers and a norm that no forward pass reads; they do not exist here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.errors import CheckpointError, ConfigError, SeriesError, some
from model.layers import Block, NetworkWhitening, ShortForm
from model.networks import parcel_names
from model.partition.groups import summary
from model.tokenizer import make_tokenizers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model.spec import CheckpointCard, EncoderSpec

_EMBEDDING_STD = 0.02


class Encoder(nn.Module):
    """Map windows of 457 parcel series to one summary token and a grid of 9 x 5 tokens.

    A row of the grid is a group of parcels, by default one of the nine networks; a group of
    several tokens has as many rows (`model.partition`).

    Parameters
    ----------
    spec
        The architecture.

    Attributes
    ----------
    card
        What the weights are and expect; None for weights that were never a checkpoint.
    """

    parcel_order: Tensor
    """Columns of the first group's parcels, then of the second's, ...; groups may overlap"""
    positions: Tensor
    """(K, D) fixed embedding of the patches' places in time"""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.card: CheckpointCard | None = None
        self.group_sizes = [len(group.parcels) for group in spec.groups]
        self.tokenizers = make_tokenizers(spec)
        self.mask_token = nn.Parameter(_EMBEDDING_STD * torch.randn(spec.dim))
        self.cls_token = nn.Parameter(_EMBEDDING_STD * torch.randn(spec.dim))
        self.network_embedding = nn.Parameter(
            _EMBEDDING_STD * torch.randn(len(spec.rows), spec.dim)
        )
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.dim)
        self.whitening = NetworkWhitening(len(spec.rows), spec.dim) if spec.whitened else None
        self.short = (
            ShortForm(len(spec.rows), spec.dim, spec.short * spec.dim) if spec.short else None
        )
        # Both follow from the specification: not part of the weights.
        order = torch.tensor([column for group in spec.groups for column in group.parcels])
        self.register_buffer("parcel_order", order, persistent=False)
        self.register_buffer("positions", sincos(spec.n_patches, spec.dim), persistent=False)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, summary_only: bool = False
    ) -> Tensor:
        """Encode windows; the input is not changed.

        Parameters
        ----------
        x
            (B, P, L) normalized series; zeros where a parcel is missing or time is padded.
        mask
            (B, N, K) bool, true where a token is replaced by the mask token: it tells the
            other tokens nothing, and what comes out there is predicted from them.
        summary_only
            Do not compute what only the other tokens need: (B, 1, D) is returned.

        Returns
        -------
        (B, 1 + N * K, D) tokens: the summary (CLS) first, then row n, patch k at
        ``1 + n * K + k``.

        Raises
        ------
        SeriesError
            If the shape of ``x`` or the shape or type of ``mask`` is another.
        """
        self._check(x, mask)
        if mask is None:
            tokens = self.tokenize(x)
        elif _waits(x) or not mask.any():
            tokens = torch.where(mask[..., None], self.mask_token, self.tokenize(x))
        else:
            tokens = self._tokenize_seen(x, mask)
        tokens = tokens + self.positions + self.network_embedding[:, None]
        summary = self.cls_token.expand(len(x), 1, -1)
        tokens = torch.cat([summary, tokens.flatten(1, 2)], dim=1)
        first = 1 if summary_only else None
        for i, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, first=first if i == len(self.blocks) else None)
        encoded: Tensor = self.norm(tokens[:, :first])
        if self.whitening is None or summary_only:
            return encoded
        n_rows = len(self.tokenizers)
        grid = encoded[:, 1:].unflatten(1, (n_rows, -1))  # type: ignore[no-untyped-call]
        return torch.cat([encoded[:, :1], self.whitening(grid).flatten(1, 2)], dim=1)

    def tokenize(self, x: Tensor) -> Tensor:
        """Turn windows (B, P, L) into tokens (B, N, K, D) that know nothing of one another."""
        rows = self._rows(x)
        tokens = [encode(patches) for encode, patches in zip(self.tokenizers, rows, strict=True)]
        grid = torch.stack(tokens, dim=1).view(len(x), -1, len(tokens), self.spec.dim)
        return grid.transpose(1, 2)

    def _tokenize_seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """Turn into tokens what is seen; the mask token stands for the rest."""
        seen = ~mask.transpose(0, 1).flatten(1)  # rows, windows and their patches
        parts = zip(self.tokenizers, self._rows(x), seen, strict=True)
        tokens = [encode(_take(patches, wanted)) for encode, patches, wanted in parts]
        row = torch.where(seen, seen.flatten().cumsum(0).view_as(seen), 0)
        rows = torch.cat([self.mask_token[None], *tokens]).index_select(0, row.flatten())
        return rows.view(len(seen), len(x), -1, self.spec.dim).transpose(0, 1)

    def _rows(self, x: Tensor) -> list[Tensor]:
        """Cut windows (B, P, L) into each row's patches (B * K, parcels, samples).

        Patches come last in memory: the tokenizers' products then read them as they lie.
        """
        shape = (len(x), -1, self.spec.n_patches, self.spec.patch_samples)
        patches = x[:, self.parcel_order].reshape(shape)
        patches = patches.permute(1, 3, 0, 2).flatten(2).permute(2, 0, 1)
        groups = zip(torch.split(patches, self.group_sizes, dim=1), self.spec.groups, strict=True)
        return [parcels for parcels, group in groups for _ in range(group.tokens)]

    def own_card(self, *, needed_for: str = "what it expects") -> CheckpointCard:
        """Return the card of an encoder that was loaded.

        Raises
        ------
        ConfigError
            The weights were never a checkpoint; the message says what the card is needed for.
        """
        if self.card is None:
            raise ConfigError(
                f"the encoder has no card and does not tell {needed_for}.",
                hint="Load it with model.checkpoint.load_encoder, or cut windows with "
                "model.preprocess.window and give embed_windows a readout, such as "
                "('mean', 'cls').",
            )
        return self.card

    def _check(self, x: Tensor, mask: Tensor | None) -> None:
        n_samples = self.spec.n_patches * self.spec.patch_samples
        expected = (len(parcel_names()), n_samples)
        if x.ndim != 3 or tuple(x.shape[1:]) != expected or not x.is_floating_point():
            raise SeriesError(
                f"expected windows of floats (batch, {expected[0]} parcels, {n_samples} samples), "
                f"found {tuple(x.shape)} of {x.dtype}.",
                hint="model.embed.embed_series cuts windows from (frames, 457) series.",
            )
        grid = (len(x), len(self.tokenizers), self.spec.n_patches)
        if mask is not None and (tuple(mask.shape) != grid or mask.dtype != torch.bool):
            raise SeriesError(
                f"expected a mask of bool {grid} (batch, rows, patches), "
                f"found {tuple(mask.shape)} of {mask.dtype}.",
                hint="True marks a token to be masked.",
            )


def _waits(x: Tensor) -> bool:
    """Tell whether the program has to wait for a number that is read from the device."""
    return x.device.type != "cpu"


def _take(patches: Tensor, wanted: Tensor) -> Tensor:
    """Return the wanted patches, in the same order in memory."""
    (chosen,) = wanted.nonzero(as_tuple=True)
    return patches.permute(1, 2, 0).index_select(2, chosen).permute(2, 0, 1)


class ProjectionHead(nn.Module):
    """Map tokens to the unit sphere on which the training losses are taken; dropped afterwards.

    Parameters
    ----------
    dim, hidden, out
        Widths; 768, 1024 and 128 in the published training.
    hidden_layers
        One in the published training, two in the paper.
    """

    def __init__(self, dim: int, hidden: int, out: int, *, hidden_layers: int = 1) -> None:
        super().__init__()
        widths = [dim, *[hidden] * hidden_layers, out]
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        between = [module for layer in layers[:-1] for module in (layer, nn.GELU())]
        self.mlp = nn.Sequential(*between, layers[-1])
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=_EMBEDDING_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., D) to unit vectors (..., out)."""
        projected = self.mlp(tokens)
        # Under autocast: the losses are taken of vectors of length one, which bf16 cannot hold.
        wide = projected.to(torch.promote_types(projected.dtype, torch.float32))
        return functional.normalize(wide, dim=-1)


def build_encoder(spec: EncoderSpec, *, seed: int) -> Encoder:
    """Build an encoder with random weights; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Encoder(spec)


def check_sizes(tensors: Mapping[str, Tensor], spec: EncoderSpec, *, where: Path) -> None:
    """Compare the sizes that weights tell with a specification, before it is built.

    Raises
    ------
    CheckpointError
        If any differs; what is built of a wrong one may not fit into memory.
    """
    _check_groups(tensors, spec, where=where)
    kernels = [key for key in tensors if key.startswith("tokenizers.0.structured.kernels.")]
    branches = {key.split(".")[2] for key in tensors if key.startswith("tokenizers.0.")}
    found = {
        "branches": tuple(b for b in spec.branches if b in branches) if branches else None,
        "dim": _length(tensors, "cls_token", axis=0),
        "depth": len({key.split(".")[1] for key in tensors if key.startswith("blocks.")}),
        "mlp_dim": _length(tensors, "blocks.0.mlp.0.weight", axis=0),
        "dense_kernel": _length(tensors, "tokenizers.0.dense.weight", axis=2),
        "sg_kernel": _length(tensors, "tokenizers.0.structured.kernels.0", axis=2),
        "structured_length": _length(tensors, "tokenizers.0.depthwise.kernels", axis=2),
        "sg_scales": len(kernels) or None,
    }
    wrong = [
        f"{name} {getattr(spec, name)} (the weights have {size})"
        for name, size in found.items()
        if size is not None and size != getattr(spec, name)
    ]
    if wrong:
        raise CheckpointError(f"{where}: the weights are of another encoder: {', '.join(wrong)}.")


def _check_groups(tensors: Mapping[str, Tensor], spec: EncoderSpec, *, where: Path) -> None:
    """Refuse weights of another partition of the parcels."""
    numbers = {key.split(".")[1] for key in tensors if key.startswith("tokenizers.")}
    names = ("dense.weight", "structured.skip", "depthwise.kernels")
    found = [
        next(
            (n for name in names if (n := _length(tensors, f"tokenizers.{i}.{name}", axis=1))),
            None,
        )
        for i in range(len(numbers))
    ]
    sizes = [len(group.parcels) for group in spec.groups for _ in range(group.tokens)]
    wrong = [
        f"{row} {size} parcels (the weights have {n})"
        for row, size, n in zip(spec.rows, sizes, found, strict=False)
        if n not in (None, size)
    ]
    if len(found) != len(sizes):
        wrong.insert(0, f"{len(sizes)} rows of tokens (the weights have {len(found)})")
    if wrong:
        raise CheckpointError(
            f"{where}: the weights are of another partition than {summary(spec.groups)}: "
            f"{some(wrong, most=4)}.",
            hint="Card and weights belong together: copy the folder again.",
        )


def _length(tensors: Mapping[str, Tensor], key: str, *, axis: int) -> int | None:
    """Return an axis' length; None where `misfits` will name the tensor."""
    tensor = tensors.get(key)
    return None if tensor is None or tensor.ndim <= axis else tensor.shape[axis]


def misfits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Name every tensor that is missing, unexpected, or of another shape or type."""
    problems = [f"missing {key}" for key in expected if key not in found]
    problems += [f"unexpected {key}" for key in found if key not in expected]
    for key in sorted(expected.keys() & found.keys()):
        want, have = expected[key], found[key]
        if want.shape != have.shape or want.dtype != have.dtype:
            problems.append(
                f"{key} is {tuple(have.shape)} {have.dtype}, "
                f"expected {tuple(want.shape)} {want.dtype}"
            )
    return problems


def sincos(n_positions: int, dim: int) -> Tensor:
    """Return fixed sine-cosine embeddings (n_positions, dim) of places 0, 1, 2, ...

    The first half of the channels are sines, the second half cosines, with angular
    frequencies ``10000 ** (-i / (dim / 2))``.
    """
    half = dim // 2
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(n_positions, dtype=torch.float64)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()
