"""Whitening of final tokens: what it is fitted to, what it does, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
import torch
from shard_builders import make_shards

import model.fitting.data
from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.encoder import build_encoder
from model.errors import ConfigError
from model.fitting.data import open_data
from model.fitting.settings import FitConfig
from model.fitting.whitening import Moments, fit, silent_direction, whiten, without_fitted
from model.preprocess import window
from model.spec import EncoderSpec, InputSpec

SPEC = EncoderSpec(dim=16, depth=1, heads=2)
NOTHING = torch.zeros(6, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _few_populations(monkeypatch):
    monkeypatch.setattr(model.fitting.data, "N_POPULATIONS", 2)


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(SPEC, seed=0).requires_grad_(requires_grad=False).eval()


def data_of(*folders, seed=1, **settings):
    config = FitConfig(shards=tuple(str(f) for f in folders), **settings)
    return open_data(config, InputSpec(), simulation=None, seed=seed)


@pytest.fixture
def whitened(encoder):
    return whiten(encoder, data_of(), shrinkage=0.1)[0]


def means_of(encoder, data):
    """(cohorts) of (windows, 9, D) mean tokens, embedded one scan at a time."""
    plain = without_fitted(encoder)
    return [
        np.concatenate(
            [
                embed_windows(
                    window(c.shards.series(s), data.spec), plain, readout=("networks",)
                ).networks
                for s in c.scans
            ]
        )
        for c in data.cohorts
    ]


def moments_of(values):
    """Of (windows, rows, D)."""
    values = values.double()
    mean = values.mean(dim=0)
    centred = (values - mean).transpose(0, 1)
    return Moments(
        n_windows=torch.full((values.shape[1],), float(len(values)), dtype=torch.float64),
        mean=mean,
        covariance=centred.mT @ centred / len(values),
    )


def directions(*, seed=0):
    """(800 windows, 2 rows, 6) with strong and weak directions."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([10.0, 5.0, 2.0, 1.0, 0.5, 0.1])
    return torch.randn(800, 2, 6, generator=generator) * scale


def test_windows_have_unit_covariance():
    values = directions()
    mean, matrix = fit(moments_of(values), NOTHING, shrinkage=0.0)
    white = ((values - mean)[..., None, :] @ matrix).squeeze(-2)
    for row in range(2):
        covariance = white[:, row].T.cov(correction=0)
        torch.testing.assert_close(covariance, torch.eye(6), atol=1e-3, rtol=0)


def test_full_shrinkage_only_turns_and_scales():
    _, matrix = fit(moments_of(directions()), NOTHING, shrinkage=1.0)
    product = matrix[0].T @ matrix[0]
    torch.testing.assert_close(product, product[0, 0] * torch.eye(6), atol=1e-5, rtol=1e-4)


def test_a_direction_in_which_nothing_can_vary_is_left_out_however_few_the_windows():
    """Standardised by whoever uses the vector, its rounding would weigh as much as the rest."""
    for n_windows in (800, 4):
        values = directions()[:n_windows]
        values[..., 5] = -values[..., :5].sum(dim=-1)
        null = silent_direction(torch.ones(6))
        mean, matrix = fit(moments_of(values), null, shrinkage=0.3)
        white = (values - mean)[..., None, :] @ matrix
        assert (matrix[:, :, -1] == 0).all()
        assert (matrix[:, :, :-1].norm(dim=1) > 0).all()
        assert (white[..., 0, :-1].std(dim=(0, 1)) > 0.0).all()


def test_nothing_varies_across_the_weights_of_a_layer_norm():
    norm = torch.nn.LayerNorm(16)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    rows = norm(torch.randn(50, 16)).double() @ silent_direction(norm.weight)
    assert rows.std() < 1e-5
    norm.weight.data[3] = 0.0
    rows = norm(torch.randn(50, 16)).double() @ silent_direction(norm.weight)
    assert rows.std() < 1e-5


def test_the_last_column_of_every_row_of_an_encoder_is_zero(whitened):
    matrix = whitened.whitening.matrix
    assert (matrix[:, :, -1] == 0).all()
    assert (matrix[:, :, :-1].norm(dim=1) > 0).all()


def test_tokens_are_mapped_and_the_summary_token_is_not(encoder, whitened):
    x = torch.randn(2, 457, 100, generator=torch.Generator().manual_seed(0))
    plain, mapped = encoder(x), whitened(x)
    torch.testing.assert_close(mapped[:, 0], plain[:, 0])
    third = (plain[:, 1:].view(2, 9, 5, 16)[:, 3] - whitened.whitening.mean[3]) @ (
        whitened.whitening.matrix[3]
    )
    torch.testing.assert_close(mapped[:, 1:].view(2, 9, 5, 16)[:, 3], third, atol=1e-5, rtol=1e-4)


def test_the_same_seed_gives_the_same_fit_and_another_seed_another(encoder, whitened):
    again, other = (whiten(encoder, data_of(seed=s), shrinkage=0.1)[0] for s in (1, 2))
    assert torch.equal(again.whitening.matrix, whitened.whitening.matrix)
    assert not torch.equal(other.whitening.matrix, whitened.whitening.matrix)


