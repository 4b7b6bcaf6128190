"""What the header of an image claims, refused where it cannot be; nothing is allocated for it.

nibabel repairs or ignores much of what is wrong with a header. Here it ends the scan with a
reason, since numbers of a damaged file look like numbers.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.files.faults import EMPTY, FileError, faults_of

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 540
"""Of a NIfTI-2 header, the longer of the two"""
MOST_HEADER_BYTES = 1 << 26
"""Header with its extensions, at most; that of 170,494 grayordinates has 2 MB"""
MOST_VOXELS = 1 << 26
"""Of a volume, at most; a head in voxels of 0.5 mm has about as many"""
MOST_VOLUMES = 1 << 16
"""Two hours at ten volumes a second"""
_KINDS_OF_NUMBERS = "iuf"
_LARGEST_NUMBER = 8
"""Bytes; float128 is another type on every processor"""
_ORIENTATION_CODES = range(6)
_INTENTS_OF_CIFTI = range(3000, 3100)
_EXTENSION_BYTES = 12
"""Four that say whether there is one, its size and its code"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """What a header says, as far as that is possible."""

    nibabel: Any
    """The same, as nibabel has it: for orientation and times"""
    shape: tuple[int, ...]
    """As stored; four empty axes precede those of CIFTI"""
    dtype: np.dtype[Any]
    offset: int
    """Bytes before the values, in their file"""
    slope: float
    inter: float
    """A value is ``slope * stored + inter``"""
    is_cifti: bool

    def scaled(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Apply slope and intercept to stored values, or to their means, such as (T, P)."""
        if (self.slope, self.inter) == (1, 0):
            return stored
        return np.asarray(stored * self.slope + self.inter)

    @property
    def byte_order(self) -> str:
        """Of the numbers in the header: ``<`` or ``>``."""
        return str(self.nibabel.endianness)

    @property
    def first_extension(self) -> int:
        """Where extensions begin in a file that holds header and values."""
        return int(self.nibabel.single_vox_offset)

    @property
    def stored_zero(self) -> float:
        """What is stored where the value is zero."""
        return -self.inter / self.slope

    @property
    def is_dense_series(self) -> bool:
        """Whether its axes are those of a CIFTI matrix of two, such as volumes by places."""
        return self.is_cifti and len(self.shape) == 6 and math.prod(self.shape[:4]) == 1

    @property
    def n_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def parts(self) -> tuple[int, str]:
        """Number of the parts in which the values lie one after the other, and their name."""
        if self.is_dense_series:
            return self.shape[5], f"grayordinates of {self.shape[4]} volumes"
        n_voxels = math.prod(self.shape[:3])
        return math.prod(self.shape[3:]), f"volumes of {n_voxels} voxels"

    @property
    def claim(self) -> str:
        """What it says is in the file, in words."""
        count, name = self.parts
        return f"{count} {name} ({self.n_bytes} bytes)"

    @property
    def n_frames(self) -> int | None:
        """Volumes of a series; None where the image has another number of axes."""
        axis = {4: 3, 6: 4}.get(len(self.shape))
        return None if axis is None else self.shape[axis]


def parse_header(path: Path, block: bytes, *, single: bool) -> Header:
    """Read a header from the first `BLOCK_BYTES` of a file.

    Parameters
    ----------
    path
        For errors.
    single
        The values follow in the same file.

    Raises
    ------
    FileError
        There is no NIfTI header, or it claims what cannot be.
    """
    import nibabel as nib

    kinds = (nib.Nifti2Header, nib.Nifti1Header)
    kind: Any = next((kind for kind in kinds if kind.may_contain_header(block)), None)
    if kind is None:
        raise FileError(path, "no NIfTI header" if block else EMPTY)
    whole, block = block, block[: kind.sizeof_hdr]
    order = _byte_order(path, block, size=kind.sizeof_hdr)
    with faults_of(path, "the header cannot be read"):
        raw = kind(block, endianness=order, check=False)
    is_cifti = kind is nib.Nifti2Header and int(raw["intent_code"]) in _INTENTS_OF_CIFTI
    least = kind.single_vox_offset if single else 0
    slope, inter = _scale(path, raw)
    _check_orientation(path, raw)
    shape, dtype, offset = _shape(path, raw), _dtype(path, raw), _offset(path, raw, least=least)
    if single and kind is nib.Nifti1Header:  # those of NIfTI-2 begin behind this block
        _check_extension(path, whole[kind.sizeof_hdr :], order, room=offset - least)
    with faults_of(path, "the header cannot be read"):
        repaired = kind(block, endianness=order, check=True)
    return Header(
        nibabel=repaired,
        shape=shape,
        dtype=dtype,
        offset=offset,
        slope=slope,
        inter=inter,
        is_cifti=is_cifti,
    )


