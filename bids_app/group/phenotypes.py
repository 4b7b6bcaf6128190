"""What is known about people and sessions beside their scans: columns that a table joins."""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bids_app.errors import OptionsError
from bids_app.outputs.group import RESERVED
from model.cohort.names import EMBEDDING_COLUMN, SESSION, SUBJECT
from model.errors import some
from model.files.faults import FileError, faults_as
from model.files.read import read_json
from model.files.tables import read_cells
from model.files.write import file_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from model.files.tables import TextTable

log = logging.getLogger(__name__)

Value = int | float | str
Who = tuple[str, str]
"""Participant and session without ``sub-`` and ``ses-``; no session: whichever"""
_MISSING = {"", "n/a", "na", "nan"}
"""Spellings of a value that is not there, in lower case."""
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,14})")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_LONG = re.compile(r"[+-]?[0-9]{16,}")
"""An identifier: as a number it would lose digits."""
_KEYS = (SUBJECT, SESSION)
_TAKEN = (
    "--participants and --sessions-table each take a table, .tsv or .csv, with cells of at most "
    "131,072 letters, or the folder of a BIDS dataset that has one."
)


@dataclass(frozen=True, kw_only=True)
class Phenotypes:
    """Columns about people and sessions, to be joined to tables of scans."""

    rows: Mapping[Who, Mapping[str, Value]] = field(default_factory=dict)
    """What is there of each; a value that is missing is no key."""
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the JSON beside the table says of each column, in their order; often nothing"""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the tables by their names"""

    def of(self, identifiers: Mapping[str, Any]) -> dict[str, Value | None]:
        """Return the columns of a scan, given its ``participant_id`` and ``session_id``.

        Those of the session lead; None where nothing is known.
        """
        subject, session = who_is(identifiers)
        known = {**self.rows.get((subject, ""), {}), **self.rows.get((subject, session), {})}
        return {name: known.get(name) for name in self.columns}

    def refuse_collisions(self, taken: Collection[str]) -> None:
        """Refuse columns that a table of scans has already.

        Raises
        ------
        OptionsError
            Names them all.
        """
        if numbers := [name for name in self.columns if EMBEDDING_COLUMN.fullmatch(name)]:
            raise OptionsError(
                f"{', '.join(self.files)}: columns look like numbers of an embedding "
                f"(a name, _ and three digits or more): {some(numbers)}.",
                hint="Rename or remove them in a copy of the file.",
            )
        if both := [name for name in self.columns if name in taken]:
            raise OptionsError(
                f"{', '.join(self.files)}: the table of scans has columns of these names "
                f"already: {some(both)}.",
                hint="Rename or remove them in a copy of the file.",
            )

    def tell(self, scans: Collection[Who]) -> None:
        """Say who of a cohort is not in the tables, and who else is.

        Raises
        ------
        OptionsError
            Nobody is.
        """
        if not self.files or not scans:
            return
        known, here = (
            {subject for subject, _ in self.rows},
            sorted({subject for subject, _ in scans}),
        )
        absent = [f"sub-{one}" for one in here if one not in known]
        others = sorted(f"sub-{one}" for one in known.difference(here))
        named = " and ".join(self.files)
        if len(absent) == len(here):
            raise OptionsError(
                f"{named}: holds none of the {len(here)} participants with scans: expected "
                f"labels such as {absent[0]}, found {some(others, most=3) or 'none'}.",
                hint=_labels_hint(here, known)
                or "Labels are compared as they are written, with or without sub-.",
            )
        if absent:
            log.warning(
                "%s: has no row for %d of %d participants with scans, n/a stands there: %s",
                named, len(absent), len(here), some(absent),
            )  # fmt: skip
            if hint := _labels_hint(here, known):
                log.warning("%s", hint)
        sessions = {who for who in self.rows if who[1]}
        lacking = [who for who in sorted(scans) if who[0] in known and who not in sessions]
        if sessions and lacking:
            words = [f"sub-{sub}" + f"_ses-{ses}" * bool(ses) for sub, ses in lacking]
            log.warning(
                "%s: no row of these sessions, n/a stands in its columns: %s", named, some(words)
            )
        if others:
            said = (
                "has a row for one who has" if len(others) == 1 else "has rows for some who have"
            )
            log.info("%s: %s no scan here: %s", named, said, some(others))

    def described(self) -> dict[str, Any]:
        """Return what the sidecar of a table says of the columns and of where they come from."""
        if not self.files:
            return {}
        joined = {"Files": self.files, "Columns": list(self.columns)}
        return {
            **{name: about for name, about in self.columns.items() if about},
            "Participants": joined,
        }


