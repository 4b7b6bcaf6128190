"""Label-free measures: known answers, properties, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from model.evaluation.baselines import (
    FISHER,
    PEARSON,
    TANGENT,
    WITHIN,
    connectivity,
)
from model.evaluation.compare import Resampling, measurements
from model.evaluation.leakage import motion_r2, site_accuracy
from model.evaluation.results import below_chance, identification_lines
from model.evaluation.vectors import Vectors, one_below_other, side_by_side
from model.statistics.bootstrap import mean_interval, resample
from model.statistics.connectivity import TangentSpace, geometric_mean, shrunk_covariance
from model.statistics.measures import (
    alpha_req,
    identification,
    lidar,
    mean_scores,
    pair_scores,
    rankme,
    reliability,
    score,
)
from model.statistics.pairing import EvaluationError, Key, pairings, single_session_subjects

FEW = Resampling(n_resamples=200, seed=0)


def sessions(n=12, dim=40, *, noise=1.0, seed=0):
    """Two sessions of subjects that share a vector."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(n, dim))
    return tuple(own + noise * rng.normal(size=(n, dim)) for _ in range(2))


def keys_of(n, *, labels=("1", "2"), pipeline="", windows=1):
    return [
        Key(f"{s:02d}", label, pipeline, w)
        for label in labels
        for s in range(n)
        for w in range(windows)
    ]


def table(first, second, name="x"):
    return Vectors(keys=keys_of(len(first)), sets={name: np.concatenate([first, second])})


def test_the_table_names_people_and_chance_and_a_note_those_found_less_often_than_by_chance():
    first, second = sessions(noise=0.01)
    opposite = table(first, -second, "opposite")
    beside = side_by_side(table(first, second), opposite)
    found = measurements({"scan": beside}, baselines=[], replicates={}, resampling=FEW)
    *_, chance, people = identification_lines(found).splitlines()
    assert chance == "| chance | 8.3 | 8.3 |"
    assert people == "| people | 12 | 12 |"
    notes = below_chance(found)
    assert notes
    assert all(note.startswith("opposite, scan, ") for note in notes)


def test_subjects_that_repeat_themselves_are_all_identified():
    first, second = sessions(noise=0.01)
    assert identification(first, second) == 100
    assert identification(first, second[::-1]) == 0


def test_identification_of_noise_is_at_chance():
    rng = np.random.default_rng(0)
    found = [identification(*rng.normal(size=(2, 10, 30))) for _ in range(200)]
    assert np.mean(found) == pytest.approx(10, abs=2)


def test_a_tie_counts_as_its_chance():
    same = np.tile(np.arange(5.0), (4, 1))
    scores = pair_scores(same, same)
    assert scores["identification"].tolist() == [25] * 4
    assert scores["discriminability"].tolist() == [0.5] * 4


def test_discriminability_is_the_share_of_strangers_further_away():
    first, second = sessions(n=7, noise=1.5)
    rows = np.stack([first, second])
    expected = []
    for s in range(7):
        wins = [
            np.linalg.norm(rows[a, s] - rows[b, o]) > np.linalg.norm(rows[0, s] - rows[1, s])
            for a in (0, 1)
            for b in (0, 1)
            for o in range(7)
            if o != s
        ]
        expected.append(np.mean(wins))
    np.testing.assert_allclose(pair_scores(first, second)["discriminability"], expected)


def test_i_diff_is_self_minus_other_similarity():
    first, second = sessions(n=5)
    r = np.corrcoef(first, second)[:5, 5:]
    others = ~np.eye(5, dtype=bool)
    expected = 100 * (r.diagonal().mean() - r[others].mean())
    assert pair_scores(first, second)["i_diff"].mean() == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scores_follow_the_subjects_when_they_are_listed_in_another_order(seed):
    first, second = sessions(seed=seed)
    order = np.random.default_rng(seed).permutation(len(first))
    plain, moved = pair_scores(first, second), pair_scores(first[order], second[order])
    for name, values in plain.items():
        np.testing.assert_allclose(moved[name], values[order], atol=1e-9)


