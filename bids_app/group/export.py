"""Group level: one table of all scans' embeddings, from participant outputs only."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bids_app.errors import InputError, NothingSelectedError, OptionsError
from bids_app.files import json_bytes, replacing, write_all
from bids_app.group.index import embedding_path, find_statuses, read_entries, take_census
from bids_app.group.table import (
    Columns,
    index_of,
    read_scan_embedding,
    rows_of,
    write_embedding_table,
    write_status_table,
    write_tsv,
)
from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bids_app.group.index import Census, Entry
    from model.series import FloatArray

log = logging.getLogger(__name__)

TABLE = "group_desc-scan_embedding.parquet"
_LISTED = 10
"""Problems that are written out; the others are counted."""


def export_group(
    output_dir: Path, *, tsv: bool = False, afresh: bool = False, into: Path | None = None
) -> list[Path]:
    """Write the cohort's scan embeddings and the status of every run.

    Runs that have not changed since the last export are taken from its table and its index
    (``logs/group_index.jsonl``). Memory does not grow with the number of runs.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote; images are not needed any more.
    tsv
        Also write the embeddings as text. A text table that is there is kept up to date.
    afresh
        Read every run again.
    into
        Folder for what is written, if not the output folder. A table in the output folder
        that is up to date is not written again: the first path is that one.

    Returns
    -------
    ``group_desc-scan_embedding.{parquet,json}`` and ``.tsv``, ``group_status.{tsv,json}``.

    Raises
    ------
    InputError
        The folder holds no participant outputs, or damaged ones, which are named.
    OptionsError
        Runs were made with different settings, atlas or checkpoint; names examples of each.
    NothingSelectedError
        No run was embedded.
    """
    if not output_dir.is_dir() or next(find_statuses(output_dir), None) is None:
        raise InputError(
            f"{output_dir}: no participant outputs (sub-*/**/*_status.json) found.",
            hint="Run the participant level first, with the same output folder.",
        )
    table, old_index = output_dir / TABLE, output_dir / "logs" / "group_index.jsonl"
    target = into or output_dir
    status, index = target / "group_status.tsv", target / "logs" / "group_index.jsonl"
    before = None if afresh else index_of(table)
    columns = Columns()
    # Renamed in reverse: a table without its index is harmless, an index needs its table.
    with ExitStack() as files:
        new_index = files.enter_context(replacing(index))
        census = take_census(
            output_dir, old_index, new_index, old_sha256=before, note=columns.note
        )
        _refuse(census.problems, output_dir)
        _refuse_mixtures(census)
        new_status = files.enter_context(replacing(status))
        write_status_table(read_entries(new_index), columns, new_status)
        if census.n_embedded and (census.n_read or census.sha256 != before):
            new_table = files.enter_context(replacing(target / TABLE))
            rows = _embeddings(output_dir, new_index, census, table)
            write_embedding_table(rows, columns, new_table, index_sha256=census.sha256)
            table = target / TABLE
    descriptions = {status.with_suffix(".json"): json_bytes(_STATUS_COLUMNS)}
    if not census.n_embedded:
        write_all(descriptions)
        raise NothingSelectedError(
            f"{output_dir}: none of {census.n_runs} runs was embedded.",
            hint=f"{status} gives the reason for each.",
        )
    log.info("%d runs, %d new or changed since the last export", census.n_runs, census.n_read)
    metadata = _group_metadata(output_dir, index, census)
    descriptions |= {(target / TABLE).with_suffix(".json"): metadata}
    text = (target / TABLE).with_suffix(".tsv")
    texts = [text] if tsv or text.exists() else []
    for path in texts:
        with replacing(path) as new_text:
            write_tsv(table, new_text)
    return [table, *texts, status, *write_all(descriptions)]


def _embeddings(
    output_dir: Path, index: Path, census: Census, last: Path
) -> Iterator[tuple[Entry, FloatArray]]:
    """Yield embedded runs with their rows, from the last table where they have not changed."""
    last_rows = enumerate(rows_of(last)) if max(census.old_rows) >= 0 else iter(())
    embedded = (entry for entry in read_entries(index) if entry.embedded)
    problems: list[str] = []
    size = 0
    for entry, wanted in zip(embedded, census.old_rows, strict=True):
        if wanted >= 0:
            row = next(values for place, values in last_rows if place == wanted)
        else:
            try:
                row = read_scan_embedding(output_dir / entry.path, size=size)
            except InputError as err:
                problems.append(err.message)
                continue
        size = row.size
        yield entry, row
    _refuse(problems, output_dir)


def _refuse(problems: list[str], output_dir: Path) -> None:
    """Stop if files are damaged: a run must not be missing from a table without a word."""
    if problems:
        more = len(problems) - _LISTED
        listing = "\n  ".join(problems[:_LISTED] + ([f"and {more} more"] if more > 0 else []))
        raise InputError(
            f"{output_dir}: {len(problems)} run(s) cannot be exported:\n  {listing}",
            hint="Delete these files and run the participant level again; it redoes only what "
            "is missing.",
        )


def _refuse_mixtures(census: Census) -> None:
    if len(census.settings) > 1:
        listing = "; ".join(
            f"{key}: {n} run(s), such as {', '.join(census.examples[key])}"
            for key, n in sorted(census.settings.items())
        )
        raise OptionsError(
            "runs of different settings, versions, weights or spaces cannot share a table: "
            f"{listing}.",
            hint="Run the participant level once more with one set of options, --space among "
            "them; it redoes only what differs. Delete runs that are not wanted.",
        )


def _group_metadata(output_dir: Path, index: Path, census: Census) -> bytes:
    first = next(entry for entry in read_entries(index) if entry.embedded)
    sidecar = embedding_path(output_dir / first.path).with_suffix(".json")
    content = read_json(sidecar)
    shared = ("Model", "EmbeddingDimension", "Parts", "ScanVector", "Atlas", "SoftwareVersion")
    return json_bytes(
        {
            "Description": "One row per embedded run: identifiers, quality numbers, then the scan "
            "embedding (columns as in the runs' own tables). n/a: no signal in that network.",
            "NumberOfRuns": census.n_embedded,
            **{key: content[key] for key in shared},
            **_STATUS_COLUMNS,
        }
    )


_STATUS_COLUMNS = {
    "status": {
        "Levels": {
            "embedded": "all outputs are there",
            "excluded": "deliberately left out, see reason",
            "failed": "could not be processed, see reason",
        }
    },
    "n_volumes": {"Description": "Volumes of the BOLD image."},
    "tr": {"Description": "Repetition time.", "Units": "s"},
    "tr_source": {"Description": "Where the repetition time was found."},
    "duration": {"Description": "Length of the series, without dropped volumes.", "Units": "s"},
    "n_dropped": {"Description": "Leading non-steady-state volumes left out."},
    "n_interpolated": {"Description": "Motion outliers replaced from their neighbours."},
    "interpolated_fraction": {"Description": "Their share of the series."},
    "despiked_fraction": {"Description": "Share of values bridged as spikes of single parcels."},
    "usable_seconds": {"Description": "Time neither dropped nor interpolated.", "Units": "s"},
    "degrees_of_freedom": {"Description": "Left after filter and confound regression."},
    "mean_fd": {"Description": "Mean framewise displacement.", "Units": "mm"},
    "max_fd": {"Description": "Largest framewise displacement.", "Units": "mm"},
    "mean_std_dvars": {"Description": "Mean standardized DVARS."},
    "n_missing_parcels": {"Description": "Parcels without signal, of 457."},
    "n_low_coverage_parcels": {"Description": "Parcels with less than 80 % of their voxels."},
    "coverage_mean": {"Description": "Mean share of voxels used, over parcels with signal."},
    "coverage_min": {"Description": "Smallest such share."},
    "tsnr": {"Description": "Median over parcels of mean by std over time, before denoising."},
    "n_constant_parcels": {"Description": "Parcels that do not vary beyond rounding."},
    "n_implausible_parcels": {"Description": "Parcels of odd mean, or repeating another."},
    "homotopic_correlation": {
        "Description": "Mean correlation of parcels with mirrored names, mean signal removed."
    },
    "network_contrast": {
        "Description": "Mean correlation within networks minus between, mean signal removed."
    },
    "order_margin": {
        "Description": "network_contrast minus the largest that another known order would have."
    },
    "mirror_margin": {
        "Description": "Share of the atlas inside the brain mask minus that of its mirror image."
    },
    "best_order": {"Description": "Order with the largest network_contrast."},
    "missing_networks": {"Description": "Networks whose tokens were masked."},
    "n_windows": {"Description": "Windows of 200 s that were embedded."},
    "mask": {
        "Description": "Brain mask: file, derived from the data, or grayordinates (no mask)."
    },
    "flags": {"Description": "What to look at before using the run; docs/quality.md."},
}
