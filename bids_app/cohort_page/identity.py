"""Is anyone's session closer to somebody else's? A swapped label, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bids_app.cohort_page.similarity import coded, neighbours, unit_rows, usual
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_app.cohort_page.similarity import Float32Array, FloatArray

LEAST_PEOPLE = 6
"""People with two sessions, or runs, of whom on it is judged: with fewer, a swap among them
would be half of what the judgement rests on."""
SWAPS_EXPECTED = 0.01
"""Share of sessions with another's label, before anything is looked at."""
NAMED = 0.5
"""Probability from which on a session is named as suspicious."""
FOUND = 0.5
"""With a smaller share of swaps that would be found, nothing is judged."""
ALMOST_SAME = 0.99
"""Similarity from which on those of two people are called one scan under two names: a choice above
all that was measured. Two people have at most .31, two runs of one .75, one acquisition in two
denoisings .94 (bundled weights; `benchmarks/bundled_columns.py`)."""
SAME = 1 - 1e-6
"""Similarity of data that are equal but for rounding, which are told apart from such"""
_SIGMA_OF_MAD = 1.4826
_MOST_SURE = 0.999
"""A normal distribution says more than its tails are known for."""

Level = Literal["sessions", "runs"]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is compared: a session of a person, all its scans averaged, or a single scan."""

    person: str
    name: str
    """Of the session, or of the scan"""
    scans: tuple[int, ...]
    """Places of its scans"""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One session, or run, of somebody who has others."""

    unit: Unit
    own: float
    """The highest similarity to another one of the same person"""
    other: float
    """The highest similarity to one of somebody else"""
    nearest: Unit
    """That one"""
    probability: float | None
    """That it bears somebody else's label; None: not judged"""
    returned: bool = False
    """The nearest one's person has one that is suspected to be this person's: an exchange"""

    @property
    def is_closer(self) -> bool:
        """True if it is closer to somebody else than to its own person."""
        return self.other > self.own

    @property
    def is_suspected(self) -> bool:
        """True if somebody should look at its label."""
        return self.probability is not None and self.probability >= NAMED


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityCheck:
    """What became of the question for a cohort."""

    level: Level | None
    """What was compared; None: nobody has two of anything"""
    n_people: int
    """People with at least two sessions, or runs"""
    compared: tuple[Compared, ...] = ()
    found_share: float | None = None
    """Of labels that were exchanged, the share that would be named; None: not judged"""
    false_share: float | None = None
    """Of right labels, the share that would be named"""
    why_not: str = ""
    """Why nothing is judged"""

    __repr__ = shown

    @property
    def suspects(self) -> list[Compared]:
        """Those to look at, the surest first."""
        found = [one for one in self.compared if one.is_suspected]
        return sorted(found, key=lambda one: -(one.probability or 0))

    @property
    def near_copies(self) -> list[Compared]:
        """Those that are almost the same as one of somebody else, each pair once.

        Of fewer than `LEAST_PEOPLE` the cohort's mean makes any two alike.
        """
        found: dict[frozenset[tuple[str, str]], Compared] = {}
        for one in self.compared:
            if self.n_people >= LEAST_PEOPLE and ALMOST_SAME <= one.other < SAME:
                pair = frozenset((unit.person, unit.name) for unit in (one.unit, one.nearest))
                found.setdefault(pair, one)
        return [*found.values()]

    @property
    def closer(self) -> list[Compared]:
        """Those that are closer to somebody else, and yet not suspected."""
        return [one for one in self.compared if one.is_closer and not one.is_suspected]


