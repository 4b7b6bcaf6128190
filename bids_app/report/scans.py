"""The scans of a participant as the report shows them: each with its status and its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from bids_app.errors import InputError
from bids_app.outputs.paths import statuses_below
from bids_app.outputs.scan_tables import read_scan_tables
from bids_app.outputs.status import read_status
from model.cohort.names import STATUS
from model.files.fault import FileError
from model.networks import parcel_names
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.outputs.scan_tables import ScanTables
    from model.cohort.record import ScanRecord

LOW_COVERAGE = 0.75
"""Parcels that are used although they lost more than a quarter are named."""
# Entities that say how a scan was written, not which scan it is.
_RENDERING = ("space", "res", "den", "desc")


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportScan:
    """How one scan ended, and its tables if it was embedded."""

    label: str
    """Entities that tell the scan from the participant's others; its anchor in the page."""
    record: ScanRecord
    """The status file"""
    tables: ScanTables | None
    files: dict[str, str]
    """Address of each output from the page, by name."""
    problem: str = ""
    """Why an embedded scan has no tables: a file that is gone or damaged."""

    __repr__ = shown

    @property
    def status(self) -> str:
        """``embedded``, ``excluded`` or ``failed``."""
        return self.record.status

    @property
    def qc(self) -> dict[str, Any]:
        """Numbers of the group table; empty unless embedded."""
        return dict(self.record.qc)

    @property
    def flags(self) -> dict[str, str]:
        """What to look at before using the scan, text by code; empty for an unremarkable one."""
        return dict(self.qc.get("flags", {}))

    def missing(self) -> dict[str, list[str]]:
        """Name the missing parcels by reason."""
        found: dict[str, list[str]] = {}
        if self.tables is not None:
            rows = zip(parcel_names(), self.tables.used, self.tables.reasons, strict=True)
            for name, _, reason in (row for row in rows if not row[1]):
                found.setdefault(reason or "no reason given", []).append(name)
        return dict(sorted(found.items()))

    def low_coverage(self) -> list[str]:
        """Name the parcels that are used although they lost more than a quarter, worst first."""
        if self.tables is None:
            return []
        share = self.tables.coverage
        low = np.flatnonzero(self.tables.used & (share < LOW_COVERAGE))
        worst_first = low[np.argsort(share[low], kind="stable")]
        return [f"{parcel_names()[parcel]} ({share[parcel]:.0%})" for parcel in worst_first]


def read_scans(output_dir: Path, participant: str) -> tuple[ReportScan, ...]:
    """Read all scans of a participant, in the order of their file names.

    Raises
    ------
    InputError
        The folder holds no status of any scan of the participant, or a damaged one.
    """
    folder = output_dir / f"sub-{participant}"
    paths = statuses_below(folder)
    if not paths:
        raise InputError(
            f"{folder}: expected at least one *_{STATUS}, found none.",
            hint="Run the participant level for this participant first.",
        )
    records = [read_status(path) for path in paths]
    labels = _labels([record.entities for record in records])
    return tuple(
        _read_scan(path, record, label, output_dir)
        for path, record, label in zip(paths, records, labels, strict=True)
    )


def _labels(entities: list[Mapping[str, str]]) -> list[str]:
    """Name scans by their entities; by space and resolution only where it takes them."""
    short = [_label(scan, without=("sub", *_RENDERING)) for scan in entities]
    return [
        _label(scan, without=("sub", "desc")) if short.count(label) > 1 else label
        for scan, label in zip(entities, short, strict=True)
    ]


def _label(entities: Mapping[str, str], *, without: tuple[str, ...]) -> str:
    return "_".join(f"{key}-{value}" for key, value in entities.items() if key not in without)


def _read_scan(path: Path, record: ScanRecord, label: str, output_dir: Path) -> ReportScan:
    tables, problem = None, ""
    if record.status == "embedded":
        try:
            tables = read_scan_tables(path)
        except FileError as fault:
            problem = f"the figures are left out, as a table cannot be read: {fault.message}"
    folder = path.parent.relative_to(output_dir)
    return ReportScan(
        label=label,
        record=record,
        tables=tables,
        files={str(name): quote(str(folder / str(name))) for name in record.outputs},
        problem=problem,
    )
