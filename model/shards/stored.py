"""Parcel series of a cohort as memory-mapped shards: format, reader, checks.

A folder with ``shards.json`` (what the series are), ``index.tsv`` (one row per scan) and
``shard-00000.npy`` and so on: float32 (frames, 457), scans one after another. Series are
normalized over their whole scan and sampled as the encoder takes them; a parcel that is missing
is NaN in every frame of its scan.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from model.errors import SemantoksError
from model.files.arrays import map_array
from model.files.faults import FileError, faults_as, faults_of
from model.files.read import read_json
from model.files.settings import Strict, from_dict
from model.files.tables import read_cells
from model.files.write import file_sha256
from model.invocation.progress import counted
from model.networks import parcel_names
from model.series import ParcelSeries
from model.shards.subjects import read_lists
from model.spec import Normalization, parcels_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from model.series import FloatArray
    from model.shards.subjects import SubjectList
    from model.spec import InputSpec

DESCRIPTION, INDEX = "shards.json", "index.tsv"
FORMAT = "semantoks shards 1"
_SHARD = re.compile(r"shard-\d+\.npy")
"""No path: nothing outside the folder is read"""
SHOWN = 5
"""Examples in a message."""


class ShardError(SemantoksError):
    """Stored series are absent, damaged, or not what a run needs."""


@dataclass(frozen=True, kw_only=True)
class StoredScan:
    """One row of the index."""

    subject: str
    session: str
    """``n/a`` where the study has none"""
    scan: str
    """Unique name"""
    n_frames: int
    shard: str
    first_frame: int
    sha256: str
    """Of the scan's own bytes"""
    source: str

    def __str__(self) -> str:
        return f"{self.subject} {self.session} ({self.scan} in {self.shard})"


@dataclass(frozen=True, kw_only=True)
class ShardsDescription(Strict):
    """What all scans of a folder have in common."""

    format: str
    parcels_sha256: str
    tr_s: float
    normalization: Normalization
    made_from: str
    n_scans: int
    n_subjects: int
    excluded: dict[str, str]
    """Reason by scan, for those that were not stored"""
    index_sha256: str
    """Names all data: the index has the hash of every scan"""
    licence: str = "not stated"
    """Of the series, in words; goes into the card of what is learnt from them"""


