"""Parcel series in the HDF5 layout of the published training: ``timeseries/<part>`` (n, P, T).

The parts are pieces of the label table in its order; a file may lack some. NaN at the end of time
is padding, ``long_subject_id`` names the subject of each row, ``ts_len``, if there, its frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model.networks import N_CEREBELLUM, N_CORTEX, N_SUBCORTEX
from model.series import shown

if TYPE_CHECKING:
    from pathlib import Path

    from model.series import BoolArray, FloatArray

PARTS = {"schaefer400": N_CORTEX, "tian3": N_SUBCORTEX, "buckner7": N_CEREBELLUM}
"""Parcels of each part"""


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


def open_store(path: Path) -> Any:
    """Open a file for reading; what h5py raises, these functions let through."""
    import h5py

    return h5py.File(path, "r")


def read_subjects(store: Any) -> list[str]:
    """Name the subject of each row.

    Raises
    ------
    ValueError
        There are more names than series, or fewer.
    """
    labels = store["long_subject_id"][:]
    for name in PARTS.keys() & store["timeseries"].keys():
        n_rows = len(store["timeseries"][name])
        if n_rows != len(labels):
            msg = f"long_subject_id names {len(labels)} rows, timeseries/{name} has {n_rows}"
            raise ValueError(msg)
    return [label.decode() if isinstance(label, bytes) else str(label) for label in labels]


def read_row(store: Any, row: int) -> StoredRow:
    """Read one series.

    Raises
    ------
    ValueError
        The file has none of the parts, or one of another size.
    """
    group = store["timeseries"]
    blocks = {name: np.asarray(group[name][row], np.float32) for name in PARTS if name in group}
    if not blocks:
        msg = f"timeseries/ holds none of {', '.join(PARTS)}"
        raise ValueError(msg)
    n_frames = next(iter(blocks.values())).shape[1]
    for name, block in blocks.items():
        if block.shape != (PARTS[name], n_frames):
            msg = (
                f"timeseries/{name} row {row}: expected {PARTS[name]} parcels, found "
                f"{block.shape[0]}; expected {n_frames} frames, found {block.shape[1]}"
            )
            raise ValueError(msg)
    absent = {name: np.full((n, n_frames), np.nan, np.float32) for name, n in PARTS.items()}
    values = np.concatenate([(absent | blocks)[name] for name in PARTS]).T
    seen = np.flatnonzero(~np.isnan(values).all(axis=1))
    return StoredRow(
        values=values[: seen[-1] + 1 if seen.size else 0],
        provided=np.repeat([name in blocks for name in PARTS], list(PARTS.values())),
        declared_frames=int(store["ts_len"][row]) if "ts_len" in store else None,
    )
