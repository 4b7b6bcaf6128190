"""The one boundary of a foreign file: whatever goes wrong in reading it is a fault of the file."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from model.errors import SemantoksError
from model.files.content import not_a_file, not_fetched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FETCH = "datalad get"
"""The command that brings what a pointer stands for"""
BELIEVED = 1 << 25
"""Bytes that a file may announce, however small it is: a series of 9,000 frames in float64, of
which a scan takes thirty times as much on its way"""
TIMES_ITS_SIZE = 16
"""So many times its own size it may announce or hold, if that is more"""
_NOT_UTF8 = "Save it as text in UTF-8; a spreadsheet offers that beside other encodings."
EMPTY = "the file is empty"
_WORDS = 200
"""Characters of another's error, at most"""


class FileError(SemantoksError):
    """A file cannot be read or written, or is not what it should be.

    Parameters
    ----------
    path
        The file.
    cause
        Why, in a few words without a full stop.
    place
        Where in the file, such as ``line 3, column 5`` or ``key Status``.
    """

    def __init__(self, path: Path, cause: str, *, place: str = "", hint: str = "") -> None:
        self.path = path
        self.cause = cause
        self.place = place
        super().__init__(self.sentence(), hint=hint)

    def sentence(self, *, where: str = "", what: str = "") -> str:
        """Say it as one sentence.

        Parameters
        ----------
        where
            Stands for the path, such as the file's name alone or the option that named it.
        what
            What the caller makes of it; the cause follows in parentheses.
        """
        cause = f"{self.place}: {self.cause}" if self.place else self.cause
        said = f"{what} ({cause})" if what else cause
        return f"{where or self.path}: {said}."


@contextlib.contextmanager
def reading(path: Path, failure: str = "cannot be read") -> Iterator[None]:
    """Read a file of others: whatever goes wrong in there is a fault of the file.

    The one boundary: no reader can be trusted to raise only what it documents, so the block
    holds its call and nothing of ours.

    Parameters
    ----------
    failure
        Begins the cause; the reader's own words follow in parentheses.

    Raises
    ------
    FileError
        The file is absent or damaged; its content was never fetched; or it is a pipe, socket or
        device, for which nobody waits.
    """
    if kind := not_a_file(path):
        raise FileError(path, f"expected a file, found {kind}")
    if pointer := not_fetched(path):
        how = "git lfs pull --include" if "git-lfs" in pointer else FETCH
        raise FileError(
            path, f"found {pointer}, not the file's content", hint=f"Fetch it: {how} {path.name}"
        )
    with faults_of(path, failure):
        yield


@contextlib.contextmanager
def faults_of(path: Path, failure: str = "cannot be read") -> Iterator[None]:
    """Turn whatever is raised into a fault of a file; errors of ours stay what they are.

    Raises
    ------
    FileError
        With the words of what was raised.
    """
    try:
        yield
    except SemantoksError:
        raise
    except Exception as err:  # any: to list types is to forget some
        hint = _NOT_UTF8 if isinstance(err, UnicodeDecodeError) else ""
        cause = EMPTY if is_empty(path) else f"{failure} ({_words(err)})"
        raise FileError(path, cause, hint=hint) from err


@contextlib.contextmanager
def faults_as(
    kind: type[SemantoksError], *, where: str = "", what: str = "", hint: str = ""
) -> Iterator[None]:
    """Turn a fault of a file into the caller's kind of error; `FileError.sentence` words it.

    Raises
    ------
    SemantoksError
        Of this kind. The fault's own hint, if it has one, is the nearer one.
    """
    try:
        yield
    except FileError as fault:
        raise kind(fault.sentence(where=where, what=what), hint=fault.hint or hint) from fault


def _words(err: Exception) -> str:
    """Return the words of an error in a line; never much of a file, which may be quoted there."""
    if isinstance(err, MemoryError):
        return "needs more memory than there is"
    if isinstance(err, RecursionError):
        return "nested too deeply"
    if isinstance(err, AttributeError | TypeError):  # in words of Python, about its objects
        return "a part of it is missing, or of another kind"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    text = " ".join((repr(err) if isinstance(err, LookupError) else str(err)).split())
    return (text if len(text) <= _WORDS else f"{text[:_WORDS]} …") or type(err).__name__


def is_empty(path: Path) -> bool:
    """Tell whether a file is there and holds not a byte: no reader's own words say it so."""
    with contextlib.suppress(OSError, ValueError):
        return path.stat().st_size == 0
    return False


def check_claim(path: Path, n_bytes: int, what: str) -> None:
    """Refuse what a file announces and can hardly hold, before memory is taken for it.

    Raises
    ------
    FileError
        It would take more than `BELIEVED`, and many times what the file has.
    """
    with reading(path):
        found = path.stat().st_size
    if n_bytes > max(BELIEVED, TIMES_ITS_SIZE * found):
        raise FileError(
            path,
            f"{what} is announced with {n_bytes / 1e6:.0f} MB, in a file of {found / 1e6:.1f} MB",
        )
