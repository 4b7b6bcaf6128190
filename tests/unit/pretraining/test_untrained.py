"""Random weights as a control: what they share with the encoder, and what is drawn anew."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import builders
import numpy as np
import pytest
import torch

import model.pretraining.untrained
from model.checkpoint import load_encoder
from model.encoder import build_encoder
from model.evaluation.baselines import RANDOM_SEEDS, random_vectors
from model.pretraining.untrained import (
    SHRINKAGE,
    before_training,
    pass_no_constant,
    shrinkage_of,
    untrained,
    untrained_whitened,
    whiten,
)
from model.series import ParcelSeries
from model.spec import EncoderSpec
from model.statistics.pairing import Key


@pytest.fixture(autouse=True)
def _few_simulated_scans(monkeypatch):
    monkeypatch.setattr(model.pretraining.untrained, "whiten", partial(whiten, n_populations=2))
    model.pretraining.untrained._whitened.cache_clear()


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
    _, members = random_vectors(series, saved(tmp_path / "x"))
    assert len(members["random weights, whitened, networks"]) == len(RANDOM_SEEDS)
    builders.make_checkpoint(tmp_path / "plain")
    _, members = random_vectors(series, load_encoder(tmp_path / "plain"))
    assert not any("whitened" in name for name in members)


def test_the_beginning_of_a_run_is_drawn_again_from_its_card(tmp_path):
    run = {"whitening": 0.3, "init": "high-pass", "seed": 4}
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
