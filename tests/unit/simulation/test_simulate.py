"""The generator: what its scans share with real ones, and what must not give identity away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from model.networks import NETWORKS, network_columns, parcels
from model.simulation.layout import layout
from model.simulation.simulate import SimulationConfig, simulate
from model.spec import InputSpec

SPEC = InputSpec()
WHOLE = SimulationConfig(cut_probability=0.0)


def draw(config=WHOLE, *, n_subjects=8, n_sessions=2, seed=0):
    """Scans from one seed."""
    generator = torch.Generator().manual_seed(seed)
    return simulate(
        config, SPEC, n_subjects=n_subjects, n_sessions=n_sessions, generator=generator
    )


@pytest.fixture(scope="module")
def connectivity():
    """(subjects, sessions, P, P) correlations of 20 simulated subjects."""
    values = draw(dataclasses.replace(WHOLE, n_samples=240), n_subjects=20, seed=3).values
    z = values - values.mean(-1, keepdim=True)
    z = z / z.norm(dim=-1, keepdim=True)
    return (z @ z.mT).numpy()


def identified(connectivity, edges):
    """Share of subjects whose most similar second session is their own."""
    first, second = (connectivity[:, s][:, edges[0], edges[1]] for s in (0, 1))
    n = len(first)
    return (np.corrcoef(first, second)[:n, n:].argmax(axis=1) == np.arange(n)).mean()


def edges_of_networks():
    network = np.array([NETWORKS.index(p.network) for p in parcels()])
    upper = np.triu_indices(len(network), 1)
    same = network[upper[0]] == network[upper[1]]
    return tuple(u[same] for u in upper), tuple(u[~same] for u in upper)


def test_scans_are_normalized_and_within_the_soft_limit():
    values = draw().values
    assert values.shape == (8, 2, 457, WHOLE.n_samples)
    assert values.isfinite().all()
    assert values.abs().max() <= 5
    assert values.mean(-1).abs().max() < 0.2
    assert (values.std(-1) - 1).abs().max() < 0.3


def test_power_lies_in_the_band_and_falls_with_frequency():
    values = draw(dataclasses.replace(WHOLE, spike_probability=0.0)).values
    power = torch.fft.rfft(values).abs().square().mean(dim=(0, 1, 2)).numpy()
    hz = np.fft.rfftfreq(WHOLE.n_samples, SPEC.tr_s)
    assert power[hz > 0.11].sum() < 0.01 * power.sum()
    assert (
        power[(hz > 0.012) & (hz < 0.03)].mean() > 1.5 * power[(hz > 0.06) & (hz < 0.078)].mean()
    )


def test_the_same_seed_draws_the_same_scans_and_another_seed_others():
    first, again, other = draw(), draw(), draw(seed=1)
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.values, other.values)


def test_networks_hold_together(connectivity):
    mean = connectivity.mean(axis=(0, 1))
    within, between = edges_of_networks()
    assert mean[within].mean() > mean[between].mean() + 0.08


def test_homotopic_parcels_correlate_more_than_others_of_their_network(connectivity):
    mean = connectivity.mean(axis=(0, 1))
    column = {p.name: p.index - 1 for p in parcels()}
    pairs = [
        (i, column[name.replace("_LH_", "_RH_")])
        for name, i in column.items()
        if "_LH_" in name and name.replace("_LH_", "_RH_") in column
    ]
    within, _ = edges_of_networks()
    assert len(pairs) > 100
    assert mean[tuple(zip(*pairs, strict=True))].mean() > mean[within].mean() + 0.05


def test_connectivity_within_networks_identifies_subjects_better_than_between(connectivity):
    within, between = edges_of_networks()
    assert identified(connectivity, within) >= 0.95
    assert 0.3 <= identified(connectivity, between) <= 1.0


def test_subjects_keep_edges_of_every_distance_and_between_hemispheres(connectivity):
    z = np.arctanh(np.clip(connectivity, -0.99, 0.99))
    z = z - z.mean(axis=(0, 1))
    shared = (z[:, 0] * z[:, 1]).mean(axis=0)
    network = np.array([NETWORKS.index(p.network) for p in parcels()])
    within = (network[:, None] == network[None, :]) & ~np.eye(len(network), dtype=bool)
    distance = layout().distance.numpy()
    near, far, across = (
        shared[within & kind].mean()
        for kind in (distance <= 2, (distance > 8) & np.isfinite(distance), np.isinf(distance))
    )
    assert 0.5 < far / near < 1.2
    assert 0.5 < across / near < 1.2


def test_spectrum_and_level_do_not_identify_subjects():
    values = draw(n_subjects=30, seed=5).values
    power = torch.fft.rfft(values).abs().square().mean(dim=2).log1p().numpy()
    first, second = power[:, 0], power[:, 1]
    match = np.corrcoef(first, second)[:30, 30:].argmax(axis=1) == np.arange(30)
    assert match.mean() < 0.25


def test_without_mixing_and_loadings_of_its_own_a_subject_is_a_stranger_to_itself():
    config = dataclasses.replace(WHOLE, mixing_gain=0.0, subject_gain=0.0)
    values = draw(config, n_subjects=20).values
    z = values - values.mean(-1, keepdim=True)
    z = z / z.norm(dim=-1, keepdim=True)
    assert identified((z @ z.mT).numpy(), edges_of_networks()[0]) < 0.3


def test_a_network_that_is_cut_off_is_zero_in_the_whole_batch_and_reported():
    config = dataclasses.replace(WHOLE, cut_probability=1.0)
    scans = draw(config)
    cerebellum = network_columns("Cerebellum")
    assert scans.missing_parcels[450:].all()
    assert not scans.missing_parcels[:400].any()
    assert (scans.values[:, :, cerebellum] == 0).all()


def test_spikes_come_in_single_frames_of_some_sessions_only():
    config = dataclasses.replace(WHOLE, spike_probability=1.0)
    plain = draw(dataclasses.replace(WHOLE, spike_probability=0.0)).values
    changed = (draw(config).values != plain).float().mean(dim=2) > 0.5
    assert 0.002 < changed.float().mean() < 0.03
