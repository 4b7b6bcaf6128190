"""The one space of a study: decided over all of its participants, so that no two calls differ."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.atlas.spaces import atlas_key
from bids_app.inputs.eligible import bold_entities, why_never
from bids_app.inputs.index import index_func
from bids_app.inputs.locate import participant_labels
from model.files.content import not_fetched, real_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.inputs.selection import Selection

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StudySpace:
    """A space, and why it is the one."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"--space auto: all runs in space-{self.name} ({self.why})"


@dataclass(frozen=True, kw_only=True)
class _Served:
    """What a space holds of a study; the first that differs decides which of two is taken."""

    n_fetched: int
    """Runs whose image is here"""
    n_runs: int
    n_parcels: int
    preference: int
    """Higher is better"""

    @property
    def rank(self) -> tuple[int, ...]:
        return self.n_fetched, self.n_runs, self.n_parcels, self.preference

    def __str__(self) -> str:
        here = "" if self.n_fetched == self.n_runs else f", {self.n_fetched} of them fetched"
        return f"{self.n_runs} runs{here}, {self.n_parcels} parcels"


def decide_space(
    root: Path, selection: Selection, *, spaces: Mapping[str, int], held: Mapping[str, int]
) -> StudySpace | None:
    """Decide which space all runs of a study are taken in.

    What an output folder holds already is kept. Otherwise it is the space that serves most runs;
    of several the one with most parcels, then the first of `spaces`. Runs are those that the
    selection's sessions, tasks, run labels and filter leave of *all* participants, whichever are
    asked for: the jobs of an array decide alike without knowing of one another.

    Parameters
    ----------
    root
        Folder of the derivative. Names are read, and whether images are here; none is opened.
    selection
        What the user asked for.
    spaces
        Parcels by `bids_app.atlas.spaces.atlas_key` of the spaces that can be processed.
    held
        Scans by space that the output folder holds.

    Returns
    -------
    None where nothing is to be decided: another space than ``auto`` is asked for, or no run can
    be processed.

    Raises
    ------
    OptionsError
        The filter file cannot be applied.
    """
    if selection.space != "auto":
        return None
    if held:
        name = max(held, key=lambda space: (held[space], space))
        if len(held) > 1:
            log.warning(
                "the output folder holds scans in several spaces: %s",
                ", ".join(f"{n} in {space}" for space, n in held.items()),
            )
        return StudySpace(name=name, why="as in the output folder")
    served = _served(real_path(root), selection, spaces)
    if not served:
        return None
    name = max(served, key=lambda space: served[space].rank)
    others = [f"{space}: {what}" for space, what in served.items() if space != name]
    why = f"{served[name]}" + (f"; {'; '.join(others)}" if others else "")
    return StudySpace(name=name, why=why)


def _served(root: Path, selection: Selection, spaces: Mapping[str, int]) -> dict[str, _Served]:
    images: dict[str, dict[str, bool]] = {}
    parcels: dict[str, int] = {}
    index = index_func(root, participant_labels(root), selection.bids_filters)
    for path in index.bold:
        entities = bold_entities(path)
        if entities is None or path not in index.passing or not selection.wants(entities):
            continue
        if why_never(path, entities, spaces=spaces, selection=selection) is not None:
            continue
        space = entities.space or ""
        runs = images.setdefault(space, {})
        runs[entities.run_stem] = runs.get(entities.run_stem, False) or not not_fetched(path)
        key = atlas_key(space, entities.den)
        parcels[space] = max(parcels.get(space, 0), spaces[key])
    order = [key.partition("_")[0] for key in spaces]
    return {
        space: _Served(
            n_fetched=sum(runs.values()),
            n_runs=len(runs),
            n_parcels=parcels[space],
            preference=-order.index(space),
        )
        for space, runs in images.items()
    }
