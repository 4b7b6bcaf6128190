"""Image files, opened once: the header is checked against the file, the values are streamed."""

from __future__ import annotations

import contextlib
import os
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.errors import COPY_AGAIN, ScanError
from bids_app.images.header import BLOCK_BYTES, Header, parse_header
from model.files.faults import FileError, faults_of, reading
from model.invocation import interrupts
from model.invocation.progress import say_share

try:
    from isal.igzip import IGzipFile as GzipFile
except ImportError:  # no build for this processor: the same bytes at half the speed
    from gzip import GzipFile

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Piece = bytes | memoryview

PADDING_BYTES = 1 << 16
"""Zeros that may stand behind the values, fewer than a volume, to fill up a block"""
BLOCKS_BYTES = tuple(512 << k for k in range(8))
"""Such files end where one of these does."""
LARGEST_EXPANSION = 1032
"""Bytes that deflate makes of one, at most: 258 of two bits."""
LARGE_VOLUME_BYTES = 1 << 25
"""Larger volumes are met before memory is spent on their grid; 2 mm in float32 has 4 MB."""
_AHEAD_BYTES = 1 << 21


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFile:
    """An open image: its header, which agrees with the size of the file, and its values."""

    path: Path
    """As the user knows it"""
    header: Header
    stream: io.BufferedIOBase
    """The file with the values; closed with this object"""
    is_compressed: bool

    def __post_init__(self) -> None:
        # Not `__del__`: in a cycle, as a traceback makes, the file may be freed first and warn.
        weakref.finalize(self, self.stream.close)


def open_image_file(path: Path, *, kind: str) -> ImageFile:
    """Open an image, read its header, and compare its claims with the size of the file.

    Parameters
    ----------
    path
        One file with header and values; of a pair (``.hdr``, ``.img``) either, which are opened
        once each.
    kind
        What the file should be, for the error.

    Raises
    ------
    ScanError
        The file is absent, has no header that can be read, or cannot hold what that claims.
    """
    headers, values = _pair(path)
    failure = f"cannot be read as {kind}"
    with contextlib.ExitStack() as opened, scan_faults():
        with reading(values, failure):
            stream, size = opened.enter_context(open_stream(values)), values.stat().st_size
            block = stream.read(BLOCK_BYTES) if headers == values else b""
        if headers != values:
            block = _first_bytes(headers, failure)
        with scan_faults(what=failure):
            header = parse_header(headers, block, single=headers == values)
        image = ImageFile(
            path=path, header=header, stream=stream, is_compressed=_is_compressed(values)
        )
        _check_size(image, size)
        if image.is_compressed:
            _check_tail(image, size)
            _meet_large_volume(image)
        opened.pop_all()
    return image


@contextlib.contextmanager
def closed_on_failure(image: ImageFile) -> Iterator[None]:
    """Close an image that turns out not to be what it should."""
    try:
        yield
    except BaseException:
        image.stream.close()
        raise


def open_stream(file: Path) -> io.BufferedIOBase:
    """Open a file for reading, decompressed as it goes if its name ends in ``.gz``."""
    if not _is_compressed(file):
        return file.open("rb")
    stream: io.BufferedIOBase = GzipFile(file, "rb")
    return stream


def header_of(path: Path) -> Header:
    """Read the header of an image from the first bytes of its file.

    Raises
    ------
    ScanError
        The file is absent, or has no header that can be read.
    """
    headers, values = _pair(path)
    failure = "cannot be read as an image"
    with scan_faults():
        block = _first_bytes(headers, failure)
    with scan_faults(what=failure):
        return parse_header(headers, block, single=headers == values)


def count_frames(path: Path) -> int | None:
    """Read the number of frames from the first bytes; None where there is no good header."""
    try:
        return header_of(path).n_frames
    except ScanError:
        return None  # told, with the cause, when the scan is read


def whole_header(image: ImageFile) -> bytes:
    """Return all that stands before the values in their file: the header with its extensions.

    Raises
    ------
    ScanError
        The file cannot be read so far.
    """
    with scan_faults(), faults_of(image.path):
        image.stream.seek(0)
        return image.stream.read(image.header.offset)


def pieces(image: ImageFile, sizes: Sequence[int]) -> Iterator[Piece]:
    """Yield the values in pieces, of as many bytes as said, which are all of them together.

    One pass over the file, and to its end, where gzip compares its checksum: a flipped bit must
    not pass. The next piece may overwrite the one before; none can be written to.

    Raises
    ------
    ScanError
        The file ends early, is corrupt, or goes on behind the values.
    """
    buffer = memoryview(bytearray(0 if image.is_compressed else max(sizes)))
    done, total = 0, sum(sizes)
    with scan_faults(), faults_of(image.path):
        image.stream.seek(image.header.offset)
    for size in sizes:
        interrupts.check()
        with _values_of(image, done):
            if image.is_compressed:  # which copies once more into a buffer
                piece: Piece = image.stream.read(size)
            else:
                piece = buffer[: image.stream.readinto(buffer[:size])].toreadonly()
        done += len(piece)
        if len(piece) < size:
            raise _truncated(image, done)
        say_share(done / total)
        yield piece
    _check_end(image)


