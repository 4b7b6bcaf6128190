"""Parcel series in the HDF5 layout of the published training: ``timeseries/<part>`` (n, P, T).

The parts are pieces of the label table in its order; a file may lack some. NaN at the end of time
is padding, ``long_subject_id`` names the subject of each row, ``ts_len``, if there, its frames.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model.files.faults import FileError, check_claim, faults_of, reading
from model.networks import N_CEREBELLUM, N_CORTEX, N_SUBCORTEX
from model.series import shown
from model.shards.hdf5_texts import variable_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.series import BoolArray, FloatArray

PARTS = {"schaefer400": N_CORTEX, "tian3": N_SUBCORTEX, "buckner7": N_CEREBELLUM}
"""Parcels of each part"""
_FAILURE = "not the published HDF5 layout"
_MOST_ROWS = 1 << 20
_LONGEST = 200
"""Bytes of a subject's name"""


class StoredRow(NamedTuple):
    """One series of a file."""

    values: FloatArray
    """(T, P) up to the last frame that is not padding; NaN where the file lacks a part"""
    provided: BoolArray
    """(P,) true where the file has the part"""
    declared_frames: int | None
    """What ``ts_len`` says, if it is there"""

    def __repr__(self) -> str:
        return shown(self)


@contextlib.contextmanager
def open_store(path: Path) -> Iterator[Any]:
    """Open a file for reading.

    Raises
    ------
    FileError
        It is absent, or no HDF5 file.
    """
    import h5py

    with reading(path, _FAILURE):
        store = h5py.File(path, "r")
    with store:
        yield store


def read_subjects(store: Any) -> list[str]:
    """Name the subject of each row.

    Raises
    ------
    FileError
        The file has another layout, or there are more names than series, or fewer.
    """
    path = Path(store.filename)
    labels = _dataset(store, "long_subject_id", n_axes=1)
    for name, part in _parts(store).items():
        if len(part) != len(labels):
            raise FileError(
                path,
                f"long_subject_id names {len(labels)} rows, timeseries/{name} has {len(part)}",
            )
    if len(labels) > _MOST_ROWS:
        raise FileError(path, f"found {len(labels)} rows, expected {_MOST_ROWS} at most")
    with faults_of(path, _FAILURE):
        if labels.dtype.kind == "O":
            return variable_texts(labels, longest=_LONGEST)
        if labels.dtype.itemsize > _LONGEST:
            raise ValueError(
                f"a text of {labels.dtype.itemsize} bytes, expected {_LONGEST} at most"
            )
        return [x.decode() if isinstance(x, bytes) else str(x) for x in labels[:]]


def read_row(store: Any, row: int) -> StoredRow:
    """Read one series.

    Raises
    ------
    FileError
        The file has another layout, none of the parts, or one of another size.
    """
    path = Path(store.filename)
    parts = _parts(store)
    n_frames = next(iter(parts.values())).shape[2]
    for name, part in parts.items():
        where = f"timeseries/{name}"
        if part.shape[1:] != (PARTS[name], n_frames):
            raise FileError(
                path,
                f"expected {PARTS[name]} parcels, found {part.shape[1]}; expected {n_frames} "
                f"frames, found {part.shape[2]}",
                place=where,
            )
        check_claim(path, 4 * PARTS[name] * n_frames, f"a row of {where}")
    with faults_of(path, _FAILURE), np.errstate(over="ignore"):
        blocks = {name: np.asarray(part[row], np.float32) for name, part in parts.items()}
        # Not ``in``, which follows links.
        told = store.id.links.exists(b"ts_len")
        declared = int(_dataset(store, "ts_len", n_axes=1)[row]) if told else None
    if declared is not None and not 0 <= declared <= n_frames:
        raise FileError(path, f"row {row}: ts_len says {declared} of {n_frames} frames")
    absent = {name: np.full((n, n_frames), np.nan, np.float32) for name, n in PARTS.items()}
    values = np.concatenate([(absent | blocks)[name] for name in PARTS]).T
    seen = np.flatnonzero(~np.isnan(values).all(axis=1))
    return StoredRow(
        values=values[: seen[-1] + 1 if seen.size else 0],
        provided=np.repeat([name in blocks for name in PARTS], list(PARTS.values())),
        declared_frames=declared,
    )


def _parts(store: Any) -> dict[str, Any]:
    """Return the datasets of those of `PARTS` that the file has."""
    path = Path(store.filename)
    with faults_of(path, _FAILURE):
        _refuse_link(store, "timeseries")
        there = set(store["timeseries"].keys())
    found = {n: _dataset(store, f"timeseries/{n}", n_axes=3) for n in PARTS if n in there}
    if not found:
        raise FileError(path, f"timeseries/ holds none of {', '.join(PARTS)}")
    return found


def _dataset(store: Any, name: str, *, n_axes: int) -> Any:
    """Return a dataset that lies in the file itself, and is as large as it says."""
    path = Path(store.filename)
    with faults_of(path, _FAILURE):
        _refuse_link(store, name)
        found = store[name]
        shape, kind = tuple(found.shape), found.dtype.kind
        elsewhere = found.external is not None or found.is_virtual
        stored = found.id.get_storage_size()
        piece = math.prod(found.chunks or (1,)) * found.dtype.itemsize
    if elsewhere:
        raise FileError(path, "its values lie in another file, which is not followed", place=name)
    if len(shape) != n_axes or kind not in ("iuf" if n_axes == 3 else "SOiuf"):
        raise FileError(
            path,
            f"expected {'numbers' if n_axes == 3 else 'a value for each row'} on {n_axes} axes, "
            f"found {found.dtype.str:.20} {shape}",
            place=name,
        )
    if math.prod(shape) and not stored:
        raise FileError(path, f"announces {shape} values and stores none", place=name)
    check_claim(path, piece, f"a piece of {name}")
    return found


def _refuse_link(store: Any, name: str) -> None:
    """Refuse links before HDF5 follows them, into whatever file."""
    import h5py

    group, _, last = name.rpartition("/")
    at = store[group] if group else store
    if at.id.links.get_info(last.encode()).type != h5py.h5l.TYPE_HARD:
        raise FileError(Path(store.filename), "is a link, which is not followed", place=name)
