"""What is left to do in an invocation, and what became of the rest."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bids_app.cli.tables import outcome_tsv
from bids_app.files import remove_partial, write_bytes
from bids_app.outputs.paths import output_folder
from bids_app.outputs.status import ScanOutcome, write_outcome
from bids_app.workers.cost import REPORT_MB
from bids_app.workers.pool import Job, Lost, run_here, run_in_processes
from bids_app.workers.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bids_app.inputs.scan import Scan

log = logging.getLogger(__name__)

_TABLE_EVERY_S = 10.0
"""The table of outcomes is written anew each time: not for each of a hundred thousand."""


class Invocation(Protocol):
    """What is done with each run; sent to every process once."""

    @property
    def output_dir(self) -> Path:
        """Folder of the outputs."""

    @property
    def log_dir(self) -> Path:
        """Folder of this invocation's log."""

    def earlier(self, scan: Scan) -> ScanOutcome | None:
        """Return how an earlier invocation ended a run, if that still holds."""

    def needed_mb(self, scan: Scan) -> float:
        """Estimate the memory that a run needs beside its process."""

    def embed(self, scan: Scan) -> ScanOutcome:
        """Embed a run and write its files."""

    def closing_job(
        self, participant: str, *, anything_new: bool
    ) -> Callable[[Any, str], bool] | None:
        """Return what is to be done with a participant after the last run; it tells if it failed.

        A function of this object and the label, or None.
        """


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an invocation did."""

    outcomes: tuple[ScanOutcome, ...]
    """One per run, in the order of paths."""
    broken_reports: tuple[str, ...]
    """Participants whose report could not be made; their tables are not concerned."""

    @property
    def exit_code(self) -> int:
        """0 where no run failed and every report was written, else 1."""
        return int(bool(self.broken_reports) or any(o.status == "failed" for o in self.outcomes))


def embed_run(invocation: Invocation, scan: Scan) -> ScanOutcome:
    """Do the job of one run."""
    return invocation.embed(scan)


class Agenda:
    """Gives out jobs: runs in order, and a participant's report after the last of them."""

    def __init__(
        self,
        scans: Sequence[Scan],
        invocation: Invocation,
        *,
        room_mb: float,
        stop_on_first_crash: bool = False,
    ) -> None:
        self.invocation, self._room_mb = invocation, room_mb
        self._stop_on_first_crash = stop_on_first_crash
        self._order = {_key(scan): place for place, scan in enumerate(scans)}
        self._sizes = {_key(scan): file_size(scan.sources.data) for scan in scans}
        self._to_do = deque(scans)
        self._run: Job | None = None
        self._reports: deque[Job] = deque()
        self._runs_left = Counter(scan.entities.sub for scan in scans)
        self._seen: set[str] = set()
        self._new: set[str] = set()
        self._outcomes: dict[int, ScanOutcome] = {}
        self._broken: list[str] = []
        self._progress = Progress(n_runs=len(scans), n_bytes=sum(self._sizes.values()))
        self._table_due_s = 0.0

    def __len__(self) -> int:
        """Count the runs, done and to do."""
        return len(self._order)

    @property
    def outcomes(self) -> tuple[ScanOutcome, ...]:
        """What has ended so far, in the order in which the runs were given."""
        return tuple(self._outcomes[place] for place in sorted(self._outcomes))

    @property
    def broken_reports(self) -> tuple[str, ...]:
        """Participants whose report could not be made."""
        return tuple(sorted(self._broken))

    def next_job(self, room_mb: float) -> Job | None:
        """Return a report that is due, else the next run that is not done, if there is room."""
        run = self._next_run()
        job = self._reports[0] if self._reports else run
        if job is None or job.memory_mb > room_mb:
            return None
        if job is run:
            self._run = None
        else:
            self._reports.popleft()
        return job

    def take(self, job: Job, answer: Any) -> None:
        """Take the answer to a job."""
        lost = isinstance(answer, Lost)
        if job.run is embed_run:
            self._note(self._failure(job.argument, answer) if lost else answer)
            return
        if lost:
            log.error("sub-%s: no report: %s", job.argument, answer.reason)
            remove_partial(self.invocation.output_dir, answer.tag)
        if answer is not True:
            self._broken.append(job.argument)

    def write_table(self) -> None:
        """Write all outcomes to the log folder."""
        write_bytes(self.invocation.log_dir / "status.tsv", outcome_tsv(self.outcomes))
        self._table_due_s = time.monotonic() + _TABLE_EVERY_S

    def _next_run(self) -> Job | None:
        while self._run is None and self._to_do:
            scan = self._to_do.popleft()
            earlier = self.invocation.earlier(scan)
            if earlier is None:
                self._run = Job(run=embed_run, argument=scan, memory_mb=self._needed_mb(scan))
            else:
                self._note(earlier)
        return self._run

    def _needed_mb(self, scan: Scan) -> float:
        needed_mb = self.invocation.needed_mb(scan)
        if needed_mb > self._room_mb:
            log.warning(
                "%s: needs about %.0f MB, and --mem-mb leaves %.0f MB for all runs together; "
                "it will run alone",
                scan.name,
                needed_mb,
                self._room_mb,
            )
        return needed_mb

    def _failure(self, scan: Scan, lost: Lost) -> ScanOutcome:
        """Record a run whose process was killed, and remove what it left half-written."""
        output_dir = self.invocation.output_dir
        remove_partial(output_folder(output_dir, scan), lost.tag)
        outcome = ScanOutcome(scan=scan, status="failed", reason=f"{scan.name}: {lost.reason}")
        write_outcome(output_dir, outcome, configuration="", outputs=())
        return outcome

    def _note(self, outcome: ScanOutcome) -> None:
        scan = outcome.scan
        self._outcomes[self._order[_key(scan)]] = outcome
        self._progress.count(self._sizes[_key(scan)], fresh=outcome.fresh)
        text = outcome.status if outcome.fresh else f"{outcome.status} earlier, unchanged"
        level = logging.ERROR if outcome.status == "failed" else logging.INFO
        log.log(level, "[%s] %s: %s %s", self._progress.text(), scan.name, text, outcome.reason)
        self._seen.add(scan.entities.sub)
        if outcome.fresh:
            self._new.add(scan.entities.sub)
        if outcome.status == "failed" and self._stop_on_first_crash:
            self._stop()
        self._count_down(scan.entities.sub)
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
        if not self._runs_left[participant] and participant in self._seen:
            new = participant in self._new
            report = self.invocation.closing_job(participant, anything_new=new)
            if report is not None:
                job = Job(run=report, argument=participant, memory_mb=REPORT_MB)
                self._reports.append(job)


