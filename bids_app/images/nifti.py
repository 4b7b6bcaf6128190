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
from bids_app.images.stream import DAMAGE, open_image_file
from model.series import shown

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 21
"""Decompressed at a time: it is averaged while it lies in the processor's cache."""
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LONGEST_TR_S = 30.0
"""A number above this in a header without a time unit is not taken for seconds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NiftiFile:
    """An open 4-D image: what its header says; the voxels stay in the file."""

    path: Path
    stream: io.BufferedIOBase
    """The file with the voxels; closed with this object"""
    shape: tuple[int, int, int]
    """(X, Y, Z) as stored, in whatever orientation"""
    affine: npt.NDArray[np.float64]
    """(4, 4) voxel indices to millimetres"""
    offset: int
    """Bytes before the voxels"""
    dtype: np.dtype[Any]
    n_frames: int
    tr_header_s: float | None
    """None where the header gives no repetition time, or one that means nothing"""
    slope: float = 1.0
    inter: float = 0.0
    """A voxel's value is ``slope * stored + inter``"""

    __repr__ = shown

    @property
    def block_voxels(self) -> int:
        """Voxels of a block, in the order of the file; the last of a volume may have fewer."""
        n_voxels = math.prod(self.shape)
        n_blocks = math.ceil(n_voxels * self.dtype.itemsize / BLOCK_BYTES)
        return math.ceil(n_voxels / n_blocks)

    def __del__(self) -> None:
        self.stream.close()


def open_nifti(path: Path) -> NiftiFile:
    """Open a 4-D NIfTI image (``.nii``, ``.nii.gz``, ``.hdr`` and ``.img``) and read its header.

    Raises
    ------
    ScanError
        The file is absent, unreadable, not a 4-D NIfTI image of real numbers, or says nothing
        about its orientation.
    """
    stream, image = _open(path)
    try:
        return _described(path, stream, image)
    except ScanError:
        stream.close()
        raise


def _described(path: Path, stream: io.BufferedIOBase, image: Any) -> NiftiFile:
    header, stored = image.header, image.dataobj.dtype
    if len(image.shape) != 4 or 0 in image.shape:
        raise ScanError(
            f"{path}: expected a 4-D image (X, Y, Z, volumes), found shape {image.shape}.",
        )
    if stored.kind not in "iuf":
        raise ScanError(f"{path}: expected integers or real numbers, found data type {stored}.")
    return NiftiFile(
        path=path,
        stream=stream,
        shape=image.shape[:3],
        affine=_oriented_affine(image, path),
        offset=int(image.dataobj.offset),
        dtype=stored,
        n_frames=image.shape[3],
        tr_header_s=_header_tr_s(float(header["pixdim"][4]), header.get_xyzt_units()[1]),
        slope=float(image.dataobj.slope),
        inter=float(image.dataobj.inter),
    )


def blocks(image: NiftiFile) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
    """Yield the volumes in order, each in blocks of `NiftiFile.block_voxels`.

    One pass over the open file, decompressed as it goes; memory depends neither on the number
    of volumes nor on their size.

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
    t = 0
    try:
        image.stream.seek(image.offset)
        for t in range(image.n_frames):
            for number, (start, n_bytes) in enumerate(zip(starts, sizes, strict=True)):
                content = image.stream.read(n_bytes)
                if len(content) < n_bytes:
                    total = (t * n_voxels + start) * itemsize + len(content)
                    raise _truncated(image, f"found {t} whole ones ({total} bytes)")
                yield t, number, np.frombuffer(content, dtype=image.dtype)
        _check_end(image.stream)
    except EOFError as err:
        # isal holds back up to a piece of what stands before the cut: no exact place.
        where = f"the compressed file ends in volume {t} (counted from 0) or soon after"
        raise _truncated(image, where) from err
    except DAMAGE as err:
        raise ScanError(
            f"{image.path}: the image data are corrupt or cannot be read ({err}).",
            hint="Copy the file again, or rerun fMRIPrep for this scan.",
        ) from err


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
        try:
            values = np.asarray(mask.dataobj).reshape(image.shape)
        except DAMAGE as err:
            raise ScanError(f"{path}: the mask cannot be read ({err}).") from err
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
def _mask_of(path: Path, image: NiftiFile) -> Iterator[Any]:
    """Open a mask whose header says that it lies on the grid of an image."""
    stream, mask = _open(path)
    with stream:
        shape = mask.shape[:3] if mask.shape[3:] == (1,) else mask.shape
        if not same_grid(shape, _oriented_affine(mask, path), image.shape, image.affine):
            raise ScanError(
                f"{path}: the mask lies on another grid than the BOLD image {image.path.name}: "
                f"expected shape {image.shape} and affine {image.affine.round(3).tolist()}, "
                f"found {shape} and {mask.affine.round(3).tolist()}.",
                hint="Use the mask that fMRIPrep wrote beside this BOLD image.",
            )
        yield mask


def _open(path: Path) -> tuple[io.BufferedIOBase, Any]:
    """Open a NIfTI image; Any, since nibabel's classes are untyped here."""
    import nibabel as nib

    if path.suffix.lower() not in {".nii", ".gz", ".hdr", ".img"}:
        raise ScanError(f"{path}: expected .nii, .nii.gz or .hdr with .img.")
    stream, image = open_image_file(path, kind="an image")
    # Nifti1Pair is the base of all four NIfTI classes; CIFTI, MGH and Analyze are others.
    if not isinstance(image, nib.Nifti1Pair):
        stream.close()
        raise ScanError(f"{path}: expected a NIfTI image, found {type(image).__name__}.")
    return stream, image


def _oriented_affine(image: Any, path: Path) -> npt.NDArray[np.float64]:
    affine = np.array(image.affine, dtype=np.float64)
    if not (image.header["sform_code"] or image.header["qform_code"]):
        raise ScanError(
            f"{path}: the header does not say where the voxels lie (sform and qform code 0).",
            hint="Left and right cannot be told apart; use the image as fMRIPrep wrote it.",
        )
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ScanError(f"{path}: the affine is singular or not finite: {affine.tolist()}.")
    return affine


def _header_tr_s(pixdim: float, unit: str) -> float | None:
    if not np.isfinite(pixdim) or pixdim <= 0:
        return None
    if unit in SECONDS_PER_UNIT:
        # Through the shortest decimal of the header's float32: 0.8, not 0.800000011920929.
        return float(str(np.float32(pixdim))) * SECONDS_PER_UNIT[unit]
    # 1.0 without a unit is what software writes that does not know.
    if unit != "unknown" or pixdim == 1.0 or pixdim > LONGEST_TR_S:
        return None
    return float(str(np.float32(pixdim)))


def _check_end(stream: io.BufferedIOBase) -> None:
    """Read to the end, where gzip compares its checksum: a flipped bit must not pass."""
    while stream.read(BLOCK_BYTES):
        pass


def _truncated(image: NiftiFile, found: str) -> ScanError:
    return ScanError(
        f"{image.path}: the image is truncated: expected {image.n_frames} volumes of "
        f"{math.prod(image.shape)} voxels, {found}.",
        hint="Copy the file again, or rerun fMRIPrep for this scan.",
    )
