"""One invocation at participant level: find scans, embed them, tell what became of each."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

import pandas as pd

from bids_app.atlas import atlas_home, available_spaces
from bids_app.atomic import table_bytes, write_bytes
from bids_app.dataset import check_output_folder, write_dataset_files
from bids_app.errors import AtlasError
from bids_app.locate import locate_derivative
from bids_app.query import find_scans
from bids_app.selection import SPACES

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.options import RunOptions
    from bids_app.query import Discovery
    from bids_app.status import ScanOutcome

log = logging.getLogger(__name__)


def discover(options: RunOptions) -> tuple[Path, Discovery]:
    """Find the derivative and its runs; read no voxels, write nothing.

    Returns
    -------
    The root of the fMRIPrep derivative, and which runs were chosen or refused.
    """
    derivative = locate_derivative(options.bids_dir, options.derivatives)
    # Without an atlas the table still tells what could be embedded with one.
    spaces = available_spaces(options.atlas or atlas_home()) or SPACES
    return derivative, find_scans(derivative, options.selection, preferred_spaces=spaces)


def run_participants(options: RunOptions) -> list[ScanOutcome]:
    """Embed all selected runs and write everything under ``options.output_dir``.

    Returns
    -------
    One outcome per run; those of failed runs carry the reason.

    Raises
    ------
    AppError
        The invocation as a whole cannot go on (its ``exit_code`` says why).
    """
    from bids_app.embedder import load_embedder
    from bids_app.participant import Pipeline, run_scans

    derivative, discovery = discover(options)
    check_output_folder(options.output_dir, derivative=derivative)
    atlas_folder = options.atlas or atlas_home()
    if not available_spaces(atlas_folder):
        raise AtlasError(
            f"no atlas is installed in {atlas_folder}.",
            hint="Install it once with: semantoks-assets atlas --download (or --from DIR), "
            "or name one with --atlas.",
        )
    if not discovery.scans:
        raise discovery.nothing_chosen()
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
    outcomes: list[ScanOutcome] = []
    total = len(discovery.scans)
    for outcome in run_scans(
        discovery.scans,
        pipeline,
        output_dir=options.output_dir,
        log_dir=log_dir,
        overwrite=options.overwrite,
        stop_on_first_crash=options.stop_on_first_crash,
    ):
        outcomes.append(outcome)
        _log_outcome(outcome, done=len(outcomes), total=total)
        write_bytes(log_dir / "status.tsv", table_bytes(outcome_table(outcomes)))
    return outcomes


def outcome_table(outcomes: list[ScanOutcome]) -> pd.DataFrame:
    """Return one row per run: name, status, whether it was done before, reason."""
    rows = [
        (o.scan.name, o.status, "now" if o.fresh else "earlier", o.reason or "n/a")
        for o in outcomes
    ]
    return pd.DataFrame(rows, columns=["scan", "status", "done", "reason"])


def discovery_table(discovery: Discovery) -> pd.DataFrame:
    """Return one row per BOLD file that was found, chosen or refused, with the reason."""
    return pd.DataFrame([vars(row) for row in discovery.rows])


def _log_outcome(outcome: ScanOutcome, *, done: int, total: int) -> None:
    level = logging.ERROR if outcome.status == "failed" else logging.INFO
    text = outcome.status if outcome.fresh else f"{outcome.status} earlier, unchanged"
    log.log(level, "[%d/%d] %s: %s %s", done, total, outcome.scan.name, text, outcome.reason)
