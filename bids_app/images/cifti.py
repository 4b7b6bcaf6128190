"""CIFTI series: what the header says, and their values in one forward pass over the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError
from bids_app.images.stream import DAMAGE, open_image_file

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 1 << 22
"""Read at a time: whole series of some thousand grayordinates; working copies are larger."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CiftiFile:
    """An open dense series: what its header says; the values stay in the file."""

    path: Path
    stream: io.BufferedIOBase
    """Closed with this object"""
    n_frames: int
    axis: Any
    """nibabel's ``BrainModelAxis``: structure and vertex or voxel of the G grayordinates"""
    tr_header_s: float | None
    """None where the step of the series is zero or not finite"""
    dtype: np.dtype[Any]
    offset: int
    """Bytes before the values, which are stored series by series"""
    slope: float = 1.0
    inter: float = 0.0
    """A value is ``slope * stored + inter``"""

    def __del__(self) -> None:
        self.stream.close()


def open_cifti(path: Path) -> CiftiFile:
    """Open a ``.dtseries.nii`` file and read its header.

    Raises
    ------
    ScanError
        The file is absent, unreadable, not a CIFTI-2 series over grayordinates, or does not
        run in time.
    """
    import nibabel as nib

    stream, image = open_image_file(
        path, kind="a CIFTI file", hint="Copy the file again, or rerun fMRIPrep for this scan."
    )
    try:
        if not isinstance(image, nib.Cifti2Image) or len(image.shape) != 2:
            raise ScanError(
                f"{path}: expected a CIFTI-2 dense series, found {type(image).__name__}."
            )
        return _described(path, stream, image)
    except ScanError:
        stream.close()
        raise


def _described(path: Path, stream: io.BufferedIOBase, image: Any) -> CiftiFile:
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, SeriesAxis

    time, axis = (image.header.get_axis(i) for i in range(2))
    if not (isinstance(time, SeriesAxis) and isinstance(axis, BrainModelAxis)):
        raise ScanError(
            f"{path}: expected a series (time by grayordinates), found "
            f"{type(time).__name__} by {type(axis).__name__}."
        )
    if image.shape != (time.size, len(axis)) or 0 in image.shape:
        raise ScanError(
            f"{path}: the header announces {time.size} volumes of {len(axis)} grayordinates, "
            f"the matrix has {image.shape}."
        )
    if time.unit != "SECOND":
        raise ScanError(f"{path}: expected a series in seconds, found steps in {time.unit}.")
    stored = image.dataobj.dtype
    if stored.kind not in "iuf":
        raise ScanError(f"{path}: expected integers or real numbers, found data type {stored}.")
    step = float(time.step)
    return CiftiFile(
        path=path,
        stream=stream,
        n_frames=time.size,
        axis=axis,
        tr_header_s=step if np.isfinite(step) and step > 0 else None,
        dtype=stored,
        offset=int(image.dataobj.offset),
        slope=float(image.dataobj.slope),
        inter=float(image.dataobj.inter),
    )


def blocks(series: CiftiFile) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield blocks of whole series: number of the first grayordinate, (rows, T) stored values.

    One pass over the file; memory does not depend on its length. The next block overwrites the
    array: copy what must last longer than one step of the loop.

    Raises
    ------
    ScanError
        The file ends early or cannot be read.
    """
    per_row, n_rows = series.n_frames * series.dtype.itemsize, len(series.axis)
    buffer = bytearray(max(1, BLOCK_BYTES // per_row) * per_row)
    try:
        series.stream.seek(series.offset)
        for first in range(0, n_rows, len(buffer) // per_row):
            view = memoryview(buffer)[: (n_rows - first) * per_row]
            found = series.stream.readinto(view)
            if found < len(view):
                raise _truncated(series, first * per_row + found, n_rows * per_row)
            yield first, np.frombuffer(view, series.dtype).reshape(-1, series.n_frames)
    except DAMAGE as err:
        raise ScanError(f"{series.path}: the values cannot be read ({err}).") from err


def _truncated(series: CiftiFile, found: int, expected: int) -> ScanError:
    return ScanError(
        f"{series.path}: the file is truncated: expected {len(series.axis)} grayordinates of "
        f"{series.n_frames} volumes ({expected} bytes), found {found} bytes.",
        hint="Copy the file again, or rerun fMRIPrep for this scan.",
    )