def test_standardised_scores_ignore_scale_and_offset_of_a_feature():
    first, second = sessions()
    rng = np.random.default_rng(1)
    gain, offset = 10 ** rng.uniform(-2, 2, 40), rng.normal(size=40)
    (pairing,) = pairings(keys_of(12))
    plain = np.concatenate([first, second])
    before, after = (score(x, pairing, standardised=True) for x in (plain, gain * plain + offset))
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-6)


def test_windows_are_compared_one_by_one_and_averaged():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2 * 6 * 3, 20))
    (pairing,) = pairings(keys_of(6, windows=3))
    grid = values.reshape(2, 6, 3, 20)
    expected = np.mean(
        [identification(grid[0, :, i], grid[1, :, j]) for i in range(3) for j in range(3)]
    )
    found = score(values, pairing, standardised=False)["identification"].mean()
    assert found == pytest.approx(expected)


def test_icc_of_equal_signal_and_noise_is_a_half_and_less_with_a_shift():
    rng = np.random.default_rng(0)
    own, noise = rng.normal(size=(5000, 2)), rng.normal(size=(2, 5000, 2))
    np.testing.assert_allclose(reliability(own + noise[0], own + noise[1]), 0.5, atol=0.03)
    shifted = reliability(own + noise[0], own + noise[1] + 1.0)
    np.testing.assert_allclose(shifted, 0.4, atol=0.03)


def test_icc_of_a_constant_feature_is_unknown():
    assert np.isnan(reliability(np.ones((5, 1)), np.ones((5, 1)))).all()


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    counts = resample(40, 500, seed=1)
    inside = [
        low <= 0.7 <= high
        for low, high in (mean_interval((rng.random(40) < 0.7) * 1.0, counts) for _ in range(300))
    ]
    assert np.mean(inside) == pytest.approx(0.94, abs=0.04)


def test_a_paired_difference_is_surer_than_two_intervals():
    first, second = sessions(n=30, noise=2.2)
    worse = sessions(n=30, noise=2.2)[0] + 0.5 * np.random.default_rng(5).normal(size=(30, 40))
    vectors = Vectors(
        keys=keys_of(30),
        sets={"a": np.concatenate([first, second]), "b": np.concatenate([worse, second])},
    )
    found = measurements({"scan": vectors}, baselines=["b"], replicates={}, resampling=FEW)
    picked = {(f.name, f.minus): f for f in found if (f.measure, f.scaling) == ("i_diff", "raw")}
    a, b, both = picked["a", None], picked["b", None], picked["a", "b"]
    assert both.value == pytest.approx(a.value - b.value)
    assert both.high - both.low < min(a.high - a.low, b.high - b.low)


def test_sets_that_differ_by_seed_only_become_their_average():
    first, second = sessions(n=8)
    sets = {f"r{i}": table(*sessions(n=8, seed=i)).sets["x"] for i in range(3)}
    vectors = Vectors(keys=keys_of(8), sets={"x": np.concatenate([first, second]), **sets})
    found = measurements(
        {"scan": vectors}, baselines=["random"], replicates={"random": list(sets)}, resampling=FEW
    )
    assert {f.name for f in found} == {"x", "random"}
    pairing = pairings(vectors.keys)
    each = [mean_scores(v, pairing, standardised=False)[1] for v in sets.values()]
    expected = np.mean([e["identification"].mean() for e in each])
    (one,) = [
        f
        for f in found
        if (f.name, f.measure, f.scaling, f.minus) == ("random", "identification", "raw", None)
    ]
    assert one.value == pytest.approx(expected)


def test_pipelines_are_compared_within_and_across_and_never_in_one_session():
    keys = keys_of(4, pipeline="a") + keys_of(4, pipeline="b")
    found = pairings(keys)
    assert sorted(p.comparison for p in found) == ["across", "across", "within", "within"]
    for pairing in found:
        for a, b in pairing.rows[:, :, 0]:
            assert keys[a].subject == keys[b].subject
            assert keys[a].session != keys[b].session


def test_more_than_two_sessions_are_all_compared():
    assert len(pairings(keys_of(4, labels=("1", "2", "3")))) == 3


def test_a_scan_with_more_windows_takes_part_with_its_first():
    keys = [*keys_of(4, windows=2), Key("00", "1", "", 2)]
    assert pairings(keys)[0].rows.shape == (4, 2, 2)


