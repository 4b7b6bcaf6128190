"""One invocation at participant level: find scans, embed them, tell what became of each."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import traceback
import uuid
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from bids_app.atlas import atlas_home, available_spaces, parcels_by_space
from bids_app.atomic import table_bytes, write_bytes
from bids_app.dataset import check_output_folder, write_dataset_files
from bids_app.errors import AtlasError, OutputError
from bids_app.locate import locate_derivative
from bids_app.query import find_scans
from bids_app.selection import SPACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

    from bids_app.discovery import Discovery
    from bids_app.options import RunOptions
    from bids_app.status import ScanOutcome

log = logging.getLogger(__name__)


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


def discover(options: RunOptions) -> tuple[Path, Discovery]:
    """Find the derivative and its runs; read no voxels, write nothing.

    Returns
    -------
    The root of the fMRIPrep derivative, and which runs were chosen or refused.
    """
    derivative = locate_derivative(options.bids_dir, options.derivatives)
    # Without an atlas the table still tells what could be embedded with one.
    spaces = _parcels_by_space(options) or SPACES
    return derivative, find_scans(derivative, options.selection, preferred_spaces=spaces)


def run_participants(options: RunOptions) -> Summary:
    """Embed all selected runs and write everything under ``options.output_dir``.

    Raises
    ------
    AppError
        The invocation as a whole cannot go on (its ``exit_code`` says why).
    CheckpointError
        The checkpoint cannot be used.
    """
    from bids_app.embedder import load_embedder
    from bids_app.participant import Pipeline, run_scans

    derivative, discovery = discover(options)
    check_output_folder(options.output_dir, bids_dir=options.bids_dir, derivative=derivative)
    atlas_folder = _installed_atlas(options)
    discovery.require_usable(confounds=options.strategy.needs_table)
    for participant, reasons in discovery.left_out().items():
        log.warning("sub-%s: no run to process: %s", participant, reasons)
    embedder = load_embedder(
        options.checkpoint,
        device=options.device,
        batch_size=options.batch_size,
        n_threads=options.n_cpus,
    )
    pipeline = Pipeline(
        atlas_folder=atlas_folder,
        strategy=options.strategy,
        signal=options.signal,
        embedder=embedder,
    )
    write_dataset_files(options.output_dir, derivative=derivative)
    log_dir = options.output_dir / "logs" / uuid.uuid4().hex[:12]
    write_bytes(log_dir / "config.json", options.to_json().encode())
    outcomes = run_scans(
        discovery.scans,
        pipeline,
        output_dir=options.output_dir,
        log_dir=log_dir,
        overwrite=options.overwrite,
        stop_on_first_crash=options.stop_on_first_crash,
    )
    with _temporary_folder(options.output_dir):
        return _follow(outcomes, options.output_dir, log_dir, total=len(discovery.scans))


def outcome_table(outcomes: Iterable[ScanOutcome]) -> pd.DataFrame:
    """Return one row per run: name, status, whether it was done before, reason."""
    import pandas as pd

    rows = [
        (o.scan.name, o.status, "now" if o.fresh else "earlier", o.reason or "n/a")
        for o in outcomes
    ]
    return pd.DataFrame(rows, columns=["scan", "status", "done", "reason"])


def _parcels_by_space(options: RunOptions) -> Mapping[str, int]:
    try:
        return parcels_by_space(options.atlas or atlas_home())
    except AtlasError:  # there is no home to look in
        return {}


def _installed_atlas(options: RunOptions) -> Path:
    folder = options.atlas or atlas_home()
    if not available_spaces(folder):
        raise AtlasError(
            f"no atlas is installed in {folder}.",
            hint="Install it once with: semantoks-assets atlas --download (or --from DIR), "
            "or name one with --atlas.",
        )
    return folder


def _follow(
    outcomes: Iterable[ScanOutcome], output_dir: Path, log_dir: Path, *, total: int
) -> Summary:
    """Log outcomes as they come, and write the report of a participant after the last run."""
    seen: list[ScanOutcome] = []
    broken: list[str] = []
    for participant, runs in groupby(outcomes, key=lambda o: o.scan.entities.sub):
        anything_new = False
        for outcome in runs:
            seen.append(outcome)
            anything_new |= outcome.fresh
            _log_outcome(outcome, done=len(seen), total=total)
            write_bytes(log_dir / "status.tsv", table_bytes(outcome_table(seen)))
        if not _report(participant, output_dir, log_dir, renew=anything_new):
            broken.append(participant)
    return Summary(outcomes=tuple(seen), broken_reports=tuple(broken))


@contextlib.contextmanager
def _temporary_folder(output_dir: Path) -> Iterator[None]:
    """Give matplotlib a folder to write to where the container has none (``--read-only``)."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        with tempfile.TemporaryDirectory(dir=output_dir, prefix=".tmp-") as folder:
            tempfile.tempdir = folder
            try:
                yield
            finally:
                tempfile.tempdir = None
    else:
        yield


def _report(participant: str, output_dir: Path, log_dir: Path, *, renew: bool) -> bool:
    """Write a participant's report; a fault in it must not cost the tables nor the others."""
    from bids_app.report import report_path, write_report

    if not renew and _newer_than_runs(report_path(output_dir, participant)):
        return True
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


def _newer_than_runs(report: Path) -> bool:
    """Tell whether a report is there and no run of its participant ended after it."""
    if not report.exists():
        return False
    statuses = report.with_suffix("").rglob("*_status.json")
    written_ns = report.stat().st_mtime_ns
    return all(status.stat().st_mtime_ns <= written_ns for status in statuses)


def _log_outcome(outcome: ScanOutcome, *, done: int, total: int) -> None:
    level = logging.ERROR if outcome.status == "failed" else logging.INFO
    text = outcome.status if outcome.fresh else f"{outcome.status} earlier, unchanged"
    log.log(level, "[%d/%d] %s: %s %s", done, total, outcome.scan.name, text, outcome.reason)
