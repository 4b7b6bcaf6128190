"""A scan: its name, its entities, the files that it is made from; reasons of refusal."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.inputs.entities import Entities


class Refusal(Enum):
    """Kinds of reasons; the text of each has a place for every detail."""

    OLD_NAME = "written by fMRIPrep 1.1 or older, which is not read"
    STRANGE_NAME = "name not understood: {}"
    MISPLACED = "misplaced: its name belongs into {}/func"
    SURFACE = "surface series (space-{})"
    CIFTI_SPACE = "CIFTI series in space-{}, not {}"
    NOT_CIFTI = "space-{}, but not a {} file"
    DENSITY = "den-{}: only den-{} have an atlas"
    ECHO = "a single echo, not the combined series; --bids-filter-file can ask for one"
    PART = "part-{}, not magnitude"
    NO_DESC = "not desc-preproc"
    OTHER_DESC = "desc-{}, not desc-preproc"
    OWN_SPACE = "in the scan's own space, not in a template"
    OTHER_SPACE = "space-{}, not a template with an atlas"
    SPACE_NOT_ASKED = "space-{}, while --space {} was asked for"
    OTHER_THAN_STUDY = (
        "the run is only in space-{}, and this study is taken in space-{}; --space each takes "
        "every run in a space that it has"
    )
    NO_ATLAS = "no atlas is installed for space-{}"
    LONG_NAME = (
        "its name has {} characters without desc and ending, {} at most leave room for those of "
        "its outputs"
    )
    NOT_FETCHED = "annexed file not present: datalad get"
    PART_NOT_FETCHED = "annexed file not present: datalad get {}"
    """A file that belongs to it"""
    PASSED_OVER = "{}; {} is taken instead"
    """It would come first, and was not fetched"""
    COPY = "not read: {} stands for it"
    SPARSE = "sparse acquisition (VolumeTiming): volumes are not evenly spaced in time"
    BAD_FILES = "{}"
    """It, or a file that belongs to it, is ambiguous, damaged or not what it should be"""
    SAME_RUN = "same run chosen in {}"
    BETTER_SPACE = "same run chosen in space-{} ({})"
    AMBIGUOUS = "several series of one run, choose with --bids-filter-file: {}"

    def of(self, *details: object) -> Reason:
        """Return the reason with the details of one file."""
        return Reason(self, details)


@dataclass(frozen=True)
class Reason:
    """Why one file is not embedded."""

    refusal: Refusal
    details: tuple[object, ...] = ()

    def __str__(self) -> str:
        return self.refusal.value.format(*self.details)


UNFETCHED = frozenset({Refusal.NOT_FETCHED, Refusal.PART_NOT_FETCHED, Refusal.PASSED_OVER})
"""Kinds that end where what is missing is fetched"""

LONGEST_NAME = 206
"""Characters; file names have 255, of which atlas and ending of the outputs take the rest"""

_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{0,30})?")

CIFTI_ENDING = ".dtseries.nii"
SURFACE_ENDINGS = (".gii", ".mgz", ".mgh")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files that a scan is made from; None: there is none."""

    data: Path
    """Its image, or a file of parcel series"""
    row: int = 0
    """Which series of that file"""
    key: str | None = None
    """What that file calls the series, where it holds several"""
    mask: Path | None = None
    confounds: Path | None = None
    confounds_json: Path | None = None
    sidecars: tuple[Path, ...] = ()
    """All that apply to the image by inheritance, most general first"""

    def files(self) -> tuple[Path, ...]:
        """Return those there are."""
        listed = (self.data, self.mask, self.confounds, self.confounds_json, *self.sidecars)
        return tuple(path for path in listed if path is not None)


def positive(value: object) -> float | None:
    """Return a positive number that a sidecar gives, also as text or a list of one; None: none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One acquisition of one participant in one space, or a parcel series."""

    name: str
    """For messages; without suffix and extension"""
    entities: Entities
    sources: Sources
    root: Path
    """Folder of the derivative, which ``Sources`` are relative to"""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the JSON sidecars of the image say together"""
    problem: Reason | None = None
    """Why it cannot be embedded although it was chosen."""

    @property
    def tr_s(self) -> float | None:
        """Repetition time by the sidecar, in seconds; None if it gives no good one."""
        return positive(self.metadata.get("RepetitionTime"))

    @property
    def is_cifti(self) -> bool:
        """True for a series over grayordinates, false for volumes."""
        return self.sources.data.name.endswith(CIFTI_ENDING)

    @property
    def space(self) -> str:
        """Template space of the image."""
        if self.entities.space is None:
            raise ValueError(f"{self.name}: not in a template space")
        return self.entities.space

    def source_uris(self) -> list[str]:
        """Return BIDS URIs of data, mask and confounds, for ``Sources``; after ``#`` the key."""
        files = self.sources
        data, *others = (
            f"bids:preprocessed:{path.relative_to(self.root).as_posix()}"
            for path in (files.data, files.mask, files.confounds)
            if path is not None
        )
        return [data if files.key is None else f"{data}#{files.key}", *others]
