"""What is left to do in an invocation, and what became of the rest."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_app.atomic import remove_partial, write_bytes
from bids_app.derivatives import output_folder
from bids_app.errors import OutputError
from bids_app.memory import REPORT_MB, scan_memory_mb
from bids_app.participant import earlier_outcome, run_scan
from bids_app.pool import Job, Lost
from bids_app.progress import Progress
from bids_app.status import ScanOutcome, write_outcome
from bids_app.tables import outcome_tsv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_app.participant import Pipeline
    from bids_app.query import BoldScan

log = logging.getLogger(__name__)

_TABLE_EVERY_S = 10.0
"""The table of outcomes is written anew each time: not for each of a hundred thousand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Invocation:
    """What all jobs of an invocation share."""

    pipeline: Pipeline
    output_dir: Path
    log_dir: Path


def embed(invocation: Invocation, scan: BoldScan) -> ScanOutcome:
    """Embed one scan and write its files: a job."""
    return run_scan(
        scan,
        invocation.pipeline,
        output_dir=invocation.output_dir,
        log_dir=invocation.log_dir,
    )


def report(invocation: Invocation, participant: str) -> bool:
    """Write a participant's report: a job. A fault in it must not cost the tables."""
    from bids_app.report import write_report

    try:
        write_report(invocation.output_dir, participant)
    except OutputError:
        raise
    except Exception:  # noqa: BLE001 told in log, crash file and exit code
        crash = invocation.log_dir / f"crash-report-sub-{participant}.txt"
        write_bytes(crash, traceback.format_exc().encode())
        log.error("sub-%s: the report could not be made (traceback in %s)", participant, crash)
        return False
    return True


class Agenda:
    """Gives out jobs: runs in order, and a participant's report after the last of them."""

    def __init__(
        self,
        scans: Sequence[BoldScan],
        invocation: Invocation,
        *,
        overwrite: bool,
        stop_on_first_crash: bool,
        room_mb: float,
    ) -> None:
        self.invocation, self._overwrite = invocation, overwrite
        self._stop_on_first_crash, self._room_mb = stop_on_first_crash, room_mb
        self._to_do = deque(scans)
        self._run: Job | None = None
        self._runs_left = Counter(scan.entities.sub for scan in scans)
        self._reports: deque[str] = deque()
        self._seen: set[str] = set()
        self._new: set[str] = set()
        self._outcomes: dict[Path, ScanOutcome] = {}
        self._broken: list[str] = []
        self._sizes = {scan.bold_path: _size(scan.bold_path) for scan in scans}
        self._progress = Progress(n_runs=len(scans), n_bytes=sum(self._sizes.values()))
        self._table_due_s = 0.0

    def __len__(self) -> int:
        """Count the runs, done and to do."""
        return len(self._sizes)

    @property
    def outcomes(self) -> tuple[ScanOutcome, ...]:
        """What has ended so far, in the order of paths."""
        return tuple(self._outcomes[path] for path in sorted(self._outcomes))

    @property
    def broken_reports(self) -> tuple[str, ...]:
        """Participants whose report could not be made."""
        return tuple(sorted(self._broken))

    def next_job(self, room_mb: float) -> Job | None:
        """Return a report that is due, else the next run that is not done, if there is room."""
        run = self._next_run()
        job = self._next_report() if self._reports else run
        if job is None or job.memory_mb > room_mb:
            return None
        if job is run:
            self._run = None
        else:
            self._reports.popleft()
        return job

    def take(self, job: Job, answer: Any) -> None:
        """Take the answer to a job."""
        if job.run is report:
            if isinstance(answer, Lost):
                log.error("sub-%s: no report: %s", job.argument, answer.reason)
                remove_partial(self.invocation.output_dir, answer.tag)
            if answer is not True:
                self._broken.append(job.argument)
            return
        self._note(self._failure(job.argument, answer) if isinstance(answer, Lost) else answer)

    def write_table(self) -> None:
        """Write all outcomes to the log folder."""
        path = self.invocation.log_dir / "status.tsv"
        write_bytes(path, outcome_tsv(self.outcomes))
        self._table_due_s = time.monotonic() + _TABLE_EVERY_S

    def _next_run(self) -> Job | None:
        while self._run is None and self._to_do:
            scan = self._to_do.popleft()
            earlier = None if self._overwrite else self._earlier(scan)
            if earlier is None:
                self._run = Job(run=embed, argument=scan, memory_mb=self._needed_mb(scan))
            else:
                self._note(earlier)
        return self._run

    def _next_report(self) -> Job:
        return Job(run=report, argument=self._reports[0], memory_mb=REPORT_MB)

    def _earlier(self, scan: BoldScan) -> ScanOutcome | None:
        return earlier_outcome(scan, self.invocation.pipeline, self.invocation.output_dir)

    def _needed_mb(self, scan: BoldScan) -> float:
        needed_mb = scan_memory_mb(scan)
        if needed_mb > self._room_mb:
            log.warning(
                "%s: needs about %.0f MB, and --mem-mb leaves %.0f MB for all runs together; "
                "it will run alone",
                scan.name,
                needed_mb,
                self._room_mb,
            )
        return needed_mb

    def _failure(self, scan: BoldScan, lost: Lost) -> ScanOutcome:
        """Record a run whose process was killed, and remove what it left half-written."""
        output_dir = self.invocation.output_dir
        remove_partial(output_folder(output_dir, scan), lost.tag)
        outcome = ScanOutcome(scan=scan, status="failed", reason=f"{scan.name}: {lost.reason}")
        write_outcome(output_dir, outcome, configuration="", outputs=())
        return outcome

    def _note(self, outcome: ScanOutcome) -> None:
        scan = outcome.scan
        participant = scan.entities.sub
        self._outcomes[scan.bold_path] = outcome
        self._progress.count(self._sizes[scan.bold_path], fresh=outcome.fresh)
        text = outcome.status if outcome.fresh else f"{outcome.status} earlier, unchanged"
        level = logging.ERROR if outcome.status == "failed" else logging.INFO
        log.log(level, "[%s] %s: %s %s", self._progress.text(), scan.name, text, outcome.reason)
        if outcome.fresh:
            self._new.add(participant)
        self._seen.add(participant)
        if outcome.status == "failed" and self._stop_on_first_crash:
            self._stop()
        self._count_down(participant)
        if time.monotonic() > self._table_due_s:
            self.write_table()

    def _stop(self) -> None:
        """Begin no further run; participants have their report after those under way."""
        waiting = [] if self._run is None else [self._run.argument]
        for scan in (*waiting, *self._to_do):
            self._count_down(scan.entities.sub)
        self._to_do.clear()
        self._run = None

    def _count_down(self, participant: str) -> None:
        self._runs_left[participant] -= 1
        if not self._runs_left[participant]:
            self._request_report(participant)

    def _request_report(self, participant: str) -> None:
        from bids_app.report import report_path

        if participant not in self._seen:
            return
        path = report_path(self.invocation.output_dir, participant)
        if participant in self._new or not _newer_than_runs(path):
            self._reports.append(participant)


def _newer_than_runs(path: Path) -> bool:
    """Tell whether a report is there and no run of its participant ended after it."""
    if not path.exists():
        return False
    statuses = path.with_suffix("").rglob("*_status.json")
    written_ns = path.stat().st_mtime_ns
    return all(status.stat().st_mtime_ns <= written_ns for status in statuses)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
