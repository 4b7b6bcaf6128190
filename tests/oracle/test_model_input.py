"""Resampling, normalization and windows of random series, as docs/preprocessing.md says."""

from __future__ import annotations

import numpy as np
import plain
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from model.networks import parcels
from model.preprocess import normalize, prepare, resample, window
from model.series import ParcelSeries
from model.spec import InputSpec

TABLE = [(parcel.name, parcel.network, parcel.hemisphere) for parcel in parcels()]
N_PARCELS = len(TABLE)
seeds = st.integers(0, 2**32 - 1)
UNSHRUNK = [Phase.explicit, Phase.reuse, Phase.generate]
"""No seed is smaller than another: looking for a smaller one takes minutes."""
methods = st.sampled_from(["robust", "zscore"])


def series_of(columns, *, tr_s, kept=None, unit="residual"):
    """A `ParcelSeries` whose first parcels are (T, n) columns; the others are missing."""
    values = np.full((len(columns), N_PARCELS), np.nan)
    values[:, : columns.shape[1]] = columns
    return ParcelSeries(values=values, tr_s=tr_s, unit=unit, kept=kept)


def random_columns(rng, n_frames):
    """(T, 5): noise, a walk, spikes, whole numbers of which most are equal, missing."""
    columns = rng.normal(size=(n_frames, 5))
    columns[:, 1] = columns[:, 1].cumsum() + 1000
    columns[rng.integers(0, n_frames, 3), 2] += rng.normal(scale=30, size=3)
    columns[:, 3] = np.where(rng.random(n_frames) < 0.7, 1, rng.integers(0, 5, n_frames))
    columns[:, 4] = np.nan
    return columns.astype(np.float32)


def assert_columns(found, expected, *, within):
    """(T, P) values whose first columns are as expected and whose others are missing."""
    expected = np.transpose(expected)
    n = expected.shape[1]
    np.testing.assert_allclose(found[:, :n], expected, rtol=0, atol=within)
    assert np.isnan(found[:, n:]).all()


@given(
    seed=seeds,
    tr_s=st.sampled_from([0.5, 0.72, 0.735, 0.8, 1.0, 1.5, 2.0, 2.2, 2.5, 3.0, 4.0]),
    n_frames=st.integers(8, 200),
)
@settings(max_examples=60, deadline=None, phases=UNSHRUNK)
def test_resampling(seed, tr_s, n_frames) -> None:
    rng = np.random.default_rng(seed)
    columns, kept = random_columns(rng, n_frames), rng.random(n_frames) > 0.1
    expected, expected_kept = plain.resampled(
        columns.T.tolist(), kept.tolist(), tr_s=tr_s, to_tr_s=2.0
    )
    found = resample(series_of(columns, tr_s=tr_s, kept=kept), tr_s=2.0)
    assert found.n_frames == len(expected_kept)
    np.testing.assert_array_equal(found.kept, expected_kept)
    # float32 of the largest value, which is about 1000 in the second column
    assert_columns(found.values[:, [0, 2, 3, 4]], np.array(expected)[[0, 2, 3, 4]], within=1e-5)
    np.testing.assert_allclose(found.values[:, 1], expected[1], rtol=2e-7)


@given(
    seed=seeds,
    method=methods,
    n_frames=st.integers(20, 150),
    n_kept=st.sampled_from([None, 19, 20, 21]),
    scaled=st.booleans(),
)
@settings(max_examples=80, deadline=None, phases=UNSHRUNK)
def test_normalization(seed, method, n_frames, n_kept, scaled) -> None:
    rng = np.random.default_rng(seed)
    columns = random_columns(rng, n_frames)
    kept = np.ones(n_frames, dtype=bool)
    if n_kept is not None:
        kept[rng.permutation(n_frames)[n_kept:]] = False
    columns[~kept, 0] = 50  # what was interpolated must not count while 20 others are there
    if scaled:  # from what 1e-8 in the denominator still matters to, to raw scanner units
        columns *= 10 ** rng.uniform(-7, 7, 5)
    columns[:, 4] = rng.choice([0, 0.1, 1000])  # a constant is missing, in float32 too
    expected = [plain.normalized(column, kept.tolist(), method) for column in columns.T.tolist()]
    found = normalize(series_of(columns, tr_s=2.0, kept=kept), method)
    assert np.isnan(found.values[:, 4]).all()
    assert_columns(found.values[:, :5], expected, within=2e-5)


def test_starts_of_windows_of_every_length() -> None:
    # The last three hold a start midway between two samples that division may miss.
    for n_samples in [*range(20, 420), 1454, 1957, 3563]:
        series = series_of(np.zeros((n_samples, 1)), tr_s=2.0, unit="robust")
        found = window(series, InputSpec())
        starts, length = plain.window_starts(n_samples)
        np.testing.assert_array_equal(found.start_s, np.multiply(starts, 2.0))
        np.testing.assert_array_equal(found.valid.sum(axis=1), length)


def with_losses(rng, n_samples):
    """(T, P) noise without a random part of each network, from none to all."""
    values = rng.normal(size=(n_samples, N_PARCELS)).astype(np.float32)
    for network in {row[1] for row in TABLE}:
        share = rng.choice([0, 0.1, 0.45, 0.55, 1])
        members = [number for number, row in enumerate(TABLE) if row[1] == network]
        values[:, [number for number in members if rng.random() < share]] = np.nan
    values[:, 450:452] = [[1.0, np.nan]] * n_samples  # so that one network is there
    return values


@given(seed=seeds, n_samples=st.sampled_from([23, 60, 101, 130]))
@settings(max_examples=10, deadline=None, phases=UNSHRUNK)
def test_windows(seed, n_samples) -> None:
    rng = np.random.default_rng(seed)
    values = with_losses(rng, n_samples)
    expected, starts, length = plain.windows(values.T.tolist(), TABLE)
    series = ParcelSeries(values=values, tr_s=2.0, unit="robust", start_s=3.5)
    found = window(series, InputSpec())
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(found.start_s, 3.5 + 2.0 * np.array(starts))
    assert found.valid[:, :length].all()
    assert not found.valid[:, length:].any()
    np.testing.assert_array_equal(found.missing, np.isnan(values[0]))


@given(seed=seeds, method=methods, tr_s=st.sampled_from([0.8, 2.0, 2.5]))
@settings(max_examples=25, deadline=None, phases=UNSHRUNK)
def test_the_whole_way_from_a_denoised_series(seed, method, tr_s) -> None:
    rng = np.random.default_rng(seed)
    columns, kept = random_columns(rng, 90), rng.random(90) > 0.1
    expected, expected_kept = plain.model_input(
        columns.T.tolist(), kept.tolist(), tr_s=tr_s, method=method
    )
    found = prepare(series_of(columns, tr_s=tr_s, kept=kept), InputSpec(normalization=method))
    np.testing.assert_array_equal(found.kept, expected_kept)
    assert_columns(found.values, expected, within=1e-4)
