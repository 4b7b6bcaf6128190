"""Which rows of a table are compared: the same subjects in two different sessions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.errors import SemantoksError

Comparison = Literal["within", "across"]
SHOWN = 3
"""Examples in a message."""


class EvaluationError(SemantoksError):
    """Embeddings cannot be evaluated as asked."""


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """What one row of a table is: one window of one scan."""

    subject: str
    session: str
    pipeline: str = ""
    window: int = 0
    """0 for a whole scan, or for the first of its windows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairing:
    """Rows of the subjects that two sessions have in common."""

    comparison: Comparison
    """``within`` one pipeline, or ``across`` two."""
    subjects: tuple[str, ...]
    rows: npt.NDArray[np.intp]
    """(S, 2, W) rows of the first and of the second session"""

    def __repr__(self) -> str:
        return f"Pairing({self.comparison!r}, {len(self.subjects)} subjects, {self.rows.shape})"


def pairings(keys: list[Key]) -> list[Pairing]:
    """Pair every session with every other, within each pipeline and across two.

    Parameters
    ----------
    keys
        One per row. A scan with more windows than another takes part with as many of its first
        windows as every scan has.

    Raises
    ------
    EvaluationError
        A key occurs twice, or no two sessions have two subjects in common.
    """
    refuse_duplicates(keys)
    rows_of: dict[tuple[str, str, str], list[int]] = {}
    for row, key in sorted(enumerate(keys), key=lambda pair: pair[1]):
        rows_of.setdefault((key.subject, key.session, key.pipeline), []).append(row)
    n_windows = min(map(len, rows_of.values()))
    conditions = sorted({(k.session, k.pipeline) for k in keys})
    subjects_of = {
        c: {k.subject for k in keys if (k.session, k.pipeline) == c} for c in conditions
    }
    found = []
    for first, second in combinations(conditions, 2):
        subjects = tuple(sorted(subjects_of[first] & subjects_of[second]))
        if first[0] == second[0] or len(subjects) < 2:
            continue
        rows = [[rows_of[s, *c][:n_windows] for c in (first, second)] for s in subjects]
        same = first[1] == second[1]
        found.append(
            Pairing(
                comparison="within" if same else "across",
                subjects=subjects,
                rows=np.array(rows, dtype=np.intp),
            )
        )
    if not found:
        sessions = sorted({k.session for k in keys})
        raise EvaluationError(
            f"expected two sessions that share at least two subjects, found {len(sessions)} "
            f"session(s) ({', '.join(sessions[:SHOWN])}) of "
            f"{len({k.subject for k in keys})} subject(s).",
            hint="Identification needs repeated scans; --session-column names what repeats.",
        )
    return found


def refuse_duplicates(keys: list[Key]) -> None:
    """Raise `EvaluationError` where two rows are the same window of the same scan."""
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        examples = "; ".join(
            " ".join(filter(None, (k.subject, k.session, k.pipeline))) for k in twice[:SHOWN]
        )
        raise EvaluationError(
            f"{len(twice)} subject(s) and session(s) have more than one row: {examples}.",
            hint="Choose rows with --where COLUMN=VALUE (such as task_id=rest), or name the "
            "column that tells them apart: --session-column, --pipeline-column or "
            "--window-column.",
        )


def single_session_subjects(keys: list[Key]) -> list[str]:
    """Name the subjects that have one session only; they take no part in any comparison."""
    sessions: dict[str, set[str]] = {}
    for key in keys:
        sessions.setdefault(key.subject, set()).add(key.session)
    return sorted(subject for subject, found in sessions.items() if len(found) == 1)
