from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_app.quality import checks as qc
from bids_app.quality.checks import known_orders, mirror_pairs, order_evidence
from model.networks import NETWORKS, network_columns, parcel_names, parcels
from model.preprocess import normalize
from model.series import ParcelSeries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_PARCELS = 457
ALL = np.ones(N_PARCELS, dtype=bool)
NONE = ~ALL
CORTEX = np.arange(400)


@cache
def ordered(seed: int = 0, n_frames: int = 150) -> np.ndarray:
    """Draw (T, 457) series: a course per network, one per mirror pair, one per parcel."""
    rng = np.random.default_rng(seed)
    network = [NETWORKS.index(parcel.network) for parcel in parcels()]
    values = rng.normal(size=(n_frames, len(NETWORKS)))[:, network]
    pair = rng.normal(size=(n_frames, len(mirror_pairs())))
    for side in mirror_pairs().T:
        values[:, side] += pair
    return values + 2 * rng.normal(size=values.shape)


def bold(seed: int = 0) -> np.ndarray:
    """Give the series the level of an image."""
    return 1000 + 10 * ordered(seed)


def in_order_of(name: str, *, seed: int = 0) -> np.ndarray:
    """Put model-ordered series so that the columns' networks are those of another order."""
    rng = np.random.default_rng(seed)
    own, other = known_orders()["model"], known_orders()[name]
    right = np.array([parcel.hemisphere == "R" for parcel in parcels()])
    source, left_over = np.full(N_PARCELS, -1), list(rng.permutation(N_PARCELS))
    for column in range(N_PARCELS):
        fits = [c for c in left_over if own[c] == other[column] and right[c] == right[column]]
        fits = fits or [c for c in left_over if own[c] == other[column]]
        if fits:
            source[column] = fits[0]
            left_over.remove(fits[0])
    source[source < 0] = left_over
    return source


def right_first() -> np.ndarray:
    return np.r_[200:400, 0:200, 400:N_PARCELS]


def numbers_of(**changes: object) -> dict[str, object]:
    """Numbers of an unremarkable run, some of them changed."""
    good = {
        "duration": 400.0,
        "mean_fd": 0.1,
        "max_fd": 1.0,
        "interpolated_fraction": 0.05,
        "degrees_of_freedom": 60,
        "tsnr": 100.0,
        "n_constant_parcels": 0,
        "n_implausible_parcels": 0,
        "n_low_coverage_parcels": 3,
        "homotopic_correlation": 0.3,
        "network_contrast": 0.2,
        "best_order": "model",
        "mask": "file",
        "tr_source": "sidecar",
    }
    return good | changes


def flags_of(
    *, n_samples: int = 200, missing: np.ndarray = NONE, in_atlas: np.ndarray = ALL, **changes
) -> dict[str, str]:
    return qc.flags(numbers_of(**changes), n_samples=n_samples, missing=missing, in_atlas=in_atlas)


def order_flagged(values: np.ndarray) -> bool:
    return "wrong_order" in flags_of(**qc.order_numbers(values))


# Mirror pairs and orders.


def test_184_parcels_have_a_mirror_by_name_on_the_other_side() -> None:
    pairs = mirror_pairs()
    assert pairs.shape == (184, 2)
    assert np.unique(pairs).size == 368
    assert (pairs < 400).all(axis=1).sum() == 159
    for left, right in pairs:
        assert (parcels()[left].hemisphere, parcels()[right].hemisphere) == ("L", "R")
        assert parcels()[left].network == parcels()[right].network
        names = (parcel_names()[left], parcel_names()[right])
        assert names[0].replace("LH", "RH").replace("-lh", "-rh") == names[1]


@pytest.mark.parametrize("name", ["subcortex_first", "right_first", "left_right_in_turns"])
def test_other_orders_hold_the_same_parcels(name) -> None:
    orders = known_orders()
    np.testing.assert_array_equal(np.sort(orders[name]), np.sort(orders["model"]))
    assert (orders[name] != orders["model"]).sum() > 50


def test_the_17_network_order_fills_the_cortex_and_leaves_the_rest() -> None:
    order = known_orders()["schaefer_17_networks"]
    assert order.shape == (N_PARCELS,)
    np.testing.assert_array_equal(order[400:], known_orders()["model"][400:])


def test_series_in_order_raise_no_flag() -> None:
    assert not order_flagged(ordered())
    assert qc.order_numbers(ordered())["best_order"] == "model"


