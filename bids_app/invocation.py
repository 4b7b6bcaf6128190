"""One invocation on many scans: map them over processes, then reports, and sum up."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from bids_app.errors import OutputError
from bids_app.files import remove_partial, write_bytes
from bids_app.outputs.paths import output_folder
from bids_app.outputs.status import ScanOutcome, outcome_table, write_outcome
from bids_app.report.page import is_current, participants_to_report, write_report
from bids_app.workers.processes import Lost, Processes
from bids_app.workers.progress import Progress
from bids_app.workers.resources import REPORT_MB, file_size, scan_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.options import Reports
    from bids_app.workers.processes import Limits

log = logging.getLogger(__name__)

ScanT = TypeVar("ScanT", bound="Scan")

_TABLE_EVERY_S = 10.0
"""The table of outcomes is written anew each time: not for each of a hundred thousand."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Where an invocation writes, and how it goes about its scans."""

    output_dir: Path
    log_dir: Path
    limits: Limits
    overwrite: bool
    reports: Reports = "with"
    stop_on_first_crash: bool = False


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an invocation did."""

    outcomes: tuple[ScanOutcome, ...]
    """One per scan that ended, in the order in which they were given."""
    broken_reports: tuple[str, ...]
    """Participants whose report could not be made; their tables are not concerned."""

    @property
    def exit_code(self) -> int:
        """0 where no scan failed and every report was written, else 1."""
        return int(bool(self.broken_reports) or any(o.status == "failed" for o in self.outcomes))


def new_log_folder(output_dir: Path, settings: str) -> Path:
    """Make a folder for the log of an invocation, and write down its settings (TOML)."""
    log_dir = output_dir / "logs" / uuid.uuid4().hex[:12]
    write_bytes(log_dir / "config.toml", settings.encode())
    return log_dir


def run_scans(
    scans: Sequence[ScanT],
    invocation: Invocation,
    *,
    embed: Callable[[ScanT], ScanOutcome],
    earlier: Callable[[ScanT], ScanOutcome | None],
) -> Summary:
    """Embed scans and write reports, in this process or in several.

    Parameters
    ----------
    embed
        Embeds a scan and writes its files; a bad scan ends as an outcome. Sent to every process
        once.
    earlier
        Tells how an earlier invocation ended a scan, if that still holds.

    Raises
    ------
    InputError
        Reports alone were asked for, of participants without outputs.
    AppError, CheckpointError
        What `embed` raises: no other scan would fare better.
    """
    output_dir, reports = invocation.output_dir, invocation.reports
    with Processes(invocation.limits) as processes:
        if reports == "only":
            outcomes: tuple[ScanOutcome, ...] = ()
            labels = participants_to_report(output_dir, [scan.entities.sub for scan in scans])
            outdated = set(labels) if invocation.overwrite else set()
        else:
            outcomes = _embed_all(scans, invocation, processes, embed=embed, earlier=earlier)
            labels = tuple(dict.fromkeys(o.scan.entities.sub for o in outcomes))
            outdated = {o.scan.entities.sub for o in outcomes if o.fresh}
        if reports == "none":
            return Summary(outcomes=outcomes, broken_reports=())
        due = [one for one in labels if one in outdated or not is_current(output_dir, one)]
        broken = _report_all(due, invocation, processes)
    return Summary(outcomes=outcomes, broken_reports=broken)


def _embed_all(
    scans: Sequence[ScanT],
    invocation: Invocation,
    processes: Processes,
    *,
    embed: Callable[[ScanT], ScanOutcome],
    earlier: Callable[[ScanT], ScanOutcome | None],
) -> tuple[ScanOutcome, ...]:
    """Embed what is not done; a table of outcomes is left in any case."""
    outcomes: dict[str, ScanOutcome] = {}
    if not invocation.overwrite:
        outcomes = {scan.name: o for scan in scans if (o := earlier(scan)) is not None}
    to_do = deque(scan for scan in scans if scan.name not in outcomes)
    if outcomes:
        log.info("%d of %d scans were done earlier", len(outcomes), len(scans))
    _warn_of_large(to_do, invocation.limits)
    progress = Progress(
        n_scans=len(scans),
        n_done=len(outcomes),
        n_bytes=sum(file_size(scan.sources.data) for scan in to_do),
    )
    table_due_s = time.monotonic()
    try:
        with progress:
            for scan, answer in processes.map(embed, to_do, needed_mb=_needed_mb):
                outcome = _lost(scan, answer, invocation) if isinstance(answer, Lost) else answer
                outcomes[scan.name] = outcome
                failed = outcome.status == "failed"
                line = f"{scan.name}: {outcome.status} {outcome.reason}".rstrip()
                progress.tell(line, n_bytes=file_size(scan.sources.data), failed=failed)
                if failed and invocation.stop_on_first_crash:
                    to_do.clear()
                if time.monotonic() > table_due_s:
                    _write_table(scans, outcomes, invocation)
                    table_due_s = time.monotonic() + _TABLE_EVERY_S
    finally:
        ended = _write_table(scans, outcomes, invocation)
    return ended


def _write_table(
    scans: Sequence[Scan], outcomes: dict[str, ScanOutcome], invocation: Invocation
) -> tuple[ScanOutcome, ...]:
    """Write what has ended to the log folder; return it in the order of scans."""
    ended = tuple(outcomes[scan.name] for scan in scans if scan.name in outcomes)
    write_bytes(invocation.log_dir / "status.tsv", outcome_table(ended))
    return ended


def _needed_mb(scan: Scan) -> float:
    return scan_memory_mb(scan.sources.data)


def _warn_of_large(scans: Iterable[Scan], limits: Limits) -> None:
    for scan in scans:
        if _needed_mb(scan) > limits.room_mb:
            log.warning(
                "%s: needs about %.0f MB, and --mem leaves %.0f MB for all runs together; "
                "it will run alone",
                scan.name,
                _needed_mb(scan),
                limits.room_mb,
            )


def _lost(scan: Scan, lost: Lost, invocation: Invocation) -> ScanOutcome:
    """Record a scan whose process was killed, and remove what it left half-written."""
    remove_partial(output_folder(invocation.output_dir, scan), lost.tag)
    return write_outcome(
        invocation.output_dir, scan, "failed", reason=f"{scan.name}: {lost.reason}"
    )


def _report_all(
    participants: Iterable[str], invocation: Invocation, processes: Processes
) -> tuple[str, ...]:
    """Write reports; return the participants whose report could not be made."""
    work = partial(_report, invocation.output_dir, invocation.log_dir)
    broken = []
    for label, answer in processes.map(work, deque(participants), needed_mb=lambda _: REPORT_MB):
        if isinstance(answer, Lost):
            log.error("sub-%s: no report: %s", label, answer.reason)
            remove_partial(invocation.output_dir, answer.tag)
        if answer is not True:
            broken.append(label)
    return tuple(sorted(broken))


def _report(output_dir: Path, log_dir: Path, participant: str) -> bool:
    """Write a participant's report; a fault in it must not cost the tables nor the others."""
    try:
        write_report(output_dir, participant)
    except OutputError:
        raise
    except Exception:  # noqa: BLE001 told in log, crash file and exit code
        crash = log_dir / f"crash-report-sub-{participant}.txt"
        write_bytes(crash, traceback.format_exc().encode())
        log.error("sub-%s: the report could not be made (traceback in %s)", participant, crash)
        return False
    return True
