"""Ctrl-C and SIGTERM: remembered when heard, acted on where it is safe, at once the second time.

An exception that a signal raises may land inside a library, which drops it or makes another of
it. So what is heard is kept: within `shielded` nothing is raised but by `check`, at points where
all is whole; elsewhere it is raised at once, and should it get lost, the next `check` or the end
of the command finds it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_WORDS = b"semantoks: ending where all is whole; Ctrl-C again ends at once\n"


class _State:
    """Of this process; signals come to its main thread alone."""

    heard: int | None = None
    shields = 0
    tells = False


def hear(*, tells: bool = True) -> None:
    """Begin to listen for SIGTERM, and for Ctrl-C unless whoever started this process ignores it.

    Parameters
    ----------
    tells
        Say on stderr that the end may take a moment; processes that share work leave that to
        the one that started them.
    """
    _State.heard, _State.shields, _State.tells = None, 0, tells
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _remember)


def exit_code() -> int | None:
    """Return how a command ends for what was heard; None: nothing was."""
    return None if _State.heard is None else 128 + _State.heard


def check() -> None:
    """Leave for what was heard: a safe point, where nothing is half-done.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        Ctrl-C, or SIGTERM.
    """
    if _State.heard is not None:
        _leave(_State.heard)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Put off what is heard to the next `check`, or to the end of the outermost of these."""
    before = _State.heard
    _State.shields += 1
    try:
        yield
    finally:
        _State.shields -= 1
    if _State.shields == 0 and before is None:
        check()


def ended() -> None:
    """Put off what is heard for good: all is done, and what is left is the interpreter's end."""
    _State.shields += 1


def _remember(number: int, _frame: FrameType | None) -> None:
    if _State.heard is not None:
        if number == signal.SIGINT:
            os._exit(128 + number)
        return  # schedulers and `timeout` signal a process and its group
    _State.heard = number
    if _State.shields == 0:
        _leave(number)
    if _State.tells:
        with contextlib.suppress(OSError):
            os.write(2, _WORDS)


def _leave(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