@contextlib.contextmanager
def scan_faults(*, what: str = "") -> Iterator[None]:
    """Turn a fault of an image's file into one of its scan.

    Raises
    ------
    ScanError
        With what helps.
    """
    try:
        yield
    except FileError as fault:
        raise ScanError(fault.sentence(what=what), hint=fault.hint or COPY_AGAIN) from fault


def _is_compressed(file: Path) -> bool:
    return file.suffix.lower() == ".gz"


def _first_bytes(path: Path, failure: str) -> bytes:
    with reading(path, failure), open_stream(path) as stream:
        return stream.read(BLOCK_BYTES)


def _pair(path: Path) -> tuple[Path, Path]:
    """Return the files with header and values; a pair is named by either."""
    stem, ending = path, ""
    if _is_compressed(path):
        stem, ending = path.with_suffix(""), path.suffix
    if stem.suffix.lower() not in {".hdr", ".img"}:
        return path, path
    names = (".HDR", ".IMG") if stem.suffix.isupper() else (".hdr", ".img")
    header, values = (stem.with_suffix(suffix + ending) for suffix in names)
    return header, values


def _check_size(image: ImageFile, size: int) -> None:
    header = image.header
    needed = header.offset + header.n_bytes
    if image.is_compressed:
        if needed > size * LARGEST_EXPANSION:
            raise FileError(
                image.path,
                f"the header announces {header.claim}, more than a compressed file of {size} "
                "bytes can hold",
            )
    elif size < needed:
        raise _truncated(image, max(0, size - header.offset))
    elif size > needed + PADDING_BYTES:
        raise _surplus(image, f"{size - header.offset} bytes")


def _check_tail(image: ImageFile, size: int) -> None:
    """Refuse a file that is zero at its end, as a copy is that was never finished."""
    if size <= PADDING_BYTES:
        return
    with reading(image.path):  # where the stream stands in the file stays as it is
        end = os.pread(image.stream.fileno(), PADDING_BYTES, size - PADDING_BYTES)
    if not end.strip(b"\0"):
        cause = f"its last {PADDING_BYTES} bytes are zero: a copy that broke off?"
        raise FileError(image.path, cause)


def _meet_large_volume(image: ImageFile) -> None:
    """Find out whether the file goes on for one volume, where that is a large one."""
    header = image.header
    left = header.n_bytes // header.parts[0]
    if header.is_cifti or left <= LARGE_VOLUME_BYTES:
        return
    done = 0
    with _values_of(image, 0):
        image.stream.seek(header.offset)
        while done < left and (found := len(image.stream.read(_AHEAD_BYTES))):
            done += found
    if done < left:
        raise _truncated(image, done)


def _check_end(image: ImageFile) -> None:
    """Read to the end of the file, behind which only padding may follow."""
    header, surplus = image.header, 0
    content: bytes | None = None
    while content != b"":
        with (
            scan_faults(),
            faults_of(image.path, "all values are there, but the end of the file is damaged"),
        ):
            content = image.stream.read(PADDING_BYTES + 1)
        surplus += len(content)
        if content.strip(b"\0") or surplus > PADDING_BYTES:
            raise _surplus(image, f"these and at least {surplus} bytes more")
    written = header.offset + header.n_bytes
    fills_up = surplus in {-written % size for size in BLOCKS_BYTES}
    if surplus and not (fills_up and surplus < header.n_bytes // header.parts[0]):
        raise _surplus(image, f"these and {surplus} bytes more, all zero")


@contextlib.contextmanager
def _values_of(image: ImageFile, done: int) -> Iterator[None]:
    try:
        with scan_faults(), faults_of(image.path, "the values are corrupt or cannot be read"):
            yield
    except ScanError as err:
        fault = err.__cause__
        if fault is None or not isinstance(fault.__cause__, EOFError):
            raise
        # isal holds back up to a piece of what stands before the cut: no exact place.
        count, name = image.header.parts
        place = done // (image.header.n_bytes // count) + 1
        raise ScanError(
            f"{image.path}: the file is truncated: expected {image.header.claim}, the "
            f"compressed file ends in number {place} of the {count} {name.split()[0]} or soon "
            "after.",
            hint=COPY_AGAIN,
        ) from fault.__cause__


def _truncated(image: ImageFile, found: int) -> ScanError:
    count, _ = image.header.parts
    whole = found // (image.header.n_bytes // count)
    return ScanError(
        f"{image.path}: the file is truncated: expected {image.header.claim}, found {whole} "
        f"whole ones ({found} bytes).",
        hint=COPY_AGAIN,
    )


def _surplus(image: ImageFile, found: str) -> ScanError:
    return ScanError(
        f"{image.path}: the file holds more than its header says: expected {image.header.claim}, "
        f"found {found}.",
        hint="Header and values are not of the same image. " + COPY_AGAIN,
    )