def affine_of(path: Path, header: Header) -> npt.NDArray[np.float64]:
    """Return (4, 4) voxel indices to millimetres.

    Raises
    ------
    FileError
        The header says nothing about it, or what cannot be.
    """
    found = header.nibabel
    if not (found["sform_code"] or found["qform_code"]):
        raise FileError(
            path,
            "the header does not say where the voxels lie (sform and qform code 0)",
            hint="Left and right cannot be told apart; use the image as fMRIPrep wrote it.",
        )
    with faults_of(path, "the header's orientation cannot be read"):
        affine = np.array(found.get_best_affine(), dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise FileError(path, f"the affine is singular or not finite: {affine.tolist()}")
    return affine


def time_unit(path: Path, header: Header) -> str:
    """Name the unit of the repetition time: ``sec``, ``msec``, ``usec``, ``unknown``, or another.

    Raises
    ------
    FileError
        The header has a code that stands for nothing.
    """
    from nibabel.nifti1 import unit_codes

    code = int(header.nibabel["xyzt_units"])
    if not {code % 8, code - code % 8} <= unit_codes.value_set():
        raise FileError(path, f"no units have the code {code}")
    return str(header.nibabel.get_xyzt_units()[1])


def _byte_order(path: Path, block: bytes, *, size: int) -> str:
    """Tell it by the one number that every header begins with; nibabel goes by ``dim``."""
    found = block[:4]
    if int.from_bytes(found, "little") == size:
        return "<"
    if int.from_bytes(found, "big") == size:
        return ">"
    raise FileError(path, f"the header begins with {found.hex()}; expected {size}, its length")


def _shape(path: Path, raw: Any) -> tuple[int, ...]:
    n_axes, *lengths = (int(length) for length in raw["dim"])
    if not 1 <= n_axes <= 7:
        raise FileError(path, f"the header announces {n_axes} axes (dim[0]); expected 1 to 7")
    shape = tuple(lengths[:n_axes])
    if min(shape) < 1:
        raise FileError(path, f"the header announces axes of lengths {shape}; expected 1 or more")
    # The last axis of CIFTI, its grayordinates, is bounded by the header that lists them.
    if math.prod(shape[:3]) > MOST_VOXELS or math.prod(shape[3:5]) > MOST_VOLUMES:
        raise FileError(
            path,
            f"the header announces axes of lengths {shape}; expected at most {MOST_VOXELS} "
            f"voxels and {MOST_VOLUMES} volumes",
        )
    return shape


def _dtype(path: Path, raw: Any) -> np.dtype[Any]:
    code, bits = int(raw["datatype"]), int(raw["bitpix"])
    with faults_of(path, f"data type {code} cannot be read"):
        dtype: np.dtype[Any] = raw.get_data_dtype()
    if dtype.kind not in _KINDS_OF_NUMBERS or dtype.itemsize > _LARGEST_NUMBER:
        raise FileError(
            path,
            "expected integers or real numbers of at most 64 bits, found data type "
            f"{'RGB' if dtype.kind == 'V' else dtype} (code {code})",
        )
    if bits != 8 * dtype.itemsize:
        raise FileError(path, f"data type {dtype} does not have {bits} bits, as the header says")
    return dtype


def _offset(path: Path, raw: Any, *, least: int) -> int:
    found = float(raw["vox_offset"])
    if not (least <= found <= MOST_HEADER_BYTES and found.is_integer()):
        raise FileError(
            path,
            f"the header says that the values begin at byte {found:g} (vox_offset); expected a "
            f"whole number from {least} to {MOST_HEADER_BYTES}",
        )
    return int(found)


def _check_extension(path: Path, behind: bytes, order: str, *, room: int) -> None:
    """Refuse a first extension that would reach into the values."""
    if len(behind) < _EXTENSION_BYTES or not behind[0]:
        return
    _, size = struct.unpack_from(f"{order}4si", behind)
    if not _EXTENSION_BYTES - 4 <= size <= room:
        raise FileError(
            path,
            f"the header announces an extension of {size} bytes; before the values are {room}",
        )


def _scale(path: Path, raw: Any) -> tuple[float, float]:
    """Return slope and intercept; 0 and NaN say that there are none, as nibabel has it."""
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise FileError(path, f"values are scaled by {slope:g} and moved by {inter:g}")
    return slope, inter


def _check_orientation(path: Path, raw: Any) -> None:
    for name in ("sform_code", "qform_code"):
        if int(raw[name]) not in _ORIENTATION_CODES:
            raise FileError(path, f"the header's {name} is {int(raw[name])}; expected 0 to 5")