class Shards:
    """Stored series, opened for reading; nothing is read before it is asked for.

    Parameters
    ----------
    folder
        As `write_shards` wrote it.

    Raises
    ------
    ShardError
        Not such a folder, for other parcels, or the index is not the one described.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description = _read_description(folder)
        with faults_as(ShardError):
            found = file_sha256(folder / INDEX)
        if found != self.description.index_sha256:
            raise ShardError(
                f"{folder / INDEX}: expected sha256 {self.description.index_sha256}, found "
                f"{found}.",
                hint="The index was changed or is damaged: write the shards again.",
            )
        self.scans = _read_index(folder / INDEX)
        self._maps: dict[str, npt.NDArray[np.float32]] = {}

    @cached_property
    def by_subject(self) -> dict[str, dict[str, list[StoredScan]]]:
        """Scans of each session of each subject, all in the order of their names."""
        found: dict[str, dict[str, list[StoredScan]]] = {}
        for scan in sorted(self.scans, key=lambda s: (s.subject, s.session, s.scan)):
            found.setdefault(scan.subject, {}).setdefault(scan.session, []).append(scan)
        return found

    def lists(self, files: Mapping[str, str]) -> dict[str, SubjectList]:
        """Read lists of subjects, by their files' names in the folder; as `read_lists`."""
        return read_lists({n: self.folder / file for n, file in files.items()}, self.by_subject)

    def refuse_unlike(self, spec: InputSpec) -> None:
        """Check that the series are what an encoder takes.

        Raises
        ------
        ShardError
            They have another TR or normalization.
        """
        kind = self.description
        if (kind.tr_s, kind.normalization) != (spec.tr_s, spec.normalization):
            raise ShardError(
                f"{self.folder}: expected TR {spec.tr_s} s and normalization "
                f"{spec.normalization}, found {kind.tr_s} and {kind.normalization}.",
                hint="Write shards for this input, or set input.normalization and input.tr_s.",
            )

    def series(self, scan: StoredScan) -> ParcelSeries:
        """Copy a whole scan, as the encoder takes it."""
        kind = self.description
        return ParcelSeries(values=self.read(scan), tr_s=kind.tr_s, unit=kind.normalization)

    def read(self, scan: StoredScan, *, start: int = 0, stop: int | None = None) -> FloatArray:
        """Copy frames (L, P) of a scan; NaN where a parcel is missing."""
        first = scan.first_frame
        last = first + (scan.n_frames if stop is None else stop)
        return np.array(self._map(scan)[first + start : last])

    def _map(self, scan: StoredScan) -> npt.NDArray[np.float32]:
        if scan.shard not in self._maps:
            path = self.folder / scan.shard
            with faults_as(ShardError, hint="Write the shards again."):
                found = map_array(path)
                if found.dtype != np.float32 or found.shape[1:] != (len(parcel_names()),):
                    raise FileError(
                        path,
                        f"expected float32 (frames, {len(parcel_names())}), found {found.dtype} "
                        f"{found.shape}",
                    )
            self._maps[scan.shard] = found
        return self._maps[scan.shard]

    def verify(self, scans: Iterable[StoredScan]) -> None:
        """Read scans whole and compare them with the index.

        Raises
        ------
        ShardError
            Names every scan that is not what was stored, or holds NaN in a part of its frames.
        """
        told = counted([*scans], f"checking scans in {self.folder.name}")
        problems = [f"{scan}: {what}" for scan in told for what in self._problems(scan)]
        if problems:
            raise ShardError(
                f"{self.folder}: {len(problems)} scans are damaged. "
                f"{'; '.join(problems[:SHOWN])}.",
                hint="Write the shards again; nothing was trained.",
            )

    def _problems(self, scan: StoredScan) -> Iterator[str]:
        values = self.read(scan)
        if values.shape[0] != scan.n_frames:
            yield f"expected {scan.n_frames} frames, found {values.shape[0]}"
        elif (found := hashlib.sha256(values.tobytes()).hexdigest()) != scan.sha256:
            yield f"expected sha256 {scan.sha256}, found {found}"
        else:
            nan = ~np.isfinite(values)
            if (nan.any(axis=0) & ~np.isnan(values).all(axis=0)).any() or nan.all():
                yield "holds NaN or infinity beside parcels that are missing throughout"


def _read_description(folder: Path) -> ShardsDescription:
    path = folder / DESCRIPTION
    hint = "semantoks-model shards writes one."
    with faults_as(ShardError, where=str(folder), what="not a folder of shards", hint=hint):
        content = read_json(path)
    description = from_dict(ShardsDescription, content, where=str(path))
    if (description.format, description.parcels_sha256) != (FORMAT, parcels_sha256()):
        raise ShardError(
            f"{path}: expected format {FORMAT!r} and label table {parcels_sha256()}, found "
            f"{description.format!r} and {description.parcels_sha256}.",
            hint="The shards are for another version of semantoks: write them again.",
        )
    return description


def _read_index(path: Path) -> tuple[StoredScan, ...]:
    with faults_as(ShardError, hint="Write the shards again."):
        rows = read_cells(path).by_name()
        with faults_of(path, "not an index of shards"):
            scans = tuple(
                StoredScan(
                    subject=row["subject"],
                    session=row["session"],
                    scan=row["scan"],
                    n_frames=int(row["n_frames"]),
                    shard=row["shard"],
                    first_frame=int(row["first_frame"]),
                    sha256=row["sha256"],
                    source=row["source"],
                )
                for row in rows
            )
        for scan in scans:
            if not _SHARD.fullmatch(scan.shard) or scan.n_frames < 1 or scan.first_frame < 0:
                where = f"scan {scan.scan:.60}"
                cause = "expected a shard of this folder and frames in it"
                raise FileError(
                    path,
                    f"{cause}, found {scan.shard!r:.60}, {scan.n_frames} from {scan.first_frame}",
                    place=where,
                )
    return scans
