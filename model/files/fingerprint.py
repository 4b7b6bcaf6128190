"""What a file is known by: size and time of change, without reading it; or its content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from model.files.fault import reading

if TYPE_CHECKING:
    from pathlib import Path


class Stamp(NamedTuple):
    """A file's size and time of change: where both are the same, the content is taken to be."""

    size: int
    """Bytes."""
    mtime_ns: int

    def __str__(self) -> str:
        return f"{self.size}:{self.mtime_ns}"


def stamp(path: Path) -> Stamp:
    """Take a file's size and time of change.

    Raises
    ------
    FileError
        The file is absent.
    """
    with reading(path):
        found = path.stat()
        return Stamp(found.st_size, found.st_mtime_ns)


def file_sha256(path: Path) -> str:
    """Hash a file's content.

    Raises
    ------
    FileError
        The file cannot be read.
    """
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """Hash text as UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()
