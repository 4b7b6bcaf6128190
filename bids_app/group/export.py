"""Group level: one table of all scans' embeddings, from participant outputs only."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from bids_app.cohort_page.maps import refuse_without_umap
from bids_app.errors import AppError, InputError, NothingSelectedError, OptionsError
from bids_app.files import replacing, write_bytes
from bids_app.group.cohort import Cohort
from bids_app.group.differences import differences
from bids_app.group.page import write_page
from bids_app.group.phenotypes import read_phenotypes
from bids_app.group.table import write_embedding_table, write_status_table, write_tsv
from bids_app.options import GroupOptions
from bids_app.outputs.group import (
    GROUP_STATUS,
    describe_scan_table,
    describe_status_table,
    table_name,
)
from bids_app.outputs.paths import find_statuses, relative_text
from model.cohort.names import SCAN, STATUSES
from model.files.cells import writable
from model.files.faults import FileError
from model.files.read import read_json
from model.files.write import Digest, file_sha256, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bids_app.group.cohort import Alike, Kind
    from bids_app.options import SplitBy
    from bids_app.outputs.group import CohortScan

log = logging.getLogger(__name__)

_LISTED = 10
"""Problems that are written out; the others are counted, and all stand in the table."""


class Export(NamedTuple):
    """What a call of the group level wrote, and for how many scans it could not."""

    paths: list[Path]
    """Table of embeddings first, of each space if they were split"""
    n_damaged: int
    """Scans that are left out since their files cannot be believed"""


def export_group(
    output_dir: Path,
    options: GroupOptions | None = None,
    *,
    into: Path | None = None,
    page: bool = False,
) -> Export:
    """Write the cohort's scan embeddings and the status of every scan.

    A scan stands in the table of embeddings if its files are what its status says; others have
    status ``damaged`` and a reason. Memory does not grow with the number of scans.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote; images are not needed any more.
    options
        What is written. A text table that is there is kept up to date.
    into
        Folder for what is written, if not the output folder.
    page
        Also write ``group.html``, of all scans, whatever becomes of the tables.

    Returns
    -------
    ``group_desc-scan_embedding.{parquet,json}`` and ``.tsv``, or ``group_space-X_…`` of each
    space; ``group_status.{tsv,json}``, which are written before anything below is raised.

    Raises
    ------
    InputError
        The folder holds no participant outputs.
    OptionsError
        Scans were made with different settings, atlas or checkpoint; says which differ.
    NothingSelectedError
        No scan was embedded.
    AppError
        No scan is left, since files cannot be believed.
    """
    if not output_dir.is_dir() or next(find_statuses(output_dir), None) is None:
        raise InputError(
            f"{output_dir}: no participant outputs ({STATUSES}) found.",
            hint="Run the participant level first, with the same output folder.",
        )
    options = options or GroupOptions()
    if options.umap:
        refuse_without_umap()
    known = read_phenotypes(options.participants, options.sessions)
    target, damaged = into or output_dir, list[str]()
    with Cohort.read(output_dir, scratch=target, known=known) as cohort:
        status = target / f"{GROUP_STATUS}.tsv"
        with replacing(status) as new:
            write_status_table(_noting(cohort.scans(), damaged), cohort.columns, new)
        write_bytes(status.with_suffix(".json"), describe_status_table(known.described()))
        try:
            tables = _tables(cohort, options.split_by)
            _refuse_nothing(cohort, damaged, status)
            paths = [
                path
                for name, kind in tables.items()
                for path in _write(
                    target / f"{name}.parquet",
                    cohort,
                    kind,
                    tsv=options.tsv,
                    n_damaged=len(damaged),
                )
            ]
            _tell_old(target, tables)
        except AppError as err:
            if page:
                write_page(
                    cohort,
                    target,
                    {},
                    with_umap=options.umap,
                    note=relative_text(str(err), output_dir),
                )
            raise
        finally:
            _tell(damaged, cohort, status)
        if page:
            paths += write_page(cohort, target, tables, with_umap=options.umap)
    return Export([*paths, status, status.with_suffix(".json")], len(damaged))


def _noting(scans: Iterable[CohortScan], damaged: list[str]) -> Iterator[CohortScan]:
    """Note on the way what is wrong with scans."""
    for scan in scans:
        if scan.problem:
            damaged.append(scan.problem)
        yield scan


def _tables(cohort: Cohort, split_by: SplitBy | None) -> dict[str, Kind]:
    """Name the tables, each with the kind of its scans; refuse those that would hold several."""
    kinds: dict[str, list[Kind]] = {}
    for kind in cohort.kinds:
        space = kind.space or None if split_by == "space" else None
        kinds.setdefault(table_name(space), []).append(kind)
    for mixed in kinds.values():
        if len(mixed) > 1:
            raise _mixture([(kind, cohort.kinds[kind]) for kind in mixed])
    return {name: kind for name, (kind,) in kinds.items()}


def _mixture(kinds: list[tuple[Kind, Alike]]) -> OptionsError:
    n_scans = sum(alike.n_scans for _, alike in kinds)
    told = differences([(alike.said, alike.n_scans) for _, alike in kinds])
    # Of sidecars that someone made by hand there may be nothing to tell but this.
    told = told or [f"settings {kind.settings}: {alike.n_scans} scan(s)" for kind, alike in kinds]
    per_space = Counter(kind.space for kind, _ in kinds)
    split = (
        "To have one table of each space: --split-by space. "
        if max(per_space.values()) == 1
        else ""
    )
    return OptionsError(
        f"{n_scans} scans cannot stand in one table, since they were made in "
        f"{len(kinds)} different ways:\n  " + "\n  ".join(told),
        hint=f"{split}To make all alike, run the participant level once more with one set of "
        "options; it redoes only what differs. Scans that are not wanted can be deleted.",
    )


def _tell(damaged: list[str], cohort: Cohort, status: Path) -> None:
    if damaged:
        more = len(damaged) - _LISTED
        listed = [*damaged[:_LISTED], *([f"and {more} more"] if more > 0 else [])]
        log.warning(
            "%d of %d scans are left out, since status or outputs are not as they were written; "
            "the participant level redoes them. %s names all:\n  %s",
            len(damaged), cohort.n_scans, status.name,
            writable("\n  ".join(listed)),
        )  # fmt: skip


def _tell_old(target: Path, tables: Iterable[str]) -> None:
    """Say of tables of earlier calls that they stay what they are."""
    there = {path.stem for path in target.glob(f"group_*{SCAN}.parquet")}
    for name in sorted(there - {*tables}):
        log.warning("%s is of an earlier call, and not brought up to date by this one.", name)


def _tell_unjoined(sidecar: Path, cohort: Cohort) -> None:
    """Say that columns which an earlier call joined are gone, which nobody may have meant."""
    with contextlib.suppress(FileError):
        files = read_json(sidecar).get("Participants", {}).get("Files", {})
        if files and not cohort.known.files:
            log.warning(
                "%s had columns of %s, which are not joined this time: --participants joins them.",
                sidecar.stem, ", ".join(files),
            )  # fmt: skip


def _refuse_nothing(cohort: Cohort, damaged: list[str], status: Path) -> None:
    if cohort.kinds:
        return
    told = f"{cohort.output_dir}: none of {cohort.n_scans} scans "
    hint = f"{status} gives the reason for each."
    if damaged:
        raise AppError(f"{told}can stand in a table, {len(damaged)} are damaged.", hint=hint)
    raise NothingSelectedError(f"{told}was embedded.", hint=hint)


def _write(table: Path, cohort: Cohort, kind: Kind, *, tsv: bool, n_damaged: int) -> list[Path]:
    """Write the table of one kind of scans, as text too if there is one, and its sidecar."""
    alike, text, sidecar = (
        cohort.kinds[kind],
        table.with_suffix(".tsv"),
        table.with_suffix(".json"),
    )
    said, parts = json.loads(alike.model)
    with replacing(table) as new:
        write_embedding_table(cohort.embeddings(kind), alike.columns, parts, new)
    _tell_unjoined(sidecar, cohort)
    written = [table]
    if tsv or text.exists():
        with replacing(text) as new:
            write_tsv(table, new)
        written.append(text)
    tables = {path.name: Digest(stamp(path).size, file_sha256(path)) for path in written}
    described = describe_scan_table(
        said,
        n_scans=alike.n_scans,
        n_damaged=n_damaged,
        listing=cohort.listing.sha256,
        tables=tables,
        known=cohort.known.described(),
    )
    log.info("%s: %d scans", table.name, alike.n_scans)
    return [*written, write_bytes(sidecar, described)]
