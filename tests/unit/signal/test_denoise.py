"""Denoising: nilearn's numbers without outliers, an intact time axis with them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.signal import clean

from bids_app.errors import ScanError, ScanExcludedError
from bids_app.signal.confounds import Confounds
from bids_app.signal.denoise import MIN_DEGREES_OF_FREEDOM, MIN_FRAMES, denoise, plan_projection

BAND = {"high_pass_hz": 0.01, "low_pass_hz": 0.1}


def smooth_noise(rng, shape):
    """Noise with the spectrum of BOLD series: a random walk on top of white noise."""
    return rng.normal(size=shape) + 0.3 * rng.normal(size=shape).cumsum(axis=0)


def make_confounds(rng, *, n_frames, n_regressors=6, outliers=(), n_dummy=0):
    kept = ~np.isin(np.arange(n_frames), outliers)
    return Confounds(
        regressors=smooth_noise(rng, (n_frames, n_regressors)),
        names=tuple(f"c{i}" for i in range(n_regressors)),
        kept=kept,
        outlier_reasons=tuple("" if good else "framewise_displacement" for good in kept),
        n_dummy=n_dummy,
        fd_mm=np.full(n_frames, np.nan),
        std_dvars=np.full(n_frames, np.nan),
        strategy="test",
    )


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def nilearn_clean(values, *, tr_s, confounds=None, low_pass=0.1, high_pass=0.01, **kwargs):
    filters = {"filter": "butterworth" if low_pass or high_pass else False}
    return clean(
        values.copy(),
        t_r=tr_s,
        confounds=confounds,
        low_pass=low_pass,
        high_pass=high_pass,
        detrend=True,
        standardize=None,
        **filters,
        **kwargs,
    )


@pytest.mark.parametrize(
    ("high", "low"), [(0.01, 0.1), (0.01, None), (None, 0.1), (None, None), (0.008, 0.15)]
)
@pytest.mark.parametrize("tr_s", [0.72, 2.0, 3.0])
@pytest.mark.parametrize("n_regressors", [0, 1, 26])
def test_without_outliers_the_numbers_are_those_of_nilearn(rng, high, low, tr_s, n_regressors):
    values = 1000 + 5 * smooth_noise(rng, (420, 9))
    confounds = make_confounds(rng, n_frames=420, n_regressors=n_regressors)
    ours = denoise(values, tr_s=tr_s, confounds=confounds, high_pass_hz=high, low_pass_hz=low)
    theirs = nilearn_clean(
        values,
        tr_s=tr_s,
        confounds=confounds.regressors if n_regressors else None,
        low_pass=low,
        high_pass=high,
    )
    np.testing.assert_allclose(ours.values, theirs, rtol=1e-6, atol=1e-9 * np.abs(theirs).max())


def test_what_was_planned_before_is_what_would_be_planned(rng):
    values = smooth_noise(rng, (200, 12))
    settings = {
        "tr_s": 2.0,
        "confounds": make_confounds(rng, n_frames=200, outliers=(50, 51), n_dummy=3),
        "high_pass_hz": 0.01,
        "low_pass_hz": 0.1,
    }
    planned = plan_projection(n_frames=200, **settings)
    one, other = denoise(values, **settings), denoise(values, planned=planned, **settings)
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.dof, one.n_dropped_start) == (other.dof, other.n_dropped_start)


def test_no_confounds_at_all_is_filtering_alone(rng):
    values = smooth_noise(rng, (120, 4))
    ours = denoise(values, tr_s=2.0, confounds=None, **BAND)
    np.testing.assert_allclose(ours.values, nilearn_clean(values, tr_s=2.0), rtol=1e-6)
    assert ours.regressor_names == ()


def test_dummies_leave_before_anything_else(rng):
    values = smooth_noise(rng, (150, 4))
    values[:5] += 1e4
    confounds = make_confounds(rng, n_frames=150, n_dummy=5)
    confounds.regressors[:5] += 1e3
    ours = denoise(values, tr_s=2.0, confounds=confounds, **BAND)
    theirs = nilearn_clean(values[5:], tr_s=2.0, confounds=confounds.regressors[5:])
    assert ours.values.shape == (145, 4)
    assert ours.n_dropped_start == 5
    np.testing.assert_allclose(ours.values, theirs, rtol=1e-6)


def test_with_outliers_good_frames_agree_with_nilearn_but_for_its_splines(rng):
    outliers = (30, 31, 70, 110)
    values = smooth_noise(rng, (200, 20))
    confounds = make_confounds(rng, n_frames=200, outliers=outliers)
    ours = denoise(values, tr_s=2.0, confounds=confounds, **BAND)
    theirs = nilearn_clean(
        values,
        tr_s=2.0,
        confounds=confounds.regressors,
        sample_mask=np.flatnonzero(confounds.kept),
    )
    for parcel in range(20):
        r = np.corrcoef(ours.values[confounds.kept, parcel], theirs[:, parcel])[0, 1]
        assert r > 0.98


def test_with_outliers_and_equal_interpolation_the_numbers_are_those_of_nilearn(rng):
    # Series that are linear across the gap: spline and line interpolate alike. Around an
    # isolated outlier a cubic spline through 3+3 collinear points still bends a little, so
    # series are straight everywhere except far from the gap.
    frames = np.arange(200)
    values = np.abs(frames[:, None] - 100.0) * rng.uniform(1, 2, size=(1, 3))
    confounds = make_confounds(rng, n_frames=200, n_regressors=1, outliers=(40,))
    object.__setattr__(confounds, "regressors", np.maximum(frames - 130.0, 0)[:, None])
    ours = denoise(values, tr_s=2.0, confounds=confounds, **BAND)
    theirs = nilearn_clean(
        values,
        tr_s=2.0,
        confounds=confounds.regressors,
        sample_mask=np.flatnonzero(confounds.kept),
    )
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours.values[confounds.kept], theirs, atol=1e-6 * scale)


def test_the_time_axis_stays_whole_and_outliers_are_filled_from_their_neighbours(rng):
    confounds = make_confounds(rng, n_frames=200, outliers=(0, 50, 51, 52, 199))
    ours = denoise(smooth_noise(rng, (200, 3)), tr_s=2.0, confounds=confounds, **BAND)
    assert ours.values.shape == (200, 3)
    assert np.isfinite(ours.values).all()
    np.testing.assert_array_equal(ours.kept, confounds.kept)
    middle = 0.5 * (ours.values[49] + ours.values[53])
    np.testing.assert_allclose(ours.values[51], middle, rtol=1e-9)
    np.testing.assert_array_equal(ours.values[0], ours.values[1])
    np.testing.assert_array_equal(ours.values[199], ours.values[198])


@settings(max_examples=20, deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(0, 10_000))
def test_what_an_outlier_frame_holds_changes_nothing(spike, seed):
    rng = np.random.default_rng(seed)
    values = smooth_noise(rng, (120, 3))
    confounds = make_confounds(rng, n_frames=120, outliers=(20, 60))
    before = denoise(values, tr_s=2.0, confounds=confounds, **BAND).values
    values[[20, 60]] += spike
    confounds.regressors[[20, 60]] -= spike
    after = denoise(values, tr_s=2.0, confounds=confounds, **BAND).values
    np.testing.assert_array_equal(after, before)


def test_the_residual_is_free_of_the_regressors_on_good_frames(rng):
    confounds = make_confounds(rng, n_frames=200, outliers=(33, 90, 91))
    confounds.regressors[:, 5] = confounds.regressors[:, 0]  # rank 5 of 6
    values = smooth_noise(rng, (200, 2)) + 7 * confounds.regressors[:, :2]
    ours = denoise(values, tr_s=2.0, confounds=confounds, **BAND)
    filtered = denoise(
        confounds.regressors,
        tr_s=2.0,
        confounds=make_confounds(rng, n_frames=200, n_regressors=0, outliers=(33, 90, 91)),
        **BAND,
    ).values
    good = filtered[confounds.kept] - filtered[confounds.kept].mean(axis=0)
    share = np.abs(good.T @ ours.values[ours.kept]) / (
        np.linalg.norm(good, axis=0)[:, None] * np.linalg.norm(ours.values, axis=0)
    )
    assert share.max() < 1e-9


def test_a_regressor_that_repeats_another_costs_no_degree_of_freedom(rng):
    values = smooth_noise(rng, (200, 2))
    five = make_confounds(rng, n_frames=200, n_regressors=5)
    twice = make_confounds(rng, n_frames=200, n_regressors=10)
    twice.regressors[:] = np.tile(five.regressors, 2)
    one, two = (denoise(values, tr_s=2.0, confounds=c, **BAND) for c in (five, twice))
    assert one.dof == two.dof
    np.testing.assert_allclose(one.values, two.values, rtol=1e-6, atol=1e-12)


def test_a_missing_parcel_stays_nan_and_leaves_the_others_alone(rng):
    values = smooth_noise(rng, (120, 4))
    confounds = make_confounds(rng, n_frames=120, outliers=(7,))
    whole = denoise(values, tr_s=2.0, confounds=confounds, **BAND).values
    values[:, 2] = np.nan
    part = denoise(values, tr_s=2.0, confounds=confounds, **BAND).values
    assert np.isnan(part[:, 2]).all()
    np.testing.assert_allclose(part[:, [0, 1, 3]], whole[:, [0, 1, 3]], rtol=1e-9)


def test_a_scan_without_any_parcel_stays_all_nan(rng):
    confounds = make_confounds(rng, n_frames=120)
    ours = denoise(np.full((120, 3), np.nan), tr_s=2.0, confounds=confounds, **BAND)
    assert np.isnan(ours.values).all()


def test_a_parcel_without_variation_becomes_missing_not_rounding_noise(rng):
    confounds = make_confounds(rng, n_frames=120)
    values = smooth_noise(rng, (120, 3))
    values[:, 0] = 12345.678
    values[:, 1] = confounds.regressors[:, 2]
    ours = denoise(values, tr_s=2.0, confounds=confounds, **BAND).values
    assert np.isnan(ours[:, :2]).all()
    assert np.isfinite(ours[:, 2]).all()


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_result_scales_with_the_series_and_not_with_the_regressors(rng, scale):
    values = smooth_noise(rng, (120, 3))
    confounds = make_confounds(rng, n_frames=120, outliers=(50,))
    before = denoise(values, tr_s=2.0, confounds=confounds, **BAND).values
    confounds.regressors[:] *= 1e3
    after = denoise(values * scale, tr_s=2.0, confounds=confounds, **BAND).values
    np.testing.assert_allclose(after, before * scale, rtol=1e-6, atol=1e-12 * scale)


def test_the_caller_s_arrays_are_left_alone(rng):
    values, confounds = smooth_noise(rng, (120, 3)), make_confounds(rng, n_frames=120)
    copies = values.copy(), confounds.regressors.copy()
    denoise(values, tr_s=2.0, confounds=confounds, **BAND)
    np.testing.assert_array_equal(values, copies[0])
    np.testing.assert_array_equal(confounds.regressors, copies[1])


def test_a_low_pass_beyond_nyquist_is_left_out_and_reported(rng):
    values = smooth_noise(rng, (100, 3))
    ours = denoise(values, tr_s=6.0, confounds=None, **BAND)  # Nyquist 0.083 Hz
    assert (ours.high_pass_hz, ours.low_pass_hz) == (0.01, None)
    np.testing.assert_allclose(ours.values, nilearn_clean(values, tr_s=6.0, low_pass=None))


def test_a_high_pass_beyond_nyquist_is_an_error(rng):
    with pytest.raises(ScanError, match="Nyquist"):
        denoise(smooth_noise(rng, (100, 3)), tr_s=60.0, confounds=None, **BAND)


def test_frames_and_confounds_of_other_length_are_an_error(rng):
    with pytest.raises(ScanError, match="100 frames, but confounds of 99"):
        denoise(
            smooth_noise(rng, (100, 3)),
            tr_s=2.0,
            confounds=make_confounds(rng, n_frames=99),
            **BAND,
        )


def test_degrees_of_freedom_are_those_of_the_band_less_the_regressors(rng):
    confounds = make_confounds(rng, n_frames=200, n_regressors=26, outliers=range(50, 60))
    ours = denoise(smooth_noise(rng, (200, 3)), tr_s=2.0, confounds=confounds, **BAND)
    assert ours.dof == int(190 * (0.1 - 0.01) / 0.25) - 26


@pytest.mark.parametrize("tr_s", [0.8, 2.0])
@pytest.mark.parametrize(("high", "low"), [(0.01, 0.1), (0.01, None), (None, 0.1), (None, None)])
def test_degrees_of_freedom_are_the_trace_of_what_is_done_to_white_noise(rng, tr_s, high, low):
    noise = rng.normal(size=(400, 500))
    ours = denoise(noise, tr_s=tr_s, confounds=None, high_pass_hz=high, low_pass_hz=low)
    trace = (noise * ours.values).sum() / 500
    assert trace == pytest.approx(ours.dof, rel=0.05, abs=2)


def test_too_many_regressors_exclude_the_scan_with_the_numbers(rng):
    confounds = make_confounds(rng, n_frames=100, n_regressors=32)
    with pytest.raises(
        ScanExcludedError, match=r"36 within 0\.01-0\.1 Hz, 32 regressors leave 4"
    ) as caught:
        denoise(smooth_noise(rng, (100, 3)), tr_s=2.0, confounds=confounds, **BAND)
    assert "--denoise-strategy" in caught.value.hint
    fewer = make_confounds(rng, n_frames=100, n_regressors=31)
    ours = denoise(smooth_noise(rng, (100, 3)), tr_s=2.0, confounds=fewer, **BAND)
    assert ours.dof == MIN_DEGREES_OF_FREEDOM


@pytest.mark.parametrize("band", [(0.01, 0.1), (0.01, None), (None, 0.1)])
def test_a_scan_shorter_than_any_filter_is_excluded(rng, band):
    high, low = band
    values = smooth_noise(rng, (33, 3))
    with pytest.raises(ScanExcludedError, match=r"33 frames .*the filter needs 34"):
        denoise(values, tr_s=3.0, confounds=None, high_pass_hz=high, low_pass_hz=low)
    denoise(values, tr_s=3.0, confounds=None, high_pass_hz=None, low_pass_hz=None)


def test_edges_at_the_nyquist_frequency_lie_beyond_what_a_scan_holds(rng):
    values = smooth_noise(rng, (60, 3))
    with pytest.raises(ScanError, match=r"high-pass of 0\.25 Hz lies above"):
        denoise(values, tr_s=2.0, confounds=None, high_pass_hz=0.25, low_pass_hz=None)
    at, without = (
        denoise(values, tr_s=2.0, confounds=None, high_pass_hz=0.01, low_pass_hz=low)
        for low in (0.25, None)
    )
    assert at.low_pass_hz is None
    np.testing.assert_array_equal(at.values, without.values)


def test_each_parcel_is_judged_by_its_own_magnitude(rng):
    """What is left is compared with a millionth of the parcel's own largest value."""
    line, zigzag = np.ones(60), np.arange(60) % 2 - 0.5
    columns = [
        1e6 * smooth_noise(rng, 60),
        1e-9 * smooth_noise(rng, 60),
        line + 2 * 0.9e-6 * zigzag,
        line + 2 * 1.1e-6 * zigzag,
    ]
    ours = denoise(
        np.column_stack(columns), tr_s=2.0, confounds=None, high_pass_hz=None, low_pass_hz=None
    )
    assert list(np.isnan(ours.values).all(axis=0)) == [False, False, True, False]


