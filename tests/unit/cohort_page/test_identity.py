"""Swapped labels: found where they are, not where they are not, and judged only where one can."""

from __future__ import annotations

import numpy as np
import pytest

from bids_app.cohort_page.identity import LEAST_PEOPLE, check_identity


def cohort(n_people: int, n_sessions: int = 2, *, noise: float = 0.5, seed: int = 0):
    """(n, F) rows of people that differ, and whose each is, of which session."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(n_people), n_sessions)
    rows = rng.normal(size=(n_people, 200))[people] + noise * rng.normal(size=(len(people), 200))
    names = [f"sub-{person:02d}" for person in people]
    sessions = [f"ses-{number + 1}" for number in range(n_sessions)] * n_people
    return (rows - rows.mean(axis=0)).astype(np.float32), names, sessions


def check(rows, people, sessions):
    scans = [f"{who}_{when}" for who, when in zip(people, sessions, strict=True)]
    return check_identity(rows, people, sessions, scans)


def named(found) -> set[tuple[str, str]]:
    return {(one.unit.person, one.unit.name) for one in found.suspects}


@pytest.mark.parametrize("seed", range(5))
def test_right_labels_are_not_doubted(seed: int) -> None:
    found = check(*cohort(30, seed=seed))
    assert found.level == "sessions"
    assert found.n_people == 30
    assert not found.suspects
    assert found.found_share > 0.99
    assert found.false_share < 0.001


def test_of_two_exchanged_sessions_both_people_are_named_and_surely() -> None:
    rows, people, sessions = cohort(20)
    people[1], people[5] = people[5], people[1]
    found = check(rows, people, sessions)
    assert {who for who, _ in named(found)} == {"sub-00", "sub-02"}
    assert all(one.probability > 0.99 and one.returned for one in found.suspects)


def test_with_three_sessions_the_exchanged_ones_alone_are_named() -> None:
    rows, people, sessions = cohort(12, n_sessions=3)
    people[2], people[8] = people[8], people[2]
    assert named(check(rows, people, sessions)) == {("sub-02", "ses-3"), ("sub-00", "ses-3")}


def test_a_session_of_a_person_who_is_there_twice_is_named_alone() -> None:
    rows, people, sessions = cohort(12, n_sessions=3)
    rng = np.random.default_rng(9)
    own = rows[12:15].mean(axis=0)  # sub-01's second session is sub-04's fourth
    rows[4] = own + 0.5 * rng.normal(size=200)
    found = check(rows, people, sessions)
    assert named(found) == {("sub-01", "ses-2")}
    assert found.suspects[0].nearest.person == "sub-04"
    assert not found.suspects[0].returned


def test_runs_of_one_session_count_as_one_and_are_exchanged_together() -> None:
    rows, people, sessions = cohort(12)
    twice = np.repeat(np.arange(len(rows)), 2)
    rows = rows[twice] + 0.1 * np.random.default_rng(1).normal(size=(len(twice), 200))
    people, sessions = [people[i] for i in twice], [sessions[i] for i in twice]
    for place in (2, 3):
        people[place], people[place + 4] = people[place + 4], people[place]
    found = check(rows.astype(np.float32), people, sessions)
    assert len(found.compared) == 24
    assert {who for who, _ in named(found)} == {"sub-00", "sub-01"}
    assert len(found.suspects[0].unit.scans) == 2


def test_without_sessions_runs_are_compared() -> None:
    rows, people, _ = cohort(12, n_sessions=3)
    people[2], people[8] = people[8], people[2]
    found = check_identity(rows, people, [""] * 36, [f"run-{i}" for i in range(36)])
    assert found.level == "runs"
    assert named(found) == {("sub-02", "run-2"), ("sub-00", "run-8")}


def test_one_session_of_everybody_is_no_check() -> None:
    rows, people, sessions = cohort(12, n_sessions=1)
    found = check(rows, people, sessions)
    assert found.level is None
    assert found.why_not == "nobody has two scans"


def test_few_people_and_one_person_alone_are_not_judged() -> None:
    found = check(*cohort(LEAST_PEOPLE - 1))
    assert found.compared
    assert str(LEAST_PEOPLE) in found.why_not
    assert all(one.probability is None for one in found.compared)
    assert check(*cohort(1)).why_not == "there is only one person"


def test_embeddings_that_say_nothing_about_people_are_not_judged_by() -> None:
    rows, people, sessions = cohort(20, noise=30)
    found = check(rows, people, sessions)
    assert "hardly more alike" in found.why_not
    assert not found.suspects


def test_people_with_one_session_can_be_the_ones_that_a_label_belongs_to() -> None:
    rows, people, sessions = cohort(12)
    extra = rows[3] + 0.3 * np.random.default_rng(2).normal(size=200)
    rows = np.vstack([rows, extra]).astype(np.float32)
    rows[3] = np.random.default_rng(3).normal(size=200)
    rows[2] = extra + 0.3 * np.random.default_rng(4).normal(size=200)
    found = check(rows, [*people, "sub-99"], [*sessions, "ses-1"])
    assert ("sub-01", "ses-1") in named(found)
    assert {one.nearest.person for one in found.suspects} == {"sub-99"}
