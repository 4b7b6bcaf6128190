"""One invocation on series that others made: map, embed, write, tell what became of each."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from bids_app.errors import OptionsError, ScanError
from bids_app.invocation import report_scans, run_scans
from bids_app.outputs.dataset import check_output_folder, write_dataset_files
from bids_app.outputs.paths import output_folder, refuse_links_out
from bids_app.outputs.status import (
    ScanOutcome,
    finished,
    input_fingerprint,
    refuse_long_name,
    unchanged,
    write_fault,
    write_outcome,
)
from bids_app.series.find import common_folder, find_series
from bids_app.series.foreign import read_series
from bids_app.series.result import SeriesResult, series_files
from bids_app.signal.lost import check_lost
from model.files.content import real_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bids_app.embedder import Embedder
    from bids_app.inputs.scan import Scan
    from bids_app.invocation import Summary
    from bids_app.options import CheckInputs, InvocationOptions
    from bids_app.series.options import SeriesOptions

log = logging.getLogger(__name__)


def embed_foreign(scan: Scan, options: SeriesOptions, embedder: Embedder) -> SeriesResult:
    """Take one series from its file to its embedding.

    Raises
    ------
    ScanError, SeriesError
        The series cannot be read or mapped with certainty.
    ScanExcludedError
        The series is shorter than one patch of the model, or too many of its frames hold no
        signal.
    """
    if scan.problem is not None:
        raise ScanError(str(scan.problem))
    foreign = read_series(
        scan.sources.data,
        tr_s=options.tr_s,
        row=scan.sources.row,
        order=options.order,
        ignore_others=options.ignore_others,
    )
    check_lost(
        scan.name, foreign.lost, tr_s=foreign.series.tr_s, longest_s=embedder.card.input.patch_s
    )
    embedded = embedder.embed(scan.name, foreign.measured(), normalization=options.normalization)
    return SeriesResult(
        scan=scan,
        foreign=foreign,
        model_series=embedded.series,
        embedding=embedded.embedding,
        card=embedder.card,
        settings=options.shared(embedder.card),
        configuration=options.configuration(embedder.card),
    )


def run_scan(
    scan: Scan,
    *,
    options: SeriesOptions,
    embedder: Embedder,
    check_inputs: CheckInputs,
    output_dir: Path,
    log_dir: Path,
) -> ScanOutcome:
    """Embed a series and write its files, the status last; a bad one ends as an outcome.

    Raises
    ------
    AppError, CheckpointError
        Checkpoint or output cannot be used: no other series would fare better.
    """
    configuration = options.configuration(embedder.card)
    inputs = input_fingerprint(scan, check_inputs)
    try:
        refuse_long_name(output_dir, scan)
        result = embed_foreign(scan, options, embedder)
        qc = result.qc()
        for code, text in qc["flags"].items():
            log.warning("%s: %s: %s", scan.name, code, text)
        return write_outcome(
            output_dir, scan, "embedded",
            configuration=configuration, inputs=inputs,
            files=series_files(result, output_dir), qc=qc,
        )  # fmt: skip
    except Exception as err:  # noqa: BLE001 a bug met by one series must not cost the others
        return write_fault(
            output_dir, scan, err, configuration=configuration, inputs=inputs, log_dir=log_dir
        )


def run_series(
    paths: Sequence[Path],
    output_dir: Path,
    options: SeriesOptions,
    embedder: Embedder,
    *,
    invocation: InvocationOptions,
) -> Summary:
    """Embed all series of the files; a bad one ends as an outcome, never the loop.

    Parameters
    ----------
    invocation
        Processes and their memory, reports, and whether to redo what is done.

    Raises
    ------
    AppError
        The output cannot be written, two series would have the same name, or nothing gives a
        repetition time.
    """
    for path in paths:
        check_output_folder(output_dir, bids_dir=path, derivative=path)
        if real_path(output_dir) in real_path(path).parents:
            raise OptionsError(
                f"{path} lies inside the output folder {output_dir}.",
                hint="Name another output folder.",
            )
    scans = find_series(paths)
    if invocation.reports == "only":
        return report_scans(scans, output_dir, invocation)
    if options.tr_s is None and not any(scan.sources.sidecars for scan in scans):
        raise OptionsError(
            f"no repetition time: no --tr, and none of {len(paths)} files has a JSON of the same "
            "name with RepetitionTime or SamplingFrequency.",
            hint="Give the seconds between frames with --tr.",
        )
    refuse_links_out(output_dir, (output_folder(output_dir, scan.entities) for scan in scans))
    write_dataset_files(output_dir, derivative=common_folder(paths))
    return run_scans(
        scans,
        output_dir,
        invocation,
        embed=partial(
            run_scan, options=options, embedder=embedder, check_inputs=invocation.check_inputs
        ),
        earlier=partial(
            _earlier,
            output_dir,
            options.configuration(embedder.card),
            check=invocation.check_inputs,
        ),
        settings=lambda _: options.shared(embedder.card),
    )


def _earlier(
    output_dir: Path, configuration: str, scan: Scan, *, check: CheckInputs
) -> ScanOutcome | None:
    record = finished(output_dir, scan)
    if record is None or record.configuration != configuration:
        return None
    found = unchanged(output_dir, scan, record, check=check)
    if isinstance(found, ScanOutcome):
        return found
    log.debug("%s: again: changed since: %s", scan.name, found)
    return None
