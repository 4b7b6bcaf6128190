"""Intervals over repeated splits stay within what a measure can be; p-values are never 0."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model.statistics.repetitions import (
    SHARE,
    Bounds,
    corrected_t_p,
    effective_size,
    holm,
    interval,
    permutation_p,
    wilcoxon_p,
    within,
)

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_without_bounds_it_is_the_corrected_t_interval():
    values = [0.6, 0.7, 0.65, 0.7]
    numbers = interval(values, ratio=1 / 3)
    naive = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    expected = np.sqrt(1 / 4 + 1 / 3) / np.sqrt(1 / 4)
    width = numbers["high"] - numbers["low"]
    assert width / (naive[1] - naive[0]) == pytest.approx(expected)


@given(values=SHARES, ratio=st.floats(0.01, 5), most=st.floats(2, 1e4))
def test_an_interval_of_shares_is_one_of_shares_and_holds_the_mean(values, ratio, most):
    numbers = interval(values, ratio, bounds=SHARE, most=most)
    assert 0 <= numbers["low"] <= numbers["mean"] + 1e-9
    assert numbers["mean"] - 1e-9 <= numbers["high"] <= 1


@given(values=st.lists(st.floats(-20, 0.999), min_size=2, max_size=12))
def test_no_explained_variance_is_above_all_of_it(values):
    numbers = interval(values, 0.3, bounds=Bounds(high=1))
    assert numbers.get("high", 0) <= 1
    assert numbers.get("low", -math.inf) <= numbers["mean"] + 1e-9


def test_the_error_of_a_prediction_is_never_below_zero():
    assert interval([0.1, 3.0, 0.2], 0.3, bounds=Bounds(low=0))["low"] > 0


def test_splits_that_agree_are_as_sure_as_their_people_are_many():
    few = interval([1.0] * 10, 0.3, bounds=SHARE, most=6)
    many = interval([1.0] * 10, 0.3, bounds=SHARE, most=600)
    assert few["high"] == many["high"] == 1
    assert few["low"] < 0.7 < 0.99 < many["low"]


def test_one_split_has_wilson_s_interval_of_its_people():
    wilson = stats.binomtest(9, 12).proportion_ci(method="wilson")
    numbers = interval([0.75], 0.3, bounds=SHARE, most=12)
    assert (numbers["low"], numbers["high"]) == pytest.approx((wilson.low, wilson.high))


@pytest.mark.parametrize("values", [[0.6], [0.5, 0.5, 0.5]])
def test_where_nothing_is_known_of_the_spread_there_is_no_interval(values):
    assert "low" not in interval(values, 0.3)
    assert within(0.6, 0.0, 1.96, bounds=Bounds(high=1)) is None


def test_a_difference_of_shares_is_at_most_one_either_way():
    assert SHARE.of_differences() == (-1, 1)
    numbers = interval([0.9, 1.0, -0.5], 0.3, bounds=SHARE.of_differences())
    assert -1 <= numbers["low"] < numbers["high"] <= 1


def test_a_rare_class_makes_a_cohort_small():
    assert effective_size([50, 50]) == 100
    assert effective_size([98, 2]) < 8


def test_the_true_labels_count_among_the_permutations():
    assert permutation_p(1.0, [0.5] * 19) == pytest.approx(0.05)
    assert permutation_p(0.5, [0.5, 0.6]) == 1.0


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_no_correction_and_bonferroni_s_and_keeps_the_order(p):
    corrected = holm(p)
    assert all(a <= b <= min(1, len(p) * a) + 1e-12 for a, b in zip(p, corrected, strict=True))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_holm_of_a_known_case():
    # As R's p.adjust has it.
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])


def test_ten_splits_that_agree_have_the_least_p_there_is():
    assert wilcoxon_p(np.linspace(0.01, 0.1, 10)) == pytest.approx(2 / 2**10)
    assert wilcoxon_p([0.0] * 10) == 1.0


def test_without_shared_subjects_the_corrected_t_is_student_s():
    x = [0.1, 0.2, -0.05, 0.15]
    assert corrected_t_p(x, 0.0) == pytest.approx(stats.ttest_1samp(x, 0).pvalue)
    assert corrected_t_p(x, 1 / 3) > corrected_t_p(x, 0.0)
    assert corrected_t_p([0.0, 0.0], 0.3) == 1.0