def test_shuffled_series_are_flagged() -> None:
    for seed in range(5):
        shuffled = ordered(seed)[:, np.random.default_rng(seed).permutation(N_PARCELS)]
        assert order_flagged(shuffled)


@pytest.mark.parametrize("name", sorted(set(known_orders()) - {"model"}))
def test_series_in_another_known_order_are_flagged_with_its_name(name) -> None:
    values = ordered()[:, in_order_of(name)]
    numbers = qc.order_numbers(values)
    assert numbers["best_order"] == name
    assert numbers["order_margin"] < 0
    assert name in flags_of(**numbers)["wrong_order"]


def test_a_shuffle_within_networks_lowers_the_mirror_correlation_alone() -> None:
    columns = np.arange(N_PARCELS)
    for hemisphere in ("L", "R"):
        side = np.flatnonzero([parcel.hemisphere == hemisphere for parcel in parcels()])
        for network in NETWORKS:
            within = np.intersect1d(side, network_columns(network))
            columns[within] = np.random.default_rng(1).permutation(within)
    numbers = qc.order_numbers(ordered()[:, columns])
    assert numbers["network_contrast"] == qc.order_numbers(ordered())["network_contrast"]
    assert numbers["homotopic_correlation"] < qc.order_numbers(ordered())["homotopic_correlation"]


def test_a_strong_mean_signal_changes_nothing() -> None:
    course = np.random.default_rng(3).normal(size=150)
    loud = ordered() + 10 * course[:, None]
    plain, changed = order_evidence(ordered()), order_evidence(loud)
    assert abs(plain.homotopic_correlation - changed.homotopic_correlation) < 0.02
    assert abs(plain.network_contrast - changed.network_contrast) < 0.02


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_gain_and_offset_of_parcels_change_nothing(seed) -> None:
    rng = np.random.default_rng(seed)
    gain, offset = rng.uniform(0.1, 10, N_PARCELS), rng.normal(0, 100, N_PARCELS)
    changed = order_evidence(ordered() * gain + offset)
    assert changed.homotopic_correlation == pytest.approx(
        order_evidence(ordered()).homotopic_correlation, abs=1e-9
    )
    assert changed.margin == pytest.approx(order_evidence(ordered()).margin, abs=1e-9)


def test_missing_parcels_do_not_enter() -> None:
    values = ordered().copy()
    values[:, 400:] = np.nan
    assert not order_flagged(values)
    assert np.isfinite(list(qc.order_numbers(values).values())[:3]).all()


def test_of_too_few_parcels_nothing_is_said() -> None:
    values = np.full((150, N_PARCELS), np.nan)
    values[:, :200] = ordered()[:, :200]
    assert qc.order_numbers(values) == {}


def test_a_constant_parcel_does_not_disturb_the_evidence() -> None:
    values = bold()
    values[:, 3] = 1000.0
    assert order_evidence(values).homotopic_correlation == pytest.approx(
        order_evidence(bold()).homotopic_correlation, abs=0.01
    )


# Parcels.


def test_sound_parcels_are_neither_constant_nor_implausible() -> None:
    numbers = qc.parcel_numbers(bold(), lost=NONE)
    assert numbers["n_constant_parcels"] == numbers["n_implausible_parcels"] == 0
    mean, std = bold().mean(axis=0), bold().std(axis=0)
    assert numbers["tsnr"] == pytest.approx(np.median(mean / std), abs=1e-6)


def test_a_parcel_constant_to_rounding_is_counted() -> None:
    values = bold()
    values[:, 7] = np.float32(1000) * (1 + 1e-7 * np.random.default_rng(0).normal(size=150))
    assert qc.parcel_numbers(values, lost=NONE)["n_constant_parcels"] == 1


def test_a_parcel_that_denoising_lost_is_constant_but_a_missing_one_is_not() -> None:
    values, lost = bold(), NONE.copy()
    values[:, 9] = np.nan
    lost[[8, 9]] = True
    assert qc.parcel_numbers(values, lost=lost)["n_constant_parcels"] == 1


def test_parcels_of_one_constant_are_constant_not_repeated() -> None:
    values = bold()
    values[:, [4, 5]] = 1000.0
    numbers = qc.parcel_numbers(values, lost=NONE)
    assert (numbers["n_constant_parcels"], numbers["n_implausible_parcels"]) == (2, 0)


def test_a_parcel_that_repeats_another_is_implausible() -> None:
    values = bold()
    values[:, 300] = values[:, 2]
    assert qc.parcel_numbers(values, lost=NONE)["n_implausible_parcels"] == 2


