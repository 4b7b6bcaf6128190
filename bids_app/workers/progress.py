"""How far an invocation is, and about how long the rest will take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Progress:
    """Runs and bytes of images done and to do.

    Time follows the bytes: a long run counts for more than a short one. Runs that an earlier
    invocation did say nothing about the speed of this one.
    """

    n_runs: int
    n_bytes: int
    begun_s: float = field(default_factory=time.monotonic)
    _n_done: int = 0
    _bytes_done: int = 0
    _bytes_earlier: int = 0

    def count(self, n_bytes: int, *, fresh: bool) -> None:
        """Count a run that has ended, or was done earlier (`fresh` false)."""
        self._n_done += 1
        if fresh:
            self._bytes_done += n_bytes
        else:
            self._bytes_earlier += n_bytes

    def text(self) -> str:
        """Return runs done of all, and the time left once it is known: ``3/20, 5 min left``."""
        done = f"{self._n_done}/{self.n_runs}"
        left = self.n_bytes - self._bytes_done - self._bytes_earlier
        if not self._bytes_done or left <= 0:
            return done
        elapsed_s = time.monotonic() - self.begun_s
        return f"{done}, {duration_text(elapsed_s * left / self._bytes_done)} left"


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
