"""What may not move a scan's embedding, on simulated scans; docs/robustness.md has the study."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.checkpoint import load_encoder
from model.despike import despike
from model.embed import embed_series
from model.evaluation.perturbations import (
    gain_and_offset,
    lose_frames,
    lose_network,
    other_tr,
    spikes,
)
from model.series import ParcelSeries
from model.simulation.simulate import SimulationConfig, simulate
from model.spec import InputSpec

TOGETHER = {"whole frames": True, "each parcel": False}


@pytest.fixture(scope="module")
def scans():
    """Three scans of 340 s without spikes, all parcels present."""
    config = SimulationConfig(n_samples=170, spike_probability=0.0, cut_probability=0.0)
    spec, generator = InputSpec(normalization="zscore"), torch.Generator().manual_seed(0)
    made = simulate(config, spec, n_subjects=3, n_sessions=1, generator=generator)
    return [ParcelSeries(values=v.numpy().T, tr_s=2.0, unit="residual") for v in made.values[:, 0]]


@pytest.fixture(scope="module")
def embedded(scans):
    """A function of (perturbation, normalization) to cosines with the unperturbed scans."""
    encoder, threads = load_encoder(), torch.get_num_threads()
    torch.set_num_threads(1)

    def vector(series, normalization):
        embedding = embed_series(
            series.values, tr_s=series.tr_s, encoder=encoder, normalization=normalization
        )
        return embedding.scan_part("networks")

    clean = {n: [vector(s, n) for s in scans] for n in ("robust", "zscore")}

    def cosines(apply, normalization="robust", *, part=slice(None)):
        rng = np.random.default_rng(1)
        moved = [vector(apply(s, rng), normalization)[part] for s in scans]
        both = [
            (a[~np.isnan(a)], b[part][~np.isnan(a)])
            for a, b in zip(moved, clean[normalization], strict=True)
        ]
        return [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in both]

    yield cosines
    torch.set_num_threads(threads)


@pytest.mark.parametrize("scope", ["parcel", "scan"])
def test_gain_and_offset_do_not_move_the_embedding(embedded, scope):
    assert min(embedded(gain_and_offset(scope))) >= 0.999


@pytest.mark.parametrize("tr_s", [0.72, 3.0])
def test_the_tr_hardly_moves_the_embedding(embedded, tr_s):
    assert min(embedded(other_tr(tr_s))) >= 0.97


@pytest.mark.parametrize("together", TOGETHER.values(), ids=TOGETHER)
def test_spikes_hardly_move_it_by_default_and_much_more_after_zscore(embedded, together):
    robust, zscore = (embedded(spikes(0.02, together=together), n) for n in ("robust", "zscore"))
    assert min(robust) >= 0.98
    assert 1 - np.median(robust) <= (1 - np.median(zscore)) / 10


def test_a_lost_network_moves_the_others_little(embedded):
    """Of the networks: rows of the whole brain lack its parcels too."""
    rows = load_encoder().spec.rows
    first = slice(0, rows.index("Brain1"))
    assert min(embedded(lose_network, part=first)) >= 0.93
    assert min(embedded(lose_network)) >= 0.88


def test_despiking_hardly_touches_a_band_limited_scan_or_white_noise(scans):
    noise = np.random.default_rng(0).standard_normal(scans[0].values.shape)
    for series in (scans[0], scans[0].with_values(noise)):
        assert despike(series.values)[1] < 1e-3


def test_other_tr_at_the_scans_own_tr_returns_the_scan(scans):
    same = other_tr(2.0)(scans[0], np.random.default_rng(0))
    np.testing.assert_allclose(same.values, scans[0].values, atol=1e-5)


@pytest.mark.parametrize("together", TOGETHER.values(), ids=TOGETHER)
def test_spikes_have_the_size_and_the_share_they_are_named_for(scans, together):
    added = spikes(0.02, together=together)(scans[0], np.random.default_rng(0)).values
    added = (added - scans[0].values) / scans[0].values.std(axis=0)
    assert ((np.abs(added) > 1e-3).sum(axis=0) == round(0.02 * len(added))).all()
    sizes = np.abs(added[np.abs(added) > 1e-3])
    assert sizes.min() >= 3.999
    assert sizes.max() <= 20.001


def test_lost_frames_are_marked_and_the_others_untouched(scans):
    out = lose_frames(0.2)(scans[0], np.random.default_rng(0))
    assert 0.2 <= (~out.kept).mean() <= 0.22
    np.testing.assert_array_equal(out.values[out.kept], scans[0].values[out.kept])
    assert (out.values[~out.kept] != scans[0].values[~out.kept]).any()
