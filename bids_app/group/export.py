"""Group level: one table of all scans' embeddings, from participant outputs only."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bids_app.errors import InputError, NothingSelectedError, OptionsError
from bids_app.files import replacing, write_all
from bids_app.group.cohort import Cohort
from bids_app.group.table import (
    damaged_embedding,
    embedding_path,
    read_scan_embedding,
    write_embedding_table,
    write_status_table,
    write_tsv,
)
from bids_app.outputs.group import GROUP_STATUS, describe_scan_table, describe_status_table
from bids_app.outputs.paths import find_statuses
from model.cohort.names import GROUP_SCANS, STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bids_app.outputs.group import CohortScan
    from model.series import FloatArray

log = logging.getLogger(__name__)

_LISTED = 10
"""Problems that are written out; the others are counted."""


def export_group(output_dir: Path, *, tsv: bool = False, into: Path | None = None) -> list[Path]:
    """Write the cohort's scan embeddings and the status of every scan.

    Memory does not grow with the number of scans.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote; images are not needed any more.
    tsv
        Also write the embeddings as text. A text table that is there is kept up to date.
    into
        Folder for what is written, if not the output folder.

    Returns
    -------
    ``group_desc-scan_embedding.{parquet,json}`` and ``.tsv``, ``group_status.{tsv,json}``.

    Raises
    ------
    InputError
        The folder holds no participant outputs, or damaged ones, which are named.
    OptionsError
        Scans were made with different settings, atlas or checkpoint; names examples of each.
    NothingSelectedError
        No scan was embedded.
    """
    if not output_dir.is_dir() or next(find_statuses(output_dir), None) is None:
        raise InputError(
            f"{output_dir}: no participant outputs ({STATUSES}) found.",
            hint="Run the participant level first, with the same output folder.",
        )
    target = into or output_dir
    table, status = target / f"{GROUP_SCANS}.parquet", target / f"{GROUP_STATUS}.tsv"
    # All tables first under temporary names: a damaged scan leaves the last export as it is.
    with ExitStack() as files:
        cohort = files.enter_context(Cohort.read(output_dir, scratch=target))
        _refuse(cohort.problems, output_dir)
        _refuse_mixtures(cohort)
        new_status = files.enter_context(replacing(status))
        write_status_table(cohort.records(), cohort.columns, new_status)
        if cohort.n_embedded:
            new_table = files.enter_context(replacing(table))
            write_embedding_table(_embeddings(output_dir, cohort), cohort.columns, new_table)
    descriptions = {status.with_suffix(".json"): describe_status_table()}
    if cohort.example is None:
        write_all(descriptions)
        raise NothingSelectedError(
            f"{output_dir}: none of {cohort.n_scans} scans was embedded.",
            hint=f"{status} gives the reason for each.",
        )
    with damaged_embedding():
        sidecar = embedding_path(output_dir / cohort.example).with_suffix(".json")
        described = describe_scan_table(sidecar, n_scans=cohort.n_embedded)
    log.info("%d scans, %d of them embedded", cohort.n_scans, cohort.n_embedded)
    text = table.with_suffix(".tsv")
    texts = [text] if tsv or text.exists() else []
    for path in texts:
        with replacing(path) as new_text:
            write_tsv(table, new_text)
    descriptions |= {table.with_suffix(".json"): described}
    return [table, *texts, status, *write_all(descriptions)]


def _embeddings(output_dir: Path, cohort: Cohort) -> Iterator[tuple[CohortScan, FloatArray]]:
    """Yield embedded scans with their rows; all that are damaged are named at the end."""
    problems: list[str] = []
    size = 0
    for scan in cohort.records():
        if not scan.embedded:
            continue
        try:
            row = read_scan_embedding(output_dir / scan.path, size=size)
        except InputError as err:
            problems.append(err.message)
            continue
        size = row.size
        yield scan, row
    _refuse(problems, output_dir)


def _refuse(problems: Sequence[str], output_dir: Path) -> None:
    """Stop if files are damaged: a scan must not be missing from a table without a word."""
    if problems:
        more = len(problems) - _LISTED
        listing = "\n  ".join([*problems[:_LISTED], *([f"and {more} more"] if more > 0 else [])])
        raise InputError(
            f"{output_dir}: {len(problems)} scan(s) cannot be exported:\n  {listing}",
            hint="Delete these files and run the participant level again; it redoes only what "
            "is missing.",
        )


def _refuse_mixtures(cohort: Cohort) -> None:
    if len(cohort.settings) > 1:
        listing = "; ".join(
            f"{key}: {n} scan(s), such as {', '.join(cohort.examples[key])}"
            for key, n in sorted(cohort.settings.items())
        )
        raise OptionsError(
            "scans of different settings, versions, weights or spaces cannot share a table: "
            f"{listing}.",
            hint="Run the participant level once more with one set of options, --space among "
            "them; it redoes only what differs. Delete scans that are not wanted.",
        )
