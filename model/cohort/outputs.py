"""What the app wrote for each scan, as arrays: embeddings and the series the encoder saw.

Reads only what docs/outputs.md promises, and only files that are what the scan's status says;
for the group level and for evaluation, which need no images.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.cohort import names
from model.cohort.record import ScanRecord, read_record
from model.errors import SemantoksError, numbered
from model.files.arrays import read_array
from model.files.faults import FileError, faults_as, faults_of, reading
from model.files.read import read_json
from model.files.tables import LARGEST_TABLE, read_cells
from model.files.write import Digest
from model.networks import parcel_names
from model.partition.groups import NAME
from model.series import ParcelSeries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from model.series import BoolArray, FloatArray

log = logging.getLogger(__name__)

_EMBEDDING = {
    "Model": dict,
    "EmbeddingDimension": int,
    "Parts": dict,
    "ScanVector": list,
    "MissingNetworks": list,
    "Settings": dict,
}
"""Needed in the sidecar of a scan embedding, and of which kind."""


class OutputsError(SemantoksError):
    """A folder is not what the app writes, or damaged."""


class Harmonization(NamedTuple):
    """What was done to a table of a cohort from which the effects of sites were taken."""

    column: str
    """Of the sites"""
    split_sha256: str | None
    """Of the table of the split whose training people it was learned from; None: from everybody"""


def harmonization_in(sidecar: Mapping[str, Any]) -> Harmonization | None:
    """Return what the sidecar of a cohort's table says of effects of sites; None: they are in."""
    said = sidecar.get("Harmonization")
    if not isinstance(said, dict):
        return None
    split = said.get("SplitSHA256")
    return Harmonization(str(said.get("SiteColumn")), split if isinstance(split, str) else None)


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

    def content(self, ending: str) -> bytes:
        """Read one of its files, which is still what was written with the status.

        Raises
        ------
        FileError
            It is gone, or was edited, cut short or replaced.
        """
        path = self.file(ending)
        written = self.record.outputs.get(path.name)
        if written is None:
            raise FileError(path, "the status of its scan does not list it")
        with reading(path):
            n_bytes = path.stat().st_size
            content = path.read_bytes() if n_bytes == written.size <= LARGEST_TABLE else b""
        if Digest.of(content) != written:
            found = (
                f"{n_bytes} bytes, not {written.size}" if n_bytes != written.size else "changed"
            )
            raise FileError(path, f"not the file that its scan's status describes ({found})")
        return content

    def metadata(self, ending: str, **needs: type) -> dict[str, Any]:
        """Read one of its JSON files; the needed keys are there, and of their kinds."""
        with _damaged():
            return self._metadata(ending, needs)

    def embedding(self) -> tuple[FloatArray, dict[str, Any]]:
        """Read the embedding of the whole scan, and check that it can be one.

        Returns
        -------
        (C,) float32 in the order of the sidecar's ``Parts``, NaN where a network is missing; and
        what the sidecar says.

        Raises
        ------
        FileError
            Table or sidecar is not what was written with the status, or they contradict one
            another.
        """
        meta = self._metadata(f"{names.SCAN}.json", _EMBEDDING)
        path, content = self.file(f"{names.SCAN}.tsv"), self.content(f"{names.SCAN}.tsv")
        header, *lines = content.split(b"\n")
        parts, dim = tuple(meta["Parts"]), meta["EmbeddingDimension"]
        n_parts = len(parts)
        if parts[:2] != names.WHOLE or not all(re.fullmatch(NAME, part) for part in parts):
            raise FileError(
                self.file(f"{names.SCAN}.json"), "not an embedding's", place="key Parts"
            )
        # Compared by number first: a dimension that nobody has would take for ever to spell.
        if header.count(b"\t") + 1 != n_parts * dim or header != _header(parts, dim):
            raise FileError(path, f"its columns are not those of {dim} dimensions")
        if len(lines) != 2 or lines[1] or lines[0].count(b"\t") != header.count(b"\t"):
            raise FileError(path, f"expected 1 row of {n_parts * dim} columns")
        with faults_of(path, "not a table of numbers"):
            cells = map(float, lines[0].replace(b"n/a", b"nan").split(b"\t"))
            with np.errstate(over="ignore"):  # infinite then, which is told below
                values: FloatArray = np.array([*cells]).astype(np.float32)
        by_part = values.reshape(n_parts, dim)
        gone: BoolArray = np.asarray(np.isnan(by_part).all(axis=1))
        if not (gone | np.isfinite(by_part).all(axis=1)).all():
            raise FileError(path, "holds infinite values, or a network that is missing in part")
        if gone[: len(names.WHOLE)].any():
            raise FileError(path, "holds no embedding, only missing values")
        lacking = [part for part, is_gone in zip(parts, gone, strict=True) if is_gone]
        if lacking != meta["MissingNetworks"]:
            found = ", ".join(lacking) or "none"
            raise FileError(path, f"the missing networks, {found}, are not those of its sidecar")
        return values, meta

    def tokens(self) -> FloatArray:
        """Read the (W, N, K, D) tokens of its windows; NaN where a token saw no data.

        Raises
        ------
        OutputsError
            They are not what was written with the status, or no array of this shape.
        """
        ending = f"{names.TOKENS}.npy"
        with _damaged():
            path = self.file(ending)
            found = read_array(path, held=self.content(ending))
            if found.ndim != 4 or found.dtype != np.float32:
                raise FileError(path, f"expected 4 axes of float32, found {found.shape}")
        return np.asarray(found, np.float32)

    def _metadata(self, ending: str, needs: Mapping[str, type]) -> dict[str, Any]:
        path, held = self.file(ending), self.content(ending)
        content = read_json(path, needs={**needs, "ConfigurationHash": str}, held=held)
        found, own = content["ConfigurationHash"], self.record.configuration
        if found != own:
            raise FileError(
                path, f"is of configuration {found:.60}, the scan of {own:.60}",
                place="key ConfigurationHash",
            )  # fmt: skip
        return content

    def numbers(self, ending: str) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Read one of its tables of numbers: column names, and (rows, columns), NaN for n/a."""
        path = self.file(ending)
        with _damaged():
            header, cells = read_cells(path, held=self.content(ending))
            with faults_of(path):
                rows = [[_number(cell) for cell in row] for row in cells]
        return header, np.array(rows, dtype=np.float64).reshape(len(rows), len(header))


@cache
def _header(parts: tuple[str, ...], dim: int) -> bytes:
    return "\t".join(names.embedding_columns(dim, parts)).encode()


def read_records(
    folder: Path, statuses: Iterable[Path]
) -> Iterator[tuple[Path, ScanRecord | FileError]]:
    """Read the statuses of an output folder, each with what it says or what is wrong with it.

    A status speaks for a scan once, and from where the scan's files lie.
    """
    seen: dict[frozenset[tuple[str, str]], Path] = {}
    for path in statuses:
        try:
            record = read_record(path)
            place = folder / names.folder_of(record.entities)
            if path.parent != place:
                raise FileError(
                    path,
                    f"lies elsewhere than its scan, which is one of {place.relative_to(folder)}",
                )
            first = seen.setdefault(frozenset(record.entities.items()), path)
            if first is not path:
                raise FileError(path, f"is of the same scan as {first.name}")
        except FileError as fault:
            yield path, fault
        else:
            yield path, record


def excluded_scans(folder: Path) -> dict[str, str]:
    """Return why the last call of the group level left scans out, by their names.

    Raises
    ------
    FileError
        What that call wrote about all scans cannot be read.
    """
    path = folder / f"{names.GROUP_STATUS}.json"
    if not path.exists():
        return {}
    found = read_json(path).get(names.EXCLUDED, {})
    if not isinstance(found, dict) or not all(isinstance(why, str) for why in found.values()):
        raise FileError(path, "expected a reason by scan", place=f"key {names.EXCLUDED}")
    return found


def embedded_scans(folder: Path) -> list[EmbeddedScan]:
    """List the scans of an output folder whose status is ``embedded``, in order of their names.

    Without those that the group level was told to leave out, which is logged.

    Raises
    ------
    OutputsError
        There is none, one is damaged, or they were made with different settings.
    """
    found = []
    with _damaged():
        excluded = excluded_scans(folder)
    for path, record in read_records(folder, sorted(folder.glob(names.STATUSES))):
        if isinstance(record, FileError):
            with _damaged():
                raise record
        is_excluded = names.scan_name(names.identifiers(record.entities)) in excluded
        if record.status == "embedded" and not is_excluded:
            found.append(EmbeddedScan(status_path=path, record=record))
    if not found:
        raise OutputsError(
            f"{folder}: no embedded run ({names.STATUSES}) found.",
            hint="Name the output folder of semantoks or semantoks series.",
        )
    if excluded:
        log.warning(
            "%s: %s left out, as %s.json says (--exclude-scans of the group level)",
            folder, numbered(len(excluded), "scan"), names.GROUP_STATUS,
        )  # fmt: skip
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
        kept=_kept_frames(scan, n_frames=len(values)),
    )


def _kept_frames(scan: EmbeddedScan, *, n_frames: int) -> BoolArray:
    with _damaged():
        held = scan.content(f"{names.OUTLIERS}.tsv")
    return kept_frames(scan.file(f"{names.OUTLIERS}.tsv"), n_frames=n_frames, held=held)


def _parcels(scan: EmbeddedScan, ending: str, **needs: type) -> tuple[dict[str, Any], FloatArray]:
    """Read a (T, 457) series and its sidecar."""
    columns, values = scan.numbers(f"{ending}.tsv")
    meta = scan.metadata(f"{ending}.json", RepetitionTime=float, StartTime=float, **needs)
    path = scan.file(f"{ending}.tsv")
    with _damaged():
        if tuple(columns) != parcel_names():
            raise FileError(path, f"its columns are not the {len(parcel_names())} parcels")
    return meta, values.astype(np.float32)


def kept_frames(outliers: Path, *, n_frames: int, held: bytes | None = None) -> BoolArray:
    """Tell which frames of a denoised series were measured, from the table beside it.

    Parameters
    ----------
    outliers
        ``<source>_outliers.tsv``: a row per acquired volume, with ``dropped`` and
        ``interpolated``.
    n_frames
        Frames of the series, which holds the volumes that were not dropped.
    held
        What the file holds, of a caller who has read it already.

    Returns
    -------
    (T,) false where a frame was interpolated.

    Raises
    ------
    OutputsError
        The table is damaged, or of another series.
    """
    with faults_as(OutputsError, what="not as docs/outputs.md says"):
        table = read_cells(outliers, held=held)
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
