"""Scans that the user leaves out of a cohort: a file that names them, and why."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bids_app.errors import OptionsError
from model.errors import some
from model.files.faults import faults_as
from model.files.read import read_text
from model.files.tables import DELIMITERS, read_cells

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SCAN, _REASON = "scan", "reason"
_ANY_SPACE = ("space-", "res-", "den-")
"""Entities that a name may lack: it is then of the run, in whichever space"""
_NO_ENTITIES = ("desc-", "atlas-")
"""Of the names of files, which all scans share"""


@dataclass(kw_only=True)
class Exclusions:
    """Scans to leave out, and which of them a cohort turns out to have."""

    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why, by name of the scan or run"""
    place: str = ""
    """What names them, for messages; empty: an earlier call did, and they may be gone since"""
    excluded: dict[str, str] = field(default_factory=dict)
    """Those met that had an embedding, with the reason, by their whole names"""
    _met: set[str] = field(default_factory=set)
    _scans: list[str] = field(default_factory=list)

    def reason(self, scan: str, *, embedded: bool) -> str:
        """Return why a scan of the cohort is left out; empty: it is not.

        One without an embedding keeps the reason that it has.
        """
        if not self.reasons:
            return ""
        self._scans.append(scan)
        names = [name for name in (scan, _run_of(scan)) if name in self.reasons]
        self._met.update(names)
        if not names or not embedded:
            return ""
        self.excluded[scan] = self.reasons[names[0]]
        return self.excluded[scan]

    def refuse_unknown(self) -> None:
        """Refuse names that no scan of the cohort has, once all were met.

        Raises
        ------
        OptionsError
            Names them, and scans with like names.
        """
        unknown = [name for name in self.reasons if name not in self._met]
        if unknown and self.place:
            near = dict.fromkeys(
                one for x in unknown[:10] for one in difflib.get_close_matches(x, self._scans)
            )
            told = f"Near ones: {some([*near])}." if near else f"There are {some(self._scans)}."
            raise OptionsError(
                f"{self.place}: no scan of the output folder is called {some(unknown)}.", hint=told
            )


def read_exclusions(path: Path | None) -> Exclusions:
    """Read which scans to leave out: a table with a column ``scan``, or a scan a line.

    Raises
    ------
    OptionsError
        The file cannot be read, or names no scan.
    """
    if path is None:
        return Exclusions()
    place = f"--exclude-scans {path}"
    with faults_as(OptionsError, where=place):
        lines = read_text(path).splitlines()
        header = lines[0].split(DELIMITERS.get(path.suffix, "\t")) if lines else []
        if _SCAN in (cell.strip('"') for cell in header):  # as R and spreadsheets write tables
            rows = [(row[_SCAN], row.get(_REASON, "")) for row in read_cells(path).by_name()]
        else:
            rows = [(line.strip(), "") for line in lines]
    found = {_without_shared(name): why for name, why in rows if name and not name.startswith("#")}
    if not found:
        raise OptionsError(
            f"{place}: names no scan.", hint="Leave the option out to exclude none."
        )
    return Exclusions(
        reasons={
            name: f"excluded by {path.name}" + (f": {why}" if why not in ("", "n/a") else "")
            for name, why in found.items()
        },
        place=place,
    )


def _run_of(scan: str) -> str:
    return "_".join(word for word in scan.split("_") if not word.startswith(_ANY_SPACE))


def _without_shared(name: str) -> str:
    """Return the scan that a file's name is of: what all scans have alike is dropped."""
    return (
        "_".join(w for w in name.split("_") if "-" in w and not w.startswith(_NO_ENTITIES)) or name
    )
