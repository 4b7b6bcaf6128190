"""Image files, opened once: the header is read and the values are streamed from one handle."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.errors import ScanError

try:
    from isal.igzip import IGzipFile as GzipFile
    from isal.igzip_lib import IsalError
except ImportError:  # no build for this processor: the same bytes at half the speed
    from gzip import GzipFile

    IsalError = zlib.error

if TYPE_CHECKING:
    import io

DAMAGE = (OSError, EOFError, ValueError, IsalError, zlib.error)
"""What reading a damaged file raises."""


def open_stream(file: Path) -> io.BufferedIOBase:
    """Open a file for reading, decompressed as it goes if its name ends in ``.gz``."""
    if file.suffix.lower() != ".gz":
        return file.open("rb")
    stream: io.BufferedIOBase = GzipFile(file, "rb")
    return stream


def open_image_file(path: Path, *, kind: str, hint: str = "") -> tuple[io.BufferedIOBase, Any]:
    """Open an image and read its header.

    Parameters
    ----------
    path
        One file with header and values; of a pair (``.hdr``, ``.img``) either, which are opened
        once each.
    kind, hint
        What the file should be, and what helps if it is not, for the error.

    Returns
    -------
    The open file with the values, and nibabel's image, whose header is read.

    Raises
    ------
    ScanError
        The file is absent, or has no header that can be read.
    """
    from xml.parsers.expat import ExpatError

    from nibabel.cifti2.cifti2 import Cifti2HeaderError
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    if path.is_symlink() and not path.exists():
        raise ScanError(
            f"{path}: the link leads nowhere ({path.readlink()}).",
            hint="A git-annex file that was never fetched? Get it with: datalad get FILE",
        )
    damaged = (Cifti2HeaderError, ImageFileError, HeaderDataError, ExpatError)
    try:
        return _pair(path) if _is_pair(path) else _single(path)
    except (*DAMAGE, LookupError, *damaged) as err:
        raise ScanError(f"{path}: cannot be read as {kind} ({err}).", hint=hint) from err


def _is_pair(path: Path) -> bool:
    suffixes = {suffix.lower() for suffix in path.suffixes[-2:]}
    return not suffixes.isdisjoint({".hdr", ".img"})


def _pair(path: Path) -> tuple[io.BufferedIOBase, Any]:
    import nibabel as nib

    image: Any = nib.load(path)
    return open_stream(Path(image.dataobj.file_like)), image


def _single(path: Path) -> tuple[io.BufferedIOBase, Any]:
    import nibabel as nib

    stream = open_stream(path)
    try:
        block = stream.read(nib.Nifti2Header.sizeof_hdr)
        stream.seek(0)
        for kind in (nib.Cifti2Image, nib.Nifti2Image, nib.Nifti1Image):
            if kind.header_class.may_contain_header(block):
                return stream, kind.from_stream(stream)
    except BaseException:
        stream.close()
        raise
    stream.close()
    raise ValueError("no NIfTI header" if block else "the file is empty")


def count_frames(path: Path) -> int | None:
    """Read the number of frames from the first bytes; None where there is no good header."""
    import nibabel as nib
    from nibabel.spatialimages import HeaderDataError

    try:
        with open_stream(path) as stream:
            block = stream.read(nib.Nifti2Header.sizeof_hdr)
        kinds = (nib.Nifti1Header, nib.Nifti2Header)
        kind = next(kind for kind in kinds if kind.may_contain_header(block))
        shape = kind(block[: kind.sizeof_hdr], check=False).get_data_shape()
    except (*DAMAGE, StopIteration, HeaderDataError):
        return None  # told, with the cause, when the scan is read
    # A CIFTI matrix has four empty axes before frames and grayordinates.
    return int(shape[4 if len(shape) == 6 else 3]) if len(shape) in (4, 6) else None
