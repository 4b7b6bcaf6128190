"""Jobs for processes of a pool: they must be importable where they run."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from bids_app.errors import OutputError
from bids_app.participant_level import ParticipantLevel

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.outputs.status import ScanOutcome


def double(shared: int, number: int) -> tuple[int, str]:
    return shared * number, os.environ["OMP_NUM_THREADS"]


def stay(folder: Path, number: int) -> int:
    """Leave when it began and ended, and in which process."""
    begun = time.monotonic()
    time.sleep(0.3)
    (folder / str(number)).write_text(f"{begun} {time.monotonic()} {os.getpid()}")
    return number


def die_if_odd(_: None, number: int) -> int:
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def complain(_: None, number: int) -> None:
    raise OutputError(f"disk {number} is full", hint="Buy another.")


class Deadly(ParticipantLevel):
    """The participant level; its process is killed half-way through the runs of sub-02."""

    def embed(self, scan: Scan) -> ScanOutcome:
        if scan.entities.sub == "02":
            from bids_app.outputs import atomic

            folder = self.output_dir / "sub-02" / "func"
            with atomic.replacing(folder / "sub-02_half.tsv") as temporary:
                temporary.write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(scan)