def test_a_whitened_checkpoint_survives_the_disk(whitened, tmp_path):
    loaded = load_encoder(builders.make_checkpoint(tmp_path / "w", whitened))
    assert loaded.spec.whitened
    assert torch.equal(loaded.whitening.matrix, whitened.whitening.matrix)


def test_stored_scans_are_whitened_within_their_cohort(encoder, tmp_path):
    """Cohorts of unlike size weigh the same, and that they differ is no variance."""
    folders = [make_shards(tmp_path / "a", 12), make_shards(tmp_path / "b", 3, n_frames=200)]
    data = data_of(*folders)
    found, told = whiten(encoder, data, shrinkage=0.1)
    means = [torch.from_numpy(m) for m in means_of(encoder, data)]
    a, b = (moments_of(m) for m in means)
    torch.testing.assert_close(found.whitening.mean, ((a.mean + b.mean) / 2).float())
    matrix = found.whitening.matrix[2].double()
    covariance = (a.covariance[2] + b.covariance[2]) / 2
    level = covariance.diagonal().mean()
    white = matrix.T @ (0.9 * covariance + 0.1 * level * torch.eye(16)) @ matrix
    expected = torch.diag(torch.tensor([1.0] * 15 + [0.0], dtype=torch.float64))
    torch.testing.assert_close(white, expected, atol=1e-4, rtol=0)
    assert told["rows"]["Vis"] == {
        "simulated": 0.0,
        "cohorts": {
            "a": {"n_windows": 48, "n_scans": 24, "n_subjects": 12},
            "b": {"n_windows": 18, "n_scans": 6, "n_subjects": 3},
        },
    }


def test_cohorts_may_weigh_by_their_windows(encoder, tmp_path):
    data = data_of(make_shards(tmp_path / "a", 12), make_shards(tmp_path / "b", 3, n_frames=200))
    by_windows = replace(data, config=replace(data.config, weigh="windows"))
    found, _ = whiten(encoder, by_windows, shrinkage=0.1)
    everybody = torch.from_numpy(np.concatenate(means_of(encoder, data))).mean(dim=0)
    torch.testing.assert_close(found.whitening.mean, everybody, atol=1e-5, rtol=1e-5)
    even, _ = whiten(encoder, data, shrinkage=0.1)
    assert not torch.allclose(found.whitening.mean, even.whitening.mean, atol=1e-4)


def test_rows_that_no_scan_has_take_the_simulated_fit(encoder, whitened, tmp_path):
    folder = make_shards(tmp_path / "cortex", 12, missing=slice(400, 457))
    found, told = whiten(encoder, data_of(folder), shrinkage=0.1)
    for row in (7, 8):
        assert torch.equal(found.whitening.matrix[row], whitened.whitening.matrix[row])
    assert not torch.allclose(found.whitening.matrix[6], whitened.whitening.matrix[6])
    assert told["rows"]["Cerebellum"] == {"simulated": 1.0, "cohorts": {}}
    assert told["rows"]["Default"]["simulated"] == 0.0


def test_a_row_is_fitted_to_the_scans_that_have_it(encoder, tmp_path):
    cortex = make_shards(tmp_path / "cortex", 12, missing=slice(400, 457))
    whole = make_shards(tmp_path / "whole", 12)
    both, told = whiten(encoder, data_of(cortex, whole), shrinkage=0.1)
    alone, _ = whiten(encoder, data_of(whole), shrinkage=0.1)
    torch.testing.assert_close(both.whitening.mean[8], alone.whitening.mean[8])
    assert list(told["rows"]["Cerebellum"]["cohorts"]) == ["whole"]


def test_the_simulator_supplements_in_the_share_that_is_asked_for(encoder, whitened, tmp_path):
    folder = make_shards(tmp_path / "s", 12)
    real, _ = whiten(encoder, data_of(folder), shrinkage=0.1)
    mixed, told = whiten(encoder, data_of(folder, simulated=0.25), shrinkage=0.1)
    expected = 0.75 * real.whitening.mean + 0.25 * whitened.whitening.mean
    torch.testing.assert_close(mixed.whitening.mean, expected)
    assert told["rows"]["Vis"]["simulated"] == 0.25


def test_an_earlier_whitening_is_replaced(encoder, whitened, tmp_path):
    data = data_of(make_shards(tmp_path / "s", 12))
    again, first = (whiten(e, data, shrinkage=0.1)[0] for e in (whitened, encoder))
    torch.testing.assert_close(again.whitening.matrix, first.whitening.matrix)


def test_what_cannot_be_fitted_is_refused(encoder, tmp_path):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        fit(moments_of(directions()), NOTHING, shrinkage=1.5)
    few = data_of(make_shards(tmp_path / "s", 3))
    with pytest.raises(ConfigError, match=r"more than 16 windows .* found 12"):
        whiten(encoder, few, shrinkage=0.0)
