"""Participant level: the path of one invocation; that of each of its scans is `one_scan`."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bids_app.atlas.spaces import SPACES
from bids_app.atlas.volumes import atlas_home, available_spaces, parcels_by_space
from bids_app.errors import AtlasError
from bids_app.inputs.discovery import find_scans
from bids_app.inputs.given_tr import without_scan
from bids_app.inputs.locate import locate_derivative
from bids_app.inputs.study_space import decide_space
from bids_app.invocation import report_scans, run_scans
from bids_app.one_scan import earlier_outcome, open_pipeline, run_scan
from bids_app.options import departures
from bids_app.outputs.dataset import check_output_folder, write_dataset_files
from bids_app.outputs.paths import figures_folder, output_folder, refuse_links_out, spaces_in
from model.files.home import MOUNTED
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bids_app.inputs.discovery import Discovery
    from bids_app.inputs.study_space import StudySpace
    from bids_app.invocation import Summary
    from bids_app.one_scan import Pipeline
    from bids_app.options import RunOptions

log = logging.getLogger(__name__)


def run_participants(options: RunOptions) -> Summary:
    """Embed all selected scans and write everything under ``options.output_dir``.

    Raises
    ------
    AppError
        The invocation as a whole cannot go on (its ``exit_code`` says why).
    CheckpointError
        The checkpoint cannot be used.
    """
    output_dir = options.output_dir
    derivative, discovery = discover(options)
    if options.reports == "only":
        check_output_folder(output_dir, bids_dir=options.bids_dir, derivative=derivative)
        summary = report_scans(discovery.scans, output_dir, options)
        return replace(summary, lost=tuple(discovery.lost))
    pipeline = prepare(options, derivative, discovery)
    write_dataset_files(output_dir, derivative=derivative)
    told = f"# {discovery.study}\n" if discovery.study is not None else ""
    summary = run_scans(
        discovery.scans,
        output_dir,
        replace(options, config=told + options.config),
        embed=partial(run_scan, pipeline=pipeline),
        earlier=partial(earlier_outcome, pipeline=pipeline, output_dir=output_dir),
        settings=lambda scan: pipeline.determining(scan.space),
    )
    return replace(summary, lost=tuple(discovery.lost))


def prepare(options: RunOptions, derivative: Path, discovery: Discovery) -> Pipeline:
    """Check all that concerns an invocation as a whole, in the order in which it would end it.

    Raises
    ------
    AppError, CheckpointError
        It cannot go on.
    """
    check_output_folder(options.output_dir, bids_dir=options.bids_dir, derivative=derivative)
    atlas_folder = installed_atlas(options)
    discovery.require_usable(confounds=options.strategy.needs_table)
    pipeline = open_pipeline(options, atlas_folder)
    folders = (output_folder(options.output_dir, scan.entities) for scan in discovery.scans)
    figures = (figures_folder(options.output_dir, scan.entities.sub) for scan in discovery.scans)
    refuse_links_out(options.output_dir, (*folders, *figures))
    tell_left_out(discovery.left_out(), discovery.lost)
    for given in without_scan(options.signal.trs_by_label, discovery.scans):
        log.warning("--tr-for %s: no scan has these labels", given)
    for words in departures(options.signal, pipeline.embedder.card):
        log.warning("%s", words)
    return pipeline


def tell_left_out(left_out: Mapping[str, str], lost: Iterable[str]) -> None:
    """Log the participants without a scan to process, and what cannot be read.

    Parameters
    ----------
    left_out, lost
        As `bids_app.inputs.discovery.Discovery` has them.
    """
    for participant, reasons in left_out.items():
        log.warning("sub-%s: no scan to process: %s", participant, reasons)
    for words in lost:
        log.error("%s", words)


def discover(options: RunOptions) -> tuple[Path, Discovery]:
    """Find the derivative and its scans; read no voxels, write nothing.

    Returns
    -------
    The root of the fMRIPrep derivative, and which scans were chosen or refused.
    """
    derivative = locate_derivative(options.bids_dir, options.derivatives)
    return derivative, find_scans(
        derivative,
        options.selection,
        preferred_spaces=_parcels_by_space(options),
        study=study_space(options, derivative),
    )


def study_space(options: RunOptions, derivative: Path) -> StudySpace | None:
    """Decide which one space all runs are taken in; None: what the options say otherwise."""
    if options.selection.space != "auto":  # the outputs need not be looked through
        return None
    found = decide_space(
        derivative,
        options.selection,
        spaces=_parcels_by_space(options),
        held=spaces_in(options.output_dir),
    )
    if found is not None:
        log.info("%s", found)
    return found


def _parcels_by_space(options: RunOptions) -> Mapping[str, int]:
    try:
        found = parcels_by_space(options.atlas or atlas_home())
    except AtlasError:  # there is no home to look in
        found = {}
    # Without an atlas the table still tells what could be embedded with one.
    return found or dict.fromkeys(SPACES, len(parcel_names()))


def installed_atlas(options: RunOptions) -> Path:
    """Return the folder of the atlas.

    Raises
    ------
    AtlasError
        There is none.
    """
    folder = options.atlas or atlas_home()
    if not available_spaces(folder):
        hint = (
            "Install it once with: semantoks assets atlas --download (or --from DIR), or name one "
            "with --atlas."
        )
        if options.atlas and not folder.exists():
            hint = f"There is no such folder. {MOUNTED} {hint}"
        raise AtlasError(f"no atlas is installed in {folder}.", hint=hint)
    return folder
