"""Whitening of final tokens: what it is fitted to, what it does, what it refuses."""

from __future__ import annotations

import builders
import pytest
import torch

from model.checkpoint import load_encoder
from model.encoder import build_encoder
from model.errors import ConfigError
from model.pretraining.untrained import fit, whiten
from model.simulation.simulate import SimulationConfig
from model.spec import EncoderSpec, InputSpec

SPEC = EncoderSpec(dim=16, depth=1, heads=2)


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(SPEC, seed=0).requires_grad_(requires_grad=False).eval()


@pytest.fixture(scope="module")
def whitened(encoder):
    return whiten(encoder, SimulationConfig(), InputSpec(), shrinkage=0.1, seed=1, n_populations=2)


def populations(*, seed=0, level=0.0):
    """(4 populations, 200 windows, 2 networks, 6) with strong and weak directions."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([10.0, 5.0, 2.0, 1.0, 0.5, 0.1])
    values = torch.randn(4, 200, 2, 6, generator=generator) * scale
    return values + level * torch.randn(4, 1, 2, 6, generator=generator)


@pytest.mark.parametrize("level", [0.0, 100.0])
def test_windows_within_populations_have_unit_covariance_whatever_the_populations_means(level):
    values = populations(level=level)
    mean, matrix = fit(values, shrinkage=0.0)
    white = ((values - values.mean(dim=1, keepdim=True))[..., None, :] @ matrix).squeeze(-2)
    for network in range(2):
        covariance = white[:, :, network].flatten(0, 1).T.cov(correction=0)
        torch.testing.assert_close(covariance, torch.eye(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(mean, values.mean(dim=(0, 1)))


def test_full_shrinkage_only_turns_and_scales():
    _, matrix = fit(populations(), shrinkage=1.0)
    product = matrix[0].T @ matrix[0]
    torch.testing.assert_close(product, product[0, 0] * torch.eye(6), atol=1e-5, rtol=1e-4)


def test_a_direction_in_which_nothing_varies_is_left_out():
    """Standardised by whoever uses the vector, its rounding would weigh as much as the rest."""
    values = populations()
    values[..., 5] = -values[..., :5].sum(dim=-1)
    mean, matrix = fit(values, shrinkage=0.3)
    white = (values - mean)[..., None, :] @ matrix
    assert (white[..., 0, -1] == 0).all()
    assert (white[..., 0, :-1].std(dim=(0, 1)) > 0.1).all()


def test_the_last_column_of_every_network_of_an_encoder_is_zero(whitened):
    matrix = whitened.whitening.matrix
    assert (matrix[:, :, -1] == 0).all()
    assert (matrix[:, :, :-1].norm(dim=1) > 0).all()


def test_network_tokens_are_mapped_and_the_summary_token_is_not(encoder, whitened):
    x = torch.randn(2, 457, 100, generator=torch.Generator().manual_seed(0))
    plain, mapped = encoder(x), whitened(x)
    torch.testing.assert_close(mapped[:, 0], plain[:, 0])
    third = (plain[:, 1:].view(2, 9, 5, 16)[:, 3] - whitened.whitening.mean[3]) @ (
        whitened.whitening.matrix[3]
    )
    torch.testing.assert_close(mapped[:, 1:].view(2, 9, 5, 16)[:, 3], third, atol=1e-5, rtol=1e-4)


def test_the_same_seed_gives_the_same_fit_and_another_seed_another(encoder, whitened):
    again, other = (
        whiten(encoder, SimulationConfig(), InputSpec(), shrinkage=0.1, seed=s, n_populations=2)
        for s in (1, 2)
    )
    assert torch.equal(again.whitening.matrix, whitened.whitening.matrix)
    assert not torch.equal(other.whitening.matrix, whitened.whitening.matrix)


def test_a_whitened_checkpoint_survives_the_disk(whitened, tmp_path):
    loaded = load_encoder(builders.make_checkpoint(tmp_path / "w", whitened))
    assert loaded.spec.whitened
    assert torch.equal(loaded.whitening.matrix, whitened.whitening.matrix)


def test_what_cannot_be_fitted_is_refused(encoder, whitened):
    with pytest.raises(ConfigError, match="already"):
        whiten(whitened, SimulationConfig(), InputSpec(), shrinkage=0.1, seed=1)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        whiten(encoder, SimulationConfig(), InputSpec(), shrinkage=1.5, seed=1)
    with pytest.raises(ConfigError, match="more than 6 windows"):
        fit(populations()[:1, :4], shrinkage=0.1)
