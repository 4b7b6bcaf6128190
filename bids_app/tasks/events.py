"""The events of a run: which events.tsv belongs to it, and what is in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bids_app.errors import InputError, ScanError
from bids_app.files import read_table
from bids_app.inputs.entities import same_run_label
from model.files.faults import faults_as, faults_of
from model.tasks.block_windows import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ENDING = "_events.tsv"
NEEDED = ("onset", "duration", "trial_type")


def find_events(root: Path) -> list[Path]:
    """List the events files of a BIDS dataset, those that several runs inherit included.

    Raises
    ------
    InputError
        There is none.
    """
    found = sorted([*root.glob(f"*{ENDING}"), *root.glob(f"sub-*/**/*{ENDING}")])
    if not found:
        raise InputError(
            f"{root}: no events (sub-*/**/*{ENDING}) found.",
            hint="Name the BIDS dataset itself: fMRIPrep does not copy events.",
        )
    return found


def events_of(entities: Mapping[str, str], paths: Sequence[Path]) -> Path | None:
    """Choose the events of a run: all entities of their name are the run's, and most of them.

    Parameters
    ----------
    entities
        Of the run's image.
    paths
        As from `find_events`.

    Returns
    -------
    None where the run has none.

    Raises
    ------
    ScanError
        Two fit equally well.
    """
    fitting = {}
    for path in paths:
        words = [word.partition("-") for word in path.name.removesuffix(ENDING).split("_")]
        if all(_same(entities.get(key), key, value) for key, _, value in words):
            fitting[path] = len(words)
    best = [path for path, n in fitting.items() if n == max(fitting.values())]
    if len(best) > 1:
        raise ScanError(f"events fit equally well: {', '.join(path.name for path in best)}.")
    return best[0] if best else None


def read_events(path: Path) -> list[Event]:
    """Read the rows that have a trial type.

    Raises
    ------
    ScanError
        A column is absent, or an onset or duration is no number.
    """
    with faults_as(ScanError, where=path.name):
        # Only "n/a" is missing in BIDS: a condition may be called "null" or "None".
        table = read_table(
            path,
            na_values=["n/a", ""],
            keep_default_na=False,
            dtype={"trial_type": str},
        )
    absent = [name for name in NEEDED if name not in table.columns]
    if absent:
        raise ScanError(
            f"{path.name}: no column {', '.join(absent)}; there are {', '.join(table.columns)}.",
            hint="Blocks are rows with onset and duration in seconds and a trial_type.",
        )
    table = table[table["trial_type"].notna()]
    with faults_as(ScanError, where=path.name), faults_of(path, "expected numbers"):
        onset, duration = (table[name].astype(float).tolist() for name in NEEDED[:2])
    wrong = sum(
        not (math.isfinite(o) and 0 <= d < math.inf) for o, d in zip(onset, duration, strict=True)
    )
    if wrong:
        raise ScanError(f"{path.name}: {wrong} rows without onset or with no duration in seconds.")
    return [
        Event(onset_s=o, duration_s=d, trial_type=t)
        for o, d, t in zip(onset, duration, table["trial_type"], strict=True)
    ]


def _same(found: str | None, key: str, value: str) -> bool:
    if found is None:
        return False
    return same_run_label(found, value) if key == "run" else found == value
