"""Short spikes are bridged; signal, bursts and missing parcels are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.despike import despike


def smooth(n_frames=200, n_parcels=6, *, seed=0):
    """Band-limited series of unit variance."""
    rng = np.random.default_rng(seed)
    t, hz = np.arange(n_frames)[:, None, None] * 2.0, rng.uniform(0.01, 0.1, (12, n_parcels))
    waves = np.sin(2 * np.pi * hz * t + rng.uniform(0, 7, (12, n_parcels)))
    return waves.sum(axis=1) / np.sqrt(6)


def test_smooth_series_come_back_as_they_were():
    values = smooth()
    repaired, share = despike(values)
    np.testing.assert_array_equal(repaired, values)
    assert share == 0


@pytest.mark.parametrize("size", [-20.0, 4.0, 20.0])
@pytest.mark.parametrize("length", [1, 2])
def test_spikes_of_one_or_two_frames_are_bridged_by_a_line(size, length):
    values = smooth()
    spiked = values.copy()
    spiked[50 : 50 + length, 2] += size
    repaired, share = despike(spiked)
    around = [49, 50 + length]
    line = np.interp(range(50, 50 + length), around, values[around, 2])
    np.testing.assert_allclose(repaired[50 : 50 + length, 2], line)
    untouched = np.ones(values.shape, dtype=bool)
    untouched[50 : 50 + length, 2] = False
    np.testing.assert_array_equal(repaired[untouched], values[untouched])
    assert share == pytest.approx(length / values.size)


def test_a_burst_of_three_frames_is_left_to_scrubbing():
    values = smooth()
    values[50:53, 2] += 20
    np.testing.assert_array_equal(despike(values)[0], values)


def test_white_noise_is_not_taken_for_spikes():
    _, share = despike(np.random.default_rng(0).standard_normal((1000, 20)))
    assert share < 1e-3


def test_missing_parcels_stay_missing_and_the_input_is_not_changed():
    values = smooth().astype(np.float32)
    values[:, 3], values[100, 0] = np.nan, 30
    before = values.copy()
    repaired, _ = despike(values)
    assert np.isnan(repaired[:, 3]).all()
    assert np.isfinite(np.delete(repaired, 3, axis=1)).all()
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("n_frames", [1, 4, 5])
def test_a_series_of_few_frames_is_no_fault(n_frames):
    values = smooth(n_frames)
    assert despike(values)[0].shape == values.shape
    assert despike(np.full((n_frames, 2), np.nan))[1] == 0


@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_gain_and_offset_change_nothing_about_which_values_are_spikes(gain, offset, seed):
    values = smooth(seed=seed)
    values[np.random.default_rng(seed).integers(0, 200, 6), np.arange(6)] += 9
    share = despike(values)[1]
    repaired, scaled_share = despike(gain * values + offset)
    assert scaled_share == share > 0
    np.testing.assert_allclose(repaired, gain * despike(values)[0] + offset, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_bridges_of_whole_numbers_are_not_rounded(dtype):
    values = np.arange(40)[:, None] % 7
    values[20] = 500
    found, _ = despike(values.astype(dtype))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, despike(values.astype(np.float64))[0])
    assert found[20, 0] == (values[19, 0] + values[21, 0]) / 2
