"""Which series of a run is taken, and why the others are not. No file is opened here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bids_app.companions import NOT_FETCHED, Companions
from bids_app.selection import SPACES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_app.entities import Entities


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A ``desc-preproc`` series in a space that can be processed, and what became of it."""

    path: Path
    entities: Entities
    companions: Companions
    selected: bool = False
    """It stands for its run: to be processed, or to be reported as failed."""
    reason: str = ""
    """Why it is not processed."""


def why_never_taken(path: Path, entities: Entities, *, spaces: Sequence[str], asked: str) -> str:
    """Say why a BOLD file is of a kind that is not processed; empty if it may be.

    Parameters
    ----------
    path, entities
        The file.
    spaces
        Spaces with an atlas.
    asked
        The space asked for, or ``auto``.
    """
    desc, space = entities.desc, entities.space
    reasons = (
        (path.name.endswith(".func.gii"), f"surface series (space-{space})"),
        (path.name.endswith(".dtseries.nii"), f"CIFTI series (space-{space}), not read yet"),
        (entities.echo is not None, "a single echo; the combined series has no echo-"),
        (entities.part not in (None, "mag"), f"part-{entities.part}, not magnitude"),
        (desc is None, "not desc-preproc"),
        (desc != "preproc", f"desc-{desc}, not desc-preproc"),
        (space is None, "in the scan's own space, not in a template"),
        (space not in SPACES, f"space-{space}, not a template with an atlas"),
        (asked not in ("auto", space), f"space-{space}, while --space {asked} was asked for"),
        (space not in spaces, f"no atlas is installed for space-{space}"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def choose(candidates: Sequence[Candidate], spaces: Sequence[str]) -> list[Candidate]:
    """Select one series of a run, and give each of the others its reason.

    The first of `spaces` wins, then res-2, then no res. A choice that these rules leave open,
    and a companion that is ambiguous or damaged, select a series *with* a reason: the run
    fails, and says why. Files that are not there do not compete; where no file of a run is
    there, one stands for the run all the same, to be reported as failed and not forgotten.
    """
    judged = [replace(one, reason=_why_unreadable(one)) for one in candidates]
    readable = [one for one in judged if not one.reason]
    if not readable:
        absent = [one for one in judged if one.reason == NOT_FETCHED]
        stand_in = min(absent, key=lambda one: _rank(one.entities, spaces), default=None)
        return [replace(one, selected=one is stand_in) for one in judged]
    best = min(_rank(one.entities, spaces) for one in readable)
    winners = [one for one in readable if _rank(one.entities, spaces) == best]
    return [_verdict(one, winners) for one in judged]


def _why_unreadable(one: Candidate) -> str:
    sidecar = one.companions.sidecar
    if not one.path.exists():
        return NOT_FETCHED
    untimed = "RepetitionTime" not in sidecar and "AcquisitionDuration" in sidecar
    if "VolumeTiming" in sidecar or untimed:
        return "sparse acquisition (VolumeTiming): volumes are not evenly spaced in time"
    return ""


def _rank(entities: Entities, spaces: Sequence[str]) -> tuple[int, int]:
    """Order by space, then resolution: the 2 mm grid, the native voxel size, anything else."""
    space, res = entities.space or "", entities.res or ""
    on_2mm = res.isdecimal() and int(res) == 2
    return spaces.index(space), 0 if on_2mm else 1 if not res else 2


def _verdict(one: Candidate, winners: Sequence[Candidate]) -> Candidate:
    if one.reason:
        return one
    if one not in winners:
        winner = winners[0]
        same_space = one.entities.space == winner.entities.space
        where = winner.path.name if same_space else f"space-{winner.entities.space}"
        return replace(one, reason=f"same run chosen in {where}")
    if len(winners) > 1:
        names = ", ".join(other.path.name for other in winners)
        reason = f"several series of one run, choose with --bids-filter-file: {names}"
        return replace(one, selected=one is winners[0], reason=reason)
    return replace(one, selected=True, reason=one.companions.problem or "")
