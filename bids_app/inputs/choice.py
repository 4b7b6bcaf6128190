"""Which series of a run is taken, and why the others are not. No file is opened here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bids_app.atlas.spaces import FSLR, SPACES, atlas_key
from bids_app.images.cifti import ENDING as CIFTI
from bids_app.inputs.companions import NOT_FETCHED, Companions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.entities import Entities
    from bids_app.inputs.selection import Selection


NO_ATLAS = "no atlas is installed"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A preprocessed series in a space that can be processed, and what became of it."""

    path: Path
    entities: Entities
    companions: Companions
    selected: bool = False
    """It stands for its run: to be processed, or to be reported as failed."""
    reason: str = ""
    """Why it is not processed."""


def why_never_taken(
    path: Path, entities: Entities, *, spaces: Mapping[str, int], selection: Selection
) -> str:
    """Say why a BOLD file is of a kind that is not processed; empty if it may be.

    Parameters
    ----------
    path, entities
        The file.
    spaces
        Spaces with an atlas, and its number of parcels.
    selection
        What the user asked for: the space, or ``auto``; a single echo by the filter file.
    """
    asked = selection.space
    place = "/".join(f"{k}-{v}" for k, v in entities.present().items() if k in ("sub", "ses"))
    desc, space, den = entities.desc, entities.space, entities.den
    is_cifti = path.name.endswith(CIFTI)
    reasons = (
        (not path.parent.match(f"{place}/func"), f"misplaced: its name belongs into {place}/func"),
        (path.name.endswith(".func.gii"), f"surface series (space-{space})"),
        (is_cifti and space != FSLR.name, f"CIFTI series in space-{space}, not {FSLR.name}"),
        (not is_cifti and space == FSLR.name, f"space-{space}, but not a {CIFTI} file"),
        (
            is_cifti and den not in (None, *FSLR.densities),
            f"den-{den}: only den-{' and den-'.join(FSLR.densities)} have an atlas",
        ),
        (
            entities.echo is not None and not selection.bids_filters.get("echo"),
            "a single echo, not the combined series; --bids-filter-file can ask for one",
        ),
        (entities.part not in (None, "mag"), f"part-{entities.part}, not magnitude"),
        (desc is None and not is_cifti, "not desc-preproc"),
        (desc not in (None, "preproc"), f"desc-{desc}, not desc-preproc"),
        (space is None, "in the scan's own space, not in a template"),
        (space not in SPACES, f"space-{_template(entities)}, not a template with an atlas"),
        (asked not in ("auto", space), f"space-{space}, while --space {asked} was asked for"),
        (_key(entities) not in spaces, f"{NO_ATLAS} for space-{_key(entities)}"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _template(entities: Entities) -> str:
    return f"{entities.space}" + (f"_cohort-{entities.cohort}" if entities.cohort else "")


def choose(candidates: Sequence[Candidate], spaces: Mapping[str, int]) -> list[Candidate]:
    """Select one series of a run, and give each of the others its reason.

    The first of `spaces` wins, then res-2, then no res. A choice that these rules leave open,
    and a companion that is ambiguous or damaged, select a series *with* a reason: the run
    fails, and says why. Files that are not there or not evenly spaced do not compete; where a
    run has no other, one stands for it all the same, to be reported as failed, not forgotten.
    """
    judged = [replace(one, reason=_why_unreadable(one)) for one in candidates]
    readable = [one for one in judged if not one.reason]
    if not readable:
        stand_in = min(judged, key=lambda one: _rank(one.entities, spaces))
        return [replace(one, selected=one is stand_in) for one in judged]
    best = min(_rank(one.entities, spaces) for one in readable)
    winners = [one for one in readable if _rank(one.entities, spaces) == best]
    return [_verdict(one, winners, spaces) for one in judged]


def _why_unreadable(one: Candidate) -> str:
    sidecar = one.companions.sidecar
    if not one.path.exists():
        return NOT_FETCHED
    untimed = "RepetitionTime" not in sidecar and "AcquisitionDuration" in sidecar
    if "VolumeTiming" in sidecar or untimed:
        return "sparse acquisition (VolumeTiming): volumes are not evenly spaced in time"
    return ""


def _rank(entities: Entities, spaces: Mapping[str, int]) -> tuple[int, int]:
    """Order by space, then resolution: the 2 mm grid, the native voxel size, anything else."""
    res = entities.res or ""
    on_2mm = res.isdecimal() and int(res) == 2
    return list(spaces).index(_key(entities)), 0 if on_2mm else 1 if not res else 2


def _key(entities: Entities) -> str:
    return atlas_key(entities.space or "", entities.den)


def _verdict(one: Candidate, winners: Sequence[Candidate], spaces: Mapping[str, int]) -> Candidate:
    if one.reason:
        return one
    if one not in winners:
        return replace(one, reason=_why_another(one, winners[0], spaces))
    if len(winners) > 1:
        names = ", ".join(other.path.name for other in winners)
        reason = f"several series of one run, choose with --bids-filter-file: {names}"
        return replace(one, selected=one is winners[0], reason=reason)
    return replace(one, selected=True, reason=one.companions.problem or "")


def _why_another(one: Candidate, winner: Candidate, spaces: Mapping[str, int]) -> str:
    here, there = _key(one.entities), _key(winner.entities)
    if here == there:
        return f"same run chosen in {winner.path.name}"
    if spaces[here] == spaces[there]:
        why = f"it comes first at {spaces[there]} parcels in both"
    else:
        why = f"{spaces[there]} parcels there, {spaces[here]} here"
    return f"same run chosen in space-{there} ({why})"
