"""What an invocation at participant level does with each run and each participant."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_app.atlas.installed import InstalledAtlas
from bids_app.embedder import open_embedder
from bids_app.errors import OutputError
from bids_app.files import write_bytes
from bids_app.participant import Pipeline, earlier_outcome, run_scan
from bids_app.report.page import is_current, write_report
from bids_app.workers.cost import scan_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.options import RunOptions
    from bids_app.outputs.status import ScanOutcome
    from bids_app.workers.agenda import Invocation

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class ParticipantLevel:
    """An `bids_app.workers.agenda.Invocation` on fMRIPrep's images."""

    pipeline: Pipeline
    output_dir: Path
    log_dir: Path
    overwrite: bool

    def earlier(self, scan: Scan) -> ScanOutcome | None:
        """Return how an earlier invocation ended a run, if that still holds."""
        return None if self.overwrite else earlier_outcome(scan, self.pipeline, self.output_dir)

    def needed_mb(self, scan: Scan) -> float:
        """Estimate the memory that a run needs, from the header of its image."""
        return scan_memory_mb(scan)

    def embed(self, scan: Scan) -> ScanOutcome:
        """Embed a run and write its files."""
        return run_scan(scan, self.pipeline, output_dir=self.output_dir, log_dir=self.log_dir)

    def closing_job(
        self, participant: str, *, anything_new: bool
    ) -> Callable[[Any, str], bool] | None:
        """Return what writes the participant's report, unless it is there and up to date."""
        return closing_report(self.output_dir, participant, anything_new=anything_new)


def closing_report(
    output_dir: Path, participant: str, *, anything_new: bool
) -> Callable[[Any, str], bool] | None:
    """Return `report_participant` unless a report is there and no run ended after it."""
    current = not anything_new and is_current(output_dir, participant)
    return None if current else report_participant


def report_participant(level: Invocation, participant: str) -> bool:
    """Write a participant's report; a fault in it must not cost the tables nor the others."""
    try:
        write_report(level.output_dir, participant)
    except OutputError:
        raise
    except Exception:  # noqa: BLE001 told in log, crash file and exit code
        crash = level.log_dir / f"crash-report-sub-{participant}.txt"
        write_bytes(crash, traceback.format_exc().encode())
        log.error("sub-%s: the report could not be made (traceback in %s)", participant, crash)
        return False
    return True


def open_pipeline(options: RunOptions, atlas_folder: Path) -> Pipeline:
    """Open atlas and checkpoint by their descriptions.

    Raises
    ------
    OptionsError
        A GPU was asked for by name and is not there.
    CheckpointError
        The checkpoint cannot be used.
    """
    return Pipeline(
        atlas=InstalledAtlas(atlas_folder),
        strategy=options.strategy,
        signal=options.signal,
        embedder=open_embedder(
            options.checkpoint, device=options.device, batch_size=options.batch_size
        ),
    )
