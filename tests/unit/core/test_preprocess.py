"""Resampling, normalization and windows: accuracy, invariances, and refused input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import SeriesError, TooShortError
from model.networks import parcel_names
from model.partition.groups import NETWORK_GROUPS
from model.preprocess import normalize, prepare, resample, to_windows, window
from model.series import ParcelSeries
from model.spec import InputSpec

N_PARCELS = len(parcel_names())
SPEC = InputSpec()
UNITS = ("bold", "residual")


def make(values, *, tr_s=2.0, unit="residual", **fields):
    """Series of 457 parcels from (T, p) values; the other parcels are missing."""
    full = np.full((len(values), N_PARCELS), np.nan)
    full[:, : values.shape[1]] = values
    return ParcelSeries(values=full, tr_s=tr_s, unit=unit, **fields)


def noise(n_frames, n_parcels=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n_frames, n_parcels))


def sines(low_hz, high_hz, *, seed, n_parcels=20):
    """Analytic signals of unit variance: a function of time in seconds to (T, p)."""
    rng = np.random.default_rng(seed)
    hz, phase = rng.uniform(low_hz, high_hz, (15, n_parcels)), rng.uniform(0, 7, (15, n_parcels))
    return lambda t: np.sin(2 * np.pi * hz * t[:, None, None] + phase).sum(axis=1) / np.sqrt(7.5)


def resampling_error(tr_s, *, contamination_hz=None):
    """(interior, edge) root mean square error relative to the truth after resampling to 2 s."""
    truth, t = sines(0.01, 0.1, seed=1), np.arange(int(480 / tr_s)) * tr_s
    dirt = sines(*contamination_hz, seed=2)(t) if contamination_hz else 0
    out = resample(make(truth(t) + dirt, tr_s=tr_s), tr_s=2.0)
    error = out.values[:, :20] - truth(np.arange(out.n_frames) * 2.0)
    edge = np.concatenate([error[:5], error[-5:]])
    return np.sqrt((error[5:-5] ** 2).mean()), np.sqrt((edge**2).mean())


@pytest.mark.parametrize("tr_s", [0.5, 0.72, 0.735, 0.8, 1.0, 1.4, 1.5, 2.2, 2.5, 2.7, 3.0])
def test_resampling_is_within_half_a_percent_of_the_analytic_signal(tr_s):
    interior, edge = resampling_error(tr_s)
    assert interior <= 0.002
    assert edge <= 0.06


@pytest.mark.parametrize(
    ("tr_s", "highest_hz"), [(0.5, 0.6), (0.72, 0.6), (0.735, 0.6), (0.8, 0.6), (1.5, 1 / 3)]
)
def test_frequencies_above_the_new_nyquist_do_not_alias(tr_s, highest_hz):
    interior, _ = resampling_error(tr_s, contamination_hz=(0.28, highest_hz))
    assert interior <= 0.025


def test_the_same_tr_returns_the_same_values():
    series = make(noise(50), start_s=3.0)
    out = resample(series, tr_s=2.0000000298)
    np.testing.assert_array_equal(out.values, series.values)
    assert out.start_s == 3.0


@given(
    tr_s=st.floats(0.4, 6.0), n_frames=st.integers(1, 300), level=st.floats(-1e4, 1e4, width=32)
)
@settings(max_examples=40, deadline=None)
def test_a_constant_stays_constant_and_the_last_sample_is_within_the_scan(tr_s, n_frames, level):
    out = resample(make(np.full((n_frames, 1), level), tr_s=tr_s), tr_s=2.0)
    np.testing.assert_allclose(out.values[:, 0], np.float32(level), rtol=1e-6, atol=1e-30)
    last, end = (out.n_frames - 1) * 2.0, (n_frames - 1) * tr_s
    assert last <= end + 1e-4
    assert last + 2.0 > end - 1e-4


def test_a_tr_that_differs_by_rounding_alone_becomes_the_wanted_one():
    series = make(noise(50), tr_s=2.0000001)
    found = resample(series, tr_s=2.0)
    assert found.tr_s == 2.0
    np.testing.assert_array_equal(found.values, series.values)


@pytest.mark.parametrize("tr_s", [0.1, 20.0])
def test_the_limits_of_a_tr_are_possible_trs(tr_s):
    assert resample(make(noise(50), tr_s=tr_s), tr_s=2.0).tr_s == 2.0


def test_resampling_is_linear_in_the_signal():
    a, b = noise(90, seed=1), noise(90, seed=2)
    parts = [resample(make(x, tr_s=0.8), tr_s=2.0).values[:, :5] for x in (a, b, 3 * a - b)]
    np.testing.assert_allclose(parts[2], 3 * parts[0] - parts[1], atol=1e-5)


def test_missing_parcels_stay_missing_and_do_not_touch_the_others():
    values = noise(80, 4)
    whole = resample(make(values, tr_s=0.72), tr_s=2.0)
    values[:, 1] = np.nan
    out = resample(make(values, tr_s=0.72), tr_s=2.0)
    assert out.missing[1]
    assert not out.missing[[0, 2, 3]].any()
    np.testing.assert_array_equal(out.values[:, [0, 2, 3]], whole.values[:, [0, 2, 3]])


def test_a_sample_between_an_interpolated_and_a_kept_frame_is_not_kept():
    kept = np.ones(40, dtype=bool)
    kept[10] = False  # at 30 s
    out = resample(make(noise(40), tr_s=3.0, kept=kept), tr_s=2.0)
    assert np.flatnonzero(~out.kept).tolist() == [14, 15, 16]  # 28, 30, 32 s


def test_down_sampling_drops_a_sample_only_for_frames_within_half_of_it():
    kept = np.ones(100, dtype=bool)
    kept[50] = False  # at 25 s
    out = resample(make(noise(100), tr_s=0.5, kept=kept), tr_s=2.0)
    assert np.flatnonzero(~out.kept).tolist() == []
    kept[52] = False  # at 26 s
    out = resample(make(noise(100), tr_s=0.5, kept=kept), tr_s=2.0)
    assert np.flatnonzero(~out.kept).tolist() == [13]


@pytest.mark.parametrize("tr_s", [2000.0, 0.002])
def test_a_tr_in_milliseconds_is_refused(tr_s):
    with pytest.raises(SeriesError, match="milliseconds"):
        resample(make(noise(30), tr_s=tr_s), tr_s=2.0)


def test_zscore_is_the_published_formula():
    x = 100 + 7 * noise(200)
    out = normalize(make(x), "zscore")
    x = x.astype(np.float32).astype(float)
    np.testing.assert_allclose(out.values[:, :5], (x - x.mean(0)) / (x.std(0) + 1e-8), rtol=1e-5)
    assert out.unit == "zscore"


def test_robust_equals_a_zscore_on_clean_gaussian_series():
    series = make(noise(400, 200))
    robust, zscore = normalize(series, "robust"), normalize(series, "zscore")
    difference = (robust.values - zscore.values)[:, :200]
    assert np.sqrt((difference**2).mean()) < 0.03


def test_robust_hardly_moves_under_spikes_that_ruin_a_zscore():
    clean = noise(200, 100)
    spiked = clean.copy()
    spiked[::20] += 15
    truth = normalize(make(clean), "zscore").values[:, :100]
    untouched = np.arange(200) % 20 != 0

    def shift(method):
        out = normalize(make(spiked), method).values[:, :100]
        return np.sqrt(((out - truth)[untouched] ** 2).mean())

    assert shift("robust") < 0.1
    assert shift("zscore") > 0.5


@pytest.mark.parametrize("method", ["robust", "zscore"])
@given(
    gain=st.floats(1e-3, 1e3),
    sign=st.sampled_from([-1, 1]),
    offset=st.floats(-100, 100),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_normalization_ignores_gain_and_offset_and_follows_sign(method, gain, sign, offset, seed):
    x = noise(60, 2, seed)
    x[7] += 9
    before = normalize(make(x), method).values[:, :2]
    after = normalize(make(sign * gain * (x + offset)), method).values[:, :2]
    np.testing.assert_allclose(after, sign * before, atol=2e-4)


def test_robust_values_keep_their_order_and_stay_under_the_limit():
    x = noise(300, 1)
    x[:4, 0] = [5, 8, 20, 1000]
    out = normalize(make(x), "robust").values[:, 0]
    order = np.argsort(x[:, 0])
    assert (np.diff(out[order]) >= 0).all()
    assert out.max() <= 5


def test_a_parcel_with_zero_mad_falls_back_to_all_frames():
    x = np.zeros((100, 2))
    x[:30, 0] = 1.0
    x[:, 1] = noise(100, 1)[:, 0]
    robust, zscore = (normalize(make(x), m).values[:, 0] for m in ("robust", "zscore"))
    np.testing.assert_allclose(robust, zscore, rtol=1e-6)


@pytest.mark.parametrize("method", ["robust", "zscore"])
def test_a_parcel_that_is_constant_to_rounding_becomes_missing(method):
    x = noise(100, 3)
    x[:, 0] = 1234.5
    x[:, 1] = np.nextafter(np.float32(1e4), np.float32(2e4)) - 1e-3 * (np.arange(100) % 2)
    out = normalize(make(x), method)
    assert out.missing[:3].tolist() == [True, True, False]


@pytest.mark.parametrize("method", ["zscore", "robust"])
def test_what_counts_as_constant_is_a_millionth_of_the_magnitude(method):
    spread = np.array([0.9e-6, 1.1e-6])  # of values between 1 - 2 x spread and 1
    values = 1 - 2 * spread * (np.arange(40) % 2)[:, None]
    found = normalize(make(values), method)
    np.testing.assert_array_equal(found.missing[:2], [True, False])


def test_all_parcels_constant_is_an_error():
    with pytest.raises(SeriesError, match="missing or constant"):
        normalize(make(np.ones((50, 3))), "robust")


@pytest.mark.parametrize("method", ["robust", "zscore"])
def test_interpolated_frames_do_not_enter_the_statistics(method):
    x, kept = noise(100, 3), np.ones(100, dtype=bool)
    kept[40:45] = False
    reference = normalize(make(x[kept]), method).values
    x[~kept] = 50
    out = normalize(make(x, kept=kept), method).values
    np.testing.assert_allclose(out[kept, :3], reference[:, :3], atol=1e-5)


def test_with_too_few_kept_frames_all_frames_enter():
    x, kept = noise(100, 3), np.zeros(100, dtype=bool)
    kept[:5] = True
    masked, plain = normalize(make(x, kept=kept), "zscore"), normalize(make(x), "zscore")
    np.testing.assert_array_equal(masked.values[:, :3], plain.values[:, :3])


def test_normalizing_twice_is_refused():
    with pytest.raises(SeriesError, match="bold or residual"):
        normalize(normalize(make(noise(50)), "robust"), "robust")


def test_an_unknown_method_is_refused():
    with pytest.raises(SeriesError, match="minmax"):
        normalize(make(noise(50)), "minmax")


@given(n_frames=st.integers(20, 700))
@settings(max_examples=60, deadline=None)
def test_windows_use_every_sample_and_can_be_put_back_together(n_frames):
    series = make(np.arange(n_frames)[:, None] + [1.0, 2.0], unit="robust", start_s=8.0)
    out = window(series, SPEC)
    rebuilt = np.full(n_frames, np.nan)
    starts = ((out.start_s - 8.0) / 2.0).astype(int)
    for start, values, valid in zip(starts, out.values, out.valid, strict=True):
        rebuilt[start : start + valid.sum()] = values[0, valid]
    np.testing.assert_array_equal(rebuilt, series.values[:, 0])
    assert np.diff(starts).max(initial=0) <= SPEC.stride_samples
    assert starts[-1] + out.valid[-1].sum() == n_frames


@given(n_frames=st.integers(20, 99))
@settings(max_examples=30, deadline=None)
def test_no_patch_of_a_short_scan_is_padded_in_part(n_frames):
    out = window(make(noise(n_frames, N_PARCELS), unit="robust"), SPEC)
    patches = out.valid.reshape(len(out.valid), SPEC.n_patches, SPEC.patch_samples)
    np.testing.assert_array_equal(patches.any(axis=2), patches.all(axis=2))
    assert (out.values[:, :, ~out.valid[0]] == 0).all()
    np.testing.assert_array_equal(out.token_mask(NETWORK_GROUPS)[:, 0], ~patches.all(axis=2))


def test_missing_networks_are_zero_in_windows_and_their_tokens_masked():
    out = window(make(noise(130, 400), unit="robust"), SPEC)
    assert out.missing.sum() == N_PARCELS - 400
    assert (out.values[:, 400:] == 0).all()
    assert out.token_mask(NETWORK_GROUPS)[:, 7:].all()
    assert not out.token_mask(NETWORK_GROUPS)[:, :7].any()


def test_missing_parcels_of_a_measured_network_are_predicted_and_still_named_missing():
    values = noise(130, 400)
    values[:, 3] = np.nan
    out = window(make(values, unit="robust"), SPEC)
    assert out.missing[3]
    assert 0 < out.values[:, 3].std() < 0.5
    np.testing.assert_array_equal(
        out.values[:, 2], window(make(noise(130, 400), unit="robust"), SPEC).values[:, 2]
    )


def test_robust_preparation_bridges_spikes_and_zscore_is_as_published():
    values = np.sin(np.arange(200)[:, None] / 9 + np.arange(5))
    spiked = values.copy()
    spiked[50, 0] += 30
    for method, mended in (("robust", True), ("zscore", False)):
        spec = InputSpec(normalization=method)
        clean, dirty = (prepare(make(v), spec).values[:, 0] for v in (values, spiked))
        assert (np.abs(dirty - clean).max() < 0.1) == mended


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (make(noise(19), unit="robust"), "at least 40 s"),
        (make(noise(200)), "unit robust"),
        (make(noise(200), unit="zscore"), "unit robust"),
        (make(noise(200), unit="robust", tr_s=2.1), "TR of 2.0 s"),
        (make(noise(200) * np.nan, unit="robust"), "all 457"),
    ],
)
def test_windows_refuse_what_the_checkpoint_does_not_take(series, message):
    with pytest.raises(SeriesError, match=message):
        window(series, SPEC)


@pytest.mark.parametrize("n_frames", [12, 19, 20, 21])
def test_a_short_series_is_continued_with_its_mean_only_where_that_is_asked_for(n_frames):
    values = noise(n_frames)
    values[:, 4] = np.nan
    kept = np.arange(n_frames) != 3
    prepared, windows = to_windows(make(values, kept=kept), SPEC, continue_short=True)
    expected = prepare(make(values, kept=kept), SPEC).values
    np.testing.assert_array_equal(prepared.values[:n_frames], expected)
    assert prepared.n_frames == max(n_frames, 20)
    np.testing.assert_array_equal(prepared.values[n_frames:, :4], 0)
    assert np.isnan(prepared.values[:, 4:]).all()
    np.testing.assert_array_equal(windows.valid.sum(axis=1), 20)
    if n_frames < 20:
        with pytest.raises(TooShortError, match=f"{n_frames} frames at TR 2 s"):
            to_windows(make(values), SPEC)


def test_raw_series_can_be_normalized_as_they_are():
    raw, residual = (normalize(make(noise(60), unit=unit), "robust") for unit in UNITS)
    np.testing.assert_array_equal(raw.values, residual.values)


def test_a_read_only_input_is_left_untouched():
    series = make(100 + noise(150), tr_s=0.8)
    before = series.values.copy()
    window(normalize(resample(series, tr_s=2.0), "robust"), SPEC)
    np.testing.assert_array_equal(series.values, before)
    assert not series.values.flags.writeable
