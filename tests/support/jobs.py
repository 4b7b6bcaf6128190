"""Work for other processes: it must be importable where it is done."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from bids_app.errors import OutputError
from bids_app.one_scan import run_scan
from model.invocation import interrupts
from model.invocation.progress import say_share

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.one_scan import Pipeline
    from bids_app.outputs.status import ScanOutcome


class Counter:
    """Counts its calls; what it counted does not travel."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: int) -> tuple[int, int]:
        self.calls += 1
        return os.getpid(), self.calls


def double(number: int) -> tuple[int, str]:
    return 2 * number, os.environ["OMP_NUM_THREADS"]


def say(number: int) -> int:
    """Say in quarters how far it is, slower than is listened."""
    for quarter in range(1, 5):
        say_share(quarter / 4)
        time.sleep(0.5)
    return number


def stay(folder: Path, number: int) -> int:
    """Leave when it began and ended, and in which process."""
    begun = time.monotonic()
    time.sleep(0.3)
    (folder / str(number)).write_text(f"{begun} {time.monotonic()} {os.getpid()}")
    return number


def die_if_odd(number: int) -> int:
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def leave_if_odd(number: int) -> int:
    if number % 2:
        os.kill(os.getpid(), signal.SIGTERM)
        while True:  # as the work does between two pieces: a signal alone ends no sleep
            interrupts.check()
            time.sleep(0.01)
    return number


def tell_and_wait(folder: Path, _: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


def complain(number: int) -> None:
    raise OutputError(f"disk {number} is full", hint="Buy another.")


def deadly(scan: Scan, *, pipeline: Pipeline, output_dir: Path, log_dir: Path) -> ScanOutcome:
    """Embed a scan; the process is killed half-way through those of sub-02."""
    if scan.entities.sub == "02":
        from bids_app import files

        folder = output_dir / "sub-02" / "func"
        with files.replacing(folder / "sub-02_half.tsv") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    return run_scan(scan, pipeline=pipeline, output_dir=output_dir, log_dir=log_dir)
