"""Repetition times that the user gives for scans with certain labels."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from bids_app.errors import OptionsError, ScanError
from bids_app.inputs.entities import Entities, same_run_label
from model.files.shared_options import TR_LIMITS_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_app.inputs.scan import Scan

_RULE = re.compile(r"([a-z]+-[0-9A-Za-z+]+(?:_[a-z]+-[0-9A-Za-z+]+)*)=([0-9.eE+-]+)")


@dataclass(frozen=True)
class GivenTr:
    """One ``--tr-for``."""

    labels: tuple[tuple[str, str], ...]
    """Entities and labels that a scan must have"""
    tr_s: float

    def __str__(self) -> str:
        return f"{'_'.join(map('-'.join, self.labels))}={self.tr_s:g}"

    def is_for(self, entities: Entities) -> bool:
        """Tell whether a scan has all labels; ``run-1`` is ``run-01`` too."""
        own = entities.present()
        return all(key in own and _same(key, own[key], label) for key, label in self.labels)


def _same(key: str, one: str, other: str) -> bool:
    return same_run_label(one, other) if key == "run" else one == other


def read_given_trs(words: Iterable[str]) -> tuple[GivenTr, ...]:
    """Read ``--tr-for`` as often as it was given: ``task-rest=2.0``, ``task-x_acq-y=0.8``.

    Raises
    ------
    OptionsError
        A word is none of these, or two are for the same labels.
    """
    given = tuple(_read(word) for word in words)
    for number, one in enumerate(given):
        if any(set(one.labels) == set(other.labels) for other in given[:number]):
            raise OptionsError(f"--tr-for {one}: given twice for the same scans.")
    return given


def _read(word: str) -> GivenTr:
    found = _RULE.fullmatch(word.strip())
    pairs = [pair.split("-") for pair in found[1].split("_")] if found else []
    try:
        tr_s = float(found[2]) if found else -1.0
    except ValueError:
        tr_s = -1.0
    known = {f.name for f in fields(Entities)}
    if not TR_LIMITS_S[0] <= tr_s <= TR_LIMITS_S[1] or not {key for key, _ in pairs} <= known:
        raise OptionsError(
            f"--tr-for {word}: expected labels and {TR_LIMITS_S[0]:g} to {TR_LIMITS_S[1]:g} "
            "seconds, such as task-rest=2.0 or task-rest_acq-fast=0.8.",
            hint="For all scans: --tr SECONDS.",
        )
    return GivenTr(tuple((key, label) for key, label in pairs), tr_s)


def given_tr(given: Sequence[GivenTr], scan: Scan) -> float | None:
    """Return the repetition time that the user gives for a scan in seconds; None: none.

    Of several that are for it, the one with most labels.

    Raises
    ------
    ScanError
        Two are equally near, and differ.
    """
    fitting = [one for one in given if one.is_for(scan.entities)]
    most = max((len(one.labels) for one in fitting), default=0)
    nearest = [one for one in fitting if len(one.labels) == most]
    if len({one.tr_s for one in nearest}) > 1:
        raise ScanError(
            f"{scan.name}: both --tr-for {' and --tr-for '.join(map(str, nearest))} are for it.",
            hint="Give one with the labels of both.",
        )
    return nearest[0].tr_s if nearest else None


def without_scan(given: Iterable[GivenTr], scans: Sequence[Scan]) -> list[GivenTr]:
    """Return those that are for no scan: a label may be mistyped."""
    return [one for one in given if not any(one.is_for(scan.entities) for scan in scans)]
