"""Write parcel series as shards; the folder appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, astuple, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from model.files.write import file_sha256, new_folder, tsv_bytes
from model.shards.stored import (
    DESCRIPTION,
    FORMAT,
    INDEX,
    SHOWN,
    ShardError,
    ShardsDescription,
    StoredScan,
)
from model.spec import parcels_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from model.series import FloatArray, ParcelSeries
    from model.spec import InputSpec

SHARD_FRAMES = 70_000
"""A shard is closed once it holds this many frames: about 128 MB, which is what writing holds
in memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NewScan:
    """A scan to be stored, or the reason why it cannot be."""

    subject: str
    session: str
    scan: str
    source: str
    series: ParcelSeries | str
    """Normalized and at the wanted TR; text: why there is none"""


def write_shards(
    folder: Path,
    scans: Iterable[NewScan],
    spec: InputSpec,
    *,
    made_from: str,
    licence: str = "not stated",
    shard_frames: int = SHARD_FRAMES,
) -> ShardsDescription:
    """Store scans; the folder appears complete or not at all.

    Parameters
    ----------
    folder
        Must not exist.
    scans
        Read one at a time. Those shorter than a window of `spec` are left out, and listed with
        those that come with a reason.
    spec
        TR, normalization and window of the series.
    made_from
        Where they come from, in words.
    licence
        Of the series, in words.
    shard_frames
        Frames after which a shard is closed.

    Raises
    ------
    ShardError
        The folder exists, no scan can be stored, two have one name, or one has another TR or
        normalization.
    ResultError
        The folder cannot be written.
    """
    if folder.exists():
        raise ShardError(f"{folder} exists.", hint="Name a new folder; shards never change.")
    with new_folder(folder) as scratch:
        writer = _Writer(scratch, spec, shard_frames)
        for scan in scans:
            writer.add(scan)
        return writer.finish(made_from, licence)


class _Writer:
    """Collects scans to shards of about one size."""

    def __init__(self, folder: Path, spec: InputSpec, shard_frames: int) -> None:
        self.folder, self.spec, self.shard_frames = folder, spec, shard_frames
        self.rows: list[StoredScan] = []
        self.excluded: dict[str, str] = {}
        self.names: set[str] = set()
        self.pending: list[FloatArray] = []
        self.n_shards = 0

    def add(self, scan: NewScan) -> None:
        if scan.scan in self.names:
            raise ShardError(f"two scans are named {scan.scan}.", hint="Names must be unique.")
        self.names.add(scan.scan)
        if scan.subject.splitlines() != [scan.subject.strip()]:
            raise ShardError(
                f"{scan.source}: a subject named {scan.subject!r} cannot stand on a list.",
                hint="A name is one line, without blanks around it.",
            )
        reason = self._unusable(scan.series)
        if reason:
            self.excluded[scan.scan] = reason
            return
        assert not isinstance(scan.series, str)  # noqa: S101 - has no reason, so it is a series
        values = np.ascontiguousarray(scan.series.values, dtype=np.float32)
        self.rows.append(
            StoredScan(
                subject=scan.subject,
                session=scan.session,
                scan=scan.scan,
                n_frames=len(values),
                shard=f"shard-{self.n_shards:05d}.npy",
                first_frame=sum(map(len, self.pending)),
                sha256=hashlib.sha256(values.tobytes()).hexdigest(),
                source=scan.source,
            )
        )
        self.pending.append(values)
        if sum(map(len, self.pending)) >= self.shard_frames:
            self._close_shard()

    def _unusable(self, series: ParcelSeries | str) -> str:
        """Say why a scan cannot be used, or nothing; another kind of series is an error."""
        if isinstance(series, str):
            return series
        if (series.unit, series.tr_s) != (self.spec.normalization, self.spec.tr_s):
            raise ShardError(
                f"expected series normalized by {self.spec.normalization} at TR {self.spec.tr_s} "
                f"s, found {series.unit} at {series.tr_s} s."
            )
        if series.n_frames < self.spec.window_samples:
            return f"{series.n_frames} samples, a window has {self.spec.window_samples}"
        return "no parcel has a signal" if series.missing.all() else ""

    def _close_shard(self) -> None:
        np.save(self.folder / f"shard-{self.n_shards:05d}.npy", np.concatenate(self.pending))
        self.pending, self.n_shards = [], self.n_shards + 1

    def finish(self, made_from: str, licence: str) -> ShardsDescription:
        if self.pending:
            self._close_shard()
        if not self.rows:
            reasons = [f"{name}: {why}" for name, why in self.excluded.items()][:SHOWN]
            raise ShardError(
                f"no scan of {made_from} can be used. {'; '.join(reasons)}".rstrip() + "."
            )
        columns = [f.name for f in fields(StoredScan)]
        (self.folder / INDEX).write_bytes(tsv_bytes(columns, map(astuple, self.rows)))
        description = ShardsDescription(
            format=FORMAT,
            parcels_sha256=parcels_sha256(),
            tr_s=self.spec.tr_s,
            normalization=self.spec.normalization,
            made_from=made_from,
            n_scans=len(self.rows),
            n_subjects=len({row.subject for row in self.rows}),
            excluded=self.excluded,
            index_sha256=file_sha256(self.folder / INDEX),
            licence=licence,
        )
        text = json.dumps(asdict(description), indent=2) + "\n"
        (self.folder / DESCRIPTION).write_text(text, encoding="utf-8")
        return description
