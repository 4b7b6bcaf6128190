"""Similarity of embeddings, compared with all pairs at once."""

from __future__ import annotations

import numpy as np
import pytest

from bids_app.cohort_page import similarity
from bids_app.cohort_page.similarity import centred, coded, neighbours, same_data, spread, usual


@pytest.fixture
def rows():
    values = np.random.default_rng(0).normal(size=(23, 40)).astype(np.float32)
    return similarity.unit_rows(values)


def test_neighbours_are_those_of_the_whole_matrix(rows, monkeypatch) -> None:
    monkeypatch.setattr(similarity, "ROWS_AT_ONCE", 5)
    people = np.arange(23) // 2
    near = neighbours(rows, people)
    whole = rows.astype(float) @ rows.T
    for i in range(23):
        others = people != people[i]
        own = ~others & (np.arange(23) != i)
        assert near.other[i] == pytest.approx(whole[i][others].max(), abs=1e-6)
        assert usual(rows, people)[i] == pytest.approx(whole[i][others].mean(), abs=1e-6)
        assert people[near.other_row[i]] != people[i]
        if own.any():
            assert near.own[i] == pytest.approx(whole[i][own].max(), abs=1e-6)
            assert near.own_row[i] == np.flatnonzero(own)[whole[i][own].argmax()]
    assert np.isnan(near.own[22])


def test_nobody_else_is_told_by_nan(rows) -> None:
    near = neighbours(rows[:3], np.zeros(3, int))
    assert np.isnan(near.other).all()
    assert np.isnan(usual(rows[:3], np.zeros(3, int))).all()


def test_kinds_of_pairs_are_told_apart_and_counted(rows) -> None:
    people, sessions = coded(list("aaaabb")), coded(list("112212"))
    found = spread(rows[:6], people, sessions).kinds
    assert {kind: one.n_pairs for kind, one in found.items()} == {
        "repeats": 2,
        "sessions": 5,
        "people": 8,
    }
    assert all(one.shares.sum() == pytest.approx(1) for one in found.values())


def test_one_scan_has_no_pairs(rows) -> None:
    assert spread(rows[:1], np.zeros(1, int), np.zeros(1, int)).kinds == {}


def test_missing_networks_are_the_mean_and_tasks_lose_theirs() -> None:
    vectors = np.random.default_rng(1).normal(size=(12, 4)) + 5
    vectors[3, 2] = np.nan
    tasks = np.array([0] * 6 + [1] * 6)
    vectors[6:] += 100
    found = centred(vectors, tasks)
    assert found[3, 2] == 0
    assert np.abs(found[6:].mean(axis=0)).max() < 1e-4
    assert np.abs(centred(vectors)[6:].mean()) > 10


def test_the_mean_of_a_rare_task_stays() -> None:
    vectors = np.zeros((8, 2))
    vectors[6:] = 9
    found = centred(vectors, np.array([0] * 6 + [1] * 2))
    assert found[7, 0] > 5


def test_the_same_data_under_two_names_is_found() -> None:
    vectors = np.random.default_rng(2).normal(size=(5, 3))
    vectors[4] = vectors[1]
    assert same_data(vectors) == [[1, 4]]
    vectors[4, 0] += 1e-3
    assert same_data(vectors) == []
