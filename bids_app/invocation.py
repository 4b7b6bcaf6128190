"""One invocation on many scans: map them over processes, then reports, and sum up."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bids_app.errors import AppError, OutputError
from bids_app.files import clear_leftovers, write_bytes
from bids_app.outputs.differences import replaced
from bids_app.outputs.paths import (
    figures_folder,
    find_statuses,
    logs,
    new_log_folder,
    output_folder,
    refuse_links_out,
    relative_text,
)
from bids_app.outputs.status import (
    ScanOutcome,
    outcome_table,
    require_written,
    write_crash,
    write_outcome,
)
from bids_app.report.page import is_current, participants_to_report, write_report
from bids_app.workers.processes import Limits, Lost, Processes
from bids_app.workers.resources import REPORT_MB, file_size, process_memory_mb, scan_memory_mb
from model.errors import CheckpointError, SemantoksError, numbered
from model.figures.style import font_folder
from model.files.write import text_bytes
from model.invocation import interrupts
from model.invocation.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.options import InvocationOptions
    from bids_app.outputs.differences import Settings

log = logging.getLogger(__name__)

_TABLE_EVERY_S = 10.0
"""The table of outcomes is written anew each time: not for each of a hundred thousand."""
_READING = 0.9
"""Share of a scan's time in which its image is read"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What an invocation did."""

    outcomes: tuple[ScanOutcome, ...]
    """One per scan that ended, in the order in which they were given."""
    broken_reports: tuple[str, ...]
    """Participants whose report could not be made; their tables are not concerned."""
    reported: tuple[str, ...] = ()
    """Participants whose report is there, and of the scans as they are now"""
    lost: tuple[str, ...] = ()
    """What was asked for and has no status, in words: folders that cannot be listed."""

    @property
    def exit_code(self) -> int:
        """0 where no scan failed or was lost and every report was written, else 1."""
        failed = any(outcome.status == "failed" for outcome in self.outcomes)
        return int(failed or bool(self.broken_reports) or bool(self.lost))


@interrupts.shielded()
def run_scans(
    scans: Sequence[Scan],
    output_dir: Path,
    options: InvocationOptions,
    *,
    embed: Callable[..., ScanOutcome],
    earlier: Callable[[Scan], ScanOutcome | None],
    settings: Callable[[Scan], Settings],
) -> Summary:
    """Embed scans and write reports, in this process or in several.

    Parameters
    ----------
    embed
        ``embed(scan, output_dir=…, log_dir=…)`` embeds a scan and writes its files; a bad scan
        ends as an outcome. Sent to every process once.
    earlier
        Tells how an earlier invocation ended a scan, if that still holds.
    settings
        Returns what a scan's numbers will be made with: replacing those of others is told.

    Raises
    ------
    AppError, CheckpointError
        What `embed` raises: no other scan would fare better.
    """
    log_dir = _start_log(output_dir, options)
    for folder in {output_folder(output_dir, scan.entities) for scan in scans}:
        clear_leftovers(folder)  # also where nothing is left to do
    outcomes = {} if options.overwrite else _earlier_outcomes(scans, earlier)
    to_do = deque(scan for scan in scans if scan.name not in outcomes)
    if not options.overwrite:
        _warn_of_replaced(to_do, len(scans), output_dir, settings)
    _warn_of_large(to_do, process_limits(options))
    work = partial(embed, output_dir=output_dir, log_dir=log_dir)
    with font_folder(logs(output_dir)), Processes(process_limits(options)) as processes:
        table_due_s = time.monotonic()
        try:
            # Asked once: progress is told of every volume.
            sizes = {scan.name: file_size(scan.sources.data) for scan in to_do}
            with _progress(scans, sizes) as progress:
                answers = processes.map(
                    work, to_do, needed_mb=_needed_mb, watch=partial(_watch, progress, sizes)
                )
                for scan, answer in answers:
                    outcome = (
                        _lost(scan, answer, output_dir) if isinstance(answer, Lost) else answer
                    )
                    outcomes[scan.name] = outcome
                    _tell(progress, outcome, size=sizes[scan.name])
                    if outcome.status == "failed" and options.stop_on_first_crash:
                        to_do.clear()
                    if time.monotonic() > table_due_s:
                        _write_table(scans, outcomes, log_dir)
                        table_due_s = time.monotonic() + _TABLE_EVERY_S
        finally:
            ended = _write_table(scans, outcomes, log_dir)
        require_written(ended, output_dir)
        if options.reports == "none":
            return Summary(outcomes=ended, broken_reports=())
        broken = _write_reports(_due(ended, output_dir), output_dir, log_dir, processes)
    labels = dict.fromkeys(outcome.scan.entities.sub for outcome in ended)
    return Summary(
        outcomes=ended, broken_reports=broken, reported=tuple(x for x in labels if x not in broken)
    )


