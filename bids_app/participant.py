"""Participant level: the path of one scan, and its outcome."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_app.errors import AppError, ScanError, ScanExcludedError
from bids_app.files import write_all, write_bytes
from bids_app.images.image import open_image
from bids_app.options import configuration_hash
from bids_app.outputs.derivatives import scan_files
from bids_app.outputs.result import ScanResult
from bids_app.outputs.status import ScanOutcome, already_done, write_outcome
from bids_app.signal.confounds import load_confounds
from bids_app.signal.denoise import denoise
from bids_app.signal.timing import repetition_time, start_time
from model.despike import despike
from model.errors import CheckpointError, SemantoksError
from model.series import ParcelSeries

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.atlas.installed import InstalledAtlas
    from bids_app.embedder import Embedder
    from bids_app.images.image import Image
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

    def configuration(self, space: str, atlas_sha256: str) -> str:
        """Identify what determines the numbers of a scan in a space."""
        return configuration_hash(
            strategy=self.strategy,
            signal=self.signal,
            card=self.embedder.card,
            space=space,
            atlas_sha256=atlas_sha256,
        )


def embed_scan(scan: Scan, image: Image, pipeline: Pipeline) -> ScanResult:
    """Take one scan from its open image to its embedding.

    Raises
    ------
    ScanError
        The files of the scan are damaged or contradict one another.
    ScanExcludedError
        The scan holds too little usable data.
    """
    signal, embedder = pipeline.signal, pipeline.embedder
    tr_s, tr_source = repetition_time(scan, image, override_s=signal.tr_s)
    embedder.check_length(scan.name, n_frames=image.n_frames, tr_s=tr_s)
    extracted = image.parcels(scan.sources.mask, min_coverage=signal.min_coverage)
    confounds = load_confounds(
        scan, pipeline.strategy, dummy_scans=signal.dummy_scans, n_volumes=image.n_frames
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
    embedded = embedder.embed(scan.name, denoised, normalization=signal.normalization)
    return ScanResult(
        scan=scan,
        image=image,
        tr_source=tr_source,
        extracted=extracted,
        confounds=confounds,
        despiked_fraction=despiked_fraction,
        cleaned=cleaned,
        denoised=denoised,
        model_series=embedded.series,
        embedding=embedded.embedding,
        card=embedder.card,
        strategy=pipeline.strategy,
        signal=signal,
        configuration=pipeline.configuration(image.atlas.space, image.atlas.sha256),
    )


def earlier_outcome(scan: Scan, pipeline: Pipeline, output_dir: Path) -> ScanOutcome | None:
    """Return how an earlier invocation ended a scan, if that still holds, else None.

    Raises
    ------
    AtlasError
        The atlas is not installed, or damaged.
    """
    if scan.problem is not None:
        return None
    possible = [
        pipeline.configuration(scan.space, sha256)
        for sha256 in pipeline.atlas.hashes(scan.space, density=scan.entities.den)
    ]
    earlier = already_done(output_dir, scan, *possible)
    if earlier is None or len(possible) == 1:
        return earlier
    try:  # only the grid of its image tells which of the atlas' images was taken for it
        with open_image(scan, pipeline.atlas) as image:
            exact = pipeline.configuration(image.atlas.space, image.atlas.sha256)
    except ScanError:  # told when the scan's turn comes
        return None
    return already_done(output_dir, scan, exact)


def run_scan(scan: Scan, pipeline: Pipeline, *, output_dir: Path, log_dir: Path) -> ScanOutcome:
    """Embed a scan and write its files, the status last; a bad scan ends as an outcome.

    Raises
    ------
    AppError, CheckpointError
        Atlas, checkpoint or output cannot be used: no other scan would fare better.
    """
    configuration = ""
    outputs: list[Path] = []
    try:
        if scan.problem is not None:
            raise ScanError(f"{scan.name}: {scan.problem}")
        with open_image(scan, pipeline.atlas) as image:
            configuration = pipeline.configuration(image.atlas.space, image.atlas.sha256)
            result = embed_scan(scan, image, pipeline)
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
