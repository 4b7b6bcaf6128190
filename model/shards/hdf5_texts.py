"""Texts of variable length in an HDF5 file, taken from its heaps: HDF5 may never end there.

What a file announces of such a text (how long it is, where it lies) HDF5 believes: it takes memory
for it first, and of a heap whose objects have no size it never comes to the end.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFERENCE = 16
"""Bytes that stand in the dataset for a text: its length, the heap's address, the number in it"""
_HEAD = 16
"""Bytes before a heap's objects, and before the content of each"""
_TIMES = 4
"""All heaps together are at most so many times the file: they may overlap only in a damaged one"""


def variable_texts(dataset: Any, *, longest: int) -> list[str]:
    """Read a dataset of texts of variable length, (n,).

    Parameters
    ----------
    longest
        Bytes that a text may have.

    Raises
    ------
    ValueError
        A text is longer, or is not where the file says.
    """
    path = Path(dataset.file.filename)
    with path.open("rb") as file:
        heaps = _Heaps(file, base=dataset.file.userblock_size, size=path.stat().st_size)
        return [heaps.text(one, longest=longest) for one in _references(dataset, file)]


def _references(dataset: Any, file: BinaryIO) -> Iterator[bytes]:
    """Yield what stands for each text, in order."""
    stored, n_rows = dataset.id, len(dataset)
    if dataset.chunks is None:
        file.seek(stored.get_offset())  # of the file, whatever stands before its HDF5
        content = file.read(_REFERENCE * n_rows)
        yield from _split(content, n_rows)
        return
    step = dataset.chunks[0]
    for first in range(0, n_rows, step):
        _, content = stored.read_direct_chunk((first,))
        if stored.get_create_plist().get_nfilters():  # of gzip, or what follows is no reference
            content = zlib.decompressobj().decompress(content, _REFERENCE * step)
        yield from list(_split(content, step))[: n_rows - first]


def _split(content: bytes, n_rows: int) -> Iterator[bytes]:
    if len(content) != _REFERENCE * n_rows:
        raise ValueError(f"{len(content)} bytes stand for {n_rows} texts")
    for start in range(0, len(content), _REFERENCE):
        yield content[start : start + _REFERENCE]


class _Heaps:
    """The global heaps of a file, each read once."""

    def __init__(self, file: BinaryIO, *, base: int, size: int) -> None:
        self.file, self.base, self.size = file, base, size
        self.left = _TIMES * size
        self.known: dict[int, dict[int, bytes]] = {}

    def text(self, reference: bytes, *, longest: int) -> str:
        length = int.from_bytes(reference[:4], "little")
        address = int.from_bytes(reference[4:12], "little")
        if length > longest:
            raise ValueError(f"a text of {length} bytes, expected {longest} at most")
        if not length:
            return ""
        if address not in self.known:
            self.known[address] = self._heap(address)
        content = self.known[address][int.from_bytes(reference[12:], "little")][:length]
        if len(content) < length:
            raise ValueError("a text that is not all there")
        return content.rstrip(b"\0").decode()

    def _heap(self, address: int) -> dict[int, bytes]:
        if address >= self.size:
            raise ValueError("a heap behind the end of the file")
        self.file.seek(self.base + address)
        head = self.file.read(_HEAD)
        n_bytes = int.from_bytes(head[8:], "little") - _HEAD
        if head[:5] != b"GCOL\x01" or not 0 <= n_bytes <= self.left:
            raise ValueError("no heap where one is announced")
        self.left -= n_bytes
        content = self.file.read(n_bytes)
        found, at = {}, 0
        while at + _HEAD <= len(content):
            number = int.from_bytes(content[at : at + 2], "little")
            size = int.from_bytes(content[at + 8 : at + _HEAD], "little")
            if not number:  # the rest is free
                break
            found[number] = content[at + _HEAD : at + _HEAD + size]
            at += _HEAD + -(-size // 8) * 8
        return found
