"""The tokens that the student does not see, drawn on the grid of networks and patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from model.errors import ConfigError
from model.partition.groups import NETWORK_GROUPS, network_shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.partition.groups import Group

MaskKind = Literal["slices", "networks", "patches", "random", "blocks"]
MaskCounts = Literal["truncated", "rounded"]
PUBLISHED_RATIO = (0.65, 0.85)
N_BLOCKS = 16
"""Blocks that are laid over a grid at most; what they leave uncovered is masked at random."""

HIDDEN_SHARE = 1 / 3
"""Share of a row's parcels beyond which it is masked with the networks that they are of. A row
over the whole brain would tell the student what masked networks hold: as published, five networks
or more are masked, which have 38 % of the parcels at least, and it is masked with them always. A
group that reaches a little into another network is not."""


class Grid(NamedTuple):
    """What masks are drawn on, and how much of it they hide."""

    n_rows: int
    """Networks, whatever the partition: `draw_row_masks`"""
    n_patches: int
    """Places in time (K)"""
    ratio: tuple[float, float] = PUBLISHED_RATIO
    """Nominal share that is masked, drawn uniformly between the two."""
    counts: MaskCounts = "truncated"
    """How the share becomes a number of rows or columns. ``truncated``, as the published
    sampler: whole rows between the truncated limits, the upper one excluded; of columns one less
    than rounded up. ``rounded``: the nearest number (the paper's ratio). Single tokens are
    always rounded."""


def draw_masks(
    n_samples: int, grid: Grid, *, kind: MaskKind = "slices", generator: torch.Generator
) -> Tensor:
    """Draw a mask per sample.

    Parameters
    ----------
    n_samples
        Masks to draw (B).
    grid
        What they are drawn on.
    kind
        ``slices``, as published: with equal chance whole rows or a contiguous span of patches.
        ``networks``, ``patches``: one of the two always. ``random``: single tokens. ``blocks``:
        rectangles of rows that follow one another and patches that do.
    generator
        The only source of randomness; the masks are on its device.

    Returns
    -------
    (B, N, K) bool, true where the student's token is masked. Of slices on the published grid of
    9 x 5, 5 or 6 rows or 3 or 4 columns: the realised ratio is .631 on average, in
    {.556, .6, .667, .8}.
    """
    return _DRAWS[kind](n_samples, grid, generator)


def draw_row_masks(
    n_samples: int,
    grid: Grid,
    groups: tuple[Group, ...],
    *,
    kind: MaskKind = "slices",
    generator: torch.Generator,
) -> Tensor:
    """Draw a mask of networks per sample, and mask the rows that hold what it hides.

    Parameters
    ----------
    n_samples, grid, kind, generator
        As in `draw_masks`; ``grid.n_rows`` is the number of networks.
    groups
        Partition of the parcels. Of the nine networks the mask is that of `draw_masks`; of a
        finer partition every part is hidden with its network, as published for 20 and 58
        groups; of one across networks a row is, where more than `HIDDEN_SHARE` of its parcels are.

    Returns
    -------
    (B, N, K) bool. Where nothing would be left to see, which nine networks never come to, a
    span of patches is hidden instead.
    """
    hidden = draw_masks(n_samples, grid, kind=kind, generator=generator)
    if groups == NETWORK_GROUPS:
        return hidden
    shares = torch.from_numpy(network_shares(groups)).to(hidden.device)
    rows = shares @ hidden.float() > HIDDEN_SHARE
    spans = draw_masks(n_samples, grid, kind="patches", generator=generator)[:, :1]
    return torch.where(rows.all(dim=(1, 2), keepdim=True), spans, rows)


def check_masks(kind: MaskKind, grid: Grid) -> None:
    """Refuse what would mask nothing or everything.

    Raises
    ------
    ConfigError
        Says which numbers of which things would be masked.
    """
    problems = []
    if kind in ("slices", "networks"):
        problems += _misses(_row_limits(grid), grid.n_rows, "rows")
    if kind in ("slices", "patches"):
        problems += _misses((1, grid.n_patches - 1), grid.n_patches, "patches")
    if kind in ("random", "blocks"):
        n_tokens = grid.n_rows * grid.n_patches
        low, high = (round(share * n_tokens) for share in grid.ratio)
        problems += _misses((low, high), n_tokens, "tokens")
    if problems:
        raise ConfigError(
            f"objective.mask_ratio {list(grid.ratio)} ({grid.counts}) {' and '.join(problems)}: "
            "expected at least one, and not all.",
            hint="Widen the range, or set objective.mask_counts=rounded; as published it is "
            f"{list(PUBLISHED_RATIO)}. "
            f"Kinds are {', '.join(get_args(MaskKind))}.",
        )


def _misses(limits: tuple[int, int], n: int, what: str) -> list[str]:
    least, most = limits
    return [] if 1 <= least <= most < n else [f"masks {least} to {most} of {n} {what}"]


def _row_limits(grid: Grid) -> tuple[int, int]:
    """Return the smallest and largest number of rows that are masked."""
    low, high = grid.ratio
    if grid.counts == "truncated":
        return int(low * grid.n_rows), int(high * grid.n_rows) - 1
    return round(low * grid.n_rows), round(high * grid.n_rows)


def _slices(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    rows, columns = (draw(n_samples, grid, generator) for draw in (_networks, _patches))
    by_network = torch.rand(n_samples, 1, 1, generator=generator, device=generator.device) < 0.5
    return torch.where(by_network, rows, columns)


def _networks(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    """(B, N, K) true in some random whole rows; 5 or 6 of 9 as published."""
    device = generator.device
    if grid.counts == "truncated":
        least, most = _row_limits(grid)
        draw = torch.randint(most - least + 1, (n_samples, 1), generator=generator, device=device)
        n_masked = least + draw
    else:
        n_masked = (_shares(n_samples, grid, generator) * grid.n_rows).round()
    rank = torch.rand(n_samples, grid.n_rows, generator=generator, device=device).argsort(dim=1)
    return _whole(rank < n_masked, grid, axis=2)


def _patches(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    """(B, N, K) true in consecutive patches; 3 or, with probability 1/4, 4 of 5 as published."""
    n_patches = grid.n_patches
    exact = _shares(n_samples, grid, generator) * n_patches
    # The small number: a share that is a whole number of patches but for rounding is that.
    length = (exact - 1e-9).ceil() - 1 if grid.counts == "truncated" else exact.round()
    length = length.clamp(min=1, max=n_patches - 1).long()
    free = n_patches - length + 1
    draw = torch.rand(n_samples, 1, generator=generator, device=generator.device)
    start = (draw * free).long()
    patch = torch.arange(n_patches, device=generator.device)
    return _whole((patch >= start) & (patch < start + length), grid, axis=1)


def _random(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    shape = (n_samples, grid.n_rows * grid.n_patches)
    order = torch.rand(shape, generator=generator, device=generator.device)
    return _first(order, _n_tokens(n_samples, grid, generator)).view(-1, *grid[:2])


def _blocks(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    """Cover the grid with one rectangle after another until enough is masked."""
    rows, patches = (
        _spans(n_samples, n, generator) for n in (grid.n_rows, grid.n_patches)
    )  # (B, blocks, N) and (B, blocks, K)
    covered = rows[..., :, None] & patches[..., None, :]
    # The first block that covers a token decides; within a block chance does.
    never = torch.ones_like(covered[:, :1])
    first = torch.cat([covered, never], dim=1).byte().argmax(dim=1).flatten(1)
    order = first + torch.rand(first.shape, generator=generator, device=generator.device)
    return _first(order, _n_tokens(n_samples, grid, generator)).view(-1, *grid[:2])


def _spans(n_samples: int, n: int, generator: torch.Generator) -> Tensor:
    """(B, blocks, n) true in a span of two places to half of all; edges cut some short.

    So each place is covered as often as any other.
    """
    shape = (n_samples, N_BLOCKS, 1)
    most = max(1, math.ceil(n / 2))
    least = min(2, most)
    length = least + _below(most - least + 1, shape, generator)
    start = _below(n + length - 1, shape, generator) - (length - 1)
    place = torch.arange(n, device=generator.device)
    return (place >= start) & (place < start + length)


def _below(n: int | Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw whole numbers from 0 on, below ``n``."""
    draw = torch.rand(shape, generator=generator, device=generator.device)
    return (draw * n).long()


def _first(order: Tensor, n: Tensor) -> Tensor:
    """(B, S) true for the ``n`` (B, 1) smallest of each row."""
    return order.argsort(dim=1).argsort(dim=1) < n


def _n_tokens(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    """(B, 1) numbers of tokens to mask."""
    return (_shares(n_samples, grid, generator) * grid.n_rows * grid.n_patches).round()


def _whole(lines: Tensor, grid: Grid, *, axis: int) -> Tensor:
    """Repeat (B, rows or patches) along the other axis of the grid."""
    return lines.unsqueeze(axis).expand(-1, grid.n_rows, grid.n_patches)


def _shares(n_samples: int, grid: Grid, generator: torch.Generator) -> Tensor:
    """(B, 1) uniform draws of the nominal ratio."""
    low, high = grid.ratio
    draw = torch.rand(n_samples, 1, generator=generator, device=generator.device)
    return high - (high - low) * draw.double()


_DRAWS: dict[MaskKind, Callable[[int, Grid, torch.Generator], Tensor]] = {
    "slices": _slices,
    "networks": _networks,
    "patches": _patches,
    "random": _random,
    "blocks": _blocks,
}
