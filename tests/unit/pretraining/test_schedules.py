"""Values per step, against the published formulas."""

from __future__ import annotations

import numpy as np
import pytest

from model.pretraining.step import learning_rate, regularizer_weight, weight_decay


def test_the_learning_rate_warms_up_linearly_and_ends_near_zero():
    rate = learning_rate(1000, peak=2.0, warmup_steps=30)
    assert len(rate) == 1000
    np.testing.assert_allclose(np.diff(rate[:30]), 2.0 / 30)
    assert rate[29] == rate[30] == rate.max() == 2.0
    assert (np.diff(rate[30:]) < 0).all()
    assert rate[-1] < 1e-4


def test_the_learning_rate_is_at_half_its_peak_in_the_middle_of_the_fall():
    assert learning_rate(130, peak=1.0, warmup_steps=30)[80] == pytest.approx(0.5)


def test_training_without_warm_up_starts_at_the_peak():
    assert learning_rate(10, peak=3.0, warmup_steps=0)[0] == 3.0


def test_weight_decay_rises_from_first_to_last():
    decay = weight_decay(500, first=0.05, last=0.3)
    assert decay[0] == pytest.approx(0.05)
    assert decay[250] == pytest.approx(0.175)
    assert decay[-1] == pytest.approx(0.3, abs=1e-4)
    assert (np.diff(decay) > 0).all()


def test_the_regularizer_fades_out_and_stays_off():
    weight = regularizer_weight(100, first=0.5, active_steps=10)
    assert weight[0] == 0.5
    assert weight[5] == pytest.approx(0.25)
    assert (weight[10:] == 0).all()


def test_a_regularizer_that_never_ends_stays_constant():
    assert (regularizer_weight(100, first=0.5, active_steps=200) == 0.5).all()