def _labels_hint(here: Collection[str], known: Collection[str]) -> str:
    """Say what may have become of labels that are not found; empty: nothing is to be seen."""
    unpadded = {label.lstrip("0"): label for label in known if label not in here}
    for one in here:
        found = unpadded.get(one.lstrip("0"))
        if one not in known and found is not None:
            return (
                f"Labels are compared as they are written: {found} is not {one}. A spreadsheet "
                "takes zeros off the front of labels: write them as sub-… in the table."
            )
    return ""


def who_is(identifiers: Mapping[str, Any]) -> Who:
    """Return labels of participant and session of a row."""
    return label(identifiers.get(SUBJECT), "sub"), label(identifiers.get(SESSION), "ses")


def label(text: object, entity: str) -> str:
    """Return a label without its prefix; empty where there is none.

    Examples
    --------
    >>> label("sub-01", "sub"), label("01", "sub"), label(None, "ses")
    ('01', '01', '')
    """
    return str(text).removeprefix(f"{entity}-") if isinstance(text, str) else ""


def read_phenotypes(participants: Path | None, sessions: Path | None = None) -> Phenotypes:
    """Read what is known about people, and about their sessions.

    Parameters
    ----------
    participants
        ``participants.tsv``, or the folder of a dataset that has one. A table with the column
        ``session_id`` has a row for each session.
    sessions
        A table with ``participant_id`` and ``session_id``, or the folder of a dataset that has
        ``sub-X/sub-X_sessions.tsv``.

    Raises
    ------
    OptionsError
        A file cannot be read, names nobody or somebody twice, has no ``participant_id``, or a
        column of a name that tables of scans have.
    """
    with faults_as(OptionsError, hint=_TAKEN):
        people = [*(_participants(participants) if participants is not None else ())]
        tables = [*people, *(_sessions(sessions) if sessions is not None else ())]
    of_people = {name for table in people for name in table.columns}
    texts: dict[Who, dict[str, str]] = {}
    columns: dict[str, dict[str, Any]] = {}
    for table in tables:
        twice = [name for name in table.columns if name in of_people and table not in people]
        if twice:
            raise OptionsError(
                f"{table.path}: columns of the participants' table too: {some(twice)}.",
                hint="Rename or remove them in a copy of one of the files.",
            )
        columns |= table.columns
        for who, row in table.rows.items():
            texts.setdefault(who, {}).update(row)
    kinds = {name: _kind(name, [row[name] for row in texts.values() if name in row])
             for name in columns}  # fmt: skip
    found = Phenotypes(
        rows={who: {k: kinds[k](v) for k, v in row.items()} for who, row in texts.items()},
        columns=columns,
        files=_hashes(tables),
    )
    found.refuse_collisions(RESERVED)
    return found


@dataclass(frozen=True, kw_only=True)
class _Table:
    path: Path
    columns: dict[str, dict[str, Any]]
    rows: dict[Who, dict[str, str]]


def _hashes(tables: list[_Table]) -> dict[str, str]:
    """Hash tables by their names; by as much of their paths as tells them apart, if need be."""
    paths = list(dict.fromkeys(table.path for table in tables))
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return {"/".join(path.parts[-depth:]): file_sha256(path) for path in paths}


