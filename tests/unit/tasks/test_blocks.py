"""Blocks: which samples respond, where they go, and what the encoder may see of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from model.embed import embed_windows
from model.encoder import build_encoder
from model.errors import SeriesError
from model.networks import NETWORKS, network_columns
from model.partition.groups import NETWORK_GROUPS
from model.preprocess import window
from model.series import ParcelSeries
from model.spec import EncoderSpec, InputSpec
from model.tasks.block_windows import (
    CONSTRUCTIONS,
    Event,
    Response,
    block_response,
    block_windows,
    find_blocks,
    merge_events,
)
from model.tasks.single_networks import embed_single_networks

SPEC = InputSpec()
DELAY = Response(delay_s=5.0)


@pytest.fixture(scope="module")
def series() -> ParcelSeries:
    values = np.random.default_rng(0).normal(size=(150, 457))
    return ParcelSeries(values=values, tr_s=2.0, unit="robust")


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=1).eval()


def event(onset_s: float, duration_s: float = 20.0, trial_type: str = "faces") -> Event:
    return Event(onset_s=onset_s, duration_s=duration_s, trial_type=trial_type)


def samples_of(series, events, *, response=DELAY, construction="pad"):
    blocks, left_out = find_blocks(
        series, events, response=response, construction=construction, spec=SPEC
    )
    return [block.samples for block in blocks], [one.reason for one in left_out]


def test_a_delay_shifts_the_block_by_that_time(series):
    found, _ = samples_of(series, [event(30.0)])
    assert found == [tuple(range(18, 28))]  # 36 s to 54 s: within 35 s and 55 s


def test_samples_count_from_the_first_volume_not_from_the_first_sample(series):
    later = series.with_values(series.values, start_s=8.0)
    (found,), _ = samples_of(later, [event(30.0)])
    (whole,), _ = samples_of(series, [event(30.0)])
    assert found[0] == whole[0] - 4


def test_the_double_gamma_response_is_above_a_tenth_from_three_seconds_to_eight_after(series):
    (found,), _ = samples_of(series, [event(30.0)], response=Response(double_gamma=True))
    seconds = np.array(found) * 2.0
    assert 32 <= seconds.min() <= 34
    assert 56 <= seconds.max() <= 60
    assert np.ptp(seconds) == 2.0 * (len(found) - 1)


def test_the_response_to_an_endless_event_levels_at_one():
    late = block_response(event(0.0, 1e4), np.array([100.0]))
    assert late == pytest.approx(1.0)


def test_a_continuous_block_is_one_whole_patch(series):
    (found,), _ = samples_of(series, [event(30.0)], construction="continuous")
    assert found == tuple(range(18, 38))


def test_two_blocks_of_one_condition_share_a_patch_equally(series):
    events = [event(30.0), event(60.0, trial_type="shapes"), event(100.0), event(150.0, 12.0)]
    found, reasons = samples_of(series, events, construction="concatenated")
    assert found == [(*range(18, 28), *range(53, 63))]
    assert reasons == ["no second block to join it with"] * 2


def test_the_shorter_of_two_joined_blocks_decides_for_both(series):
    events = [event(30.0, 20.0), event(100.0, 12.0)]
    (found,), _ = samples_of(series, events, construction="concatenated")
    assert len(found) == 12


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize("onset_s", [-1e300, -1e9, -20.0, 290.0, 400.0, 1e9, 1e300])
def test_a_response_that_leaves_the_scan_gives_no_block(series, construction, onset_s):
    found, reasons = samples_of(series, [event(onset_s)], construction=construction)
    assert found == []
    assert reasons == ["its response is not wholly in the scan"]


def test_a_block_of_any_length_takes_no_memory_of_that_length(series):
    first, _ = samples_of(series, [event(30.0, 100.0)])
    endless, reasons = samples_of(series, [event(30.0, 1e300)])
    assert endless == first
    assert reasons == []


def test_an_event_shorter_than_a_sample_is_left_out_and_told(series):
    found, reasons = samples_of(series, [event(30.5, 0.0)])
    assert (found, reasons) == ([], ["no sample responds to it"])


def test_a_block_longer_than_a_patch_is_cut_to_its_first_forty_seconds(series):
    (found,), _ = samples_of(series, [event(30.0, 90.0)])
    assert found == tuple(range(18, 38))


def test_trials_of_one_condition_join_and_others_end_the_block():
    trials = [event(0, 2), event(4, 2), event(8, 2, "shapes"), event(12, 2), event(30, 2)]
    merged = merge_events(trials, gap_s=4.0)
    assert [(e.onset_s, e.duration_s, e.trial_type) for e in merged] == [
        (0, 6, "faces"),
        (8, 2, "shapes"),
        (12, 2, "faces"),
        (30, 2, "faces"),
    ]


def test_one_patch_holds_the_data_and_the_others_are_masked(series):
    blocks, _ = find_blocks(series, [event(30.0)], response=DELAY, construction="pad", spec=SPEC)
    windows = block_windows(series, blocks, place="last", spec=SPEC)
    assert windows.values.shape == (1, 457, 100)
    np.testing.assert_array_equal(windows.values[0, :, 80:90], series.values[18:28].T)
    assert not windows.values[0, :, :80].any()
    assert not windows.values[0, :, 90:].any()
    assert windows.token_mask(NETWORK_GROUPS).tolist() == [[[True] * 4 + [False]] * 9]


def test_the_embedding_of_a_block_is_blind_to_the_rest_of_the_scan(series, encoder):
    changed = series.values.copy()
    changed[:18], changed[28:] = 7.0, -7.0
    other = series.with_values(changed)
    vectors = []
    for scan in (series, other):
        blocks, _ = find_blocks(scan, [event(30.0)], response=DELAY, construction="pad", spec=SPEC)
        windows = block_windows(scan, blocks, place="first", spec=SPEC)
        vectors.append(embed_windows(windows, encoder, readout=("mean", "cls")).scan_vector())
    np.testing.assert_array_equal(*vectors)


def test_a_series_that_was_not_normalized_is_refused(series):
    raw = ParcelSeries(values=series.values, tr_s=2.0, unit="residual")
    with pytest.raises(SeriesError, match="unit robust"):
        block_windows(raw, [], place="first", spec=SPEC)


@pytest.mark.parametrize("models", [{}, {"delay_s": 5.0, "double_gamma": True}])
def test_the_response_needs_exactly_one_model(models):
    with pytest.raises(SeriesError, match="one model"):
        Response(**models)


def test_a_network_alone_is_blind_to_all_others(series, encoder):
    changed = series.values.copy()
    changed[:, np.setdiff1d(np.arange(457), network_columns("Default"))] += 3.0
    first, second = (
        embed_single_networks(window(s, SPEC), encoder)
        for s in (series, series.with_values(changed))
    )
    assert list(first) == list(NETWORKS)
    np.testing.assert_array_equal(first["Default"].scan_vector(), second["Default"].scan_vector())
    assert not np.allclose(first["Vis"].scan_vector(), second["Vis"].scan_vector())


def test_a_network_that_the_scan_lacks_has_no_embedding_of_its_own(series, encoder):
    gone = series.values.copy()
    gone[:, network_columns("Cerebellum")] = np.nan
    found = embed_single_networks(window(series.with_values(gone), SPEC), encoder)
    assert list(found) == list(NETWORKS[:-1])
