"""Simulated scans of 457 parcels: what weights can be trained on without real scans.

A subject is a pattern of *mixing within networks*: each parcel carries, beside its own source,
a persistent random mixture of the sources of all parcels of its network, nearby ones a little
more. In real scans functional connectivity within networks identifies people better than
between networks, edges over a long distance as well as short ones; of the generators tried
only this kind does so too (docs/pretraining.md). Whatever would give
identity away without looking at connectivity is never drawn per subject: filter, spectrum,
haemodynamics and group pattern are drawn per batch; scanner, global-signal step, noise and
spikes per session.

No atlas geometry enters: distance is that in the label table's order, and homotopic
parcels are those whose names differ in the hemisphere only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from model.files.settings import Count, NotNegative, Positive, Share, Strict
from model.networks import NETWORKS, network_columns
from model.simulation.draws import normal, uniform
from model.simulation.layout import layout
from model.simulation.processing import SimulatedScans, finish

if TYPE_CHECKING:
    from model.spec import InputSpec

MARGIN_SAMPLES = 20
"""Simulated beyond the scan and cut off, for the inverse Fourier transform is circular."""
BAND_EDGES = ((0.7, 1.2), (0.8, 1.0))
"""Ranges of the pass band's edges, relative to the input's band; one draw per batch."""
RESPONSE_SHAPE = 6
"""The haemodynamic response is a gamma density of this shape and scale 1 s. The canonical
undershoot would take away slow power that real scans have (docs/pretraining.md)."""


@dataclass(frozen=True, kw_only=True)
class SimulationConfig(Strict):
    """Strengths of the generator's parts. Source signals have unit variance."""

    n_samples: Count = 180
    components_per_network: Count = 3
    network_gain: NotNegative = 0.72
    """Loading of a network's parcels on its common signal."""
    area_gain: NotNegative = 0.30
    """Loading on the network's other signals, smooth over neighbouring parcels."""
    far_gain: NotNegative = 0.3
    """Loading on the signals of other networks, smooth too."""
    own_gain: NotNegative = 0.95
    """Strength of each parcel's own source, before mixing."""
    mixing_gain: NotNegative = 0.04
    """Strength of the subject's mixing of a network's parcels; this is identity ..."""
    near_mixing_gain: NotNegative = 0.05
    """... and what neighbours in a hemisphere are mixed more."""
    mixing_reach: Positive = 6.0
    """Distance, in parcels, over which the latter decays by e."""
    subject_gain: NotNegative = 0.06
    """Change of loadings from subject to subject; identity too, within and between networks."""
    session_gain: NotNegative = 0.14
    """Change of loadings from session to session."""
    noise_gain: NotNegative = 0.5
    """Median strength of noise that no parcels share; varies by session."""
    global_gain: NotNegative = 0.4
    """Median strength of the global signal; varies by session."""
    n_states: Count = 6
    dwell_s: Positive = 20.0
    """Mean time in one state; states scale the signals differently."""
    state_spread: NotNegative = 0.8
    """Standard deviation of the log gain of a signal in a state."""
    spectrum_slope: float = 0.3
    """Mean exponent b of power ~ 1 / f^b, before the haemodynamic response."""
    response_spread: NotNegative = 0.08
    """Standard deviation of the log stretch in time of that response, of networks and parcels."""
    n_scanners: Count = 3
    """Scanners of a batch; every session comes from one of them, whoever the subject is."""
    scanner_gain: NotNegative = 0.3
    """Standard deviation over parcels of the log of a scanner's pattern of noise."""
    spike_probability: Share = 0.3
    """Share of sessions with spikes."""
    cut_probability: Share = 0.2
    """Share of batches without cerebellum, or without cerebellum and subcortex."""


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
        The only source of randomness; the work is done on its device.
    """
    device = generator.device
    n_fft = config.n_samples + MARGIN_SAMPLES
    hz = torch.fft.rfftfreq(n_fft, spec.tr_s, device=device)
    band = _band(hz, spec.band_hz, generator)
    drive, response = (f(config, hz[band], generator) for f in (_drive, _response))
    loadings = _population(config, generator)
    signals = _network_signals(config, spec.tr_s, (n_subjects, n_sessions), generator)
    spectrum = torch.fft.rfft(signals, dim=-1)[..., band] / n_fft**0.5
    shared = _session_loadings(config, loadings, n_subjects, n_sessions, generator)
    # A complex number as two real columns, for the mixing is real.
    columns = torch.view_as_real(spectrum).flatten(-2)
    shape = (n_subjects, n_sessions, shared.shape[2], columns.shape[-1])
    own = normal(shape, generator).mul_(config.own_gain * 0.5**0.5)
    sources = (shared @ columns).add_(own)
    neural = _as_spectrum(_mix_networks(config, sources, generator))
    nuisance = _as_spectrum(_nuisance(config, shape, generator))
    full = torch.zeros(*shape[:3], len(hz), dtype=torch.complex64, device=device)
    full[..., band] = response * drive * neural + nuisance
    values = torch.fft.irfft(full, n=n_fft, dim=-1)[..., : config.n_samples]
    return finish(
        values,
        spec.normalization,
        generator,
        spike_probability=config.spike_probability,
        cut_probability=config.cut_probability,
    )


def _as_spectrum(columns: Tensor) -> Tensor:
    """Read pairs of real columns (..., 2 F) as complex numbers (..., F)."""
    return torch.view_as_complex(columns.view(*columns.shape[:-1], -1, 2))


def _band(hz: Tensor, band_hz: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Columns of the frequencies that the batch's filter lets through."""
    low, high = (
        edge * uniform(*share, generator) for edge, share in zip(band_hz, BAND_EDGES, strict=True)
    )
    return ((hz >= low) & (hz <= high)).nonzero().squeeze(1)


