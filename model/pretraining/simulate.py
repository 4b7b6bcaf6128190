"""Simulated scans of 457 parcels: the only material this project's own weights are trained on.

A subject is a pattern of *local mixing*: each parcel carries, beside its own source, a
persistent random mixture of sources nearby in its network and hemisphere. In real scans
functional connectivity within networks identifies people better than between networks, and
of the generators tried only this kind does so too (docs/pretraining.md). Whatever would give
identity away without looking at connectivity (filter, spectrum, group pattern, global-signal
step) is drawn per batch, never per subject; noise and spikes are drawn per session.

No atlas geometry enters: nearness is distance in the label table's order, and homotopic
parcels are those whose names differ in the hemisphere only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.networks import NETWORKS
from model.preprocess import SOFT_LIMITS
from model.pretraining.layout import layout

if TYPE_CHECKING:
    from model.spec import InputSpec, Normalization

MARGIN_SAMPLES = 20
"""Simulated beyond the scan and cut off, for the inverse Fourier transform is circular."""
BAND_EDGES = ((0.7, 1.2), (0.8, 1.0))
"""Ranges of the pass band's edges, relative to the input's band; one draw per batch."""
CUT_FROM = ("Subcortical", "Cerebellum")
"""First network that is missing; those after it are missing too."""
SPIKE_SIZE = 6.0
"""Standard deviation of spikes, in those of the parcel."""


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """Strengths of the generator's parts. Source signals have unit variance."""

    n_samples: int = 180
    components_per_network: int = 3
    network_gain: float = 0.7
    """Loading of a network's parcels on its common signal."""
    area_gain: float = 0.55
    """Loading on the network's other signals, smooth over neighbouring parcels."""
    far_gain: float = 0.3
    """Loading on the signals of other networks, smooth too."""
    own_gain: float = 0.6
    """Strength of each parcel's own source, before mixing."""
    mixing_gain: float = 0.32
    """Strength of the subject's mixing of neighbouring parcels; this is identity."""
    mixing_reach: float = 4.0
    """Distance, in parcels, over which mixing decays by e."""
    session_gain: float = 0.18
    """Change of loadings from session to session."""
    noise_gain: float = 0.5
    """Median strength of noise that no parcels share; varies by session."""
    global_gain: float = 0.4
    """Median strength of the global signal; varies by session."""
    n_states: int = 6
    dwell_s: float = 20.0
    """Mean time in one state; states scale the signals differently."""
    state_spread: float = 0.8
    """Standard deviation of the log gain of a signal in a state."""
    spectrum_slope: float = 0.8
    """Mean exponent b of power ~ 1 / f^b."""
    spike_probability: float = 0.3
    """Share of sessions with spikes."""
    cut_probability: float = 0.2
    """Share of batches without cerebellum, or without cerebellum and subcortex."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedScans:
    """Scans of several subjects, normalized as model input is."""

    values: Tensor
    """(B, S, P, T) subjects, sessions, parcels, samples; zero where a parcel is missing"""
    missing_networks: Tensor
    """(N,) true where a network is absent in the whole batch"""


def simulate(
    config: SimulationConfig,
    spec: InputSpec,
    *,
    n_subjects: int,
    n_sessions: int,
    generator: torch.Generator,
) -> SimulatedScans:
    """Draw scans of new subjects, all from one new population.

    Parameters
    ----------
    config
        Strengths of the parts.
    spec
        Sampling, band and normalization of the series.
    n_subjects, n_sessions
        Subjects (B) and sessions (S) of each.
    generator
        The only source of randomness.
    """
    n_fft = config.n_samples + MARGIN_SAMPLES
    hz = torch.fft.rfftfreq(n_fft, spec.tr_s)
    gain = _spectral_gain(config, hz, spec.band_hz, generator)
    band = (gain.amax(dim=0) > 0).nonzero().squeeze(1)
    loadings = _population(config, generator)
    signals = _network_signals(config, spec.tr_s, (n_subjects, n_sessions), generator)
    spectrum = torch.fft.rfft(signals, dim=-1)[..., band] / n_fft**0.5
    shared = _session_loadings(config, loadings, n_subjects, n_sessions, generator)
    # A complex number as two real columns, for the mixing is real.
    columns = torch.view_as_real(spectrum).flatten(-2)
    shape = (n_subjects, n_sessions, shared.shape[2], columns.shape[-1])
    own = torch.randn(shape, generator=generator).mul_(config.own_gain * 0.5**0.5)
    sources = (shared @ columns).add_(own)
    mixed = _mix_neighbours(config, sources, generator)
    mixed += _nuisance(config, shape, generator)
    full = torch.zeros(*shape[:3], len(hz), dtype=torch.complex64)
    full[..., band] = torch.view_as_complex(mixed.view(*shape[:3], -1, 2)) * gain[:, band]
    values = torch.fft.irfft(full, n=n_fft, dim=-1)[..., : config.n_samples]
    return _finish(config, values, spec.normalization, generator)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Draw one number."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def _spectral_gain(
    config: SimulationConfig,
    hz: Tensor,
    band_hz: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """(P, F) amplitude per parcel and frequency: 1/f with slopes per network, in the band."""
    low, high = (
        edge * _uniform(*share, generator) for edge, share in zip(band_hz, BAND_EDGES, strict=True)
    )
    slope = config.spectrum_slope + 0.2 * torch.randn(len(NETWORKS), generator=generator)
    of_parcel = slope[layout().network]
    passed = ((hz >= low) & (hz <= high)).float()
    return hz.clamp(min=low)[None, :].pow(-of_parcel[:, None] / 2) * passed


def _population(config: SimulationConfig, generator: torch.Generator) -> Tensor:
    """(P, C) loadings that all subjects of a batch share."""
    near, per_network = layout(), config.components_per_network
    n_components = per_network * len(NETWORKS)
    white = torch.randn(len(near.network), 2 * n_components, generator=generator)
    fields, far = (near.smoother @ white).chunk(2, dim=1)
    home = torch.arange(n_components) // per_network
    common = torch.arange(n_components) % per_network == 0
    at_home = (near.network[:, None] == home[None, :]).float()
    inside = torch.where(common, config.network_gain, config.area_gain * fields)
    return at_home * inside + (1 - at_home) * config.far_gain * far


def _network_signals(
    config: SimulationConfig, tr_s: float, scans: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """(B, S, C, T) signals whose strengths switch with the state of the brain."""
    n_time = config.n_samples + MARGIN_SAMPLES
    n_components = config.components_per_network * len(NETWORKS)
    shape = (*scans, n_time)
    log_gain = torch.randn(config.n_states, n_components, generator=generator)
    candidates = torch.randint(config.n_states, shape, generator=generator)
    switch = torch.rand(shape, generator=generator) < tr_s / config.dwell_s
    switch[..., 0] = True
    last_switch = torch.where(switch, torch.arange(n_time), 0).cummax(dim=-1).values
    state = candidates.gather(-1, last_switch)
    strength = (config.state_spread * log_gain - config.state_spread**2).exp()[state]
    white = torch.randn(*shape, n_components, generator=generator)
    return (white * strength).transpose(-1, -2)


def _session_loadings(
    config: SimulationConfig,
    loadings: Tensor,
    n_subjects: int,
    n_sessions: int,
    generator: torch.Generator,
) -> Tensor:
    """(B, S, P, C) the population's loadings with each session's change."""
    change = torch.randn(n_subjects, n_sessions, *loadings.shape, generator=generator)
    return loadings + config.session_gain * change


def _mix_neighbours(
    config: SimulationConfig, sources: Tensor, generator: torch.Generator
) -> Tensor:
    """(B, S, P, F) sources after each subject's mixing within network and hemisphere."""
    n_subjects, n_sessions = sources.shape[:2]
    mixed: Tensor = sources.clone()
    for block in layout().blocks:
        place = torch.arange(len(block))
        reach = (-(place[:, None] - place[None, :]).abs() / config.mixing_reach).exp()
        reach.fill_diagonal_(0)
        weights = torch.randn(n_subjects, len(block), len(block), generator=generator)
        weights *= config.mixing_gain * reach
        for session in range(n_sessions):
            mixed[:, session, block] += weights @ sources[:, session, block]
    return mixed


