"""Files and folders of results that appear whole or not at all, and what a file is known by."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import json
import os
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from model.errors import ConfigError
from model.files.cells import text_cell
from model.files.read import FileError, faults_of, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


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
    with faults_of(path):  # nothing is opened: of a pipe, too
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


class Digest(NamedTuple):
    """A file's size and hash: where both are the same, the content is."""

    size: int
    """Bytes."""
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Take those of a file that holds `content`."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    def is_of(self, path: Path) -> bool:
        """Tell whether a file is there, and this is its size and hash."""
        try:
            # Most that differ do so in size, and need not be read.
            return stamp(path).size == self.size and file_sha256(path) == self.sha256
        except FileError:
            return False


class ResultError(FileError):
    """A result cannot be written."""

    exit_code = 73


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it to `path`.

    Raises
    ------
    ResultError
        The folder cannot be written or the disk is full; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{process_tag()}-{next(_number)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as err:
        raise _unwritable(path, err) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@cache
def process_tag() -> str:
    """Return what stands in the temporary names of this process and of no other."""
    # Not the process id: containers that start together all have the same one.
    return uuid.uuid4().hex[:12]


_number = itertools.count()


def write_whole(contents: Mapping[Path, bytes]) -> list[Path]:
    """Write files that belong together: all under temporary names first, then renamed.

    A file that already holds the same bytes is left untouched.

    Returns
    -------
    The paths, in order.

    Raises
    ------
    ResultError
        A folder cannot be written or the disk is full; no final name has changed then.
    """
    with contextlib.ExitStack() as renames:
        for path, content in contents.items():
            if not _holds(path, content):
                renames.enter_context(replacing(path)).write_bytes(content)
    return list(contents)


def withdraw(path: Path) -> None:
    """Remove a file that says something of others, be it there or not, before these change.

    Raises
    ------
    ResultError
        The folder cannot be written.
    """
    try:
        path.unlink()
        # So that no crash of the machine brings it back beside other files.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as err:
        raise _unwritable(path, err) from err


def remove_partial(folder: Path, tag: str) -> None:
    """Remove what a process that was killed left in a folder under temporary names."""
    for path in folder.glob(f".*.{tag}-*.part"):
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def scratch_file(folder: Path) -> Iterator[IO[bytes]]:
    """Open a file for what waits to be read again; it has no name and leaves nothing.

    Raises
    ------
    ResultError
        The folder cannot be written or the disk is full.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as err:
        raise _unwritable(folder, err) from err


def refuse_occupied(out: Path) -> None:
    """Refuse a folder that holds something, before any work.

    Raises
    ------
    ConfigError
        There is something at `out`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty.", hint="Name a new folder.")


@contextlib.contextmanager
def new_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a folder beside `out`; on success it becomes `out`, else it goes away.

    Parameters
    ----------
    replace
        Whether a folder at `out` that holds something gives way.

    Raises
    ------
    ResultError
        The folder cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            yield new
            if replace and out.exists():
                out.rename(Path(scratch, "old"))
            new.rename(out)
    except OSError as err:
        raise _unwritable(out, err) from err


def json_bytes(content: Any) -> bytes:
    """Encode JSON; a number that is not finite is a bug and refused."""
    return (json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def tsv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Encode a table: tabs, ``n/a`` for None, six significant digits, text as `text_cell`."""
    text = io.StringIO()
    write_rows(text, (header, *rows))
    return text.getvalue().encode()


def write_rows(file: IO[str], rows: Iterable[Iterable[object]], *, digits: int = 6) -> None:
    """Write rows of a table into an open file, as `tsv_bytes` does."""
    writer = csv.writer(file, delimiter="\t", lineterminator="\n")
    writer.writerows([_cell(value, digits) for value in row] for row in rows)


def _cell(value: object, digits: int) -> str:
    if value is None or value != value:
        return "n/a"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return text_cell(value) if isinstance(value, str) else str(value)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def _unwritable(path: Path, err: OSError) -> ResultError:
    return ResultError(
        path,
        f"cannot be written ({err.strerror or err})",
        hint="Check permissions, quota and free space of the output folder.",
    )
