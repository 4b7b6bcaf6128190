"""What the report computes from the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.report.figures import (
    correlation,
    network_means,
    token_distance,
    window_similarity,
)
from bids_app.signal.effect import thin
from model.networks import network_columns

N_PARCELS = 457
CEREBELLUM = network_columns("Cerebellum")


@given(n_frames=st.integers(1, 50), most=st.integers(1, 20))
def test_thinning_keeps_the_mean_of_a_constant_and_the_limit(n_frames, most) -> None:
    shown, step = thin(np.full((n_frames, 2), 3.0), most=most)
    assert shown.shape[0] <= most
    assert (shown.shape[0] - 1) * step < n_frames <= shown.shape[0] * step
    np.testing.assert_allclose(shown, 3.0)


def test_correlation_leaves_missing_parcels_out() -> None:
    values = np.random.default_rng(0).normal(size=(40, N_PARCELS))
    values[:, 3] = np.nan
    matrix = correlation(values)
    assert np.isnan(matrix[3]).all()
    assert np.isfinite(np.delete(np.delete(matrix, 3, 0), 3, 1)).all()
    expected = pd.DataFrame(values[:, :2]).corr().iloc[0, 1]
    assert matrix[0, 1] == pytest.approx(expected)


def test_network_means_leave_a_parcel_with_itself_out() -> None:
    matrix = np.full((N_PARCELS, N_PARCELS), 0.25)
    np.fill_diagonal(matrix, 1.0)
    matrix[CEREBELLUM], matrix[:, CEREBELLUM] = np.nan, np.nan
    means = network_means(matrix)
    np.testing.assert_allclose(means[:8, :8], 0.25)
    assert np.isnan(means[8]).all()


def test_windows_are_compared_by_direction_over_common_networks() -> None:
    window = np.random.default_rng(0).normal(size=(9, 5, 8))
    tokens = np.stack([window, 3 * window, -window])
    tokens[1, 4] = np.nan
    expected = [[1, 1, -1], [1, 1, -1], [-1, -1, 1]]
    np.testing.assert_allclose(window_similarity(tokens), expected, atol=1e-6)


def test_a_token_like_its_networks_mean_has_no_distance() -> None:
    tokens = np.ones((2, 9, 5, 8))
    tokens[0, 0, 0] = -1
    tokens[:, 8] = np.nan
    distance = token_distance(tokens)
    assert distance[0, 0, 0] == pytest.approx(2)
    np.testing.assert_allclose(distance[:, 1:8], 0, atol=1e-12)
    assert np.isnan(distance[:, 8]).all()
