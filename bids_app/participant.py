"""Participant level: the path of one scan, and its outcome."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bids_app.atlas.spaces import FSLR
from bids_app.errors import AppError, ScanError, ScanExcludedError
from bids_app.files import write_all, write_bytes
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import parcellate_grayordinates
from bids_app.images.nifti import load_mask, open_bold
from bids_app.images.nifti_parcels import parcellate
from bids_app.options import configuration_hash
from bids_app.outputs.derivatives import scan_files
from bids_app.outputs.result import ScanResult
from bids_app.outputs.status import ScanOutcome, already_done, status_path, write_outcome
from bids_app.quality.place import check_space, mirror_margin
from bids_app.signal.confounds import load_confounds
from bids_app.signal.denoise import denoise
from bids_app.signal.timing import repetition_time, start_time
from model.despike import despike
from model.errors import CheckpointError, SemantoksError
from model.series import ParcelSeries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bids_app.atlas.grayordinates import GrayordinateAtlas
    from bids_app.atlas.installed import InstalledAtlas
    from bids_app.atlas.volumes import VolumeAtlas
    from bids_app.embedder import Embedder
    from bids_app.images.cifti import CiftiSeries
    from bids_app.images.nifti import BoldImage
    from bids_app.images.nifti_parcels import Parcellated
    from bids_app.inputs.scan import Scan
    from bids_app.options import SignalOptions
    from bids_app.signal.strategy import Strategy

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pipeline:
    """What all scans of an invocation share."""

    atlas: InstalledAtlas
    strategy: Strategy
    signal: SignalOptions
    embedder: Embedder

    def configuration(self, atlas: VolumeAtlas | GrayordinateAtlas) -> str:
        """Identify what determines the numbers of a scan in the atlas' space."""
        return configuration_hash(
            strategy=self.strategy,
            signal=self.signal,
            card=self.embedder.card,
            atlas=atlas,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The image of a scan with the atlas that fits it: volumes or grayordinates, headers only."""

    bold: BoldImage | CiftiSeries
    atlas: VolumeAtlas | GrayordinateAtlas
    extract: Callable[[float], Parcellated]
    """Read the values and average them by parcel; takes the minimum coverage"""


def open_source(scan: Scan, installed: InstalledAtlas) -> Source:
    """Open the image of a scan and the atlas on its grid or surface.

    Raises
    ------
    ScanError
        The image cannot be read, or is not what its name says.
    AtlasError
        The atlas is not installed, or damaged.
    """
    if scan.is_cifti:
        series = open_cifti(scan.sources.data)
        gray = installed.grayordinates(scan.entities.den or FSLR.densities[0])
        return Source(
            bold=series,
            atlas=gray,
            extract=lambda share: parcellate_grayordinates(series, gray, min_coverage=share),
        )
    bold = open_bold(scan.sources.data)
    check_space(bold, scan.space)
    atlas = installed.volume(scan.space, affine=bold.affine)

    def extract(share: float) -> Parcellated:
        labels = installed.labels(atlas, bold.shape, bold.affine)
        mask = None if scan.sources.mask is None else load_mask(scan.sources.mask, bold)
        found = parcellate(bold, labels, mask, absent=atlas.absent, min_coverage=share)
        if mask is None:
            return found
        return replace(found, mirror_margin=mirror_margin(atlas, mask, bold.affine))

    return Source(bold=bold, atlas=atlas, extract=extract)


def embed_scan(scan: Scan, source: Source, pipeline: Pipeline) -> ScanResult:
    """Take one scan from its BOLD image to its embedding.

    Raises
    ------
    ScanError
        The files of the scan are damaged or contradict one another.
    ScanExcludedError
        The scan holds too little usable data.
    """
    signal, card, bold = pipeline.signal, pipeline.embedder.card, source.bold
    tr_s, tr_source = repetition_time(scan, bold, override_s=signal.tr_s)
    pipeline.embedder.check_length(scan.name, n_frames=bold.n_volumes, tr_s=tr_s)
    extracted = source.extract(signal.min_coverage)
    confounds = load_confounds(
        scan, pipeline.strategy, dummy_scans=signal.dummy_scans, n_volumes=bold.n_volumes
    )
    values, despiked_fraction = extracted.values, None
    if signal.despike:  # before the filter, which would smear spikes into what looks like signal
        values, despiked_fraction = despike(values)
    cleaned = denoise(
        values,
        tr_s=tr_s,
        confounds=confounds,
        high_pass_hz=signal.high_pass_hz,
        low_pass_hz=signal.low_pass_hz,
    )
    denoised = ParcelSeries(
        values=cleaned.values.astype(np.float32),
        tr_s=tr_s,
        unit="residual",
        start_s=start_time(scan, tr_s=tr_s) + cleaned.n_dropped_start * tr_s,
        kept=cleaned.kept,
    )
    embedded = pipeline.embedder.embed(scan.name, denoised, normalization=signal.normalization)
    return ScanResult(
        scan=scan,
        bold=bold,
        tr_source=tr_source,
        extracted=extracted,
        confounds=confounds,
        despiked_fraction=despiked_fraction,
        cleaned=cleaned,
        denoised=denoised,
        model_series=embedded.series,
        embedding=embedded.embedding,
        card=card,
        strategy=pipeline.strategy,
        signal=signal,
        configuration=pipeline.configuration(source.atlas),
    )


def earlier_outcome(scan: Scan, pipeline: Pipeline, output_dir: Path) -> ScanOutcome | None:
    """Return how an earlier invocation ended a scan, if that still holds, else None.

    Raises
    ------
    AtlasError
        The atlas is not installed, or damaged.
    """
    if scan.problem is not None or not status_path(output_dir, scan).exists():
        return None
    try:
        # For CIFTI the header would tell nothing, and takes long to read.
        atlas = (
            pipeline.atlas.grayordinates(scan.entities.den or FSLR.densities[0])
            if scan.is_cifti
            else open_source(scan, pipeline.atlas).atlas
        )
    except AppError:
        raise
    except Exception:  # noqa: BLE001 told when the scan's turn comes
        return None
    return already_done(output_dir, scan, pipeline.configuration(atlas))


def run_scan(scan: Scan, pipeline: Pipeline, *, output_dir: Path, log_dir: Path) -> ScanOutcome:
    """Embed a scan and write its files, the status last; a bad scan ends as an outcome.

    Raises
    ------
    AppError, CheckpointError
        VolumeAtlas, checkpoint or output cannot be used: no other scan would fare better.
    """
    configuration = ""
    outputs: list[Path] = []
    try:
        if scan.problem is not None:
            raise ScanError(f"{scan.name}: {scan.problem}")
        source = open_source(scan, pipeline.atlas)
        configuration = pipeline.configuration(source.atlas)
        result = embed_scan(scan, source, pipeline)
        outputs = write_all(scan_files(result, output_dir))
        outcome = ScanOutcome(scan=scan, status="embedded", qc=result.qc())
    except Exception as err:  # noqa: BLE001 a bug met by one scan must not cost the others
        outcome = outcome_of_fault(scan, err, log_dir=log_dir)
    write_outcome(output_dir, outcome, configuration=configuration, outputs=outputs)
    return outcome


def outcome_of_fault(scan: Scan, err: Exception, *, log_dir: Path) -> ScanOutcome:
    """Say how a scan ended that something stopped; what no scan foresees leaves its traceback.

    Raises
    ------
    AppError, CheckpointError
        The fault is one of these: no other scan would fare better.
    """
    if isinstance(err, AppError | CheckpointError):
        raise err
    reason = " ".join(str(err).split())
    if isinstance(err, ScanExcludedError):
        return ScanOutcome(scan=scan, status="excluded", reason=reason)
    if not isinstance(err, SemantoksError):
        crash = log_dir / f"crash-{scan.name}.txt"
        write_bytes(crash, "".join(traceback.format_exception(err)).encode())
        reason = f"unexpected {type(err).__name__}: {reason} (traceback in {crash})"
    return ScanOutcome(scan=scan, status="failed", reason=reason)
