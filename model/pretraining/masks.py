"""Slice masks: whole networks, or contiguous spans of time, of the token grid."""

from __future__ import annotations

import torch
from torch import Tensor

NETWORK_SLICES = (5, 6)
"""Of 9 rows, equally likely: what the published sampler draws for a nominal ratio of .65-.85."""
PATCH_SLICES = (3, 4)
"""Of 5 columns, with probabilities 3/4 and 1/4, likewise."""
LONG_SPAN_PROBABILITY = 0.25


def slice_masks(
    n_samples: int, *, n_networks: int, n_patches: int, generator: torch.Generator
) -> Tensor:
    """Draw a mask per sample, with equal chance whole networks or a contiguous span of patches.

    Returns
    -------
    (B, N, K) bool, true where the student's token is masked. On the published grid of 9 x 5
    the realised ratio is .631 on average, in {.556, .6, .667, .8}.
    """
    rows = _random_rows(n_samples, n_networks, generator)
    columns = _random_spans(n_samples, n_patches, generator)
    by_network = torch.rand(n_samples, 1, 1, generator=generator) < 0.5
    return torch.where(by_network, rows[:, :, None], columns[:, None, :])


def _random_rows(n_samples: int, n_networks: int, generator: torch.Generator) -> Tensor:
    """(B, N) true for 5 or 6 random networks."""
    choice = torch.randint(len(NETWORK_SLICES), (n_samples, 1), generator=generator)
    rank = torch.rand(n_samples, n_networks, generator=generator).argsort(dim=1)
    return rank < torch.tensor(NETWORK_SLICES)[choice]


def _random_spans(n_samples: int, n_patches: int, generator: torch.Generator) -> Tensor:
    """(B, K) true for 3 or 4 consecutive patches."""
    long = torch.rand(n_samples, 1, generator=generator) < LONG_SPAN_PROBABILITY
    length = torch.where(long, PATCH_SLICES[1], PATCH_SLICES[0])
    free = n_patches - length + 1
    start = (torch.rand(n_samples, 1, generator=generator) * free).long()
    patch = torch.arange(n_patches)
    return (patch >= start) & (patch < start + length)
