"""Errors a user can act on. Each says expected, found, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 1500
"""Letters of a message: it tells of a file, and never hands it on"""
_LONGEST = 120
"""Letters of one item of a message"""


class SemantoksError(Exception):
    """A problem in the input or the environment, not a bug.

    Parameters
    ----------
    message
        What was expected, what was found, and where.
    hint
        What the user can do about it.
    """

    exit_code: ClassVar[int] = 1
    """Of the command that it ends; `model.cli.program` has the table."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        cut = message if len(message) <= _MOST else f"{message[:_MOST]} …"
        super().__init__(cut)
        self.message = cut
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class SeriesError(SemantoksError):
    """A parcel series cannot be what it claims to be, or cannot be embedded."""


class TooShortError(SeriesError):
    """A series is shorter than one patch of the model."""


class CheckpointError(SemantoksError):
    """A checkpoint is absent, damaged, or for other input than ours."""

    exit_code = 78


class ConfigError(SemantoksError):
    """A configuration holds unknown keys or values that exclude one another."""

    exit_code = 2


def numbered(n: int, word: str) -> str:
    """Return a number with its word.

    >>> numbered(1, "scan"), numbered(4, "scan")
    ('1 scan', '4 scans')
    """
    return f"{n} {word}{'' if n == 1 else 's'}"


def some(items: Sequence[str], *, most: int = 10, separator: str = ", ") -> str:
    """Join the first few items for a message, and tell how many more there are.

    >>> some(["Vis", "Limbic", "Default"], most=2)
    'Vis, Limbic and 1 more'
    """
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(map(_short, items[:most])) + more


def _short(item: str) -> str:
    """Cut what a damaged file may give instead of a name."""
    return item if len(item) <= _LONGEST else f"{item[:_LONGEST]}…"
