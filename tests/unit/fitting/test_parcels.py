"""Whitening of parcels by first weights: exact, and only where it is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from shard_builders import make_shards

import model.fitting.data
from model.encoder import build_encoder
from model.errors import ConfigError
from model.fitting.data import open_data
from model.fitting.parcels import fold, inverse_root, mean_correlation, whiten_parcels
from model.fitting.settings import FitConfig
from model.networks import network_columns
from model.partition.named import partition
from model.pretraining.untrained import pass_no_constant
from model.spec import EncoderSpec, InputSpec

SPEC = EncoderSpec(dim=48, depth=1, heads=2)


@pytest.fixture(autouse=True)
def _few_populations(monkeypatch):
    monkeypatch.setattr(model.fitting.data, "N_POPULATIONS", 2)


def high_pass():
    encoder = build_encoder(SPEC, seed=0).eval()
    pass_no_constant(encoder)
    return encoder


def data_of(*folders, **settings):
    config = FitConfig(shards=tuple(map(str, folders)), **settings)
    return open_data(config, InputSpec(), simulation=None, seed=1)


@pytest.mark.parametrize("row", [0, 7, 8])
def test_folded_weights_see_the_mixed_parcels(row):
    """Of a network with more parcels than channels, and of ones with several heads a parcel."""
    before, after = high_pass(), high_pass()
    n_parcels = before.tokenizers[row].dense.in_channels
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(n_parcels, n_parcels, generator=generator, dtype=torch.float64)
    patches = torch.randn(3, n_parcels, 20, generator=generator)
    fold(after.tokenizers[row], matrix)
    mixed = torch.einsum("pq,bqt->bpt", matrix.float(), patches)
    for name in ("dense", "structured"):
        expected = getattr(before.tokenizers[row], name)(mixed)
        found = getattr(after.tokenizers[row], name)(patches)
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-4)


def test_filters_that_differ_between_parcels_are_refused():
    encoder = build_encoder(SPEC, seed=0)
    with pytest.raises(ConfigError, match="in different ways"):
        fold(encoder.tokenizers[8], torch.eye(7, dtype=torch.float64))


def test_an_inverse_root_whitens_what_it_is_shrunk_to():
    values = np.random.default_rng(0).normal(size=(50, 8)) @ np.random.default_rng(1).normal(
        size=(8, 8)
    )
    covariance = np.corrcoef(values.T)
    root = inverse_root(covariance, shrinkage=0.1)
    shrunk = 0.9 * covariance + 0.1 * np.eye(8)
    np.testing.assert_allclose(root @ shrunk @ root, np.eye(8), atol=1e-10)
    with pytest.raises(ConfigError, match="parcels_shrinkage 0"):
        inverse_root(np.ones((3, 3)), shrinkage=0.0)


def test_only_the_rows_that_are_named_change(tmp_path):
    before, after = high_pass(), high_pass()
    whiten_parcels(after, data_of(make_shards(tmp_path / "s", 6), parcels=("Limbic",)))
    pairs = zip(before.state_dict().items(), after.state_dict().values(), strict=True)
    changed = {name for (name, a), b in pairs if not torch.equal(a, b)}
    assert changed == {
        "tokenizers.4.dense.weight",
        "tokenizers.4.structured.projection.weight",
    }


def test_a_row_that_there_is_not_is_refused_by_name(tmp_path):
    data = data_of(make_shards(tmp_path / "s", 6), parcels=("Limbic", "Brain9"))
    with pytest.raises(ConfigError, match="no such group or row: Brain9"):
        whiten_parcels(high_pass(), data)


def test_correlation_is_the_mean_over_scans_and_the_simulators_where_no_scan_has_the_parcels(
    tmp_path,
):
    folder = make_shards(tmp_path / "s", 6, missing=slice(400, 457))
    data = data_of(folder)
    found = mean_correlation(data)
    (cohort,) = data.cohorts
    each = [np.corrcoef(cohort.shards.read(s)[:, :400].astype(float).T) for s in cohort.scans]
    np.testing.assert_allclose(found[:400, :400], np.mean(each, axis=0), atol=1e-8)
    assert (found[:400, 400:] == 0).all()
    simulated = mean_correlation(data_of())
    np.testing.assert_allclose(found[400:, 400:], simulated[400:, 400:])
    columns = network_columns("Subcortical")
    assert np.abs(found[np.ix_(columns, columns)]).mean() > 0.05


def test_cohorts_weigh_the_same_whatever_their_size(tmp_path):
    folders = [make_shards(tmp_path / "a", 8), make_shards(tmp_path / "b", 3, n_frames=200)]
    a, b, both = (mean_correlation(data_of(*f)) for f in (folders[:1], folders[1:], folders))
    np.testing.assert_allclose(both, (a + b) / 2, atol=1e-12)
    by_frames = mean_correlation(data_of(*folders, weigh="windows"))
    np.testing.assert_allclose(by_frames, (a * 1920 + b * 1200) / 3120, atol=1e-12)


def test_a_group_names_all_of_its_rows_and_a_row_itself(tmp_path):
    spec = replace(SPEC, groups=partition(["networks", "brain:2"]))
    data = data_of(make_shards(tmp_path / "s", 6), parcels=("Brain",))

    def changed_by(names):
        before, after = (build_encoder(spec, seed=0) for _ in range(2))
        for encoder in (before, after):
            pass_no_constant(encoder)
        whiten_parcels(after, replace(data, config=replace(data.config, parcels=names)))
        pairs = zip(before.tokenizers, after.tokenizers, spec.rows, strict=True)
        return [row for a, b, row in pairs if not torch.equal(a.dense.weight, b.dense.weight)]

    assert changed_by(("Brain",)) == ["Brain1", "Brain2"]
    assert changed_by(("Brain2", "Vis")) == ["Vis", "Brain2"]