def _nuisance(
    config: SimulationConfig, shape: tuple[int, int, int, int], generator: torch.Generator
) -> Tensor:
    """(B, S, P, F) noise of each parcel and the global signal, strengths by session."""
    n_subjects, n_sessions, n_parcels, n_columns = shape

    def strength(median: float) -> Tensor:
        spread = 0.3 * torch.randn(n_subjects, n_sessions, 1, 1, generator=generator)
        return spread.exp().mul_(median * 0.5**0.5)

    noise = torch.randn(shape, generator=generator) * strength(config.noise_gain)
    reach = 1 + 0.3 * torch.randn(n_subjects, n_sessions, n_parcels, 1, generator=generator)
    signal = torch.randn(n_subjects, n_sessions, 1, n_columns, generator=generator)
    return noise.add_(reach * (signal * strength(config.global_gain)))


def _finish(
    config: SimulationConfig,
    values: Tensor,
    normalization: Normalization,
    generator: torch.Generator,
) -> SimulatedScans:
    """Apply the batch's pipeline, add spikes, normalize per scan, cut networks away."""
    if _uniform(0, 1, generator) < 0.5:  # global-signal regression, the same for all subjects
        mean = values.mean(dim=2, keepdim=True)
        share = (values * mean).sum(-1, keepdim=True) / mean.square().sum(-1, keepdim=True)
        values = values - share * mean
    values = _standardise(values)
    _add_spikes(config, values, generator)
    # Robust statistics do not see the spikes, so those of the clean series stand for them.
    values = _soft_limit(values) if normalization == "robust" else _standardise(values)
    missing = torch.zeros(len(NETWORKS), dtype=torch.bool)
    if _uniform(0, 1, generator) < config.cut_probability:
        first = CUT_FROM[int(torch.randint(len(CUT_FROM), (), generator=generator))]
        missing[NETWORKS.index(first) :] = True
    values[:, :, missing[layout().network]] = 0
    return SimulatedScans(values=values, missing_networks=missing)


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


def _add_spikes(config: SimulationConfig, values: Tensor, generator: torch.Generator) -> None:
    """Add jumps to 1 % of the frames of some sessions, in place."""
    n_subjects, n_sessions, n_parcels, n_samples = values.shape
    frames = torch.rand(n_subjects, n_sessions, n_samples, generator=generator) < 0.01
    spiked = torch.rand(n_subjects, n_sessions, 1, generator=generator) < config.spike_probability
    subject, session, sample = (frames & spiked).nonzero().unbind(1)
    jumps = SPIKE_SIZE * torch.randn(len(sample), n_parcels, generator=generator)
    values[subject, session, :, sample] += jumps
