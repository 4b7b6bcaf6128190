"""CIFTI series: what the header says, and their values in one forward pass over the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.labels import load_image
from bids_app.errors import ScanError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 1 << 22
"""Read at a time: whole series of some thousand grayordinates; working copies are larger."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CiftiSeries:
    """Header of a dense series; the values stay in the file."""

    path: Path
    n_volumes: int
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


def open_cifti(path: Path) -> CiftiSeries:
    """Read the header of a ``.dtseries.nii`` file.

    Raises
    ------
    ScanError
        The file is absent, unreadable, not a CIFTI-2 series over grayordinates, or does not
        run in time.
    """
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, SeriesAxis

    image = _load(path)
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
    return CiftiSeries(
        path=path,
        n_volumes=time.size,
        axis=axis,
        tr_header_s=step if np.isfinite(step) and step > 0 else None,
        dtype=stored,
        offset=int(image.dataobj.offset),
        slope=float(image.dataobj.slope),
        inter=float(image.dataobj.inter),
    )


def count_volumes(path: Path) -> int:
    """Read the number of volumes from the first bytes, without the XML of the grayordinates.

    Raises
    ------
    ValueError
        There is no NIfTI-2 header.
    """
    import nibabel as nib

    size = nib.Nifti2Header.sizeof_hdr
    with path.open("rb") as file:
        block = file.read(size)
    if len(block) < size:
        msg = f"{path}: {len(block)} bytes are no NIfTI-2 header"
        raise ValueError(msg)
    shape = nib.Nifti2Header(block, check=False).get_data_shape()
    if len(shape) != 6:
        msg = f"{path}: shape {shape} is not that of a CIFTI matrix"
        raise ValueError(msg)
    return int(shape[4])


def blocks(series: CiftiSeries) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield blocks of whole series: number of the first grayordinate, (rows, T) stored values.

    One pass over the file; memory does not depend on its length. The next block overwrites the
    array: copy what must last longer than one step of the loop.

    Raises
    ------
    ScanError
        The file ends early or cannot be read.
    """
    per_row, n_rows = series.n_volumes * series.dtype.itemsize, len(series.axis)
    buffer = bytearray(max(1, BLOCK_BYTES // per_row) * per_row)
    try:
        with series.path.open("rb") as file:
            file.seek(series.offset)
            for first in range(0, n_rows, len(buffer) // per_row):
                view = memoryview(buffer)[: (n_rows - first) * per_row]
                found = file.readinto(view)
                if found < len(view):
                    raise _truncated(series, first * per_row + found, n_rows * per_row)
                yield first, np.frombuffer(view, series.dtype).reshape(-1, series.n_volumes)
    except OSError as err:
        raise ScanError(f"{series.path}: the values cannot be read ({err}).") from err


def _truncated(series: CiftiSeries, found: int, expected: int) -> ScanError:
    return ScanError(
        f"{series.path}: the file is truncated: expected {len(series.axis)} grayordinates of "
        f"{series.n_volumes} volumes ({expected} bytes), found {found} bytes.",
        hint="Copy the file again, or rerun fMRIPrep for this scan.",
    )


def _load(path: Path) -> Any:
    import nibabel as nib

    if path.is_symlink() and not path.exists():
        raise ScanError(
            f"{path}: the link leads nowhere ({path.readlink()}).",
            hint="A git-annex file that was never fetched? Get it with: datalad get FILE",
        )
    try:
        image = load_image(path)
    except ValueError as err:
        raise ScanError(
            f"{path}: cannot be read as a CIFTI file ({err}).",
            hint="Copy the file again, or rerun fMRIPrep for this scan.",
        ) from err
    if not isinstance(image, nib.Cifti2Image) or len(image.shape) != 2:
        raise ScanError(f"{path}: expected a CIFTI-2 dense series, found {type(image).__name__}.")
    return image
