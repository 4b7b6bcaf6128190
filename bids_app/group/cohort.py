"""The scans of a cohort: read once and checked, then streamed as often as wanted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bids_app.errors import OutputError
from bids_app.group.table import Columns
from bids_app.outputs.group import CohortScan, refuse_other_columns, shared, status_row
from bids_app.outputs.paths import find_statuses
from model.cohort.names import STATUS
from model.cohort.outputs import EmbeddedScan, read_records
from model.cohort.record import ScanRecord
from model.files.faults import FileError, faults_as
from model.files.write import scratch_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from model.series import FloatArray


class Kind(NamedTuple):
    """Where a scan belongs: scans of one space and one settings can stand in one table."""

    space: str
    settings: str
    """Hash of all that determines the numbers of a scan"""


@dataclass(kw_only=True)
class Alike:
    """Embedded scans of one kind."""

    said: Mapping[str, Any]
    """Settings, as the first scan's sidecar has them"""
    columns: Columns = field(default_factory=Columns)
    models: Counter[str] = field(default_factory=Counter)
    """What sidecars must say alike and the embedding's parts in their order, as JSON, with the
    number of scans that do"""

    @property
    def model(self) -> str:
        """What they say alike: that of most, should one have been tampered with."""
        return self.models.most_common(1)[0][0]

    @property
    def n_scans(self) -> int:
        """Scans that stand in the table."""
        return self.models[self.model]


class Listing:
    """Which statuses there were, without keeping their names."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    @classmethod
    def of(cls, folder: Path, statuses: Iterable[Path]) -> Listing:
        """List the statuses of an output folder."""
        listing = cls()
        for path in statuses:
            listing.note(path.relative_to(folder))
        return listing

    def note(self, path: Path) -> None:
        """Take in the next one, relative to the output folder."""
        self._hash.update(os.fsencode(path) + b"\0")

    @property
    def sha256(self) -> str:
        """What tells it from another listing."""
        return self._hash.hexdigest()


class _Line(NamedTuple):
    """A scan as it waits."""

    record: dict[str, Any]
    problem: str
    kind: Kind | None
    model: str
    """Empty: it has no embedding."""
    size: int
    """Numbers of its embedding"""


@dataclass(kw_only=True)
class Cohort:
    """What one pass over all scans finds; they wait in files, not in memory."""

    output_dir: Path
    lines: IO[bytes]
    numbers: IO[bytes]
    columns: Columns = field(default_factory=Columns)
    kinds: dict[Kind, Alike] = field(default_factory=dict)
    listing: Listing = field(default_factory=Listing)
    n_scans: int = 0

    @classmethod
    @contextlib.contextmanager
    def read(cls, output_dir: Path, *, scratch: Path) -> Iterator[Cohort]:
        """Read and check status and embedding of every scan, in the order of paths.

        What cannot be believed has a problem, and stops nothing.

        Parameters
        ----------
        scratch
            Folder for temporary files, as large as the tables will be.

        Raises
        ------
        OutputError
            There is no room for the temporary files.
        """
        with (
            faults_as(OutputError),
            scratch_file(scratch) as lines,
            scratch_file(scratch) as numbers,
        ):
            cohort = cls(output_dir=output_dir, lines=lines, numbers=numbers)
            for path, found in read_records(output_dir, find_statuses(output_dir)):
                cohort.listing.note(path.relative_to(output_dir))
                cohort._take(path, found)
            yield cohort

    def scans(self) -> Iterator[CohortScan]:
        """Yield every scan, in the order of paths; one iteration at a time."""
        for line in self._waiting():
            yield self._scan(line)

    def embeddings(self, kind: Kind) -> Iterator[tuple[CohortScan, FloatArray]]:
        """Yield the embedded scans of a kind, each with its (C,) embedding; one at a time."""
        self.numbers.seek(0)
        for line in self._waiting():
            content = self.numbers.read(4 * line.size)
            scan = self._scan(line)
            if line.kind == kind and scan.embedded:
                yield scan, np.frombuffer(content, np.float32)

    def _waiting(self) -> Iterator[_Line]:
        self.lines.seek(0)
        for text in self.lines:
            record, problem, kind, *others = json.loads(text)
            yield _Line(record, problem, kind and Kind(*kind), *others)

    def _scan(self, line: _Line) -> CohortScan:
        problem = line.problem
        if line.kind and line.model != self.kinds[line.kind].model:
            problem = "its sidecar names another model than others of the same settings"
        return CohortScan(ScanRecord.from_json(line.record), problem)

    def _take(self, path: Path, found: ScanRecord | FileError) -> None:
        kind, model, values = None, "", np.empty(0, np.float32)
        if isinstance(found, FileError):
            scan = CohortScan(_unread(path), self._problem(found))
        else:
            try:
                refuse_other_columns(path, found)
                if found.status == "embedded":
                    values, meta = EmbeddedScan(status_path=path, record=found).embedding()
                    kind = Kind(found.entities.get("space", ""), found.settings)
                    model = json.dumps([shared(meta), list(meta["Parts"])], sort_keys=True)
                scan = CohortScan(found)
            except FileError as fault:
                scan = CohortScan(found, self._problem(fault))
        row = status_row(scan)
        if kind:
            alike = self.kinds.setdefault(kind, Alike(said=meta.get("Settings", {})))
            alike.models[model] += 1
            alike.columns.note(row, embedded=True)
        self.columns.note(row, embedded=kind is not None)
        self.n_scans += 1
        # What the tables do not say stays behind: half of the file.
        kept = replace(scan.record, inputs={}, outputs={})
        line = _Line(kept.as_json(), scan.problem, kind, model, values.size)
        self.lines.write(json.dumps(line).encode() + b"\n")
        self.numbers.write(values.tobytes())

    def _problem(self, fault: FileError) -> str:
        where = fault.path.relative_to(self.output_dir).as_posix()
        return fault.sentence(where=where)


def _unread(path: Path) -> ScanRecord:
    """Stand for a status that cannot be read: its name says of which scan it is."""
    words = [word.partition("-") for word in path.name.removesuffix(f"_{STATUS}").split("_")]
    entities = {key: label for key, _, label in words if label and key != "atlas"}
    return ScanRecord(status="failed", reason="", entities=entities, source="", configuration="")
