"""What the group level knows of each run, kept so that the next export reads what changed.

The index is a file of JSON lines in the order of paths: a run's status, and size and times of
the files it was read from. All work on it streams; memory does not grow with the cohort.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app import __version__
from bids_app.errors import InputError
from bids_app.outputs.status import RECORD_KEYS, read_status
from model.files.fault import faults_as, reading
from model.files.fingerprint import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

_SETTLED_NS = 2_000_000_000
"""A file younger than the index by less may have changed once more within a tick of the clock."""
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run: its status file, relative to the outputs, and what it says."""

    path: str
    files: dict[str, list[int]]
    """Name to size, time of change of content and of anything, of every file that was read"""
    record: dict[str, Any]

    @property
    def embedded(self) -> bool:
        """True if the run has an embedding."""
        return bool(self.record["Status"] == "embedded")

    def line(self) -> bytes:
        """Encode as a line of the index."""
        content = {"path": self.path, "files": self.files, "record": self.record}
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


@dataclass(kw_only=True)
class Census:
    """What one pass over all runs finds."""

    n_runs: int = 0
    n_embedded: int = 0
    n_read: int = 0
    """Runs whose files are new or changed"""
    sha256: str = ""
    """Of the new index"""
    old_rows: array[int] = field(default_factory=lambda: array("q"))
    """For each embedded run its row in the last table; -1 where it must be read"""
    settings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Settings to names of runs made with them"""
    problems: list[str] = field(default_factory=list)


def take_census(
    output_dir: Path,
    old: Path,
    new: Path,
    *,
    old_sha256: str | None,
    note: Callable[[Entry], None],
) -> Census:
    """Write the index of all runs below an output folder.

    Parameters
    ----------
    old, new
        Index of the last export, and where to write the new one.
    old_sha256
        Hash of the index that the last table was made from; None: there is no table. Another
        index is not used.
    note
        Called with every run.
    """
    census, digest = Census(), hashlib.sha256()
    known = _Known(old, sha256=old_sha256)
    with new.open("wb") as file:

        def write(line: bytes) -> None:
            file.write(line)
            digest.update(line)

        write(json.dumps({"SoftwareVersion": __version__}).encode() + b"\n")
        for path in find_statuses(output_dir):
            try:
                entry, row = known.take(output_dir, path)
                if entry is None:
                    entry, row = _read(output_dir, path), -1
                    census.n_read += 1
            except InputError as err:
                census.problems.append(err.message)
                continue
            _count(census, entry, row)
            note(entry)
            write(entry.line())
    census.sha256 = digest.hexdigest()
    return census


def read_entries(index: Path) -> Iterator[Entry]:
    """Yield the runs of an index, in the order of paths."""
    with index.open("rb") as file:
        next(file)
        for line in file:
            yield Entry(**json.loads(line))


def find_statuses(output_dir: Path) -> Iterator[Path]:
    """Yield every status file below an output folder, in the order of paths."""
    names = [entry.name for entry in os.scandir(output_dir) if entry.name.startswith("sub-")]
    for name in sorted(names):
        found: list[Path] = []
        for folder, _, files in os.walk(output_dir / name):
            found += [Path(folder, file) for file in files if file.endswith("_status.json")]
        yield from sorted(found)


class _Known:
    """The runs of the last index, taken in the order of paths."""

    def __init__(self, index: Path, *, sha256: str | None) -> None:
        usable = sha256 is not None and index.is_file() and file_sha256(index) == sha256
        self._entries = read_entries(index) if usable else iter(())
        self._written_ns = index.stat().st_mtime_ns if usable else 0
        self._next = next(self._entries, None)
        self._row = -1 + (self._next is not None and self._next.embedded)

    def take(self, output_dir: Path, status: Path) -> tuple[Entry | None, int]:
        """Return a run that has not changed, and its row in the last table; None if it has."""
        relative = status.relative_to(output_dir)
        while self._next is not None and self._next.path.split("/") < list(relative.parts):
            self._advance()
        entry = self._next
        if entry is None or entry.path != relative.as_posix() or not self._holds(status, entry):
            return None, -1
        return entry, self._row if entry.embedded else -1

    def _advance(self) -> None:
        self._next = next(self._entries, None)
        self._row += self._next is not None and self._next.embedded

    def _holds(self, status: Path, entry: Entry) -> bool:
        if max(max(times) for _, *times in entry.files.values()) > self._written_ns - _SETTLED_NS:
            return False
        try:
            return _stamps(status, entry.files) == entry.files
        except OSError:
            return False


def embedding_path(status: Path) -> Path:
    """Name the scan embedding that a status file of an embedded run promises."""
    return status.with_name(status.name.replace("_status.json", "_desc-scan_embedding.tsv"))


def damaged_embedding() -> AbstractContextManager[None]:
    """Say that a run's embedding cannot be used, and what to do."""
    return faults_as(
        InputError,
        what="the embedding of this run is damaged",
        hint="Delete it and run the participant level again; it redoes only this run.",
    )


def _read(output_dir: Path, status: Path) -> Entry:
    """Read a run that is new or has changed; the times of files before their content."""
    files = _stamps(status, [status.name])
    record = read_status(status)
    if record["Status"] == "embedded":
        table = embedding_path(status)
        with damaged_embedding(), reading(table):
            files |= _stamps(status, [table.name, table.with_suffix(".json").name])
    return Entry(
        path=status.relative_to(output_dir).as_posix(),
        files=files,
        record={key: record[key] for key in RECORD_KEYS},
    )


def _stamps(status: Path, names: Iterable[str]) -> dict[str, list[int]]:
    stats = {name: status.with_name(name).stat() for name in names}
    return {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns] for name, s in stats.items()}


def _count(census: Census, entry: Entry, row: int) -> None:
    census.n_runs += 1
    if not entry.embedded:
        return
    census.n_embedded += 1
    census.old_rows.append(row)
    settings = entry.record["ConfigurationHash"].partition("-")[0]
    census.settings[settings] += 1
    examples = census.examples.setdefault(settings, [])
    if len(examples) < _EXAMPLES:
        examples.append(entry.path.rpartition("/")[2])
