"""The scans of a cohort as its page has them: what each is called, how it ended, what is known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_app.quality.measures import OUTCOMES
from model.cohort.names import IDENTIFIERS, SESSION, SUBJECT, scan_name
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bids_app.cohort_page.similarity import FloatArray

Value = str | int | float
_NOT_COMPARED = ("status", "reason", "source", "flags", "configuration_hash")


@dataclass(frozen=True, kw_only=True)
class PageScan:
    """One scan, whatever its status."""

    identifiers: Mapping[str, str]
    """As in the group tables: ``participant_id``, ``session_id`` and others"""
    status: str
    reason: str
    """Why it has no embedding; empty where it has one"""
    numbers: Mapping[str, Any]
    """Quality numbers; empty unless embedded"""
    flags: Mapping[str, str]
    """Text by code"""
    known: Mapping[str, Value | None]
    """What is known beside the scan: columns of ``participants.tsv``"""
    page: str
    """Address of its place in its participant's page; empty: there is none"""

    @property
    def name(self) -> str:
        """Its name, as its files have it; of a status that cannot be read it may be lost."""
        return scan_name(self.identifiers) or "(no name)"

    @property
    def person(self) -> str:
        """Whose it is."""
        return self.identifiers.get(SUBJECT) or "(nobody's)"

    @property
    def session(self) -> str:
        """Its session; empty where there are none."""
        return self.identifiers.get(SESSION) or ""

    @property
    def task(self) -> str:
        """Its task; empty where it has none."""
        return self.identifiers.get("task_id") or ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """The embeddings of one group table."""

    table: str
    """Its name, without suffix"""
    space: str
    """Empty: of no one space"""
    places: tuple[int, ...]
    """Of its scans among those of the page"""
    vectors: FloatArray
    """(n, F) scan vectors; NaN where a network is missing"""

    __repr__ = shown


@dataclass(frozen=True, kw_only=True)
class Column:
    """Something that scans are told apart by: numbers, or labels."""

    key: str
    name: str
    about: str
    """``scan`` (its entities), ``quality``, or ``known`` (``participants.tsv``)"""
    values: tuple[Value | None, ...]
    """One for each scan"""

    @property
    def is_number(self) -> bool:
        """True if its values are numbers, of which there is more than one."""
        there = [value for value in self.values if value is not None]
        return bool(there) and all(isinstance(value, int | float) for value in there)


def columns_of(scans: Sequence[PageScan], measures: Mapping[str, str]) -> list[Column]:
    """Return the columns of which scans have values: entities, quality, what else is known.

    Parameters
    ----------
    measures
        Name in words by key of the quality numbers, in their order; others that scans have, such
        as ``tr``, follow.
    """
    found = [
        Column(
            key=key,
            name=key.removesuffix("_id"),
            about="scan",
            values=tuple(scan.identifiers.get(key) or None for scan in scans),
        )
        for key in IDENTIFIERS
        if key != SUBJECT
    ]
    there = dict.fromkeys(key for scan in scans for key in scan.numbers)
    for key in dict.fromkeys((*measures, *there)):
        values = tuple(_value(scan.numbers.get(key)) for scan in scans)
        name = measures.get(key, key.replace("_", " "))
        found.append(Column(key=key, name=name, about="quality", values=values))
    for key in dict.fromkeys(key for scan in scans for key in scan.known):
        values = tuple(_value(scan.known.get(key)) for scan in scans)
        found.append(Column(key=key, name=key, about="known", values=values))
    return [
        column
        for column in found
        if column.key not in _NOT_COMPARED and any(value is not None for value in column.values)
    ]


def _value(value: Any) -> Value | None:
    if isinstance(value, list | dict):
        return ",".join(value) or None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value or None
    return value if isinstance(value, int | float) else None


def outcome(status: str) -> str:
    """Return what pages call a status, as a participant's page does; others are their own word."""
    return OUTCOMES[status][0] if status in OUTCOMES else status


def badge(status: str) -> str:
    """Return the look of a status: that of the outcomes, an error's for all others."""
    return status if status in OUTCOMES else "failed"


def counted(scans: Sequence[PageScan]) -> dict[str, int]:
    """Count the scans by status."""
    return dict(Counter(scan.status for scan in scans))
