"""Why a BOLD file is not embedded: every reason there is, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Refusal(Enum):
    """Kinds of reasons; the text of each has a place for every detail."""

    OLD_NAME = "written by fMRIPrep 1.1 or older, which is not read"
    STRANGE_NAME = (
        "name not understood: a label with a hyphen, or an entity that BOLD does not have"
    )
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
    NO_ATLAS = "no atlas is installed for space-{}"
    NOT_FETCHED = "annexed file not present: datalad get"
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
