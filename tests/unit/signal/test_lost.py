"""Frames without signal: found whatever fills them, and never among real ones."""

from __future__ import annotations

import numpy as np
import pytest

from bids_app.errors import ScanExcludedError
from bids_app.signal.confounds import Confounds
from bids_app.signal.lost import (
    bridged,
    check_lost,
    frames_without_signal,
    leave_out,
    lost_text,
)

N_FRAMES, N_PARCELS = 120, 457


@pytest.fixture
def series():
    rng = np.random.default_rng(3)
    level = rng.uniform(300, 1500, N_PARCELS)
    drift = np.linspace(1.3, 1.0, N_FRAMES)[:, None]  # far more than any scanner's
    return level * drift + rng.normal(0, 0.02 * level, (N_FRAMES, N_PARCELS))


def found(values, blank=None):
    blank = np.zeros(len(values)) if blank is None else blank
    reasons = frames_without_signal(values, blank=blank)
    return {frame + 1: str(reasons[frame]) for frame in np.flatnonzero(reasons != "")}


def test_real_looking_frames_all_hold_signal(series):
    assert found(series) == {}
    assert found(np.round(series)) == {}
    assert found(series - series.mean(axis=0)) == {}
    series[0] *= 2.5  # not yet in a steady state
    assert found(series) == {}


def test_each_kind_is_told(series):
    values = series.copy()
    values[10] = 0
    values[20] = 700
    values[31:34] = values[30]
    values[50] = values[40]
    values[60] *= 0.2
    values[70, :130] = values[69, :130]  # frozen slices
    assert found(values) == {
        11: "blank",
        21: "constant",
        **dict.fromkeys((32, 33, 34, 51), "repeated"),
        61: "dim",
        71: "repeated",
    }


@pytest.mark.parametrize("frames", [slice(60, None), slice(None, 60), slice(90, None)])
def test_a_half_empty_scan_is_found_on_either_side(series, frames):
    series[frames] = 0
    expected = np.arange(1, N_FRAMES + 1)[frames]
    assert list(found(series)) == expected.tolist()
    assert set(found(series).values()) == {"blank"}


def test_voxels_tell_what_parcels_do_not(series):
    blank = np.full(N_FRAMES, 0.1)  # at the edge of the brain, as usual
    blank[40], blank[41], blank[42] = 0.14, 0.16, 1.0
    assert found(series, blank) == {42: "blank", 43: "blank"}


def test_voxels_tell_where_few_parcels_are_left(series):
    blank = np.zeros(len(series))
    blank[40] = 1.0
    found = frames_without_signal(series[:, :9], blank=blank)
    assert list(np.flatnonzero(found == "blank")) == [40]
    assert not (frames_without_signal(series[:, :9], blank=None) != "").any()


def test_more_than_half_of_a_scan_is_no_rule(series):
    blank = np.zeros(N_FRAMES)
    blank[:80] = 1
    assert list(found(series, blank)) == list(range(1, 81))


def test_missing_and_constant_parcels_tell_nothing(series):
    series[:, :200] = np.nan
    series[:, 200:400] = 7
    assert found(series) == {}
    series[50, 400:] = 0
    assert found(series) == {51: "blank"}


def test_of_tables_of_few_digits_only_whole_frames_repeat(series):
    coarse = np.round((series - series.mean(axis=0)) / series.std(axis=0))
    reasons = frames_without_signal(coarse, blank=None)
    assert (reasons == "").all()
    coarse[8] = coarse[7]
    assert np.flatnonzero(frames_without_signal(coarse, blank=None) != "").tolist() == [8]


def confounds(n_dummy=0):
    return Confounds(
        regressors=np.zeros((4, 0)),
        names=(),
        kept=np.array([True, False, True, True]),
        outlier_reasons=("", "framewise_displacement", "", ""),
        n_dummy=n_dummy,
        fd_mm=np.zeros(4),
        std_dvars=np.ones(4),
        strategy="x",
    )


def test_they_join_the_outliers():
    joined = leave_out(confounds(), np.array(["", "blank", "", "repeated"]))
    assert joined.kept.tolist() == [True, False, True, False]
    assert joined.outlier_reasons == (
        "",
        "framewise_displacement+blank_volume",
        "",
        "repeated_volume",
    )
    same = confounds()
    assert leave_out(same, np.array([""] * 4)) is same


def test_gaps_are_bridged_and_ends_are_held(series):
    lost = np.isin(np.arange(N_FRAMES), [0, 5, 6, 119])
    filled = bridged(series, lost)
    np.testing.assert_array_equal(filled[~lost], series[~lost])
    np.testing.assert_array_equal(filled[[0, 119]], series[[1, 118]])
    np.testing.assert_allclose(filled[5], (2 * series[4] + series[7]) / 3, rtol=1e-12)
    assert bridged(series, np.zeros(N_FRAMES, dtype=bool)) is series


def reasons_at(*frames, n=100):
    reasons = np.full(n, "", dtype="<U8")
    reasons[list(frames)] = "blank"
    return reasons


def test_up_to_a_fifth_and_up_to_a_patch_in_a_row_may_be_missing():
    check_lost("x", reasons_at(), tr_s=2.0, longest_s=40.0)
    check_lost("x", reasons_at(*range(0, 100, 5)), tr_s=2.0, longest_s=40.0)
    check_lost("x", reasons_at(*range(20)), tr_s=2.0, longest_s=40.0)
    with pytest.raises(ScanExcludedError, match=r"x: 21 of 100 frames \(21 %\) hold no signal"):
        check_lost("x", reasons_at(*range(0, 100, 5), 3), tr_s=2.0, longest_s=40.0)
    with pytest.raises(ScanExcludedError, match=r"counted from 1: 181-210.*, up to 60 s in a row"):
        check_lost("x", reasons_at(*range(180, 210), n=240), tr_s=2.0, longest_s=40.0)


def test_a_text_names_frames_as_people_count_them():
    assert lost_text(reasons_at()) == ""
    assert "counted from 1: 1, 3-5, 100" in lost_text(reasons_at(0, 2, 3, 4, 99))
    assert lost_text(reasons_at(*range(0, 100, 3))).endswith("19, 22 and 26 more)")


def test_no_frame_of_real_series_is_lost(shared_data):
    """182 scans of three studies, with their level and without, of 32 bits and of 16."""
    n_series = 0
    for path in sorted((shared_data / "timeseries").glob("*aseg19.npz")) + sorted(
        (shared_data / "timeseries").glob("*ds00*.npz")
    ):
        with np.load(path) as arrays:
            for name in arrays.files:
                values = arrays[name].astype(np.float64)
                frames = values.T if "stages" in path.name else values
                for blank in (None, np.zeros(len(frames))):
                    reasons = frames_without_signal(frames, blank=blank)
                    assert (reasons == "").all(), (path.name, name, lost_text(reasons))
                n_series += 1
    assert n_series
