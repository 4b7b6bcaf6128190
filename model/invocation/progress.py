"""How far a command is, and about how long the rest takes: a bar on a terminal, else log lines."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

log = logging.getLogger(__name__)

SILENT_S, OFTEN_S = 60.0, 10.0
"""Without a terminal, lines say that work goes on: one long item, many short ones."""

Item = TypeVar("Item")


class _Listener:
    """Of this process, which works on one thing at a time."""

    tell: Callable[[float], None] | None = None


@contextlib.contextmanager
def listening(tell: Callable[[float], None]) -> Iterator[None]:
    """Have `tell` called with the share of a piece of work that is done, 0 to 1."""
    before, _Listener.tell = _Listener.tell, tell
    try:
        yield
    finally:
        _Listener.tell = before


def say_share(done: float) -> None:
    """Say what share of the present work is done, for whoever listens."""
    if _Listener.tell is not None:
        _Listener.tell(done)


class Progress:
    """A bar on a terminal, elsewhere a line in the log for each item.

    Time follows the size: a long scan counts for more than a short one.

    Parameters
    ----------
    n_items, n_done
        All of them, and those that an earlier invocation did.
    size
        Of what is left to do, such as the bytes of all images.
    """

    def __init__(self, *, n_items: int, n_done: int = 0, size: float) -> None:
        self._n_items, self._n_done = n_items, n_done
        self._size, self._size_done = size, 0.0
        self._at_work = 0.0
        self._begun_s = self._told_s = time.monotonic()
        self._first: tuple[float, float] | None = None
        """When the first item was done, and what was done by then: all before is start-up too"""
        self._exit = contextlib.ExitStack()
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        """Draw the bar, if there is a terminal, and have log lines appear above it."""
        quiet = not self._size or not log.isEnabledFor(logging.INFO)
        # None: tqdm asks whether stderr is a terminal.
        width, height = shutil.get_terminal_size()  # some terminals say that they have none
        bar = tqdm(
            desc=self.text(),
            total=self._size,
            bar_format="{desc} |{bar}|",
            disable=quiet or None,
            ncols=width,
            nrows=height,
        )
        if not bar.disable:
            self._bar = self._exit.enter_context(bar)
            self._exit.enter_context(logging_redirect_tqdm())
            self._draw()  # tqdm puts a colon behind the first one
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        self._exit.close()

    def tell(self, line: str, *, size: float = 1, failed: bool = False) -> None:
        """Count an item that is done, and say how; failures are lines on a terminal too."""
        self._n_done += 1
        self._size_done += size
        self._at_work = max(0.0, self._at_work - size)
        self._told_s = time.monotonic()
        if not failed:
            self._note_first()
        self._draw()
        level = logging.ERROR if failed else logging.DEBUG if self._bar else logging.INFO
        log.log(level, "[%s] %s", self.text(), line)

    def count(self, what: str) -> None:
        """Count one of many small items, of which not each is worth a line."""
        self._n_done += 1
        self._size_done += 1
        self._note_first()
        self._draw()
        if self._bar is None and time.monotonic() - self._told_s > OFTEN_S:
            self._told_s = time.monotonic()
            log.info("[%s] %s", self.text(), what)

    def at_work(self, size: float) -> None:
        """Say how much of the items that are at work is done; never less than before."""
        self._at_work = max(self._at_work, size)
        self._draw()
        if self._bar is None and time.monotonic() - self._told_s > SILENT_S:
            self._told_s = time.monotonic()
            log.info("[%s] at work", self.text())

    def text(self) -> str:
        """Return items done of all, and the time left once it is known: ``3/20, 5 min left``."""
        counted, left_s = f"{self._n_done}/{self._n_items}", self._left_s()
        return counted if left_s is None else f"{counted}, {duration_text(left_s)} left"

    def _left_s(self) -> float | None:
        """Estimate the time left from after the first item; None: it cannot be known yet.

        Before that counts only where it lasts so long that starting is little of it.
        """
        done, now_s = self._size_done + self._at_work, time.monotonic()
        begun_s, before = self._first or (now_s, done)
        if done <= before:  # nothing more since
            if now_s - self._begun_s < SILENT_S:
                return None
            begun_s, before = self._begun_s, 0.0
        if not before < done < self._size:
            return None
        return (now_s - begun_s) * (self._size - done) / (done - before)

    def _note_first(self) -> None:
        if self._first is None:
            self._first = time.monotonic(), self._size_done + self._at_work

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.set_description_str(self.text(), refresh=False)
            self._bar.n = min(self._size, self._size_done + self._at_work)
            self._bar.refresh()


def counted(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield items, and show how many are done; a line every ten seconds without a terminal.

    Parameters
    ----------
    what
        Is done with them, as ``embedding scans``.
    """
    if items:
        log.info("%s: %d", what, len(items))
    with Progress(n_items=len(items), size=len(items)) as progress:
        for item in items:
            yield item
            progress.count(what)


def duration_text(seconds: float) -> str:
    """Write a duration in the two units that matter: ``40 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