@pytest.mark.parametrize("factor", [0.25, 0.1, 0.001])
def test_a_fifth_of_the_parcels_far_below_the_others_is_implausible(factor) -> None:
    values = bold()
    values[:, :91] *= factor
    assert qc.parcel_numbers(values, lost=NONE)["n_implausible_parcels"] == 91


def test_dropout_in_a_few_parcels_is_plausible() -> None:
    values = bold()
    values[:, :30] *= 0.1
    assert qc.parcel_numbers(values, lost=NONE)["n_implausible_parcels"] == 0


@pytest.mark.parametrize("level", [0.0, 0.01, 6.0, -1.0])
def test_one_parcel_at_an_impossible_level_is_implausible(level) -> None:
    values = bold()
    values[:, 5] += (level - 1) * 1000
    assert qc.parcel_numbers(values, lost=NONE)["n_implausible_parcels"] == 1


def test_series_without_their_mean_have_no_tsnr_and_no_odd_means() -> None:
    numbers = qc.parcel_numbers(bold() - bold().mean(axis=0), lost=NONE)
    assert "tsnr" not in numbers
    assert numbers["n_implausible_parcels"] == 0


# Coverage, motion.


def test_coverage_is_summarized_over_used_parcels_and_counted_over_the_atlas() -> None:
    fraction, missing, in_atlas = np.ones(N_PARCELS), NONE.copy(), ALL.copy()
    fraction[:3], missing[:3] = 0.1, True
    fraction[3:5] = 0.6
    fraction[450:], missing[450:], in_atlas[450:] = 0, True, False
    numbers = qc.coverage_numbers(fraction, missing=missing, in_atlas=in_atlas)
    assert numbers["n_missing_parcels"] == 10
    assert numbers["n_low_coverage_parcels"] == 5
    assert numbers["coverage_min"] == pytest.approx(0.6)
    assert numbers["coverage_mean"] == pytest.approx((445 + 1.2) / 447, abs=1e-6)


def test_motion_that_is_not_known_is_left_out() -> None:
    unknown, known = np.full(5, np.nan), np.array([np.nan, 0.1, 0.2, 0.3, 0.2])
    assert qc.motion_numbers(unknown, unknown) == {}
    assert qc.motion_numbers(known, unknown) == {"mean_fd": 0.2, "max_fd": 0.3}
    assert qc.motion_numbers(unknown, known) == {"mean_std_dvars": 0.2}


# Flags.


def test_an_unremarkable_run_has_no_flag() -> None:
    assert flags_of() == {}


@pytest.mark.parametrize(
    ("code", "key", "at_limit", "beyond"),
    [
        ("short_scan", "duration", 200.0, 199.0),
        ("high_motion", "mean_fd", 0.5, 0.51),
        ("high_motion", "max_fd", 5.0, 5.1),
        ("many_interpolated", "interpolated_fraction", 0.2, 0.21),
        ("few_degrees_of_freedom", "degrees_of_freedom", 20, 19),
        ("low_tsnr", "tsnr", 20.0, 19.9),
        ("constant_parcels", "n_constant_parcels", 0, 1),
        ("implausible_parcels", "n_implausible_parcels", 0, 1),
        ("low_coverage", "n_low_coverage_parcels", 45, 46),
        ("wrong_order", "homotopic_correlation", 0.06, 0.05),
        ("wrong_order", "network_contrast", 0.03, 0.02),
        ("wrong_order", "best_order", "model", "right_first"),
        ("derived_mask", "mask", "grayordinates", "derived"),
        ("tr_from_header", "tr_source", "option", "NIfTI header"),
        ("tr_from_header", "tr_source", "sidecar", "CIFTI header"),
        ("tr_corrected", "tr_source", "sidecar", "sidecar (NIfTI header: 1 s)"),
    ],
)
def test_a_number_beyond_its_limit_raises_its_flag_alone(code, key, at_limit, beyond) -> None:
    assert flags_of(**{key: at_limit}) == {}
    raised = flags_of(**{key: beyond})
    assert list(raised) == [code]
    assert raised[code]


def test_two_reasons_for_one_flag_are_both_told() -> None:
    text = flags_of(mean_fd=0.8, max_fd=9.0)["high_motion"]
    assert "0.80 mm" in text
    assert "9.0 mm" in text


def test_a_network_out_of_view_is_flagged_unless_the_atlas_lacks_it() -> None:
    cerebellum = np.isin(np.arange(N_PARCELS), network_columns("Cerebellum"))
    assert "Cerebellum" in flags_of(missing=cerebellum)["low_coverage"]
    assert flags_of(missing=cerebellum, in_atlas=~cerebellum) == {}