def test_subjects_with_one_session_are_named():
    keys = [*keys_of(3), Key("lonely", "1")]
    assert single_session_subjects(keys) == ["lonely"]
    assert "lonely" not in pairings(keys)[0].subjects


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (keys_of(4, labels=("1",)), "two sessions"),
        ([Key("a", "1"), Key("b", "2")], "two sessions"),
        ([*keys_of(4), Key("01", "2")], r"more than one row: 01 2\."),
    ],
)
def test_rows_that_cannot_be_paired_are_refused(keys, message):
    with pytest.raises(EvaluationError, match=message):
        pairings(keys)


def test_two_tables_meet_over_the_rows_that_both_have():
    first, second = sessions(n=5)
    one, other = table(first, second, "a"), table(first, second, "b")
    met = side_by_side(one, other.chosen(other.keys[:7]))
    assert len(met.keys) == 7
    np.testing.assert_array_equal(met.sets["a"], met.sets["b"])
    with pytest.raises(EvaluationError, match="called a"):
        side_by_side(one, one)
    stranger = Vectors(keys=[Key("z", "1")], sets={"b": np.ones((1, 3))})
    with pytest.raises(EvaluationError, match="same subjects"):
        side_by_side(one, stranger)


def test_two_pipelines_of_another_width_are_refused():
    one = table(*sessions(n=3))
    with pytest.raises(EvaluationError, match="40 and 39"):
        one_below_other(one, Vectors(keys=one.keys, sets={"x": one.sets["x"][:, 1:]}))


def test_vectors_with_gaps_are_refused():
    with pytest.raises(EvaluationError, match="finite"):
        Vectors(keys=[Key("a", "1")], sets={"x": np.array([[np.nan, 1.0]])})


def test_rankme_counts_directions_and_alpha_is_the_slope_of_the_spectrum():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(400, 50)))[0]
    assert rankme(basis) == pytest.approx(50, rel=1e-3)
    assert rankme(basis[:, :1] @ np.ones((1, 50))) == pytest.approx(1, abs=1e-2)
    centred = basis - basis.mean(axis=0)
    orthogonal = np.linalg.qr(centred)[0] * np.arange(1, 51) ** -0.5
    assert alpha_req(orthogonal) == pytest.approx(1, abs=0.02)


def test_lidar_counts_the_directions_that_tell_scans_apart():
    rng = np.random.default_rng(0)
    scans = np.zeros((200, 1, 20))
    scans[:, 0, :3] = 30 * rng.normal(size=(200, 3))
    windows = scans + rng.normal(size=(200, 5, 20))
    assert lidar(windows) == pytest.approx(3, abs=0.3)


def test_the_covariance_is_shrunk_as_ledoit_and_wolf_say():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 30)) @ rng.normal(size=(30, 30))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    np.testing.assert_allclose(shrunk_covariance(x), ledoit_wolf(x, assume_centered=True)[0])


def tangent(covariances):
    return TangentSpace(covariances).vectors(covariances)


def test_tangent_vectors_are_zero_at_the_reference_and_keep_distances_when_parcels_mix():
    rng = np.random.default_rng(0)
    covariances = [np.cov(rng.normal(size=(6, 40))) for _ in range(5)]
    np.testing.assert_allclose(tangent([covariances[0]] * 3), 0, atol=1e-9)
    # The reference is the geometric mean, the one with which the logarithms cancel.
    np.testing.assert_allclose(tangent(covariances).mean(axis=0), 0, atol=1e-5)
    mixing = rng.normal(size=(6, 6))
    plain, mixed = tangent(covariances), tangent([mixing @ c @ mixing.T for c in covariances])
    np.testing.assert_allclose(plain @ plain.T, mixed @ mixed.T, atol=1e-6)


