"""BOLD images: what the header says, and their voxels in one forward pass over the file."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.labels import same_grid
from bids_app.errors import ScanError
from bids_app.images.header import affine_of, time_unit
from bids_app.images.stream import (
    ImageFile,
    closed_on_failure,
    open_image_file,
    pieces,
    scan_faults,
)
from model.files.shared_options import TR_LIMITS_S
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 21
"""Decompressed at a time: it is averaged while it lies in the processor's cache."""
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}


@dataclass(frozen=True, kw_only=True, eq=False)
class NiftiFile:
    """An open 4-D image: what its header says; the voxels stay in the file."""

    stored: ImageFile
    shape: tuple[int, int, int]
    """(X, Y, Z) as stored, in whatever orientation"""
    affine: npt.NDArray[np.float64]
    """(4, 4) voxel indices to millimetres"""
    n_frames: int
    tr_header_s: float | None
    """None where the header gives no repetition time, or one that means nothing"""

    __repr__ = shown

    @property
    def path(self) -> Path:
        """The file, as the user knows it."""
        return self.stored.path

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        return self.stored.header.dtype

    @property
    def block_voxels(self) -> int:
        """Voxels of a block, in the order of the file; the last of a volume may have fewer."""
        n_voxels = math.prod(self.shape)
        n_blocks = math.ceil(n_voxels * self.dtype.itemsize / BLOCK_BYTES)
        return math.ceil(n_voxels / n_blocks)


def open_nifti(path: Path) -> NiftiFile:
    """Open a 4-D NIfTI image (``.nii``, ``.nii.gz``, ``.hdr`` and ``.img``) and read its header.

    Raises
    ------
    ScanError
        The file is absent, unreadable, not a 4-D NIfTI image of real numbers, says nothing
        about its orientation, or cannot hold what its header claims.
    """
    stored = _open(path)
    with closed_on_failure(stored):
        return _described(stored)


def _described(stored: ImageFile) -> NiftiFile:
    path, header = stored.path, stored.header
    if len(header.shape) != 4:
        raise ScanError(
            f"{path}: expected a 4-D image (X, Y, Z, volumes), found shape {header.shape}.",
        )
    *grid, n_frames = header.shape
    with scan_faults():
        affine, unit = affine_of(path, header), time_unit(path, header)
    return NiftiFile(
        stored=stored,
        shape=(grid[0], grid[1], grid[2]),
        affine=affine,
        n_frames=n_frames,
        tr_header_s=_header_tr_s(float(header.nibabel["pixdim"][4]), unit),
    )


def blocks(image: NiftiFile) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
    """Yield the volumes in order, each in blocks of `NiftiFile.block_voxels`.

    One pass over the open file, decompressed as it goes; memory depends neither on the number
    of volumes nor on their size. The next block may overwrite the array: copy what must last.

    Yields
    ------
    Number of the volume, number of the block in it, and the block: (V,) voxels in Fortran
    order, as stored, that is before slope and intercept; read-only.

    Raises
    ------
    ScanError
        The file ends early or is corrupt.
    """
    n_voxels, itemsize = math.prod(image.shape), image.dtype.itemsize
    starts = range(0, n_voxels, image.block_voxels)
    sizes = [min(image.block_voxels, n_voxels - start) * itemsize for start in starts]
    for place, content in enumerate(pieces(image.stored, sizes * image.n_frames)):
        t, number = divmod(place, len(sizes))
        yield t, number, np.frombuffer(content, dtype=image.dtype)


def check_mask(path: Path, image: NiftiFile) -> None:
    """Refuse a brain mask that cannot be opened or lies on another grid; read no voxel.

    Raises
    ------
    ScanError
        Says which.
    """
    with _mask_of(path, image):
        pass


def load_mask(path: Path, image: NiftiFile) -> npt.NDArray[np.bool_]:
    """Load the brain mask of a scan: (X, Y, Z), true inside.

    Every value above zero counts as inside; more than two values (a soft mask) are worth a
    warning. Voxels that a generous mask adds are dropped later where they carry no signal.

    Raises
    ------
    ScanError
        Another grid than the BOLD image, negative or non-finite values, or nothing inside.
    """
    with _mask_of(path, image) as mask:
        (content,) = pieces(mask, [mask.header.n_bytes])
    stored = np.frombuffer(content, mask.header.dtype).reshape(image.shape, order="F")
    values = mask.header.scaled(stored)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ScanError(
            f"{path}: expected a mask of zeros and ones, found negative or NaN values."
        )
    inside: npt.NDArray[np.bool_] = values > 0
    if not inside.any():
        raise ScanError(f"{path}: the mask is empty: no voxel of {inside.size} is inside.")
    if (values != inside * values.max()).any():
        found = np.unique(values)
        log.warning("%s: not binary (%d values); all above zero is inside", path, found.size)
    return inside


@contextmanager
def _mask_of(path: Path, image: NiftiFile) -> Iterator[ImageFile]:
    """Open a mask whose header says that it lies on the grid of an image."""
    mask = _open(path)
    with mask.stream:
        header = mask.header
        shape = header.shape[:3] if header.shape[3:] == (1,) else header.shape
        with scan_faults():
            affine = affine_of(path, header)
        if not same_grid(shape, affine, image.shape, image.affine):
            raise ScanError(
                f"{path}: the mask lies on another grid than the BOLD image {image.path.name}: "
                f"expected shape {image.shape} and affine {image.affine.round(3).tolist()}, "
                f"found {shape} and {affine.round(3).tolist()}.",
                hint="Use the mask that fMRIPrep wrote beside this BOLD image.",
            )
        yield mask


def _open(path: Path) -> ImageFile:
    if path.suffix.lower() not in {".nii", ".gz", ".hdr", ".img"}:
        raise ScanError(f"{path}: expected .nii, .nii.gz or .hdr with .img.")
    image = open_image_file(path, kind="an image")
    if image.header.is_cifti:
        image.stream.close()
        raise ScanError(f"{path}: expected a NIfTI image of voxels, found a CIFTI file.")
    return image


def _header_tr_s(pixdim: float, unit: str) -> float | None:
    if not np.isfinite(pixdim) or pixdim <= 0:
        return None
    if unit in SECONDS_PER_UNIT:
        # Through the shortest decimal of the header's float32: 0.8, not 0.800000011920929.
        return float(str(np.float32(pixdim))) * SECONDS_PER_UNIT[unit]
    # 1.0 without a unit is what software writes that does not know.
    if unit != "unknown" or pixdim == 1.0 or pixdim > TR_LIMITS_S[1]:
        return None
    return float(str(np.float32(pixdim)))
