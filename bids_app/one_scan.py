"""The path of one scan: from its files to its embedding and its status."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.atlas.installed import InstalledAtlas
from bids_app.embedder import open_embedder
from bids_app.errors import AppError, ScanError
from bids_app.images.image import open_image
from bids_app.inputs.given_tr import given_tr
from bids_app.options import scan_settings, settings_hash
from bids_app.outputs.derivatives import ScanResult, scan_files
from bids_app.outputs.status import (
    MOST_CHANGES,
    ScanOutcome,
    changes,
    input_fingerprint,
    recorded,
    refuse_long_name,
    unchanged,
    write_fault,
    write_outcome,
)
from bids_app.signal.confounds import load_confounds
from bids_app.signal.denoise import denoise, plan_projection
from bids_app.signal.effect import effect_of
from bids_app.signal.lost import bridged, check_lost, frames_without_signal, leave_out
from bids_app.signal.timing import repetition_time, start_time
from model.despike import despike
from model.errors import CheckpointError, some
from model.series import ParcelSeries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bids_app.atlas.grayordinates import GrayordinateAtlas
    from bids_app.atlas.volumes import VolumeAtlas
    from bids_app.embedder import Embedder
    from bids_app.images.image import Image
    from bids_app.inputs.scan import Scan
    from bids_app.options import CheckInputs, RunOptions, SignalOptions
    from bids_app.signal.confounds import Confounds
    from bids_app.signal.denoise import Projection
    from bids_app.signal.strategy import Strategy
    from model.cohort.record import ScanRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """What all scans of an invocation share."""

    atlas: InstalledAtlas
    strategy: Strategy
    signal: SignalOptions
    embedder: Embedder
    check_inputs: CheckInputs

    def settings(self, space: str) -> str:
        """Identify what determines the numbers of a scan in a space, apart from the atlas."""
        return settings_hash(self.determining(space))

    def determining(self, space: str) -> dict[str, Any]:
        """Return what determines the numbers of a scan in a space, apart from the atlas."""
        return scan_settings(
            strategy=self.strategy, signal=self.signal, card=self.embedder.card, space=space
        )

    def configuration(self, atlas: VolumeAtlas | GrayordinateAtlas) -> str:
        """Return ``SETTINGS-ATLAS``, the second part a hash of the atlas' voxels.

        Scans with the same first part may stand in one table; the second part may differ, as
        the resolution of the atlas follows the BOLD grid.
        """
        return f"{self.settings(atlas.space)}-{atlas.sha256[:8]}"


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
        check_inputs=options.check_inputs,
    )


def earlier_outcome(scan: Scan, pipeline: Pipeline, output_dir: Path) -> ScanOutcome | None:
    """Return how an earlier invocation ended a scan, if that still holds, else None.

    Raises
    ------
    AtlasError
        The atlas is not installed, or damaged.
    """
    found = judge_earlier(scan, pipeline, output_dir)
    if isinstance(found, ScanOutcome):
        return found
    if found:
        log.debug("%s: again: %s", scan.name, found)
    return None


def judge_earlier(scan: Scan, pipeline: Pipeline, output_dir: Path) -> ScanOutcome | str:
    """Return how an earlier invocation ended a scan, or why that does not hold.

    Whatever is wrong with one scan's files costs the others nothing: it is told when its turn
    comes.

    Raises
    ------
    AtlasError
        The atlas is not installed, or damaged.
    """
    try:
        return _judge_earlier(scan, pipeline, output_dir)
    except (AppError, CheckpointError):
        raise
    except Exception as err:  # noqa: BLE001 a bug met by one scan must not cost the others
        log.debug("%s: what became of it earlier is not known: %r", scan.name, err)
        return ""


def _judge_earlier(scan: Scan, pipeline: Pipeline, output_dir: Path) -> ScanOutcome | str:
    record = recorded(output_dir, scan)
    if record is None:
        return ""
    if record.status == "failed" or scan.problem is not None:
        return _failed_earlier(scan, record, pipeline.check_inputs)
    if record.settings != pipeline.settings(scan.space):
        return f"{record.status} earlier, with other settings, weights or version"
    atlas = pipeline.atlas.only(scan.space, density=scan.entities.den)
    if atlas is None:  # the atlas has several images of the space, and the scan's grid decides
        try:
            with open_image(scan, pipeline.atlas) as image:
                atlas = image.atlas
        except ScanError:  # told when the scan's turn comes
            return f"{record.status} earlier"
    if record.configuration != pipeline.configuration(atlas):
        return f"{record.status} earlier, with another atlas"
    found = unchanged(output_dir, scan, record, check=pipeline.check_inputs)
    if isinstance(found, str):
        found = f"{record.status} earlier; changed since: {found}"
    return found


def _failed_earlier(scan: Scan, record: ScanRecord, check: CheckInputs) -> str:
    """Say why a scan failed, and whether its files are still those that it failed with."""
    reason = record.reason.rstrip(".")
    told = f"{record.status} earlier{f' ({reason})' if reason else ''}"
    if record.status != "failed" or not record.inputs:
        return told
    if found := changes(scan, record, check=check):
        return f"{told}; changed since: {some(found, most=MOST_CHANGES)}"
    return f"{told}; its files have not changed since"


@contextmanager
def open_scan(scan: Scan, pipeline: Pipeline, output_dir: Path) -> Iterator[Image]:
    """Open the image of a scan, unless something is known against it already.

    Raises
    ------
    ScanError
        It was chosen with a problem, its outputs cannot be named, or it cannot be read.
    AtlasError
        The atlas is not installed, or damaged.
    """
    refuse_long_name(output_dir, scan)
    if scan.problem is not None:
        raise ScanError(f"{scan.name}: {scan.problem}")
    with open_image(scan, pipeline.atlas) as image:
        yield image


def run_scan(scan: Scan, pipeline: Pipeline, *, output_dir: Path, log_dir: Path) -> ScanOutcome:
    """Embed a scan and write its files, the status last; a bad scan ends as an outcome.

    Raises
    ------
    AppError, CheckpointError
        Atlas, checkpoint or output cannot be used: no other scan would fare better.
    """
    configuration = ""
    inputs = input_fingerprint(scan, pipeline.check_inputs)
    try:
        with open_scan(scan, pipeline, output_dir) as image:
            configuration = pipeline.configuration(image.atlas)
            result = embed_scan(scan, image, pipeline, configuration=configuration)
        return write_outcome(
            output_dir, scan, "embedded",
            configuration=configuration, inputs=inputs,
            files=scan_files(result, output_dir), qc=result.qc(),
        )  # fmt: skip
    except Exception as err:  # noqa: BLE001 a bug met by one scan must not cost the others
        return write_fault(
            output_dir, scan, err, configuration=configuration, inputs=inputs, log_dir=log_dir
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedScan:
    """What is known of a scan before any of its voxels is read."""

    tr_s: float
    tr_source: str
    """Where the repetition time was found"""
    start_s: float
    """When, after the onset of a frame, its values count as measured"""
    confounds: Confounds
    projection: Projection
    """What is removed from the series, unless frames turn out to hold no signal"""


def check_scan(scan: Scan, image: Image, pipeline: Pipeline) -> CheckedScan:
    """Do every check of a scan that needs none of its voxels, the cheap ones first.

    It is how `embed_scan` begins, and all that a dry run does with a scan.

    Raises
    ------
    ScanError
        The files of the scan are damaged or contradict one another.
    ScanExcludedError
        The scan holds too little usable data.
    """
    signal, embedder = pipeline.signal, pipeline.embedder
    tr_s, tr_source = repetition_time(
        scan, image, override_s=given_tr(signal.trs_by_label, scan) or signal.tr_s
    )
    start_s = start_time(scan, tr_s=tr_s)
    embedder.check_length(scan.name, n_frames=image.n_frames, tr_s=tr_s)
    confounds = load_confounds(
        scan, pipeline.strategy, dummy_scans=signal.dummy_scans, n_frames=image.n_frames
    )
    embedder.check_length(scan.name, n_frames=image.n_frames - confounds.n_dummy, tr_s=tr_s)
    projection = plan_projection(
        confounds,
        n_frames=image.n_frames,
        tr_s=tr_s,
        high_pass_hz=signal.high_pass_hz,
        low_pass_hz=signal.low_pass_hz,
    )
    image.check_mask(scan.sources.mask)
    return CheckedScan(
        tr_s=tr_s, tr_source=tr_source, start_s=start_s, confounds=confounds, projection=projection
    )


def embed_scan(scan: Scan, image: Image, pipeline: Pipeline, *, configuration: str) -> ScanResult:
    """Take one scan from its open image to its embedding.

    Raises
    ------
    ScanError
        The files of the scan are damaged or contradict one another.
    ScanExcludedError
        The scan holds too little usable data.
    """
    signal, embedder = pipeline.signal, pipeline.embedder
    checked = check_scan(scan, image, pipeline)
    tr_s, n_dummy = checked.tr_s, checked.confounds.n_dummy
    extracted = image.parcels(scan.sources.mask, min_coverage=signal.min_coverage)
    lost = frames_without_signal(extracted.values, blank=extracted.blank)
    lost[:n_dummy] = ""  # which are dropped, whatever is in them
    check_lost(scan.name, lost, tr_s=tr_s, longest_s=embedder.card.input.patch_s)
    confounds = leave_out(checked.confounds, lost)
    extracted = replace(extracted, values=bridged(extracted.values, lost != ""))
    values, despiked_fraction = extracted.values, None
    if signal.despike:  # before the filter, which would smear spikes into what looks like signal
        values, despiked_fraction = despike(values)
    cleaned = denoise(
        values,
        tr_s=tr_s,
        confounds=confounds,
        high_pass_hz=signal.high_pass_hz,
        low_pass_hz=signal.low_pass_hz,
        planned=None if (lost != "").any() else checked.projection,
    )
    denoised = ParcelSeries(
        values=cleaned.values.astype(np.float32),
        tr_s=tr_s,
        unit="residual",
        start_s=checked.start_s + cleaned.n_dropped_start * tr_s,
        kept=cleaned.kept,
    )
    embedded = embedder.embed(scan.name, denoised, normalization=signal.normalization)
    return ScanResult(
        scan=scan,
        image=image,
        tr_source=checked.tr_source,
        extracted=extracted,
        lost=lost,
        confounds=confounds,
        despiked_fraction=despiked_fraction,
        cleaned=cleaned,
        effect=effect_of(
            extracted.values,
            values,
            cleaned,
            fd_mm=confounds.fd_mm if confounds else None,
            tr_s=tr_s,
        ),
        denoised=denoised,
        model_series=embedded.series,
        embedding=embedded.embedding,
        card=embedder.card,
        strategy=pipeline.strategy,
        signal=signal,
        configuration=configuration,
    )
