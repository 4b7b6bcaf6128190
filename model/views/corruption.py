"""Two crops per subject, each corrupted in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from model.files.settings import NotNegative, Share, Strict
from model.networks import NETWORKS, expected_correlation, network_columns

Pairing = Literal["scan", "sessions", "either"]
LostParcels = Literal["zeroed", "predicted"]
N_WAVES = 10
"""Of the shared waves: the longest takes a view, the shortest a tenth of it."""


@dataclass(frozen=True, kw_only=True)
class ViewsConfig(Strict):
    """Where the two views come from, and how they are corrupted. Ranges are of uniform draws."""

    pairing: Pairing
    """``scan``: two crops of one scan, as published; ``sessions``: one crop of each of two;
    ``either``: of two where a subject has them, else of one scan."""
    parcels_zeroed: tuple[Share, Share] = (0.0, 0.1)
    """Share of parcels that are lost: at least one, none where the range ends at 0."""
    lost_parcels: LostParcels = "zeroed"
    """What stands for them: zeros, as published, or, as in this project's `window`, what the
    rest of their network predicts."""
    time_zeroed: tuple[Share, Share] = (0.0, 0.3)
    """Share of the samples in one contiguous block set to zero; likewise at least one, or none."""
    scale: tuple[NotNegative, NotNegative] = (0.8, 1.2)
    noise: NotNegative = 0.1
    """Standard deviation of noise added last, so that zeroed parts carry it too."""
    physiology: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Standard deviation, in a view, of slow waves that all parcels share in differing strength,
    as breathing and heart rate leave them; added first. Not in the published training."""

    @property
    def n_sessions(self) -> int:
        """Sessions that the views come from, of subjects that have them."""
        return 1 if self.pairing == "scan" else 2


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

    In this order: add shared waves, lose some parcels, zero one block of time, scale, add noise.
    Views and generator are on one device.
    """
    n_views, n_parcels, n_samples = views.shape
    device = generator.device

    def uniform(limits: tuple[float, float]) -> Tensor:
        low, high = limits
        return low + (high - low) * torch.rand(n_views, 1, generator=generator, device=device)

    def how_many(limits: tuple[float, float], n: int) -> Tensor:
        return (uniform(limits) * n).long().clamp(min=1 if limits[1] else 0)

    if config.physiology[1]:
        strength = uniform(config.physiology)[..., None]
        views = views + strength * _shared_waves(views.shape, generator)
    n_lost = how_many(config.parcels_zeroed, n_parcels)
    rank = torch.rand(n_views, n_parcels, generator=generator, device=device).argsort(dim=1)
    length = how_many(config.time_zeroed, n_samples)
    start = (uniform((0.0, 1.0)) * (n_samples - length + 1)).long()
    sample = torch.arange(n_samples, device=device)
    in_block = (sample >= start) & (sample < start + length)
    lost = rank < n_lost
    views = views * ~lost[:, :, None]
    if config.lost_parcels == "predicted":
        views = _predict_lost(views, lost)
    noise = config.noise * torch.randn(views.shape, generator=generator, device=device)
    return views * ~in_block[:, None, :] * uniform(config.scale)[:, :, None] + noise


def _shared_waves(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """(B, P, L) sums of waves of one to a tenth of a view's length, of mean 0 and spread 1.

    Each parcel has a share of its own: 1 on average, spread .5.
    """
    n_views, n_parcels, n_samples = shape
    device = generator.device

    def drawn(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=device)

    cycles = torch.arange(1, N_WAVES + 1, device=device)
    angle = 2 * torch.pi * cycles[:, None] * torch.arange(n_samples, device=device) / n_samples
    waves = drawn(n_views, N_WAVES) @ angle.sin() + drawn(n_views, N_WAVES) @ angle.cos()
    waves = waves / waves.std(dim=1, keepdim=True)
    return (1 + drawn(n_views, n_parcels) / 2)[:, :, None] * waves[:, None, :]


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
    """(n, n) inverse of the correlation that a network's parcels have before a scan is known."""
    return torch.from_numpy(np.linalg.inv(expected_correlation(network))).float()
