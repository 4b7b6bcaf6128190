"""What the app wrote for each run, as arrays: embeddings and the series the encoder saw.

Reads only what docs/outputs.md promises; for evaluation, which needs no images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.errors import SemantoksError
from model.files.fault import FileError, faults_as, reading
from model.files.read import read_json
from model.files.tables import read_cells
from model.networks import parcel_names
from model.series import ParcelSeries

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from model.series import BoolArray

ID_COLUMNS = {"sub": "participant_id", "ses": "session_id", "task": "task_id", "run": "run_id"}
"""Columns of the group table by entity; the others keep their entity's name."""


class OutputsError(SemantoksError):
    """A folder is not what the app writes, or damaged."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run that was embedded."""

    status_path: Path
    entities: dict[str, str]
    """As in the name of the source, such as ``{"sub": "01", "task": "rest"}``"""
    configuration: str
    """First part of its configuration hash: runs that differ in it must not be mixed"""

    @property
    def columns(self) -> dict[str, str]:
        """Identifying columns, as in the group table."""
        return {
            ID_COLUMNS.get(key, key): f"{key}-{value}" if key in ("sub", "ses") else value
            for key, value in self.entities.items()
            if key != "desc"
        }

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.status_path.name.removesuffix("_status.json")

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
            with reading(path):
                rows = [[_number(cell) for cell in row] for row in cells]
        return header, np.array(rows, dtype=np.float64).reshape(len(rows), len(header))


def embedded_runs(folder: Path) -> list[Run]:
    """List the runs of an output folder whose status is ``embedded``, in order of their names.

    Raises
    ------
    OutputsError
        There is none, one is damaged, or they were made with different settings.
    """
    found = []
    for path in sorted(folder.glob("sub-*/**/*_status.json")):
        with _damaged():
            needs = {"Status": str, "Entities": dict, "ConfigurationHash": str}
            record = read_json(path, needs=needs)
        if record["Status"] == "embedded":
            configuration = record["ConfigurationHash"].partition("-")[0]
            found.append(
                Run(
                    status_path=path,
                    entities=record["Entities"],
                    configuration=configuration,
                )
            )
    if not found:
        raise OutputsError(
            f"{folder}: no embedded run (sub-*/**/*_status.json) found.",
            hint="Name the output folder of semantoks or semantoks series.",
        )
    by_settings = {run.configuration: run.name for run in reversed(found)}
    if len(by_settings) > 1:
        raise OutputsError(
            f"{folder}: runs were made with {len(by_settings)} different settings, versions or "
            f"weights, such as {'; '.join(sorted(by_settings.values()))}.",
            hint="Run the participant level once more with one set of options.",
        )
    return found


def model_series(run: Run) -> ParcelSeries:
    """Read the series that the encoder saw: (T, 457) at its TR, normalized."""
    ending = "desc-model_timeseries"
    names, values = run.numbers(f"{ending}.tsv")
    meta = run.metadata(f"{ending}.json", RepetitionTime=float, Normalization=str, StartTime=float)
    path = run.file(f"{ending}.tsv")
    with _damaged():
        if tuple(names) != parcel_names():
            raise FileError(path, f"its columns are not the {len(parcel_names())} parcels")
    return ParcelSeries(
        values=values.astype(np.float32),
        tr_s=float(meta["RepetitionTime"]),
        unit=meta["Normalization"],
        start_s=float(meta["StartTime"]),
    )


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
    with faults_as(OutputsError, what="not as docs/outputs.md says"), reading(outliers):
        rows = [row for row in read_cells(outliers).by_name() if row["dropped"] == "0"]
        kept = np.array([row["interpolated"] == "0" for row in rows])
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