def test_geometric_mean_is_that_of_numbers_and_of_nilearn_where_it_gets_there():
    from nilearn.connectome.connectivity_matrices import _geometric_mean

    rng = np.random.default_rng(0)
    numbers = np.array([[1e-6, 1.0], [1.0, 2.0], [1e4, 3.0]])
    expected = np.exp(np.log(numbers).mean(axis=0))
    found = geometric_mean([np.diag(one) for one in numbers])
    np.testing.assert_allclose(found, np.diag(expected), rtol=1e-5)
    mixing = rng.normal(size=(90, 90))  # with 120 samples: conditions of 1e4 and more
    scans = [shrunk_covariance(rng.normal(size=(120, 90)) @ mixing) for _ in range(7)]
    theirs = _geometric_mean(scans, max_iter=1000, tol=1e-9)
    ours = geometric_mean(scans)
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 6), log_condition=st.floats(0, 9))
def test_geometric_mean_goes_with_what_is_done_to_all_and_not_with_their_order(
    seed, n, log_condition
):
    """Mixed parcels, inverses, another order; of nearly singular ones too, and of a single one."""
    rng = np.random.default_rng(seed)
    variances = np.geomspace(1, 10**-log_condition, 5)
    bases = [np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(n)]
    covariances = [(basis * variances) @ basis.T for basis in bases]
    mean = geometric_mean(covariances)
    mixing = np.linalg.qr(rng.normal(size=(5, 5)))[0] * rng.uniform(0.5, 2, size=5)

    def same(expected, found):
        root = np.linalg.inv(np.linalg.cholesky(expected))
        np.testing.assert_allclose(root @ found @ root.T, np.eye(5), atol=1e-4)

    same(mean, geometric_mean([covariances[i] for i in rng.permutation(n)]))
    same(mixing @ mean @ mixing.T, geometric_mean([mixing @ c @ mixing.T for c in covariances]))
    if log_condition < 5:  # what rounding leaves of an inverse
        same(np.linalg.inv(mean), geometric_mean([np.linalg.inv(c) for c in covariances]))
    if n == 1:
        same(covariances[0], mean)


def test_a_mean_that_is_not_found_is_an_error(monkeypatch):
    monkeypatch.setattr("model.statistics.connectivity.MOST_STEPS", 3)
    rng = np.random.default_rng(0)
    with pytest.raises(ArithmeticError, match="4 covariances: no geometric mean after 3 steps"):
        TangentSpace([np.cov(rng.normal(size=(6, 8))) for _ in range(4)])


def test_a_covariance_that_is_not_positive_definite_has_no_mean():
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        geometric_mean([np.diag([1.0, 3.0]), np.diag([1.0, -1.0])])


def test_connectivity_leaves_out_parcels_that_any_piece_lacks():
    rng = np.random.default_rng(0)
    pieces = [rng.normal(size=(60, 457)).astype(np.float32) for _ in range(2)]
    for piece in pieces:
        piece[:, 30:] = np.nan
    pieces[1][:, 0] = 5.0
    found = connectivity(pieces)
    n_edges = 29 * 28 // 2
    assert found[PEARSON].shape == found[WITHIN].shape == (2, n_edges)  # all in one network
    np.testing.assert_allclose(np.tanh(found[FISHER]), found[PEARSON], atol=1e-6)
    assert found[TANGENT].shape == (2, 29 * 30 // 2)


def test_motion_that_the_vectors_hold_is_found_and_motion_they_do_not_is_not():
    rng = np.random.default_rng(0)
    subjects = np.repeat([f"{i:03d}" for i in range(60)], 2)
    motion = rng.uniform(0.1, 0.5, size=120)
    noise = rng.normal(size=(120, 20))
    assert motion_r2(noise, motion, subjects, seed=0) < 0.1
    held = noise + np.outer(20 * motion, np.ones(20))
    assert motion_r2(held, motion, subjects, seed=0) > 0.5


def test_a_site_is_predicted_for_subjects_not_seen_and_not_by_knowing_the_subject():
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(60), 2)
    site = np.array(["a", "b"])[rng.permutation(60)[subject] % 2]
    identity = 5 * rng.normal(size=(60, 20))[subject] + 0.01 * rng.normal(size=(120, 20))
    leaked = identity + 30 * (site == "a")[:, None]
    labels = np.array([f"{s:03d}" for s in subject])
    assert site_accuracy(leaked, site, labels, seed=0) == pytest.approx(100)
    assert 25 <= site_accuracy(identity, site, labels, seed=0) <= 75
