"""Files and folders of results that appear whole or not at all, and what a file is known by."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import filecmp
import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from model.errors import ConfigError
from model.files.cells import text_cell, writable
from model.files.faults import FileError, faults_of, reading

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
    return hashlib.sha256(text_bytes(text)).hexdigest()


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
            found = path.stat()
            # Most that differ do so in size, and need not be read; a pipe would be waited for.
            if not stat.S_ISREG(found.st_mode) or found.st_size != self.size:
                return False
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except (OSError, ValueError):
            return False


class ResultError(FileError):
    """A result cannot be written."""

    exit_code = 73


@contextlib.contextmanager
def replacing(
    path: Path, *, scratch: Path | None = None, keep_same: bool = False
) -> Iterator[Path]:
    """Give a file under a temporary name; on success rename it to `path`.

    Parameters
    ----------
    scratch
        Folder of the temporary file, on the same file system; None: that of `path`.
    keep_same
        Leave a file untouched that holds the same already.

    Raises
    ------
    ResultError
        The folder cannot be written or the disk is full; the temporary file is removed. Or there
        is a device at `path`: root could replace ``/dev/null``.
    """
    folder = scratch or path.parent
    try:
        if _mode(path) in (stat.S_IFCHR, stat.S_IFBLK):
            raise ResultError(path, "cannot be written (expected a file, found a device)")
        for needed in {path.parent, folder}:
            if not needed.is_dir():
                needed.mkdir(parents=True, exist_ok=True)
        with _held(folder, is_folder=False) as temporary:
            yield temporary
            if not (keep_same and _mode(path) == stat.S_IFREG and are_same(temporary, path)):
                temporary.replace(path)
    except OSError as err:
        raise _unwritable(path, err) from err


@contextlib.contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Make a folder that is gone afterwards, and clear what killed processes left beside it.

    Raises
    ------
    OSError
        The place cannot be written.
    """
    place.mkdir(parents=True, exist_ok=True)
    clear_leftovers(place)
    with _held(place, is_folder=True) as folder:
        yield folder


# A temporary name is `.KERNEL-RANDOM.part`: short, since the names of results may be as long as a
# file system takes. As long as it is in use its process holds a lock on it, which the system takes
# back when that process ends in whichever way. So a leftover is one that can be locked: no process
# ids, which containers share, and no list of processes to keep. Locks are sure among the processes
# of one kernel, containers included; not every network file system passes them on to other nodes,
# so what another kernel left is cleared only after a day untouched, and what cannot be locked
# never.
_TEMPORARY = re.compile(r"\.([0-9a-f]{8})-[0-9a-f]{12}\.part")
_LOCK = "lock"
"""File in a temporary folder; folders themselves cannot be locked everywhere"""
_UNTOUCHED_S = 86_400.0


@contextlib.contextmanager
def _held(folder: Path, *, is_folder: bool) -> Iterator[Path]:
    """Make a file or folder under a temporary name, locked until it is renamed or removed."""
    with contextlib.ExitStack() as undo:
        yield _make(folder, undo, is_folder=is_folder)


def _make(folder: Path, undo: contextlib.ExitStack, *, is_folder: bool) -> Path:
    while True:
        path = folder / f".{_kernel()}-{uuid.uuid4().hex[:12]}.part"
        # Before it is there: an interrupt may come between any two steps.
        unlocked = undo.enter_context(contextlib.ExitStack())
        unlocked.callback(_remove, path)
        if is_folder:
            path.mkdir(mode=0o700)
        locked = path / _LOCK if is_folder else path
        try:
            handle = os.open(locked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):
            if not is_folder:
                raise
            continue  # not yet locked, it was taken for a leftover
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if locked.exists():
            undo.callback(os.close, handle)
            undo.callback(_remove, path)  # under the lock, which goes after it
            unlocked.pop_all()
            return path
        os.close(handle)  # not yet locked, it was taken for a leftover


@cache
def _kernel() -> str:
    """Return what tells this running system from others, the same in all its containers."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        text = platform.node()
    return text_sha256(text)[:8]


def clear_leftovers(folder: Path) -> None:
    """Remove from a folder what killed processes left there under temporary names.

    What a process still uses stays, and so does whatever may be in use elsewhere.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if name := _TEMPORARY.fullmatch(entry.name):
                is_folder = entry.is_dir(follow_symlinks=False)
                _clear(Path(entry), is_folder=is_folder, is_local=name[1] == _kernel())


def _clear(path: Path, *, is_folder: bool, is_local: bool) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
        # A process that was killed early left a folder without a lock.
        made, created = (path / _LOCK, os.O_CREAT) if is_folder else (path, 0)
        handle = os.open(made, os.O_RDWR | os.O_NOFOLLOW | created, 0o666)
        closing.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_local or time.time() - path.stat().st_mtime > _UNTOUCHED_S:
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a folder, or none of ours
        shutil.rmtree(path, ignore_errors=True)


def write_whole(contents: Mapping[Path, bytes], *, scratch: Path | None = None) -> list[Path]:
    """Write files that belong together: all under temporary names first, then renamed.

    A file that already holds the same bytes is left untouched. What killed processes left in
    the folders under temporary names is removed.

    Parameters
    ----------
    scratch
        Folder of the temporary files, on the same file system; None: where each file will be.

    Returns
    -------
    The paths, in order.

    Raises
    ------
    ResultError
        A folder cannot be written or the disk is full; no final name has changed then.
    """
    for folder in {path.parent for path in contents}:
        clear_leftovers(folder)
    with contextlib.ExitStack() as renames:
        for path, content in contents.items():
            if not _holds(path, content):
                renames.enter_context(replacing(path, scratch=scratch)).write_bytes(content)
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


@contextlib.contextmanager
def scratch_file(folder: Path) -> Iterator[IO[bytes]]:
    """Open a file for what waits to be read again; it has no name and leaves nothing.

    Raises
    ------
    ResultError
        The folder cannot be written or the disk is full.
    """
    try:
        clear_leftovers(folder)
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
        with scratch_folder(out.parent) as scratch:
            new = scratch / "new"
            new.mkdir()
            yield new
            if replace and out.is_dir():
                out.rename(scratch / "old")
            new.rename(out)
    except OSError as err:
        raise _unwritable(out, err) from err


def json_bytes(content: Any) -> bytes:
    """Encode JSON; a number that is not finite is a bug and refused."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return text_bytes(text, backslash=r"\\")  # in JSON one stands for itself with another


def text_bytes(text: str, *, backslash: str = "\\") -> bytes:
    """Encode text of whatever origin as UTF-8: all that is written passes here."""
    return writable(text, backslash=backslash).encode()


def tsv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Encode a table: tabs, ``n/a`` for None, six significant digits, text as `text_cell`."""
    text = io.StringIO()
    write_rows(text, (header, *rows))
    return text.getvalue().encode(errors="replace")


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
        is_file = _mode(path) == stat.S_IFREG  # nothing else is opened: a pipe would be waited for
        return is_file and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def are_same(one: Path, other: Path) -> bool:
    """Tell whether two files are there and hold the same bytes."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _mode(path: Path) -> int:
    """Return the kind of what is at a path, links not followed; 0: nothing."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _unwritable(path: Path, err: OSError) -> ResultError:
    return ResultError(
        path,
        f"cannot be written ({err.strerror or err})",
        hint="Check permissions, quota and free space of the output folder; in a container, its "
        "mount.",
    )
