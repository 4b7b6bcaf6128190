"""One invocation at participant level: find scans, embed them, tell what became of each."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from bids_app.atlas.folder import atlas_home, available_spaces, parcels_by_space
from bids_app.atlas.spaces import SPACES
from bids_app.errors import AtlasError
from bids_app.files import write_bytes
from bids_app.inputs.discovery import find_scans
from bids_app.inputs.locate import locate_derivative
from bids_app.workers.cost import process_memory_mb
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.inputs.discovery import Discovery
    from bids_app.options import RunOptions
    from bids_app.workers.agenda import Summary

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
    from bids_app.outputs.dataset import check_output_folder, write_dataset_files
    from bids_app.participant_level import ParticipantLevel, open_pipeline
    from bids_app.workers.agenda import embed_all

    derivative, discovery = discover(options)
    check_output_folder(options.output_dir, bids_dir=options.bids_dir, derivative=derivative)
    atlas_folder = installed_atlas(options)
    discovery.require_usable(confounds=options.strategy.needs_table)
    pipeline = open_pipeline(options, atlas_folder)
    for participant, reasons in discovery.left_out().items():
        log.warning("sub-%s: no run to process: %s", participant, reasons)
    write_dataset_files(options.output_dir, derivative=derivative)
    log_dir = options.output_dir / "logs" / uuid.uuid4().hex[:12]
    write_bytes(log_dir / "config.json", options.to_json().encode())
    level = ParticipantLevel(
        pipeline=pipeline,
        output_dir=options.output_dir,
        log_dir=log_dir,
        overwrite=options.overwrite,
    )
    return embed_all(
        discovery.scans,
        level,
        process_mb=process_memory_mb(options.checkpoint),
        n_cpus=options.n_cpus,
        memory_mb=options.memory_mb,
        stop_on_first_crash=options.stop_on_first_crash,
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
