"""Two augmented crops per subject: what student and teacher compare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from model.files.strict import NOT_NEGATIVE, SHARE, check_limits
from model.nearness import expected_correlation
from model.networks import NETWORKS, network_columns

Pairing = Literal["scan", "sessions"]
LostParcels = Literal["zeroed", "predicted"]


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """Where the two views come from, and how they are corrupted. Ranges are of uniform draws."""

    pairing: Pairing
    """``scan``: two crops of one scan, as published; ``sessions``: one crop of each of two."""
    parcels_zeroed: tuple[float, float] = (0.0, 0.1)
    """Share of parcels that are lost, at least one."""
    lost_parcels: LostParcels = "zeroed"
    """What stands for them: zeros, as published, or, as in this project's `window`, what the
    rest of their network predicts."""
    time_zeroed: tuple[float, float] = (0.0, 0.3)
    """Share of the samples in one contiguous block set to zero, at least one."""
    scale: tuple[float, float] = (0.8, 1.2)
    noise: float = 0.1
    """Standard deviation of noise added last, so that zeroed parts carry it too."""

    def __post_init__(self) -> None:
        for name in ("parcels_zeroed", "time_zeroed", "scale"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_limits(
            "views",
            self,
            parcels_zeroed=SHARE,
            time_zeroed=SHARE,
            scale=NOT_NEGATIVE,
            noise=NOT_NEGATIVE,
        )

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
    """Do what `model.nearness.predict_missing` does, with other lost parcels in each view.

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