@interrupts.shielded()
def report_scans(scans: Iterable[Scan], output_dir: Path, options: InvocationOptions) -> Summary:
    """Write the reports of scans that were embedded earlier; no scan is touched.

    Raises
    ------
    InputError
        Nothing is known of a participant.
    """
    scans = [*scans]
    due = reports_due(scans, output_dir, options)
    log_dir = _start_log(output_dir, options)
    with font_folder(logs(output_dir)), Processes(process_limits(options)) as processes:
        broken = _write_reports(due, output_dir, log_dir, processes)
    labels = participants_to_report(output_dir, [scan.entities.sub for scan in scans])
    return Summary(
        outcomes=(), broken_reports=broken, reported=tuple(x for x in labels if x not in broken)
    )


def reports_due(scans: Iterable[Scan], output_dir: Path, options: InvocationOptions) -> list[str]:
    """Return the participants whose reports are to be written from what lies there.

    Raises
    ------
    InputError
        Nothing is known of a participant.
    """
    labels = participants_to_report(output_dir, [scan.entities.sub for scan in scans])
    refuse_links_out(output_dir, (figures_folder(output_dir, label) for label in labels))
    return [one for one in labels if options.overwrite or not is_current(output_dir, one)]


def _start_log(output_dir: Path, options: InvocationOptions) -> Path:
    """Make a folder for the log of an invocation, with its settings; clear what others left."""
    log_dir = new_log_folder(output_dir)
    clear_leftovers(log_dir.parent)
    write_bytes(log_dir / "config.toml", text_bytes(options.config), scratch=log_dir.parent)
    return log_dir


def process_limits(options: InvocationOptions) -> Limits:
    """Return what all processes of an invocation together may take."""
    return Limits(
        n_processes=options.n_cpus,
        memory_mb=options.memory_mb,
        process_mb=process_memory_mb(options.checkpoint),
    )


def _earlier_outcomes(
    scans: Sequence[Scan], earlier: Callable[[Scan], ScanOutcome | None]
) -> dict[str, ScanOutcome]:
    outcomes = {scan.name: found for scan in scans if (found := _earlier(scan, earlier))}
    log.info(
        "%s: %d done earlier, %d to do",
        numbered(len(scans), "scan"), len(outcomes), len(scans) - len(outcomes),
    )  # fmt: skip
    return outcomes


def _earlier(scan: Scan, earlier: Callable[[Scan], ScanOutcome | None]) -> ScanOutcome | None:
    interrupts.check()
    try:
        return earlier(scan)
    except (AppError, CheckpointError):
        raise
    except Exception as err:  # noqa: BLE001 of this scan alone, and told when its turn comes
        log.debug("%s: what became of it earlier is not known: %r", scan.name, err)
        return None


def _progress(scans: Sequence[Scan], sizes: Mapping[str, int]) -> Progress:
    n_done = len(scans) - len(sizes)
    return Progress(n_items=len(scans), n_done=n_done, size=sum(sizes.values()))


def _due(outcomes: Iterable[ScanOutcome], output_dir: Path) -> list[str]:
    """Return the participants with something new, or without a report that is current."""
    participants = dict.fromkeys(outcome.scan.entities.sub for outcome in outcomes)
    new = {outcome.scan.entities.sub for outcome in outcomes if outcome.fresh}
    return [one for one in participants if one in new or not is_current(output_dir, one)]