def check_identity(
    rows: Float32Array, people: Sequence[str], sessions: Sequence[str], scans: Sequence[str]
) -> IdentityCheck:
    """Compare each person's sessions with one another and with everybody else's.

    Where nobody has two sessions, the runs of one session are compared.

    Parameters
    ----------
    rows
        (n, F) embeddings of scans without the mean of the cohort.
    people, sessions, scans
        (n,) whose each is, of which session (empty where there are none), and its name.

    Notes
    -----
    Of each session the *margin* is the highest similarity to somebody else's minus the highest to
    one of the same person. With right labels margins lie around their median, with a spread s
    (from the median of absolute deviations; a few swaps move neither). With an exchanged label
    the person's own session is like anybody's, and somebody else's is as alike as one's own: the
    margin lies around the median similarity within people minus the mean between them. Of the two
    hypotheses, the second of which holds for one session in a hundred before, Bayes' rule tells
    how probable the second is, both margins being normal with the spread s.
    """
    level, units, vectors = _units(rows, people, sessions, scans)
    owners = [unit.person for unit in units]
    n_several = sum(n > 1 for n in Counter(owners).values())
    if level is None:
        return IdentityCheck(level=None, n_people=0, why_not="nobody has two scans")
    if len(set(owners)) < 2:
        return IdentityCheck(level=level, n_people=1, why_not="there is only one person")
    near, strangers = neighbours(vectors, coded(owners)), usual(vectors, coded(owners))
    there = np.flatnonzero(np.isfinite(near.own) & np.isfinite(near.other))
    margins = (near.other - near.own)[there]
    typical = _typical(margins, float(np.median(near.own[there]) - np.median(strangers[there])))
    found, false = typical.shares()
    why_not = ""
    if n_several < LEAST_PEOPLE:
        why_not = f"only {n_several} people have two {level}, {LEAST_PEOPLE} are needed"
    elif found < FOUND:
        why_not = (
            f"{level} of one person are hardly more alike than those of different people here"
        )
    compared = [
        Compared(
            unit=units[place],
            own=float(near.own[place]),
            other=float(near.other[place]),
            nearest=units[near.other_row[place]],
            probability=None if why_not else typical.probability(float(margin)),
        )
        for place, margin in zip(there, margins, strict=True)
    ]
    return IdentityCheck(
        level=level,
        n_people=n_several,
        compared=_with_exchanges(compared),
        found_share=None if why_not else found,
        false_share=None if why_not else false,
        why_not=why_not,
    )


def _units(
    rows: Float32Array, people: Sequence[str], sessions: Sequence[str], scans: Sequence[str]
) -> tuple[Level | None, list[Unit], Float32Array]:
    """Average the scans of each session; where nobody has two, take every scan for itself."""
    places: dict[tuple[str, str], list[int]] = {}
    for place, key in enumerate(zip(people, sessions, strict=True)):
        places.setdefault(key, []).append(place)
    if len({person for person, _ in places}) < len(places):
        units = [
            Unit(person=person, name=session, scans=tuple(its))
            for (person, session), its in places.items()
        ]
        return "sessions", units, unit_rows(_means(unit_rows(rows), units))
    if len(places) == len(scans):
        return None, [], rows
    named = zip(people, scans, strict=True)
    units = [Unit(person=who, name=scan, scans=(i,)) for i, (who, scan) in enumerate(named)]
    return "runs", units, unit_rows(rows)


def _means(rows: Float32Array, units: Sequence[Unit]) -> Float32Array:
    """Average the rows of each unit."""
    return np.stack([rows[list(unit.scans)].mean(axis=0) for unit in units])


class _Typical(NamedTuple):
    """Where margins lie."""

    right: float
    """With right labels"""
    exchanged: float
    """With exchanged ones"""
    variance: float

    def shares(self) -> tuple[float, float]:
        """Return the shares of exchanged and of right labels that would be named."""
        apart, spread = self.exchanged - self.right, math.sqrt(self.variance)
        if apart <= 0:
            return 0.0, 1.0
        prior = _logit(NAMED) - _logit(SWAPS_EXPECTED)
        needed = (self.right + self.exchanged) / 2 + prior * self.variance / apart
        return _normal((self.exchanged - needed) / spread), _normal((self.right - needed) / spread)

    def probability(self, margin: float) -> float:
        """Return how probable it is that a session with this margin bears another's label."""
        middle = (self.right + self.exchanged) / 2
        evidence = (self.exchanged - self.right) * (margin - middle) / self.variance
        odds = _logit(SWAPS_EXPECTED) + evidence
        return min(1 / (1 + math.exp(-min(max(odds, -700), 700))), _MOST_SURE)


def _typical(margins: FloatArray, exchanged: float) -> _Typical:
    right = float(np.median(margins))
    spread = _SIGMA_OF_MAD * float(np.median(np.abs(margins - right)))
    # Of few margins the spread is itself uncertain, and one of nothing would be sure of all.
    spread = max(spread, (exchanged - right) / 20, 1e-6)
    return _Typical(right=right, exchanged=exchanged, variance=spread**2)


def _with_exchanges(compared: Sequence[Compared]) -> tuple[Compared, ...]:
    """Note of the suspected ones whether the other person's is suspected to be theirs."""
    claims = {(one.unit.person, one.nearest.person) for one in compared if one.is_suspected}
    return tuple(
        Compared(**{**vars(one), "returned": (one.nearest.person, one.unit.person) in claims})
        if one.is_suspected
        else one
        for one in compared
    )


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))