def _participants(path: Path) -> Iterator[_Table]:
    yield _table(path / "participants.tsv" if path.is_dir() else path)


def _sessions(path: Path) -> Iterator[_Table]:
    if not path.is_dir():
        yield _table(path, needs=_KEYS)
        return
    found = sorted(path.glob("sub-*/sub-*_sessions.tsv"))
    if not found:
        raise OptionsError(
            f"--sessions-table {path}: found no sub-*/sub-*_sessions.tsv.",
            hint="Name the BIDS dataset that has them, or a table with participant_id and "
            "session_id.",
        )
    for one in found:
        yield _table(one, needs=(SESSION,), owner=one.parent.name)


def _table(path: Path, *, needs: tuple[str, ...] = (SUBJECT,), owner: str = "") -> _Table:
    """Read one table; it may be all of one participant."""
    table = _clean(path, read_cells(path))
    absent = [name for name in needs if name not in table.header]
    if absent:
        found = ", ".join(table.header[:8])
        raise FileError(
            path,
            f"no column {' or '.join(absent)}; found {found:.120}",
            hint="Columns are separated by tabs, and the first line names them.",
        )
    rows: dict[Who, dict[str, str]] = {}
    for number, row in enumerate(table.by_name(), start=2):
        who = (label(owner or row[SUBJECT], "sub"), label(row.get(SESSION, ""), "ses"))
        if not all(word for word, name in zip(who, _KEYS, strict=True) if name in row or owner):
            raise FileError(path, "names nobody", place=f"row {number - 1}")
        if who in rows:
            raise FileError(
                path,
                f"sub-{who[0]}{f' ses-{who[1]}' if who[1] else ''} has two rows",
                place=f"row {number - 1}",
                hint="Labels with and without sub- are the same. Several rows of a participant "
                f"need a column {SESSION}.",
            )
        rows[who] = {
            name: text
            for name, text in row.items()
            if name not in _KEYS and text.lower() not in _MISSING
        }
    about = _sidecar(path)
    columns = {name: about.get(name, {}) for name in table.header if name not in _KEYS}
    return _Table(path=path, columns=columns, rows=rows)


def _clean(path: Path, table: TextTable) -> TextTable:
    """Take blanks off, and columns that are nothing but a separator too many at the end."""
    header, rows = [name.strip() for name in table.header], table.rows
    rows = [[cell.strip() for cell in row] for row in rows]
    while header and not header[-1] and not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    twice = [name for name, n in Counter(header).items() if n > 1]
    if twice or "" in header:
        raise FileError(path, f"two columns are called {some(twice)}" if any(twice)
                        else "a column has no name", place="line 1")  # fmt: skip
    return table._replace(header=header, rows=rows)


def _sidecar(path: Path) -> dict[str, dict[str, Any]]:
    """Read what is said of the columns beside their table; of one that has none, nothing."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        return {}
    return {name: about for name, about in read_json(beside).items() if isinstance(about, dict)}


def _kind(name: str, cells: list[str]) -> type[int] | type[float] | type[str]:
    """Tell what a column holds: numbers, if all of it are; a label such as 01 is none."""
    if cells and all(_WHOLE.fullmatch(cell) for cell in cells):
        return int
    numbers = [cell for cell in cells if _is_number(cell)]
    if cells and len(numbers) == len(cells):
        return float
    words = [cell for cell in cells if not _is_number(cell)]
    if len(numbers) > len(words):
        log.warning(
            "column %s is kept as text: %d of %d values are numbers, but not %s",
            name, len(numbers), len(cells), some([*dict.fromkeys(words)]),
        )  # fmt: skip
    return str


def _is_number(cell: str) -> bool:
    if not _NUMBER.fullmatch(cell) or _LONG.fullmatch(cell):
        return False
    return math.isfinite(float(cell))
