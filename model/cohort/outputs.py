"""What the app wrote for each scan, as arrays: embeddings and the series the encoder saw.

Reads only what docs/outputs.md promises; for evaluation, which needs no images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.cohort import names
from model.cohort.record import ScanRecord, read_record
from model.errors import SemantoksError
from model.files.read import FileError, faults_as, faults_of, read_cells, read_json
from model.networks import parcel_names
from model.series import ParcelSeries

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from model.series import BoolArray, FloatArray


class OutputsError(SemantoksError):
    """A folder is not what the app writes, or damaged."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedScan:
    """One scan that was embedded."""

    status_path: Path
    record: ScanRecord

    @property
    def columns(self) -> dict[str, str]:
        """Identifying columns, as in the group table."""
        return names.identifiers(self.record.entities)

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.status_path.name.removesuffix(f"_{names.STATUS}")

    def file(self, ending: str) -> Path:
        """Return the path of one of its files, such as ``desc-model_timeseries.tsv``."""
        return self.status_path.with_name(f"{self.name}_{ending}")

    def metadata(self, ending: str, **needs: type) -> dict[str, Any]:
        """Read one of its JSON files; the needed keys are there, and of their kinds."""
        with _damaged():
            return read_json(self.file(ending), needs=needs)

    def numbers(self, ending: str) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Read one of its tables of numbers: column names, and (rows, columns), NaN for n/a."""
        path = self.file(ending)
        with _damaged():
            header, cells = read_cells(path)
            with faults_of(path):
                rows = [[_number(cell) for cell in row] for row in cells]
        return header, np.array(rows, dtype=np.float64).reshape(len(rows), len(header))


def embedded_scans(folder: Path) -> list[EmbeddedScan]:
    """List the scans of an output folder whose status is ``embedded``, in order of their names.

    Raises
    ------
    OutputsError
        There is none, one is damaged, or they were made with different settings.
    """
    found = []
    for path in sorted(folder.glob(names.STATUSES)):
        with _damaged():
            record = read_record(path)
        if record.status == "embedded":
            found.append(EmbeddedScan(status_path=path, record=record))
    if not found:
        raise OutputsError(
            f"{folder}: no embedded run ({names.STATUSES}) found.",
            hint="Name the output folder of semantoks or semantoks series.",
        )
    by_settings = {scan.record.settings: scan.name for scan in reversed(found)}
    if len(by_settings) > 1:
        raise OutputsError(
            f"{folder}: runs were made with {len(by_settings)} different settings, versions or "
            f"weights, such as {'; '.join(sorted(by_settings.values()))}.",
            hint="Run the participant level once more with one set of options.",
        )
    return found


def model_series(scan: EmbeddedScan) -> ParcelSeries:
    """Read the series that the encoder saw: (T, 457) at its TR, normalized."""
    meta, values = _parcels(scan, names.MODEL, Normalization=str)
    return ParcelSeries(
        values=values,
        tr_s=float(meta["RepetitionTime"]),
        unit=meta["Normalization"],
        start_s=float(meta["StartTime"]),
    )


def denoised_series(scan: EmbeddedScan) -> ParcelSeries:
    """Read the series before resampling: (T, 457) at the scan's TR, with its measured frames."""
    meta, values = _parcels(scan, names.DENOISED)
    return ParcelSeries(
        values=values,
        tr_s=float(meta["RepetitionTime"]),
        unit="residual",
        start_s=float(meta["StartTime"]),
        kept=kept_frames(scan.file(f"{names.OUTLIERS}.tsv"), n_frames=len(values)),
    )


def _parcels(scan: EmbeddedScan, ending: str, **needs: type) -> tuple[dict[str, Any], FloatArray]:
    """Read a (T, 457) series and its sidecar."""
    columns, values = scan.numbers(f"{ending}.tsv")
    meta = scan.metadata(f"{ending}.json", RepetitionTime=float, StartTime=float, **needs)
    path = scan.file(f"{ending}.tsv")
    with _damaged():
        if tuple(columns) != parcel_names():
            raise FileError(path, f"its columns are not the {len(parcel_names())} parcels")
    return meta, values.astype(np.float32)


def kept_frames(outliers: Path, *, n_frames: int) -> BoolArray:
    """Tell which frames of a denoised series were measured, from the table beside it.

    Parameters
    ----------
    outliers
        ``<source>_outliers.tsv``: a row per acquired volume, with ``dropped`` and
        ``interpolated``.
    n_frames
        Frames of the series, which holds the volumes that were not dropped.

    Returns
    -------
    (T,) false where a frame was interpolated.

    Raises
    ------
    OutputsError
        The table is damaged, or of another series.
    """
    with faults_as(OutputsError, what="not as docs/outputs.md says"):
        table = read_cells(outliers)
        if not {names.DROPPED, names.INTERPOLATED} <= set(table.header):
            raise FileError(outliers, f"no column {names.DROPPED} or {names.INTERPOLATED}")
    rows = [row for row in table.by_name() if row[names.DROPPED] == "0"]
    kept = np.array([row[names.INTERPOLATED] == "0" for row in rows], dtype=bool)
    if len(kept) != n_frames:
        raise OutputsError(
            f"{outliers}: {len(kept)} volumes used, the series has {n_frames} frames.",
            hint="Both must come from the same run.",
        )
    return kept


def _number(cell: str) -> float:
    return float("nan") if cell == "n/a" else float(cell)


def _damaged() -> AbstractContextManager[None]:
    return faults_as(
        OutputsError,
        what="absent or damaged",
        hint="Delete this run's files and run the participant level again; it redoes only these.",
    )