def _tell(progress: Progress, outcome: ScanOutcome, *, size: int) -> None:
    line = ": ".join(filter(None, [outcome.scan.name, outcome.status, outcome.reason]))
    progress.tell(line, size=size, failed=outcome.status == "failed")


def _watch(
    progress: Progress, sizes: Mapping[str, int], at_work: Sequence[tuple[Scan, float]]
) -> None:
    progress.at_work(_READING * sum(share * sizes[scan.name] for scan, share in at_work))


def _write_table(
    scans: Sequence[Scan], outcomes: dict[str, ScanOutcome], log_dir: Path
) -> tuple[ScanOutcome, ...]:
    """Write what has ended to the log folder; return it in the order of scans."""
    ended = tuple(outcomes[scan.name] for scan in scans if scan.name in outcomes)
    write_bytes(log_dir / "status.tsv", outcome_table(ended), scratch=log_dir.parent)
    return ended


def _needed_mb(scan: Scan) -> float:
    return scan_memory_mb(scan.sources.data)


def _warn_of_large(scans: Iterable[Scan], limits: Limits) -> None:
    for scan in scans:
        if _needed_mb(scan) > limits.room_mb:
            log.warning(
                "%s: needs about %.0f MB, and --mem leaves %.0f MB for all scans together; "
                "it will run alone",
                scan.name,
                _needed_mb(scan),
                limits.room_mb,
            )


def _warn_of_replaced(
    to_do: Iterable[Scan], n_scans: int, output_dir: Path, settings: Callable[[Scan], Settings]
) -> None:
    """Say that embeddings of other settings are about to go, and that the folder mixes others."""
    n_replaced, told = replaced(to_do, output_dir, settings)
    if not n_replaced:
        return
    others = ""
    if (n_others := sum(1 for _ in find_statuses(output_dir)) - n_scans) > 0:
        are = "is" if n_others == 1 else "are"
        others = (
            f" {numbered(n_others, 'other scan')} there {are} not of this call: the group level "
            "refuses scans of different settings."
        )
    log.warning(
        "%s embedded earlier with other settings (%s) %s replaced; another output folder keeps "
        "both.%s",
        numbered(n_replaced, "scan"), "; ".join(told) or "which, is not known",
        "is" if n_replaced == 1 else "are", others,
    )  # fmt: skip


def _lost(scan: Scan, lost: Lost, output_dir: Path) -> ScanOutcome:
    """Record a scan whose process was killed; what it left half-written goes with that."""
    return write_outcome(output_dir, scan, "failed", reason=lost.reason)


def _write_reports(
    participants: Sequence[str], output_dir: Path, log_dir: Path, processes: Processes
) -> tuple[str, ...]:
    """Write reports; return the participants whose report could not be made."""
    work = partial(_report, output_dir, log_dir)
    answers = processes.map(work, deque(participants), needed_mb=lambda _: REPORT_MB)
    broken = []
    if participants:
        log.info("writing reports of %s", numbered(len(participants), "participant"))
    with Progress(n_items=len(participants), size=len(participants)) as progress:
        for label, answer in answers:
            problem = answer.reason if isinstance(answer, Lost) else answer
            if isinstance(answer, Lost):
                clear_leftovers(output_dir)
            if problem:
                broken.append(label)
            line = f"sub-{label}: report {problem or 'written'}"
            progress.tell(line, size=1, failed=bool(problem))
    return tuple(sorted(broken))


def _report(output_dir: Path, log_dir: Path, participant: str) -> str:
    """Write a participant's report; a fault in it costs neither the tables nor the others.

    Returns
    -------
    What went wrong; empty where nothing did.
    """
    try:
        write_report(output_dir, participant)
    except OutputError:
        raise
    except SemantoksError as err:
        return f"could not be made: {relative_text(err.message, output_dir)}"
    except Exception as err:  # noqa: BLE001 told in log, crash file and exit code
        crash = write_crash(log_dir, f"crash-report-sub-{participant}", err)
        return f"could not be made (traceback in {crash})"
    return ""