def _drive(config: SimulationConfig, hz: Tensor, generator: torch.Generator) -> Tensor:
    """(P, F) amplitude of neural signals, 1/f with slopes per network, of mean power one."""
    slope = config.spectrum_slope + 0.2 * normal((len(NETWORKS),), generator)
    of_parcel = slope[layout().network.to(hz.device)]
    return _unit_power(hz[None, :].pow(-of_parcel[:, None] / 2))


def _response(config: SimulationConfig, hz: Tensor, generator: torch.Generator) -> Tensor:
    """(P, F) transfer function of the haemodynamic response, of mean power one.

    A response stretched in time peaks later: its phase differs between parcels, alike in all
    subjects of a batch.
    """
    of_network = normal((len(NETWORKS),), generator)[layout().network.to(hz.device)]
    stretch = of_network + normal(of_network.shape, generator)
    pole = 1 + 2j * torch.pi * hz * (config.response_spread * stretch).exp()[:, None]
    return _unit_power(pole**-RESPONSE_SHAPE)


def _unit_power(gain: Tensor) -> Tensor:
    """Scale rows (P, F) to a mean square of one."""
    return gain / gain.abs().square().mean(dim=1, keepdim=True).sqrt()


def _population(config: SimulationConfig, generator: torch.Generator) -> Tensor:
    """(P, C) loadings that all subjects of a batch share."""
    per_network, device = config.components_per_network, generator.device
    network, smoother = layout().network.to(device), layout().smoother.to(device)
    n_components = per_network * len(NETWORKS)
    white = normal((len(network), 2 * n_components), generator)
    fields, far = (smoother @ white).chunk(2, dim=1)
    component = torch.arange(n_components, device=device)
    common = component % per_network == 0
    at_home = (network[:, None] == component[None, :] // per_network).float()
    inside = torch.where(common, config.network_gain, config.area_gain * fields)
    return at_home * inside + (1 - at_home) * config.far_gain * far


def _network_signals(
    config: SimulationConfig, tr_s: float, scans: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """(B, S, C, T) signals whose strengths switch with the state of the brain."""
    n_time = config.n_samples + MARGIN_SAMPLES
    n_components = config.components_per_network * len(NETWORKS)
    shape = (*scans, n_time)
    device = generator.device
    log_gain = normal((config.n_states, n_components), generator)
    candidates = torch.randint(config.n_states, shape, generator=generator, device=device)
    switch = torch.rand(shape, generator=generator, device=device) < tr_s / config.dwell_s
    switch[..., 0] = True
    now = torch.arange(n_time, device=device)
    last_switch = torch.where(switch, now, 0).cummax(dim=-1).values
    state = candidates.gather(-1, last_switch)
    strength = (config.state_spread * log_gain - config.state_spread**2).exp()[state]
    white = normal((*shape, n_components), generator)
    return (white * strength).transpose(-1, -2)


def _session_loadings(
    config: SimulationConfig,
    loadings: Tensor,
    n_subjects: int,
    n_sessions: int,
    generator: torch.Generator,
) -> Tensor:
    """(B, S, P, C) the population's loadings with each subject's and each session's change."""
    of_subject = normal((n_subjects, 1, *loadings.shape), generator)
    of_session = normal((n_subjects, n_sessions, *loadings.shape), generator)
    return loadings + config.subject_gain * of_subject + config.session_gain * of_session


def _mix_networks(config: SimulationConfig, sources: Tensor, generator: torch.Generator) -> Tensor:
    """(B, S, P, F) sources after each subject's mixing within networks."""
    n_subjects, n_sessions = sources.shape[:2]
    mixed: Tensor = sources.clone()
    distance = layout().distance.to(sources.device)
    for network in NETWORKS:
        columns = torch.from_numpy(network_columns(network)).to(sources.device)
        near = (-distance[columns[:, None], columns] / config.mixing_reach).exp()
        strength = (config.mixing_gain + config.near_mixing_gain * near).fill_diagonal_(0)
        weights = normal((n_subjects, *strength.shape), generator) * strength
        for session in range(n_sessions):
            mixed[:, session, columns] += weights @ sources[:, session, columns]
    return mixed


def _nuisance(
    config: SimulationConfig, shape: tuple[int, int, int, int], generator: torch.Generator
) -> Tensor:
    """(B, S, P, F) noise of each parcel and the global signal, strengths by session."""
    n_subjects, n_sessions, n_parcels, n_columns = shape

    def strength(median: float) -> Tensor:
        spread = 0.3 * normal((n_subjects, n_sessions, 1, 1), generator)
        return spread.exp().mul_(median * 0.5**0.5)

    noise = normal(shape, generator) * strength(config.noise_gain)
    noise *= _scanner_patterns(config, n_subjects, n_sessions, generator)[..., None]
    reach = 1 + 0.3 * normal((n_subjects, n_sessions, n_parcels, 1), generator)
    signal = normal((n_subjects, n_sessions, 1, n_columns), generator)
    return noise.add_(reach * (signal * strength(config.global_gain)))


def _scanner_patterns(
    config: SimulationConfig, n_subjects: int, n_sessions: int, generator: torch.Generator
) -> Tensor:
    """(B, S, P) noise by parcel, relative, of the scanner that each session was made on."""
    smoother = layout().smoother.to(generator.device)
    fields = normal((config.n_scanners, len(smoother)), generator) @ smoother
    scanner = torch.randint(
        config.n_scanners, (n_subjects, n_sessions), generator=generator, device=fields.device
    )
    return (config.scanner_gain * fields).exp()[scanner]
