"""What happens to simulated series after the scan: regression, spikes, normalization, a cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.networks import NETWORKS
from model.preprocess import SOFT_LIMITS
from model.series import shown
from model.simulation.draws import normal, uniform
from model.simulation.layout import layout

if TYPE_CHECKING:
    from model.spec import Normalization

CUT_FROM = ("Subcortical", "Cerebellum")
"""First network that is missing; those after it are missing too."""
SPIKE_SIZE = 6.0
"""Standard deviation of spikes, in those of the parcel."""
REGRESSED_SHARES = (0.0, 0.5, 1.0)
"""Share of a batch's sessions without global signal; one draw per batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedScans:
    """Scans of several subjects, normalized as model input is."""

    values: Tensor
    """(B, S, P, T) subjects, sessions, parcels, samples; zero where a parcel is missing"""
    missing_parcels: Tensor
    """(P,) true in networks that are absent in the whole batch"""

    __repr__ = shown


def finish(
    values: Tensor,
    normalization: Normalization,
    generator: torch.Generator,
    *,
    spike_probability: float,
    cut_probability: float,
) -> SimulatedScans:
    """Apply each session's pipeline, add spikes, normalize per scan, cut networks away.

    Parameters
    ----------
    values
        (B, S, P, T) subjects, sessions, parcels, samples.
    spike_probability
        Share of sessions with spikes.
    cut_probability
        Share of batches in which the last networks are missing.
    """
    values = _standardise(_regress_global_signal(values, generator))
    _add_spikes(values, spike_probability, generator)
    # Robust statistics do not see the spikes, so those of the clean series stand for them.
    values = _soft_limit(values) if normalization == "robust" else _standardise(values)
    missing = torch.zeros(len(NETWORKS), dtype=torch.bool, device=values.device)
    if uniform(0, 1, generator) < cut_probability:
        first = CUT_FROM[int(uniform(0, len(CUT_FROM), generator))]
        missing[NETWORKS.index(first) :] = True
    lost = missing[layout().network.to(values.device)]
    values[:, :, lost] = 0
    return SimulatedScans(values=values, missing_parcels=lost)


def _regress_global_signal(values: Tensor, generator: torch.Generator) -> Tensor:
    """Take the mean over parcels out of the sessions whose pipeline does so."""
    share = REGRESSED_SHARES[int(uniform(0, len(REGRESSED_SHARES), generator))]
    drawn = torch.rand(values.shape[:2], generator=generator, device=values.device)
    mean = values.mean(dim=2, keepdim=True)
    weight = (values * mean).sum(-1, keepdim=True) / mean.square().sum(-1, keepdim=True)
    return values - (drawn < share)[..., None, None] * weight * mean


def _standardise(values: Tensor) -> Tensor:
    """Z-score each parcel over its scan."""
    values = values - values.mean(dim=-1, keepdim=True)
    scores: Tensor = values / (values.square().mean(dim=-1, keepdim=True).sqrt() + 1e-8)
    return scores


def _soft_limit(values: Tensor) -> Tensor:
    """Bend what lies beyond the limits, as `model.preprocess.normalize` does."""
    low, high = SOFT_LIMITS
    beyond = values.abs() > low
    excess = values[beyond]
    values[beyond] = excess.sign() * (
        low + (high - low) * torch.tanh((excess.abs() - low) / (high - low))
    )
    return values


def _add_spikes(values: Tensor, probability: float, generator: torch.Generator) -> None:
    """Add jumps to 1 % of the frames of some sessions, in place."""
    n_subjects, n_sessions, n_parcels, n_samples = values.shape
    frame = torch.rand(
        (n_subjects, n_sessions, n_samples), generator=generator, device=values.device
    )
    chance = torch.rand((n_subjects, n_sessions, 1), generator=generator, device=values.device)
    hit = (frame < 0.01) & (chance < probability)
    subject, session, sample = hit.nonzero().unbind(1)
    jumps = SPIKE_SIZE * normal((len(sample), n_parcels), generator)
    values[subject, session, :, sample] += jumps
