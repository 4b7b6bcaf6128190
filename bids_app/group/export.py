"""Group level: one table of all scans' embeddings, from participant outputs only."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from bids_app.cohort_page.maps import refuse_without_umap
from bids_app.errors import AppError, InputError, NothingSelectedError, OptionsError
from bids_app.files import replacing, write_bytes
from bids_app.group.annotated import refuse_without_anndata
from bids_app.group.cohort import Cohort
from bids_app.group.connectivity import files_needed
from bids_app.group.exclusions import read_exclusions
from bids_app.group.harmonized import design_of, refuse_without_combat
from bids_app.group.options import GroupOptions
from bids_app.group.page import preview_page, tell_old_page, write_page
from bids_app.group.phenotypes import read_phenotypes
from bids_app.group.products import Products
from bids_app.group.table import write_status_table
from bids_app.outputs.differences import differences
from bids_app.outputs.group import (
    DAMAGED,
    OF_GROUP,
    describe_status_table,
    status_row,
    table_name,
)
from bids_app.outputs.paths import find_statuses, relative_text
from model.cohort.names import GROUP_STATUS, MATRIX, STATUSES, TOKENS, WINDOWS
from model.errors import numbered
from model.files.cells import writable
from model.files.faults import FileError
from model.files.read import read_json
from model.files.write import are_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bids_app.group.cohort import Alike, Kind
    from bids_app.group.exclusions import Exclusions
    from bids_app.group.harmonized import Design
    from bids_app.group.options import SplitBy
    from bids_app.outputs.group import CohortScan
    from model.cohort.outputs import EmbeddedScan

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
    exclusions: Exclusions | None = None,
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
    exclusions
        What is left out, if not what a file of the options says.

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
    options = options or GroupOptions()
    _refuse_empty(output_dir)
    _refuse_absent(options)
    known = read_phenotypes(options.participants, options.sessions)
    target, damaged, ends = into or output_dir, list[str](), Counter[str]()
    log.info("reading the scans in %s", output_dir)
    with Cohort.read(
        output_dir,
        scratch=target,
        known=known,
        needs=_needed(options),
        exclusions=exclusions or read_exclusions(options.exclude_scans),
    ) as cohort:
        status = target / f"{GROUP_STATUS}.tsv"
        with replacing(status, keep_same=True) as new:
            write_status_table(_noting(cohort.scans(), damaged, ends), cohort.columns, new)
        said = describe_status_table(cohort.described(), cohort.columns.names())
        write_bytes(status.with_suffix(".json"), said)
        try:
            tables = _tables_or_page(cohort, target, options, damaged, page=page)
            products = _products(cohort, tables, target, options, len(damaged))
            for name in tables:
                _tell_unjoined(target / f"{name}.json", cohort)
            paths = [path for one in products for path in one.write()]
            _tell_old(_left(target, products))
        finally:
            _tell(damaged, cohort, status.name)
            _tell_left_out(ends, status.name)
        if page:
            told = [*paths, status]
            pages = write_page(cohort, target, tables, files=told, with_umap=options.umap)
        else:
            tell_old_page(target)
            pages = []
    return Export([*paths, status, status.with_suffix(".json"), *pages], len(damaged))


def _noting(
    scans: Iterable[CohortScan], damaged: list[str], ends: Counter[str]
) -> Iterator[CohortScan]:
    """Note on the way what is wrong with scans, and how they ended."""
    for scan in scans:
        if scan.problem:
            damaged.append(scan.problem)
        ends[scan.status] += 1
        yield scan


def _tables_or_page(
    cohort: Cohort, target: Path, options: GroupOptions, damaged: list[str], *, page: bool
) -> dict[str, Kind]:
    """Name the tables; where these scans can stand in none, the page says why."""
    try:
        tables = _tables(cohort, options.split_by)
        _refuse_nothing(cohort, damaged, target / f"{GROUP_STATUS}.tsv")
    except AppError as err:
        if page:
            note = relative_text(str(err), cohort.output_dir)
            status = target / f"{GROUP_STATUS}.tsv"
            write_page(cohort, target, {}, files=[status], with_umap=options.umap, note=note)
        _tell_old(_left(target, []))
        raise
    return tables


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
    told = told or [
        f"settings {kind.settings}: {numbered(alike.n_scans, 'scan')}" for kind, alike in kinds
    ]
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


def _tell(damaged: list[str], cohort: Cohort, listing: str) -> None:
    if damaged:
        more = len(damaged) - _LISTED
        listed = [*damaged[:_LISTED], *([f"and {more} more"] if more > 0 else [])]
        log.warning(
            "%d of %d scans are left out, since status or outputs are not as they were written; "
            "the participant level redoes them. %s names all:\n  %s",
            len(damaged), cohort.n_scans, listing,
            writable("\n  ".join(listed)),
        )  # fmt: skip


def _tell_left_out(ends: Counter[str], listing: str) -> None:
    """Say how many scans are in no table; what is damaged is told by itself."""
    n_embedded = ends["embedded"]
    others = [f"{n} {end}" for end, n in ends.items() if end not in ("embedded", DAMAGED)]
    if others:
        log.warning(
            "%s of %d; %s: %s says why",
            numbered(n_embedded, "scan"), ends.total(), ", ".join(others), listing,
        )  # fmt: skip


def _left(target: Path, products: Iterable[Products]) -> list[Path]:
    """List what earlier calls left that is not of these scans as they are now."""
    spaces: set[str | None] = {one.space for one in products}
    there = ((path, OF_GROUP.fullmatch(path.name)) for path in target.glob("group_*"))
    others = [path for path, name in there if name and name["space"] not in spaces]
    return sorted([*others, *(path for one in products for path in one.left())])


def _tell_old(paths: Sequence[Path]) -> None:
    """Say of files of earlier calls that they stay what they are."""
    if paths:
        log.warning(
            "of an earlier call, of other scans, columns or values, and not brought up to date by "
            "this one: %s. The options that made them do that; or delete them.",
            ", ".join(path.name for path in paths),
        )


def _tell_unjoined(sidecar: Path, cohort: Cohort) -> None:
    """Say that columns which an earlier call joined are gone, which nobody may have meant."""
    with contextlib.suppress(FileError):
        files = read_json(sidecar).get("Participants", {}).get("Files", {})
        if files and not cohort.known.files:
            log.warning(
                "%s had columns of %s, which are not joined this time: --participants joins them.",
                sidecar.stem, ", ".join(files),
            )  # fmt: skip


def _refuse_nothing(cohort: Cohort, damaged: list[str], listing: object) -> None:
    if cohort.kinds:
        return
    told = f"{cohort.output_dir}: none of {cohort.n_scans} scans "
    hint = f"{listing} gives the reason for each."
    if damaged:
        raise AppError(f"{told}can stand in a table, {len(damaged)} are damaged.", hint=hint)
    raise NothingSelectedError(f"{told}was embedded.", hint=hint)


def _needed(options: GroupOptions) -> Callable[[EmbeddedScan], Iterator[str]]:
    """Return what names the further files of a scan that are read."""

    def needed(scan: EmbeddedScan) -> Iterator[str]:
        if options.windows:
            yield f"{WINDOWS}.tsv"
        if options.tokens:
            yield from (f"{TOKENS}.npy", f"{TOKENS}.json")
        if options.connectivity:
            yield from files_needed(scan)

    return needed


def _products(
    cohort: Cohort, tables: Mapping[str, Kind], target: Path, options: GroupOptions, n_damaged: int
) -> list[Products]:
    """Lay out what is written of each kind; refuse what cannot be, before anything is."""
    return [
        Products(
            cohort=cohort,
            kind=kind,
            target=target,
            space=kind.space or None if options.split_by == "space" else None,
            options=options,
            design=_design(cohort, kind, options) if options.harmonize else None,
            n_damaged=n_damaged,
        )
        for kind in tables.values()
    ]


def _design(cohort: Cohort, kind: Kind, options: GroupOptions) -> Design:
    """Lay out what sites are taken out of, given which scan has which part of the embedding."""
    alike = cohort.kinds[kind]
    _, parts = json.loads(alike.model)
    rows, there = [], []
    for scan, values in cohort.embeddings(kind):
        rows.append(status_row(scan))
        there.append(np.isfinite(values.reshape(len(parts), -1)).all(axis=1))
    of_parts = dict(zip(parts, np.array(there).T, strict=True))
    return design_of(pd.DataFrame(rows, columns=alike.columns.keys()), of_parts, options)


class Preview(NamedTuple):
    """What a call of the group level would do."""

    lines: list[str]
    """One for each file of the cohort"""
    n_damaged: int
    """Scans that would be left out since their files cannot be believed"""


def preview_group(output_dir: Path, options: GroupOptions, *, page: bool = False) -> Preview:
    """Say what `export_group` would write, after all checks that it makes; nothing is written.

    Raises
    ------
    SemantoksError
        What it would raise.
    """
    _refuse_empty(output_dir)
    _refuse_absent(options)
    known = read_phenotypes(options.participants, options.sessions)
    with (
        TemporaryDirectory(prefix="semantoks-") as scratch,
        Cohort.read(
            output_dir,
            scratch=Path(scratch),
            known=known,
            needs=_needed(options),
            exclusions=read_exclusions(options.exclude_scans),
        ) as cohort,
    ):
        status = Path(scratch, f"{GROUP_STATUS}.tsv")
        damaged, ends = list[str](), Counter[str]()
        write_status_table(_noting(cohort.scans(), damaged, ends), cohort.columns, status)
        listing = f"{status.name}, which a dry run does not write,"
        _tell(damaged, cohort, listing)
        _tell_left_out(ends, listing)
        tables = _tables(cohort, options.split_by)
        _refuse_nothing(cohort, damaged, listing)
        said = describe_status_table(cohort.described(), cohort.columns.names())
        write_bytes(status.with_suffix(".json"), said)
        files = [
            (output_dir / path.name, are_same(path, output_dir / path.name), cohort.n_scans)
            for path in (status, status.with_suffix(".json"))
        ]
        lines = list[str]()
        all_products = _products(cohort, tables, output_dir, options, len(damaged))
        for products in all_products:
            n_scans = cohort.kinds[products.kind].n_scans
            files += [(path, is_made, n_scans) for path, is_made in products.preview()]
            if options.connectivity and (n_new := products.n_without_matrices()):
                lines.append(_line(f"sub-*/**/*_{MATRIX}.tsv", n_new, "beside their other files"))
        old = _left(output_dir, all_products)
        if page:
            paths = [path for path, _, _ in files]
            found = preview_page(cohort, output_dir, tables, files=paths, with_umap=options.umap)
            files += [(*found, cohort.n_scans)] if found else []
    told = [
        f"would leave {path.name} as it is" if is_made else _line(path.name, n_scans)
        for path, is_made, n_scans in files
    ]
    told += [
        f"would leave {path.name} as it is, of other scans, columns or values" for path in old
    ]
    return Preview([*told, *lines], len(damaged))


def _line(name: str, n_scans: int, more: str = "") -> str:
    told = ", ".join(filter(None, [numbered(n_scans, "scan"), more]))
    return f"would write {name}: {told}"


def _refuse_empty(output_dir: Path) -> None:
    if not output_dir.is_dir() or next(find_statuses(output_dir), None) is None:
        raise InputError(
            f"{output_dir}: no participant outputs ({STATUSES}) found.",
            hint="Run the participant level first, with the same output folder.",
        )


def _refuse_absent(options: GroupOptions) -> None:
    """Refuse what needs a library that is not here."""
    if options.umap:
        refuse_without_umap()
    if options.anndata:
        refuse_without_anndata()
    if options.harmonize:
        refuse_without_combat()