def test_unknown_numbers_raise_no_flag() -> None:
    assert qc.flags({"n_low_coverage_parcels": 0}, n_samples=200, missing=NONE, in_atlas=ALL) == {}


def test_a_short_series_says_nothing_about_the_order() -> None:
    assert "wrong_order" not in flags_of(n_samples=59, homotopic_correlation=0.0)
    assert "wrong_order" in flags_of(n_samples=60, homotopic_correlation=0.0)


def test_all_numbers_go_into_json_as_they_are() -> None:
    numbers = (
        qc.order_numbers(ordered())
        | qc.parcel_numbers(bold(), lost=NONE)
        | qc.coverage_numbers(np.ones(N_PARCELS), missing=NONE, in_atlas=ALL)
        | qc.motion_numbers(np.full(9, 0.1), np.ones(9))
    )
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert None not in numbers.values()


# 28 real scans in two denoisings: 14 patients, Schaefer-400 only.


@pytest.fixture(scope="module")
def scans(shared_data: Path) -> list[np.ndarray]:
    """Real series as extracted, (T, 457), NaN below the cortex."""
    found = []
    for name in ("stages_dev_schaefer400x7n_aseg19", "stages_dev_8phys_schaefer400x7n_aseg19"):
        with np.load(shared_data / "timeseries" / f"{name}.npz") as archive:
            for key in archive:
                values = np.full((archive[key].shape[1], N_PARCELS), np.nan)
                values[:, CORTEX] = archive[key][CORTEX].T
                found.append(values)
    assert len(found) == 56
    return found


@pytest.fixture(scope="module")
def model_scans(scans: list[np.ndarray]) -> list[np.ndarray]:
    """The same as the encoder sees them."""
    return [
        normalize(
            ParcelSeries(values=values - values.mean(axis=0), tr_s=2.0, unit="residual"), "robust"
        ).values
        for values in scans
    ]


def shuffled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.hstack([values[:, rng.permutation(CORTEX)], values[:, 400:]])


def shuffled_right(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values[:, np.r_[0:200, rng.permutation(np.arange(200, 400)), 400:N_PARCELS]]


def subcortex_first(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    below = rng.normal(size=(len(values), 50))
    return np.hstack([below, values[:, CORTEX], values[:, 450:]])


def like_17_networks(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return values[:, in_order_of("schaefer_17_networks", seed=int(rng.integers(1000)))]


def in_turns(values: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return values[:, np.r_[CORTEX.reshape(2, 200).T.ravel(), 400:N_PARCELS]]


def swapped_halves(values: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return values[:, right_first()]


def test_no_real_scan_in_order_is_flagged(model_scans) -> None:
    for values in model_scans:
        assert not order_flagged(values)
        assert not order_flagged(values[:60])  # 120 s


@pytest.mark.parametrize(
    "change",
    [shuffled, shuffled_right, subcortex_first, like_17_networks, in_turns, swapped_halves],
)
def test_every_real_scan_in_a_wrong_order_is_flagged(
    model_scans, change: Callable[[np.ndarray, np.random.Generator], np.ndarray]
) -> None:
    for seed, values in enumerate(model_scans):
        assert order_flagged(change(values, np.random.default_rng(seed)))


def test_swapping_mirror_parcels_is_invisible_as_documented(model_scans) -> None:
    columns = np.arange(N_PARCELS)
    left, right = mirror_pairs().T
    columns[left], columns[right] = right, left
    for values in model_scans[:5]:
        same, flipped = qc.order_numbers(values), qc.order_numbers(values[:, columns])
        assert flipped["homotopic_correlation"] == same["homotopic_correlation"]
        assert not order_flagged(values[:, columns])


def test_no_real_parcel_is_called_constant_or_implausible(scans) -> None:
    for values in scans:
        numbers = qc.parcel_numbers(values, lost=NONE)
        assert numbers["n_constant_parcels"] == numbers["n_implausible_parcels"] == 0


def test_a_fifth_of_real_parcels_far_below_the_others_is_found_in_every_scan(scans) -> None:
    for seed, values in enumerate(scans):
        dimmed = values.copy()
        dimmed[:, np.random.default_rng(seed).choice(400, 80, replace=False)] *= 0.2
        # The brightest parcels stay above the bound even so.
        assert qc.parcel_numbers(dimmed, lost=NONE)["n_implausible_parcels"] >= 72
