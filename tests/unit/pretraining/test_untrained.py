"""Random weights as a control: what they share with the encoder, and what is drawn anew."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
import torch
from shard_builders import make_shards

import model.fitting.data
from model.checkpoint import load_encoder
from model.encoder import build_encoder
from model.evaluation.baselines import RANDOM_SEEDS, random_vectors
from model.pretraining.pretrain import run_pretraining
from model.pretraining.untrained import (
    SHRINKAGE,
    FitDataError,
    before_training,
    fit_of,
    pass_no_constant,
    shrinkage_of,
    untrained,
    untrained_whitened,
)
from model.series import ParcelSeries
from model.spec import EncoderSpec
from model.statistics.pairing import Key


@pytest.fixture(autouse=True)
def _few_simulated_scans(monkeypatch):
    monkeypatch.setattr(model.fitting.data, "N_POPULATIONS", 2)


def saved(folder, **training):
    spec = EncoderSpec(dim=16, depth=1, heads=2, whitened=True)
    return load_encoder(builders.make_checkpoint(folder, build_encoder(spec, seed=5), **training))


def test_both_controls_have_the_same_weights_and_only_one_is_whitened(tmp_path):
    encoder = saved(tmp_path / "x")
    plain, white = (draw(encoder, seed=3) for draw in (untrained, untrained_whitened))
    drawn = build_encoder(replace(encoder.spec, whitened=False), seed=3).state_dict()
    for name, value in drawn.items():
        assert torch.equal(plain.state_dict()[name], value)
        assert torch.equal(white.state_dict()[name], value)
    unit = torch.eye(16).repeat(9, 1, 1)
    assert torch.equal(plain.whitening.matrix, unit)
    assert not torch.allclose(white.whitening.matrix, unit, atol=0.1)
    assert white.spec == encoder.spec


def test_the_shrinkage_is_that_of_the_checkpoint_where_its_card_tells(tmp_path):
    told = saved(tmp_path / "told", config={"run": {"whitening": 0.7}})
    tuned = saved(tmp_path / "tuned", method="all weights")
    assert (shrinkage_of(told), shrinkage_of(tuned)) == (0.7, SHRINKAGE)


def test_an_evaluation_puts_whitened_random_weights_beside_a_whitened_encoder(tmp_path):
    values = np.random.default_rng(0).normal(size=(100, 457)).astype(np.float32)
    series = {Key("a", "1"): ParcelSeries(values=values, tr_s=2.0, unit="robust")}
    _, members, left_out = random_vectors(series, saved(tmp_path / "x"))
    assert not left_out
    assert len(members["random weights, whitened, networks"]) == len(RANDOM_SEEDS)
    builders.make_checkpoint(tmp_path / "plain")
    _, members, _ = random_vectors(series, load_encoder(tmp_path / "plain"))
    assert not any("whitened" in name for name in members)


def test_the_beginning_of_a_run_is_drawn_again_from_its_card(tmp_path):
    run = {"whitening": 0.3, "init": "centred", "seed": 4}
    encoder = saved(tmp_path / "x", config={"run": run})
    first = before_training(encoder)
    drawn = build_encoder(replace(encoder.spec, whitened=False), seed=4)
    pass_no_constant(drawn)
    for name, value in drawn.state_dict().items():
        assert torch.equal(first.state_dict()[name], value)
    values = np.random.default_rng(0).normal(size=(100, 457)).astype(np.float32)
    series = {Key("a", "1"): ParcelSeries(values=values, tr_s=2.0, unit="robust")}
    assert "before training, networks" in random_vectors(series, encoder)[1]


@pytest.mark.parametrize("run", [{}, {"init": "bundled", "seed": 4}])
def test_a_beginning_that_the_card_does_not_tell_is_not_made_up(tmp_path, run):
    assert before_training(saved(tmp_path / "x", config={"run": run})) is None


@pytest.fixture
def fitted(tmp_path):
    """An encoder that was fitted to stored scans, and their folder."""
    folder = make_shards(tmp_path / "study", 8)
    out = tmp_path / "run"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(folder=folder))
    return load_encoder(run_pretraining(recipe, out)), folder


RECIPE = """
[run]
name = "fitted"
version = "1"
seed = 3
n_steps = 0
batch_size = 4
save_every = 1
readout = ["networks"]
init = "centred"
whitening = 0.2
[encoder]
dim = 16
depth = 1
heads = 2
branches = ["structured"]
[input]
[simulation]
[views]
pairing = "scan"
[objective]
[optimizer]
learning_rate = 0.0
[fit]
shards = ["{folder}"]
simulated = 0.1
mixtures = [{{rows = ["Limbic"], of = ["whitened"], shrinkage = 0.1}}]
"""


def test_weights_that_were_only_fitted_are_their_own_beginning(fitted):
    """The control takes the very scans: it differs from the checkpoint by training alone."""
    encoder, folder = fitted
    first = before_training(encoder, folders=[folder])
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(first.state_dict()[name], value)
    assert shrinkage_of(encoder) == 0.2
    assert fit_of(encoder, [folder]).describe() == {
        k: v for k, v in encoder.card.training["fit"].items() if k not in ("shrinkage", "rows")
    }


def test_a_control_is_left_out_with_a_reason_where_its_scans_are_not_at_hand(fitted, tmp_path):
    encoder, folder = fitted
    other = make_shards(tmp_path / "other", 3)
    values = np.random.default_rng(0).normal(size=(100, 457)).astype(np.float32)
    series = {Key("a", "1"): ParcelSeries(values=values, tr_s=2.0, unit="robust")}
    _, members, left_out = random_vectors(series, encoder, folders=[other])
    assert not any("whitened" in name or "before" in name for name in members)
    assert "random weights, networks" in members
    assert "not at hand: study" in left_out[0]
    _, members, left_out = random_vectors(series, encoder, folders=[other, folder])
    assert "random weights, whitened, networks" in members
    assert left_out == ["before training is left out: nothing was trained"]


@pytest.mark.parametrize("fit", ["x", {"cohorts": []}, {"cohorts": {"a": {}}}, {"settings": 3}])
def test_a_card_that_tells_its_fit_wrongly_leaves_the_controls_out(tmp_path, fit):
    with pytest.raises(FitDataError, match="does not tell"):
        fit_of(saved(tmp_path / "x", fit=fit), [])


def test_a_checkpoint_that_began_with_another_has_no_row_of_its_beginning(tmp_path):
    encoder = saved(tmp_path / "x", parent={"name": "other"}, config={"run": {"init": "bundled"}})
    values = np.random.default_rng(0).normal(size=(100, 457)).astype(np.float32)
    series = {Key("a", "1"): ParcelSeries(values=values, tr_s=2.0, unit="robust")}
    _, members, left_out = random_vectors(series, encoder)
    assert not any("before" in name for name in members)
    assert "began with the checkpoint" in left_out[0]


def test_a_card_says_that_nothing_was_trained_and_what_was_fitted_to(fitted):
    card = fitted[0].card
    assert card.source == (
        "made by semantoks of random weights with filters that subtract the average of a "
        "patch, without training, fitted to "
        "study (licence: not stated)"
    )
    assert card.training["objective"].startswith("none")
    assert card.training["fit"]["rows"]["Vis"]["cohorts"]["study"]["n_subjects"] == 8
