"""How far an invocation is, and about how long the rest will take."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

if TYPE_CHECKING:
    from typing import Self

log = logging.getLogger(__name__)


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

    def __init__(self, *, n_items: int, n_done: int = 0, size: int) -> None:
        self._n_items, self._n_done = n_items, n_done
        self._size, self._size_done = size, 0
        self._begun_s = time.monotonic()
        self._exit = contextlib.ExitStack()
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        """Draw the bar, if there is a terminal, and have log lines appear above it."""
        quiet = not self._size or not log.isEnabledFor(logging.INFO)
        # None: tqdm asks whether stderr is a terminal.
        bar = tqdm(total=self._size, bar_format="{desc} |{bar}|", disable=quiet or None)
        if not bar.disable:
            self._bar = self._exit.enter_context(bar)
            self._exit.enter_context(logging_redirect_tqdm())
            bar.set_description_str(self.text())
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        self._exit.close()

    def tell(self, line: str, *, size: int, failed: bool) -> None:
        """Count an item that is done, and say how; failures are lines on a terminal too."""
        self._n_done += 1
        self._size_done += size
        if self._bar is not None:
            self._bar.set_description_str(self.text(), refresh=False)
            self._bar.update(size)
        level = logging.ERROR if failed else logging.DEBUG if self._bar else logging.INFO
        log.log(level, "[%s] %s", self.text(), line)

    def text(self) -> str:
        """Return items done of all, and the time left once it is known: ``3/20, 5 min left``."""
        done, left = f"{self._n_done}/{self._n_items}", self._size - self._size_done
        if not self._size_done or left <= 0:
            return done
        elapsed_s = time.monotonic() - self._begun_s
        return f"{done}, {duration_text(elapsed_s * left / self._size_done)} left"


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
