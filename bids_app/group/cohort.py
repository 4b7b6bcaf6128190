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
from bids_app.group.exclusions import Exclusions
from bids_app.group.phenotypes import Phenotypes, who_is
from bids_app.group.table import Columns
from bids_app.outputs.group import (
    CONFIGURATION,
    CohortScan,
    refuse_other_columns,
    shared,
    status_row,
)
from bids_app.outputs.paths import find_statuses
from model.cohort.names import EXCLUDED, STATUS, identifiers, scan_name
from model.cohort.outputs import EmbeddedScan, read_records
from model.cohort.record import ScanRecord, read_record
from model.files.faults import FileError, faults_as
from model.files.write import scratch_file, text_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from bids_app.group.phenotypes import Who
    from model.series import FloatArray

    Needs = Callable[[EmbeddedScan], Iterable[str]]


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
    columns: Columns
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
    """Which statuses, or other texts, there were, without keeping them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    @classmethod
    def of(cls, folder: Path, statuses: Iterable[Path]) -> Listing:
        """List the statuses of an output folder."""
        listing = cls()
        for path in statuses:
            listing.note(path.relative_to(folder))
        return listing

    def note(self, path: Path | str) -> None:
        """Take in the next one, relative to the output folder, or a text."""
        self._hash.update(os.fsencode(path) + b"\0")

    @property
    def sha256(self) -> str:
        """What tells it from another listing."""
        return self._hash.hexdigest()


class _Line(NamedTuple):
    """A scan as it waits."""

    record: dict[str, Any]
    problem: str
    excluded: str
    kind: Kind | None
    model: str
    """Empty: it has no embedding."""
    size: int
    """Numbers of its embedding"""
    place: str
    """Of its status, below the output folder"""
    mark: str
    """What tells its status from one that is written meanwhile"""


@dataclass(kw_only=True)
class Cohort:
    """What one pass over all scans finds; they wait in files, not in memory."""

    output_dir: Path
    lines: IO[bytes]
    numbers: IO[bytes]
    known: Phenotypes
    """Columns about people and sessions that are joined"""
    needs: Needs
    columns: Columns
    exclusions: Exclusions
    """What is left out, and which scans that turned out to be"""
    who: set[Who] = field(default_factory=set)
    kinds: dict[Kind, Alike] = field(default_factory=dict)
    listing: Listing = field(default_factory=Listing)
    statuses: Listing = field(default_factory=Listing)
    """Names of the statuses, and what each says"""
    content: Listing = field(default_factory=Listing)
    """All that tables can say of the scans"""
    n_scans: int = 0

    @classmethod
    @contextlib.contextmanager
    def read(
        cls,
        output_dir: Path,
        *,
        scratch: Path,
        known: Phenotypes | None = None,
        needs: Needs = lambda _: (),
        exclusions: Exclusions | None = None,
    ) -> Iterator[Cohort]:
        """Read and check status and embedding of every scan, in the order of paths.

        What cannot be believed has a problem, and stops nothing.

        Parameters
        ----------
        scratch
            Folder for temporary files, as large as the tables will be.
        known
            Columns about people and sessions that are joined.
        needs
            Returns the endings of further files of a scan that will be read, and must be as they
            were written.
        exclusions
            Scans that are left out of all tables but that of statuses.

        Raises
        ------
        OptionsError
            A scan to leave out is not there. Columns that are joined have names that scans' own
            have, or are of nobody here.
        OutputError
            There is no room for the temporary files.
        """
        with (
            faults_as(OutputError),
            scratch_file(scratch) as lines,
            scratch_file(scratch) as numbers,
        ):
            known = known or Phenotypes()
            columns = Columns(last=(*known.columns, CONFIGURATION))
            cohort = cls(
                output_dir=output_dir, lines=lines, numbers=numbers, known=known, needs=needs,
                columns=columns, exclusions=exclusions or Exclusions(),
            )  # fmt: skip
            for path, found in read_records(output_dir, find_statuses(output_dir)):
                cohort.listing.note(path.relative_to(output_dir))
                cohort._take(path, found)
            cohort.exclusions.refuse_unknown()
            for one in (cohort.columns, *(alike.columns for alike in cohort.kinds.values())):
                one.complete()
            known.tell(cohort.who)
            yield cohort

    def described(self) -> dict[str, Any]:
        """Return what sidecars say of the tables' columns that were joined and scans left out."""
        excluded = self.exclusions.excluded
        return {**self.known.described(), **({EXCLUDED: excluded} if excluded else {})}

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

    def files(self, kind: Kind) -> Iterator[tuple[CohortScan, EmbeddedScan]]:
        """Yield the embedded scans of a kind, each with what reads its files; one at a time.

        Raises
        ------
        FileError
            A scan was made anew after the cohort was read.
        """
        for line in self._waiting():
            scan = self._scan(line)
            if line.kind == kind and scan.embedded:
                path = self.output_dir / os.fsdecode(bytes.fromhex(line.place))
                record = read_record(path)
                if _mark(record) != line.mark:
                    raise FileError(path, "was written anew meanwhile", hint="Call once more.")
                yield scan, EmbeddedScan(status_path=path, record=record)

    def _waiting(self) -> Iterator[_Line]:
        self.lines.seek(0)
        for text in self.lines:
            record, problem, excluded, kind, *others = json.loads(text)
            yield _Line(record, problem, excluded, kind and Kind(*kind), *others)

    def _scan(self, line: _Line) -> CohortScan:
        problem = line.problem
        if line.kind and line.model != self.kinds[line.kind].model:
            problem = "its sidecar names another model than others of the same settings"
        record = ScanRecord.from_json(line.record)
        return self._known_of(CohortScan(record, problem, line.excluded))

    def _known_of(self, scan: CohortScan) -> CohortScan:
        return scan._replace(known=self.known.of(identifiers(scan.record.entities)))

    def _take(self, path: Path, found: ScanRecord | FileError) -> None:
        kind, model, values = None, "", np.empty(0, np.float32)
        record = _unread(path) if isinstance(found, FileError) else found
        excluded = self.exclusions.reason(
            scan_name(identifiers(record.entities)),
            embedded=isinstance(found, FileError) or found.status == "embedded",
        )
        if excluded:  # whatever became of its files
            self.known.refuse_collisions(record.qc)
            scan = CohortScan(record, excluded=excluded)
        elif isinstance(found, FileError):
            scan = CohortScan(record, self._problem(found))
        else:
            self.known.refuse_collisions(found.qc)
            try:
                refuse_other_columns(path, found)
                if found.status == "embedded":
                    embedded = EmbeddedScan(status_path=path, record=found)
                    values, meta = embedded.embedding()
                    for ending in self.needs(embedded):
                        embedded.content(ending)
                    kind = Kind(found.entities.get("space", ""), found.settings)
                    model = json.dumps([shared(meta), list(meta["Parts"])], sort_keys=True)
                scan = CohortScan(found)
            except FileError as fault:
                scan = CohortScan(found, self._problem(fault))
        scan = self._known_of(scan)
        row = status_row(scan)
        if kind:
            new = Alike(said=meta.get("Settings", {}), columns=Columns(last=self.columns.last))
            alike = self.kinds.setdefault(kind, new)
            alike.models[model] += 1
            alike.columns.note(row, embedded=True)
        self.columns.note(row, embedded=kind is not None)
        self.n_scans += 1
        self.who.add(who_is(row))
        place, mark = path.relative_to(self.output_dir), _mark(scan.record)
        for listing in (self.statuses, self.content):
            listing.note(place)
        self.statuses.note(mark)
        self.content.note(json.dumps([mark, scan.problem, scan.excluded, model, scan.known]))
        # What the tables do not say stays behind: half of the file.
        kept = replace(scan.record, inputs={}, outputs={})
        line = _Line(
            kept.as_json(),
            scan.problem,
            excluded,
            kind,
            model,
            values.size,
            os.fsencode(place).hex(),
            mark,
        )
        self.lines.write(json.dumps(line).encode() + b"\n")
        self.numbers.write(values.tobytes())

    def _problem(self, fault: FileError) -> str:
        where = fault.path.relative_to(self.output_dir).as_posix()
        return fault.sentence(where=where)


def statuses_sha256(folder: Path) -> str:
    """Hash the statuses of an output folder, as `Cohort.statuses` does."""
    listing = Listing()
    for path, found in read_records(folder, find_statuses(folder)):
        listing.note(path.relative_to(folder))
        listing.note(_mark(_unread(path) if isinstance(found, FileError) else found))
    return listing.sha256


def changed_ns(path: Path) -> int:
    """Return when a file came to be what and where it is, which no copying sets back.

    0 where nothing is there to ask.
    """
    with contextlib.suppress(OSError):
        return path.lstat().st_ctime_ns
    return 0


def _mark(record: ScanRecord) -> str:
    """Tell a status from others; of inputs that were fetched again it says the same."""
    return text_sha256(json.dumps(replace(record, inputs={}).as_json(), sort_keys=True))


def _unread(path: Path) -> ScanRecord:
    """Stand for a status that cannot be read: its name says of which scan it is."""
    words = [word.partition("-") for word in path.name.removesuffix(f"_{STATUS}").split("_")]
    entities = {key: label for key, _, label in words if label and key != "atlas"}
    return ScanRecord(status="failed", reason="", entities=entities, source="", configuration="")
