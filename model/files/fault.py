"""What is wrong with a file, in one type: which file, where in it, and why."""

from __future__ import annotations

import contextlib
import csv
import lzma
import zipfile
import zlib
from typing import TYPE_CHECKING

from model.errors import SemantoksError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# All that readers raise on a file that is not what it should be: absent or not permitted;
# wrong text, numbers or shapes; keys that are not there; damaged compression; nested too deep.
_DAMAGE = (
    OSError, ValueError, TypeError, LookupError, EOFError, RecursionError,
    csv.Error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip


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
def reading(
    path: Path, failure: str = "cannot be read", *, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn whatever a reader raises on a damaged file into a fault of that file.

    Parameters
    ----------
    failure
        Begins the cause; the reader's own words follow in parentheses.
    also
        What only this reader raises.

    Raises
    ------
    FileError
        The file is absent or damaged.
    """
    caught: tuple[type[Exception], ...] = (*_DAMAGE, *also)
    try:
        yield
    except caught as err:
        raise FileError(path, f"{failure} ({_words(err)})") from err


@contextlib.contextmanager
def faults_as(
    kind: type[SemantoksError], *, where: str = "", what: str = "", hint: str = ""
) -> Iterator[None]:
    """Turn a fault of a file into the caller's kind of error; `FileError.sentence` words it.

    Raises
    ------
    SemantoksError
        Of this kind.
    """
    try:
        yield
    except FileError as fault:
        raise kind(fault.sentence(where=where, what=what), hint=hint or fault.hint) from fault


def _words(err: Exception) -> str:
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    text = repr(err) if isinstance(err, LookupError) else str(err)
    return " ".join(text.split()) or type(err).__name__
