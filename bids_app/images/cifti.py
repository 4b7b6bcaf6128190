"""CIFTI series: what the header says, and their values in one forward pass over the file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError
from bids_app.images.stream import (
    ImageFile,
    closed_on_failure,
    open_image_file,
    pieces,
    scan_faults,
    whole_header,
)
from model.files.faults import FileError, faults_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 1 << 22
"""Read at a time: whole series of some thousand grayordinates; working copies are larger."""
CODE_OF_CIFTI = 32
"""Of the extension to a NIfTI-2 header"""
LEAST_BYTES_OF_A_PLACE = 2
"""In the header: a digit and what divides it from the next"""


FARTHEST_MM = 1e5
"""A number in an affine that is larger is none of a head's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CiftiFile:
    """An open dense series: what its header says; the values stay in the file."""

    stored: ImageFile
    """Its values lie series by series"""
    n_frames: int
    axis: Any
    """nibabel's ``BrainModelAxis``: structure and vertex or voxel of the G grayordinates"""
    tr_header_s: float | None
    """None where the step of the series is zero or not finite"""

    @property
    def path(self) -> Path:
        """The file, as the user knows it."""
        return self.stored.path

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.stored.header.dtype


def open_cifti(path: Path) -> CiftiFile:
    """Open a ``.dtseries.nii`` file and read its header.

    Raises
    ------
    ScanError
        The file is absent, unreadable, not a CIFTI-2 series over grayordinates, does not run in
        time, or cannot hold what its header claims.
    """
    stored = open_image_file(path, kind="a CIFTI file")
    header = stored.header
    with closed_on_failure(stored):
        if not header.is_dense_series:
            raise ScanError(
                f"{path}: expected a CIFTI-2 dense series, found a NIfTI image of shape "
                f"{header.shape}{' for CIFTI' if header.is_cifti else ''}."
            )
        with scan_faults(what="cannot be read as a CIFTI file"):
            time, axis = _axes(stored)
        return _described(stored, time, axis)


def _axes(stored: ImageFile) -> tuple[Any, Any]:
    """Return nibabel's axes of volumes and of grayordinates, of the matrix' own lengths."""
    from nibabel.cifti2.parse_cifti2 import Cifti2Parser

    path, n_places = stored.path, stored.header.shape[5]
    xml = _xml(stored)
    if n_places * LEAST_BYTES_OF_A_PLACE > len(xml):
        raise FileError(path, f"{len(xml)} bytes of XML cannot list {n_places} grayordinates")
    if b"<!DOCTYPE" in xml.replace(b"\0", b""):
        raise FileError(path, "its XML defines types or entities of its own")
    failure = "no CIFTI-2 header"
    with faults_of(path, failure):
        parser = Cifti2Parser()
        parser.parse(string=xml)
        found: Any = parser.header
        # Not nibabel's image, which makes arrays as long as the brain models say before that.
        models = [(m.index_offset, m.index_count) for m in found.get_index_map(1).brain_models]
    _check_models(path, models, n_places)
    with faults_of(path, failure):
        time, axis = (found.get_axis(i) for i in range(2))
    return time, axis


def _xml(stored: ImageFile) -> bytes:
    """Return the extension of the header that describes the matrix."""
    content, place = whole_header(stored), stored.header.first_extension
    layout = struct.Struct(f"{stored.header.byte_order}ii")
    while place + layout.size <= len(content):
        size, code = layout.unpack_from(content, place)
        if not layout.size <= size <= len(content) - place:
            break
        if code == CODE_OF_CIFTI:
            return content[place + layout.size : place + size].rstrip(b"\0")
        place += size
    raise FileError(stored.path, "its header describes no CIFTI matrix")


def _check_models(path: Path, models: list[tuple[int, int]], n_places: int) -> None:
    """Refuse brain models that overlap, leave gaps, or are more than there are values."""
    place = 0
    for offset, count in models:
        if offset != place or not 0 < count <= n_places - place:
            raise FileError(
                path,
                f"a brain model lists {count} grayordinates from number {offset} on; expected "
                f"the next from number {place} on, of {n_places}",
            )
        place += count


def _described(stored: ImageFile, time: Any, axis: Any) -> CiftiFile:
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, SeriesAxis

    path, shape = stored.path, stored.header.shape[4:]
    if not (isinstance(time, SeriesAxis) and isinstance(axis, BrainModelAxis)):
        raise ScanError(
            f"{path}: expected a series (time by grayordinates), found "
            f"{type(time).__name__} by {type(axis).__name__}."
        )
    if shape != (time.size, len(axis)):
        raise ScanError(
            f"{path}: the header announces {time.size} volumes of {len(axis)} grayordinates, "
            f"the matrix has {shape}."
        )
    if time.unit != "SECOND":
        raise ScanError(f"{path}: expected a series in seconds, found steps in {time.unit}.")
    if axis.volume_mask.any():
        _check_voxels(path, axis)
    step = float(time.step)
    return CiftiFile(
        stored=stored,
        n_frames=time.size,
        axis=axis,
        tr_header_s=step if np.isfinite(step) and step > 0 else None,
    )


def _check_voxels(path: Path, axis: Any) -> None:
    """Refuse voxels that lie nowhere, or outside the volume that the header describes."""
    size = np.asarray(axis.volume_shape)
    if not _is_affine(axis.affine) or size.shape != (3,):
        raise ScanError(f"{path}: the header does not say where its voxels lie.")
    voxels = axis.voxel[axis.volume_mask]
    outside = voxels[((voxels < 0) | (voxels >= size)).any(axis=1)]
    if outside.size:
        raise ScanError(
            f"{path}: the header lists voxel {tuple(outside[0].tolist())}, outside its volume of "
            f"{tuple(size.tolist())}."
        )


def _is_affine(found: Any) -> bool:
    return bool(
        isinstance(found, np.ndarray)
        and found.shape == (4, 4)
        and found.dtype.kind in "if"
        and np.abs(found).max() <= FARTHEST_MM  # nor where it is NaN
        and abs(np.linalg.det(found[:3, :3])) > 1e-9
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
    n_together = max(1, BLOCK_BYTES // per_row)
    firsts = range(0, n_rows, n_together)
    sizes = [min(n_together, n_rows - first) * per_row for first in firsts]
    for first, content in zip(firsts, pieces(series.stored, sizes), strict=True):
        yield first, np.frombuffer(content, series.dtype).reshape(-1, series.n_frames)
