"""Arrays of others in numpy's files: what a header announces is compared with the file."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from model.files.faults import FileError, check_claim, reading

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

_FAILURE = "not a readable numpy file"


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    start: int
    """Byte at which the values begin"""


def array_names(path: Path) -> tuple[str, ...]:
    """Name the arrays of an ``.npz``, in its order; a name may stand there twice.

    Raises
    ------
    FileError
        The file is no such archive.
    """
    with reading(path, _FAILURE), zipfile.ZipFile(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


def read_array(path: Path, *, number: int = 0, held: bytes | None = None) -> npt.NDArray[Any]:
    """Read an array of numbers, (N,) or of any shape, from an ``.npy`` or ``.npz``; read-only.

    Nothing is unpickled, and no memory is taken for what the file cannot hold.

    Parameters
    ----------
    number
        Which array of an archive, as `array_names` lists them.
    held
        What an ``.npy`` holds, of a caller who has read it already.

    Raises
    ------
    FileError
        The file is damaged, its header announces another size than there is, or it holds other
        things than numbers.
    """
    with reading(path, _FAILURE):
        if held is not None:
            return _array(path, io.BytesIO(held), len(held))
        if not zipfile.is_zipfile(path):
            with path.open("rb") as stream:
                return _array(path, stream, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            return _member(path, archive, archive.infolist()[number])


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of an ``.npz`` by name, opening it once.

    Raises
    ------
    FileError
        As `read_array`.
    """
    with reading(path, _FAILURE), zipfile.ZipFile(path) as archive:
        return {
            member.filename.removesuffix(".npy"): _member(path, archive, member)
            for member in archive.infolist()
        }


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    check_claim(path, member.file_size, f"array {member.filename!r:.60}")
    with archive.open(member) as stream:
        return _array(path, cast("BinaryIO", stream), member.file_size)


def map_array(path: Path) -> npt.NDArray[Any]:
    """Map an ``.npy`` (T, P) into memory, which is read from disk as it is used.

    Raises
    ------
    FileError
        As `read_array`.
    """
    with reading(path, _FAILURE):
        with path.open("rb") as stream:
            header = _header(path, stream, path.stat().st_size)
        return np.memmap(
            path,
            header.dtype,
            mode="r",
            offset=header.start,
            shape=header.shape,
            order="F" if header.is_fortran else "C",
        )


def _array(path: Path, stream: BinaryIO, n_bytes: int) -> npt.NDArray[Any]:
    header = _header(path, stream, n_bytes)
    content = stream.read(n_bytes - header.start)
    stream.read(1)  # where an archive compares its checksum
    values = np.frombuffer(content, header.dtype)
    return values.reshape(header.shape, order="F" if header.is_fortran else "C")


def _header(path: Path, stream: BinaryIO, n_bytes: int) -> _Header:
    """Read what stands before the values, and check it against the bytes there are."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # written for names of columns only, which an array of numbers does not have
        raise FileError(path, f"expected version 1 or 2 of numpy's format, found {version}")
    if dtype.kind not in "biuf":
        raise FileError(path, f"expected real numbers, found {dtype.str:.40}")
    start = stream.tell()
    announced = start + math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 1 or announced != n_bytes:
        raise FileError(
            path,
            f"the header announces {shape!s:.60} of {dtype} ({announced} bytes in all), "
            f"found {n_bytes} bytes",
        )
    return _Header(shape, is_fortran, dtype, start)
