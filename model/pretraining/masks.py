"""Slice masks: whole networks, or contiguous spans of time, of the token grid."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from model.errors import ConfigError

MaskCounts = Literal["truncated", "rounded"]

PUBLISHED_RATIO = (0.65, 0.85)


def slice_masks(
    n_samples: int,
    *,
    n_networks: int,
    n_patches: int,
    generator: torch.Generator,
    ratio: tuple[float, float] = PUBLISHED_RATIO,
    counts: MaskCounts = "truncated",
) -> Tensor:
    """Draw a mask per sample, with equal chance whole networks or a contiguous span of patches.

    Parameters
    ----------
    n_samples
        Masks to draw (B).
    n_networks, n_patches
        Rows (N) and columns (K) of the token grid.
    generator
        The only source of randomness; the masks are on its device.
    ratio
        Nominal share that is masked, drawn uniformly between the two.
    counts
        How the share becomes a number of rows or columns. ``truncated``, as the published
        sampler: whole rows between the truncated limits, the upper one excluded; of columns
        one less than rounded up. ``rounded``: the nearest number (the paper's ratio).

    Returns
    -------
    (B, N, K) bool, true where the student's token is masked. On the published grid of 9 x 5
    with the defaults, 5 or 6 rows or 3 or 4 columns: the realised ratio is .631 on average, in
    {.556, .6, .667, .8}.
    """
    rows = _random_rows(n_samples, n_networks, generator, ratio, counts)
    columns = _random_spans(n_samples, n_patches, generator, ratio, counts)
    device = generator.device
    by_network = torch.rand(n_samples, 1, 1, generator=generator, device=device) < 0.5
    return torch.where(by_network, rows[:, :, None], columns[:, None, :])


def slice_counts(ratio: tuple[float, float], counts: MaskCounts, n: int) -> tuple[int, int]:
    """Return the smallest and largest number of ``n`` rows that are masked.

    Raises
    ------
    ConfigError
        The ratio leaves nothing to choose from, or masks none or all.
    """
    low, high = ratio
    if counts == "truncated":
        least, most = int(low * n), int(high * n) - 1
    else:
        least, most = round(low * n), round(high * n)
    if not 1 <= least <= most < n:
        raise ConfigError(
            f"objective.mask_ratio {list(ratio)} ({counts}) masks {least} to {most} of {n}: "
            "expected at least one, and not all.",
            hint="Widen the range; as published it is [0.65, 0.85].",
        )
    return least, most


def _random_rows(
    n_samples: int,
    n_networks: int,
    generator: torch.Generator,
    ratio: tuple[float, float],
    counts: MaskCounts,
) -> Tensor:
    """(B, N) true for some random networks; 5 or 6 of 9 as published."""
    device = generator.device
    if counts == "truncated":
        least, most = slice_counts(ratio, counts, n_networks)
        draw = torch.randint(most - least + 1, (n_samples, 1), generator=generator, device=device)
        n_masked = least + draw
    else:
        n_masked = (_shares(n_samples, generator, ratio) * n_networks).round()
    rank = torch.rand(n_samples, n_networks, generator=generator, device=device).argsort(dim=1)
    return rank < n_masked


def _random_spans(
    n_samples: int,
    n_patches: int,
    generator: torch.Generator,
    ratio: tuple[float, float],
    counts: MaskCounts,
) -> Tensor:
    """(B, K) true for consecutive patches; 3 or, with probability 1/4, 4 of 5 as published."""
    exact = _shares(n_samples, generator, ratio) * n_patches
    # The small number: a share that is a whole number of patches but for rounding is that.
    length = (exact - 1e-9).ceil() - 1 if counts == "truncated" else exact.round()
    length = length.clamp(min=1, max=n_patches - 1).long()
    free = n_patches - length + 1
    draw = torch.rand(n_samples, 1, generator=generator, device=generator.device)
    start = (draw * free).long()
    patch = torch.arange(n_patches, device=generator.device)
    return (patch >= start) & (patch < start + length)


def _shares(n_samples: int, generator: torch.Generator, ratio: tuple[float, float]) -> Tensor:
    """(B, 1) uniform draws of the nominal ratio."""
    low, high = ratio
    draw = torch.rand(n_samples, 1, generator=generator, device=generator.device)
    return high - (high - low) * draw.double()
