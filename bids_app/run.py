"""One invocation at participant level: find scans, embed them, tell what became of each."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from bids_app.atlas.folder import atlas_home, available_spaces, parcels_by_space
from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.spaces import SPACES
from bids_app.embedder import open_embedder
from bids_app.errors import AtlasError
from bids_app.inputs.discovery import find_scans
from bids_app.inputs.locate import locate_derivative
from bids_app.invocation import Invocation, new_log_folder, run_scans
from bids_app.outputs.dataset import check_output_folder, write_dataset_files
from bids_app.participant import Pipeline, earlier_outcome, run_scan
from bids_app.workers.processes import Limits
from bids_app.workers.resources import process_memory_mb
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.inputs.discovery import Discovery
    from bids_app.invocation import Summary
    from bids_app.options import RunOptions

log = logging.getLogger(__name__)


def discover(options: RunOptions) -> tuple[Path, Discovery]:
    """Find the derivative and its runs; read no voxels, write nothing.

    Returns
    -------
    The root of the fMRIPrep derivative, and which runs were chosen or refused.
    """
    derivative = locate_derivative(options.bids_dir, options.derivatives)
    # Without an atlas the table still tells what could be embedded with one.
    spaces = _parcels_by_space(options) or dict.fromkeys(SPACES, len(parcel_names()))
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
    derivative, discovery = discover(options)
    check_output_folder(options.output_dir, bids_dir=options.bids_dir, derivative=derivative)
    atlas_folder = installed_atlas(options)
    discovery.require_usable(confounds=options.strategy.needs_table)
    pipeline = open_pipeline(options, atlas_folder)
    for participant, reasons in discovery.left_out().items():
        log.warning("sub-%s: no run to process: %s", participant, reasons)
    write_dataset_files(options.output_dir, derivative=derivative)
    output_dir, log_dir = options.output_dir, new_log_folder(options.output_dir, options.to_json())
    return run_scans(
        discovery.scans,
        Invocation(
            output_dir=output_dir,
            log_dir=log_dir,
            limits=Limits(
                n_processes=options.n_cpus,
                memory_mb=options.memory_mb,
                process_mb=process_memory_mb(options.checkpoint),
            ),
            overwrite=options.overwrite,
            reports=options.reports,
            stop_on_first_crash=options.stop_on_first_crash,
        ),
        embed=partial(run_scan, pipeline=pipeline, output_dir=output_dir, log_dir=log_dir),
        earlier=partial(earlier_outcome, pipeline=pipeline, output_dir=output_dir),
    )


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


def _parcels_by_space(options: RunOptions) -> Mapping[str, int]:
    try:
        return parcels_by_space(options.atlas or atlas_home())
    except AtlasError:  # there is no home to look in
        return {}


def installed_atlas(options: RunOptions) -> Path:
    """Return the folder of the atlas.

    Raises
    ------
    AtlasError
        There is none.
    """
    folder = options.atlas or atlas_home()
    if not available_spaces(folder):
        raise AtlasError(
            f"no atlas is installed in {folder}.",
            hint="Install it once with: semantoks assets atlas --download (or --from DIR), "
            "or name one with --atlas.",
        )
    return folder
