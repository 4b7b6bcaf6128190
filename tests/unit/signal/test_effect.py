"""What denoising did to a scan, in the numbers that its figures show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.signal.confounds import Confounds
from bids_app.signal.denoise import denoise
from bids_app.signal.effect import REACH, SHADES, effect_of, shades, unshaded

TR_S, N_FRAMES = 2.0, 300


def scan(*, motion_share: float = 1.0) -> tuple[np.ndarray, Confounds]:
    """Ten parcels: a signal in the band, breathing outside of it, and motion that FD tells of."""
    rng = np.random.default_rng(0)
    time_s = TR_S * np.arange(N_FRAMES)
    signal = np.sin(2 * np.pi * 0.05 * time_s)[:, None] * rng.normal(1, 0.1, 10)
    breath = np.sin(2 * np.pi * 0.2 * time_s)[:, None]
    motion = np.convolve(rng.gamma(1, 0.2, N_FRAMES), np.ones(9) / 9, "same")
    values = 100 + signal + breath + 20 * motion_share * motion[:, None]
    values[:, 3] = np.nan
    confounds = Confounds(
        regressors=motion[:, None], names=("trans_x",), kept=np.ones(N_FRAMES, dtype=bool),
        outlier_reasons=("",) * N_FRAMES, n_dummy=4, fd_mm=np.r_[np.nan, motion[1:]],
        std_dvars=np.ones(N_FRAMES), strategy="example",
    )  # fmt: skip
    return values, confounds


def effect(values: np.ndarray, confounds: Confounds):
    cleaned = denoise(values, tr_s=TR_S, confounds=confounds, high_pass_hz=0.01, low_pass_hz=0.1)
    return effect_of(values, values, cleaned, fd_mm=confounds.fd_mm, tr_s=TR_S)


def test_motion_is_in_the_parcels_before_and_not_after() -> None:
    found = effect(*scan())
    before, after = np.delete(found.fd_correlation, 3, axis=1)
    assert (before > 0.5).all()
    assert (np.abs(after) < 0.2).all()
    assert np.isnan(found.fd_correlation[:, 3]).all()


def test_shares_of_the_variance_add_up_and_say_what_took_it() -> None:
    with_motion = np.delete(effect(*scan()).variance, 3, axis=1)
    without = np.delete(effect(*scan(motion_share=0.0)).variance, 3, axis=1)
    np.testing.assert_allclose(with_motion.sum(axis=0), 1, atol=1e-6)
    assert (with_motion[1] > without[1] + 0.1).all()
    assert without[0] == pytest.approx(0.5, abs=0.1)  # breathing, as strong as the signal
    assert without[2] == pytest.approx(0.5, abs=0.1)


def test_the_spectrum_after_denoising_lies_in_the_band() -> None:
    found = effect(*scan(motion_share=0.0))
    breath = np.argmin(np.abs(found.frequency_hz - 0.2))
    signal = np.argmin(np.abs(found.frequency_hz - 0.05))
    before, after = found.power
    assert before[breath] > 0.05
    assert after[breath] < 1e-3 * before[breath]
    assert after[signal] == pytest.approx(before[signal], rel=0.2)


def test_motion_that_is_not_known_correlates_with_nothing() -> None:
    values, confounds = scan()
    cleaned = denoise(values, tr_s=TR_S, confounds=confounds, high_pass_hz=0.01, low_pass_hz=0.1)
    for fd_mm in (None, np.full(N_FRAMES, np.nan), np.zeros(N_FRAMES)):
        found = effect_of(values, values, cleaned, fd_mm=fd_mm, tr_s=TR_S)
        assert np.isnan(found.fd_correlation).all()


@given(value=st.floats(-10, 10))
def test_bytes_of_a_carpet_give_the_values_back_to_half_a_step(value) -> None:
    (found,) = unshaded(shades(np.array([[value]]))).ravel()
    expected = np.clip(value, -REACH, REACH)
    assert found == pytest.approx(expected, abs=REACH / SHADES + 1e-5)


def test_missing_parcels_stay_missing_in_bytes() -> None:
    assert np.isnan(unshaded(shades(np.array([[np.nan, 0.0]])))).tolist() == [[True, False]]
