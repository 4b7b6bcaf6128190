"""The scans of a cohort, as its page wants them."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from bids_app.cohort_page.page import COHORT_PAGE, MOST_SCANS, is_written, write_cohort_page
from bids_app.cohort_page.scans import Embedded, PageScan
from bids_app.outputs.paths import report_path
from bids_app.report.page import scan_labels
from model.cohort.names import expanded, identifiers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from bids_app.group.cohort import Cohort, Kind
    from bids_app.outputs.group import CohortScan


log = logging.getLogger(__name__)


def write_page(
    cohort: Cohort,
    target: Path,
    tables: Mapping[str, Kind],
    *,
    files: Iterable[Path],
    with_umap: bool = False,
    note: str = "",
) -> list[Path]:
    """Write the page of a cohort.

    Parameters
    ----------
    target
        Folder that it lies in, beside the pages of participants.
    tables
        Tables of embeddings that were written, each with the kind of its scans.
    files
        All that was written beside the page.
    note
        Why there is none, if there is none.

    Returns
    -------
    The page; nothing where there are too many scans for one, which is said.
    """
    made_of = _made_of(cohort, target, tables)
    if made_of is None:
        log.warning(
            "%s is left out: %d scans are more than a browser draws (%d). A folder of fewer "
            "participants has one.",
            COHORT_PAGE, cohort.n_scans, MOST_SCANS,
        )  # fmt: skip
        tell_old_page(target)
        return []
    told = _tables_among(files)
    return [write_cohort_page(target, *made_of, with_umap=with_umap, note=note, tables=told)]


def preview_page(
    cohort: Cohort,
    target: Path,
    tables: Mapping[str, Kind],
    *,
    files: Iterable[Path],
    with_umap: bool = False,
) -> tuple[Path, bool] | None:
    """Return the page and whether it is there already, made of the same; None: there is none."""
    made_of = _made_of(cohort, target, tables)
    if made_of is None:
        return None
    told = _tables_among(files)
    is_there = is_written(target, *made_of, with_umap=with_umap, tables=told)
    return target / COHORT_PAGE, is_there


def _tables_among(files: Iterable[Path]) -> list[str]:
    return sorted(path.name for path in files if path.suffix != ".json")


def _made_of(
    cohort: Cohort, target: Path, tables: Mapping[str, Kind]
) -> tuple[list[PageScan], list[Embedded]] | None:
    """Gather scans and embeddings; None: more than a page can hold."""
    if cohort.n_scans > MOST_SCANS:
        return None
    scans = list(cohort.scans())
    pages = _addresses(scans, target)
    place = {_key(scan.record.entities): number for number, scan in enumerate(scans)}
    embedded = [_embedded(cohort, name, kind, place) for name, kind in tables.items()]
    return [_page_scan(*one) for one in zip(scans, pages, strict=True)], embedded


def tell_old_page(target: Path) -> None:
    """Say of a page of an earlier call that it stays what it is."""
    if (target / COHORT_PAGE).exists():
        log.warning(
            "%s is of an earlier call, and not brought up to date by this one.", COHORT_PAGE
        )


def _page_scan(scan: CohortScan, page: str) -> PageScan:
    record = scan.record
    qc = dict(record.qc) if scan.embedded else {}
    flags = qc.pop("flags", {})
    return PageScan(
        identifiers=identifiers(record.entities),
        status=scan.status,
        reason=scan.reason,
        numbers=qc,
        flags=flags if isinstance(flags, dict) else {},
        known=dict(scan.known),
        page=page,
    )


def _embedded(cohort: Cohort, name: str, kind: Kind, place: Mapping[str, int]) -> Embedded:
    """Gather the scan vectors of a table: the parts that the checkpoint reads out."""
    said, parts = json.loads(cohort.kinds[kind].model)
    wanted = expanded(said["ScanVector"], parts)
    rows = [parts.index(part) for part in wanted]
    vectors = np.empty((0, 0), np.float32)
    places: list[int] = []
    for scan, values in cohort.embeddings(kind):
        own = values.reshape(len(parts), -1)[rows].ravel()
        if not places:
            vectors = np.empty((cohort.kinds[kind].n_scans, own.size), np.float32)
        vectors[len(places)] = own
        places.append(place[_key(scan.record.entities)])
    return Embedded(table=name, space=kind.space, places=tuple(places), vectors=vectors)


def _key(entities: Mapping[str, str]) -> str:
    return json.dumps(entities, sort_keys=True)


def _addresses(scans: Sequence[CohortScan], target: Path) -> list[str]:
    """Return where each scan stands in its participant's page; empty where there is no page."""
    people: dict[str, list[int]] = {}
    for number, scan in enumerate(scans):
        people.setdefault(scan.record.entities.get("sub", ""), []).append(number)
    found = [""] * len(scans)
    for person, numbers in people.items():
        page = report_path(target, person)
        if page.is_file():
            labels = scan_labels([scans[number].record.entities for number in numbers])
            for number, label in zip(numbers, labels, strict=True):
                found[number] = f"{quote(page.name)}#{quote(label)}"
    return found
