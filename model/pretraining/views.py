"""Two augmented crops per subject, and the tokens that the student does not see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from model.errors import ConfigError
from model.files.settings import NotNegative, Share, Strict
from model.networks import NETWORKS, expected_correlation, network_columns

Pairing = Literal["scan", "sessions"]
LostParcels = Literal["zeroed", "predicted"]


MaskCounts = Literal["truncated", "rounded"]
PUBLISHED_RATIO = (0.65, 0.85)


@dataclass(frozen=True, kw_only=True)
class ViewsConfig(Strict):
    """Where the two views come from, and how they are corrupted. Ranges are of uniform draws."""

    pairing: Pairing
    """``scan``: two crops of one scan, as published; ``sessions``: one crop of each of two."""
    parcels_zeroed: tuple[Share, Share] = (0.0, 0.1)
    """Share of parcels that are lost, at least one."""
    lost_parcels: LostParcels = "zeroed"
    """What stands for them: zeros, as published, or, as in this project's `window`, what the
    rest of their network predicts."""
    time_zeroed: tuple[Share, Share] = (0.0, 0.3)
    """Share of the samples in one contiguous block set to zero, at least one."""
    scale: tuple[NotNegative, NotNegative] = (0.8, 1.2)
    noise: NotNegative = 0.1
    """Standard deviation of noise added last, so that zeroed parts carry it too."""

    @property
    def n_sessions(self) -> int:
        """Sessions that each subject must have."""
        return 2 if self.pairing == "sessions" else 1


def draw_views(
    scans: Tensor, config: ViewsConfig, *, n_samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw two augmented views of each subject.

    Parameters
    ----------
    scans
        (B, S, P, T) normalized scans; S is ``config.n_sessions``. Not changed.
    n_samples
        Length of a view (L).

    Returns
    -------
    Two tensors (B, P, L).
    """
    first, second = scans[:, 0], scans[:, config.n_sessions - 1]
    return (
        augment(crop(first, n_samples, generator=generator), config, generator=generator),
        augment(crop(second, n_samples, generator=generator), config, generator=generator),
    )


def crop(scans: Tensor, n_samples: int, *, generator: torch.Generator) -> Tensor:
    """Cut one window (B, P, L) out of each scan (B, P, T), starts independent and uniform."""
    n_scans, n_parcels, n_total = scans.shape
    start = torch.randint(
        n_total - n_samples + 1, (n_scans, 1, 1), generator=generator, device=generator.device
    )
    samples = start + torch.arange(n_samples, device=start.device)
    return scans.gather(2, samples.expand(n_scans, n_parcels, n_samples))


def augment(views: Tensor, config: ViewsConfig, *, generator: torch.Generator) -> Tensor:
    """Corrupt views (B, P, L), each with draws of its own; the input is not changed.

    In this order: lose some parcels, zero one block of time, scale, add noise. Views and
    generator are on one device.
    """
    n_views, n_parcels, n_samples = views.shape
    device = generator.device

    def uniform(limits: tuple[float, float]) -> Tensor:
        low, high = limits
        return low + (high - low) * torch.rand(n_views, 1, generator=generator, device=device)

    n_zeroed = (uniform(config.parcels_zeroed) * n_parcels).long().clamp(min=1)
    rank = torch.rand(n_views, n_parcels, generator=generator, device=device).argsort(dim=1)
    length = (uniform(config.time_zeroed) * n_samples).long().clamp(min=1)
    start = (uniform((0.0, 1.0)) * (n_samples - length + 1)).long()
    sample = torch.arange(n_samples, device=device)
    in_block = (sample >= start) & (sample < start + length)
    lost = rank < n_zeroed
    views = views * ~lost[:, :, None]
    if config.lost_parcels == "predicted":
        views = _predict_lost(views, lost)
    noise = config.noise * torch.randn(views.shape, generator=generator, device=device)
    return views * ~in_block[:, None, :] * uniform(config.scale)[:, :, None] + noise


def _predict_lost(views: Tensor, lost: Tensor) -> Tensor:
    """Do what `model.networks.predict_missing` does, with other lost parcels in each view.

    Parameters
    ----------
    views
        (B, P, L), zero where a parcel is lost.
    lost
        (B, P) true where a parcel is lost.

    Notes
    -----
    With Q the inverse of the expected correlation the guess is ``-inv(Q_mm) Q_mo x_o``. Rows
    of the identity at the other parcels make the systems of all views one size.
    """
    guess = torch.zeros_like(views)
    for network in NETWORKS:
        columns = torch.from_numpy(network_columns(network)).to(views.device)
        precision = _precision(network).to(views.device)
        gone = lost[:, columns].to(views.dtype)
        identity = torch.eye(len(columns), device=views.device)
        system = gone[:, :, None] * precision * gone[:, None, :] + identity * (1 - gone)[:, None]
        known = precision @ views[:, columns] * gone[:, :, None]
        guess[:, columns] = -torch.linalg.solve_ex(system, known).result
    return views + guess


@cache
def _precision(network: str) -> Tensor:
    """(n, n) inverse of the correlation that a network's parcels have by their places."""
    return torch.from_numpy(np.linalg.inv(expected_correlation(network))).float()


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
