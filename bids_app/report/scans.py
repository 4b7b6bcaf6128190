"""Read back what was written about a participant's scans, for the report.

Only files named in docs/outputs.md are read, so that scans of earlier invocations are covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NewType
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from bids_app.errors import InputError
from bids_app.files import read_table
from bids_app.outputs.status import read_status
from model.files.fault import FileError, reading
from model.files.read import read_json
from model.networks import parcel_names
from model.series import shown

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

Metadata = NewType("Metadata", dict[str, Any])
"""A sidecar: open-ended JSON, keys as in docs/outputs.md."""

LOW_COVERAGE = 0.75
"""Parcels that are used although they lost more than a quarter are named."""
# Entities that say how a scan was written, not which scan it is.
_RENDERING = ("space", "res", "den", "desc")


@dataclass(frozen=True, kw_only=True, eq=False)
class Extraction:
    """The tables of what was done to an image before there was a model input."""

    denoised: npt.NDArray[np.float32]
    """(T, P) at the scan's own repetition time; NaN columns are missing parcels."""
    denoised_meta: Metadata
    outliers: pd.DataFrame
    """One row per acquired volume"""
    outliers_meta: Metadata

    __repr__ = shown


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanTables:
    """The tables of one embedded scan, each with its sidecar."""

    extraction: Extraction | None
    """None: the input was a parcel series that others made."""
    model: npt.NDArray[np.float32]
    """(S, P) as the encoder saw it; NaN columns are missing parcels."""
    model_meta: Metadata
    coverage: pd.DataFrame
    """P rows"""
    coverage_meta: Metadata
    tokens: npt.NDArray[np.float32]
    """(W, N, K, D); NaN where a token saw no data."""
    tokens_meta: Metadata

    __repr__ = shown

    @property
    def end_s(self) -> float:
        """End of the acquisition, in seconds after its first frame."""
        if self.extraction is None:
            given = self.model_meta["InputSeries"]
            return float(given["NumberOfFrames"] * given["RepetitionTime"])
        repetition_time_s = self.extraction.denoised_meta["RepetitionTime"]
        return float(len(self.extraction.outliers) * repetition_time_s)

    @property
    def n_used(self) -> int:
        """Parcels that have a series."""
        return int((self.coverage["status"] == "used").sum())

    def missing(self) -> dict[str, list[str]]:
        """Name the missing parcels by reason."""
        rows = self.coverage[self.coverage["status"] != "used"]
        by_reason = rows.fillna({"reason": "no reason given"}).groupby("reason")["name"]
        return {str(reason): list(names) for reason, names in by_reason}

    def low_coverage(self) -> list[str]:
        """Name the parcels that are used although they lost more than a quarter, worst first."""
        used = self.coverage[self.coverage["status"] == "used"]
        low = used[used["coverage"] < LOW_COVERAGE].sort_values("coverage")
        shares = zip(low["name"], low["coverage"], strict=True)
        return [f"{name} ({share:.0%})" for name, share in shares]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportScan:
    """How one scan ended, and its tables if it was embedded."""

    label: str
    """Entities that tell the scan from the participant's others; its anchor in the page."""
    record: Metadata
    """The status file"""
    tables: ScanTables | None
    files: dict[str, str]
    """Address of each output from the page, by name."""
    problem: str = ""
    """Why an embedded scan has no tables: a file that is gone or damaged."""

    @property
    def status(self) -> str:
        """``embedded``, ``excluded`` or ``failed``."""
        return str(self.record["Status"])

    @property
    def qc(self) -> dict[str, Any]:
        """Numbers of the group table; empty unless embedded."""
        return dict(self.record.get("QC", {}))

    @property
    def flags(self) -> dict[str, str]:
        """What to look at before using the run, text by code; empty for an unremarkable one."""
        return dict(self.qc.get("flags", {}))


def read_scans(output_dir: Path, participant: str) -> tuple[ReportScan, ...]:
    """Read all scans of a participant, in the order of their file names.

    Raises
    ------
    InputError
        The folder holds no status of any scan of the participant, or a damaged one.
    """
    folder = output_dir / f"sub-{participant}"
    paths = sorted(folder.rglob("*_status.json"))
    if not paths:
        raise InputError(
            f"{folder}: expected at least one *_status.json, found none.",
            hint="Run the participant level for this participant first.",
        )
    records = [_read_record(path) for path in paths]
    labels = _labels([record["Entities"] for record in records])
    return tuple(
        _read_scan(path, record, label, output_dir)
        for path, record, label in zip(paths, records, labels, strict=True)
    )


def _read_record(path: Path) -> Metadata:
    return Metadata({"SoftwareVersion": "", "Outputs": [], **read_status(path)})


def _labels(entities: list[dict[str, str]]) -> list[str]:
    """Name scans by their entities; by space and resolution only where it takes them."""
    short = [_label(scan, without=("sub", *_RENDERING)) for scan in entities]
    return [
        _label(scan, without=("sub", "desc")) if short.count(label) > 1 else label
        for scan, label in zip(entities, short, strict=True)
    ]


def _label(entities: dict[str, str], *, without: tuple[str, ...]) -> str:
    return "_".join(f"{key}-{value}" for key, value in entities.items() if key not in without)


def _read_scan(path: Path, record: Metadata, label: str, output_dir: Path) -> ReportScan:
    tables, problem = None, ""
    if record["Status"] == "embedded":
        try:
            tables = _read_tables(path.with_name(path.name.removesuffix("_status.json")))
        except FileError as fault:
            problem = f"the figures are left out, as a table cannot be read: {fault.message}"
    folder = path.parent.relative_to(output_dir)
    return ReportScan(
        label=label,
        record=record,
        tables=tables,
        files={str(name): quote(str(folder / str(name))) for name in record["Outputs"]},
        problem=problem,
    )


def _read_tables(stem: Path) -> ScanTables:
    def named(ending: str) -> Path:
        return stem.with_name(f"{stem.name}_{ending}")

    model_meta = _read_json(named("desc-model_timeseries.json"))
    extraction = None
    if "InputSeries" not in model_meta:
        extraction = Extraction(
            denoised=_read_series(named("desc-denoised_timeseries.tsv")),
            denoised_meta=_read_json(named("desc-denoised_timeseries.json")),
            outliers=read_table(named("outliers.tsv")),
            outliers_meta=_read_json(named("outliers.json")),
        )
    path = named("desc-tokens_embedding.npy")
    with reading(path):
        tokens = np.load(path, allow_pickle=False)
    return ScanTables(
        extraction=extraction,
        model=_read_series(named("desc-model_timeseries.tsv")),
        model_meta=model_meta,
        coverage=read_table(named("coverage.tsv")),
        coverage_meta=_read_json(named("coverage.json")),
        tokens=tokens,
        tokens_meta=_read_json(named("desc-tokens_embedding.json")),
    )


def _read_series(path: Path) -> npt.NDArray[np.float32]:
    table = read_table(path, dtype=np.float32)
    if tuple(table.columns) != parcel_names():
        raise FileError(path, f"the columns are not the {len(parcel_names())} parcels")
    return table.to_numpy()


def _read_json(path: Path) -> Metadata:
    return Metadata(read_json(path))