def test_series_in_float32_are_denoised_in_float64(rng):
    values = (1000 + smooth_noise(rng, (60, 3))).astype(np.float32)
    ours = denoise(values, tr_s=2.0, confounds=None, **BAND)
    exact = denoise(values.astype(np.float64), tr_s=2.0, confounds=None, **BAND)
    np.testing.assert_array_equal(ours.values, exact.values)


@pytest.mark.parametrize("level", [0, 1, 1000, 987.654])
def test_a_regressor_without_variation_removes_nothing(rng, level):
    """The rounding that a filter leaves of it is no direction to regress out."""
    confounds = make_confounds(rng, n_frames=150, n_regressors=3)
    constant, drift = np.full(150, level), level * np.linspace(0, 1, 150)
    more = replace(
        confounds,
        regressors=np.column_stack([confounds.regressors, constant, drift]),
        names=(*confounds.names, "constant", "drift"),
    )
    values = 1000 + smooth_noise(rng, (150, 3))
    plain = denoise(values, tr_s=2.0, confounds=confounds, **BAND)
    ours = denoise(values, tr_s=2.0, confounds=more, **BAND)
    assert ours.dof == plain.dof
    np.testing.assert_allclose(ours.values, plain.values, atol=1e-12)


def test_a_scan_shorter_than_the_filter_is_excluded(rng):
    values = smooth_noise(rng, (MIN_FRAMES - 1, 3))
    with pytest.raises(ScanExcludedError, match="too short"):
        denoise(values, tr_s=3.0, confounds=None, **BAND)
    enough = smooth_noise(rng, (MIN_FRAMES, 3))
    assert np.isfinite(denoise(enough, tr_s=3.0, confounds=None, **BAND).values).all()


def test_a_scan_of_outliers_only_is_excluded(rng):
    confounds = make_confounds(rng, n_frames=100, outliers=range(99))
    with pytest.raises(ScanExcludedError, match="1 of 100"):
        denoise(smooth_noise(rng, (100, 3)), tr_s=2.0, confounds=confounds, **BAND)


def test_a_parcel_constant_to_the_rounding_of_float32_becomes_missing(rng):
    values = 1000 + smooth_noise(rng, (150, 3))
    values[:, 1] = np.float32(1000) * (1 + 6e-8 * rng.integers(0, 2, 150))
    ours = denoise(values, tr_s=2.0, confounds=None, **BAND)
    assert list(np.isnan(ours.values).all(axis=0)) == [False, True, False]
