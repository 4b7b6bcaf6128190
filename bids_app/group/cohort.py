"""The statuses of a cohort: read once, then streamed as often as wanted."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from bids_app.errors import InputError, OutputError
from bids_app.group.table import Columns
from bids_app.outputs.group import CohortScan
from bids_app.outputs.paths import find_statuses
from bids_app.outputs.status import read_status
from model.cohort.record import ScanRecord
from model.files.read import faults_as
from model.files.write import scratch_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EXAMPLES = 3


@dataclass(kw_only=True)
class Cohort:
    """What one pass over all scans finds; their statuses wait in a file, not in memory."""

    waiting: IO[bytes]
    columns: Columns = field(default_factory=Columns)
    n_scans: int = 0
    n_embedded: int = 0
    example: str | None = None
    """Status file of the first embedded scan"""
    settings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    """Settings to names of scans made with them"""
    problems: list[str] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def read(cls, output_dir: Path, *, scratch: Path) -> Iterator[Cohort]:
        """Read every status below an output folder, in the order of paths.

        Parameters
        ----------
        scratch
            Folder for a temporary file.

        Raises
        ------
        OutputError
            There is no room for the temporary file.
        """
        with faults_as(OutputError), scratch_file(scratch) as file:
            cohort = cls(waiting=file)
            for path in find_statuses(output_dir):
                try:
                    cohort._take(path.relative_to(output_dir).as_posix(), read_status(path))
                except InputError as err:
                    cohort.problems.append(err.message)
            yield cohort

    def records(self) -> Iterator[CohortScan]:
        """Yield every scan, in the order of paths; one iteration at a time."""
        self.waiting.seek(0)
        for line in self.waiting:
            path, content = json.loads(line)
            yield CohortScan(path, ScanRecord.from_json(content))

    def _take(self, path: str, record: ScanRecord) -> None:
        scan = CohortScan(path, record)
        # What the tables do not say stays behind: half of the file.
        kept = replace(record, inputs={}, outputs={})
        self.waiting.write(json.dumps((path, kept.as_json())).encode() + b"\n")
        self.columns.note(scan)
        self.n_scans += 1
        if not scan.embedded:
            return
        self.n_embedded += 1
        self.example = self.example or path
        self.settings[record.settings] += 1
        examples = self.examples.setdefault(record.settings, [])
        if len(examples) < _EXAMPLES:
            examples.append(path.rpartition("/")[2])