def embed_all(
    scans: Sequence[Scan],
    invocation: Invocation,
    *,
    process_mb: float,
    n_cpus: int,
    memory_mb: float,
    stop_on_first_crash: bool = False,
) -> Summary:
    """Do an invocation's work on all runs, and tell what became of them.

    Parameters
    ----------
    process_mb
        What each process needs without a run.
    n_cpus, memory_mb
        Processes at a time, and what all may need together.
    """
    agenda = Agenda(
        scans,
        invocation,
        room_mb=memory_mb - process_mb,
        stop_on_first_crash=stop_on_first_crash,
    )
    work_off(agenda, n_cpus=n_cpus, memory_mb=memory_mb, base_mb=process_mb)
    return Summary(outcomes=agenda.outcomes, broken_reports=agenda.broken_reports)


def work_off(agenda: Agenda, *, n_cpus: int, memory_mb: float, base_mb: float) -> None:
    """Do all jobs, in this process if one is enough; a table of outcomes is left in any case.

    Parameters
    ----------
    n_cpus
        How many processes may run at a time.
    memory_mb, base_mb
        What all may need together, and what each needs without a job.
    """
    from threadpoolctl import threadpool_limits

    n_processes = min(n_cpus, len(agenda))
    jobs = (
        run_here(agenda.next_job, agenda.invocation)
        if n_processes == 1
        else run_in_processes(
            agenda.next_job,
            agenda.invocation,
            n_processes=n_processes,
            base_mb=base_mb,
            memory_mb=memory_mb,
        )
    )
    try:
        # One thread, as in a process of its own: the same sums in the same order.
        with threadpool_limits(1), contextlib.closing(jobs):
            for job, answer in jobs:
                agenda.take(job, answer)
    finally:
        agenda.write_table()


def _key(scan: Scan) -> tuple[Path, str]:
    """Identify a run; a file of series holds several."""
    return scan.sources.data, scan.name


def file_size(path: Path) -> int:
    """Return the bytes of a file; 0 where it cannot be had, which is told when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
