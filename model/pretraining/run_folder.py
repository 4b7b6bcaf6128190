"""What a run leaves behind while it goes on: log and state, whole whenever it is killed."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import torch

from model.errors import SemantoksError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from model.pretraining.step import Trainer

LOG_FILE, STATE_FILE, FAILURE_FILE = "log.jsonl", "state.pt", "failed_batch.json"
SHOWN = 5
"""Members of a batch in a message."""


class TrainingError(SemantoksError):
    """Training cannot go on."""


class Log:
    """Losses by step; kept on the device until they are fetched together.

    Parameters
    ----------
    folder
        Of the run.
    describe
        Names the members of a step's batch.
    """

    def __init__(self, folder: Path, describe: Callable[[int], list[str]]) -> None:
        self.folder, self.describe = folder, describe
        self._pending: list[tuple[int, dict[str, Tensor]]] = []

    def add(self, step: int, values: dict[str, Tensor]) -> None:
        """Keep the numbers of a step; nothing waits for them."""
        self._pending.append((step, values))

    def fetch(self) -> dict[str, float]:
        """Wait for all numbers kept, write one line per step, return the last step's.

        Raises
        ------
        TrainingError
            A loss or gradient is not finite; names the first such batch. The saved state is older.
        """
        if not self._pending:
            return {}
        numbers = torch.stack([v.float() for _, row in self._pending for v in row.values()])
        fetched = iter(numbers.tolist())
        rows = [
            {"step": step, **{name: next(fetched) for name in values}}
            for step, values in self._pending
        ]
        self._pending = []
        n_good = _n_until_failure(rows)
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.writelines(json.dumps(row) + "\n" for row in rows[:n_good])
            log.flush()
            os.fsync(log.fileno())
        if n_good < len(rows):
            self._stop(rows[n_good])
        return rows[-1]

    def _stop(self, row: dict[str, Any]) -> None:
        step = row["step"]
        members = self.describe(step)
        content = {"step": step, "values": {k: str(v) for k, v in row.items()}, "batch": members}
        path = self.folder / FAILURE_FILE
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        more = f" … ({len(members)})" if len(members) > SHOWN else ""
        raise TrainingError(
            f"expected finite losses, found {row} at step {step}. The batch: "
            f"{'; '.join(members[:SHOWN])}{more}.",
            hint=f"{path} lists it all. The saved state is older; a lower learning rate may help.",
        )


def _n_until_failure(rows: list[dict[str, Any]]) -> int:
    finite = [math.isfinite(row["total"] + row["gradient_norm"]) for row in rows]
    return finite.index(False) if False in finite else len(rows)


def save_state(trainer: Trainer, folder: Path, *, step: int, seconds: float) -> None:
    """Write everything that the next step depends on; a state that exists is complete."""
    scratch = folder / f".{STATE_FILE}.part"
    state = {
        "step": step,
        "seconds": seconds,
        "learner": trainer.learner.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
    }
    with scratch.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / STATE_FILE)


def restore_state(trainer: Trainer, folder: Path) -> tuple[int, float]:
    """Fill learner and optimiser from a saved state; return the next step and seconds so far.

    Raises
    ------
    TrainingError
        The state cannot be read, or is of another architecture.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return 0, 0.0
    try:
        state = torch.load(path, weights_only=True, map_location=trainer.crew.device)
        trainer.learner.load_state_dict(state["learner"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["seconds"])
    except Exception as err:
        # Not torch's own words: they are hundreds of lines, or advise to unpickle at any risk.
        raise TrainingError(
            f"{path}: damaged, or the state of another architecture ({type(err).__name__}).",
            hint="Start again in a new folder.",
        ) from err


def truncate_log(folder: Path, *, step: int) -> None:
    """Drop what was logged after a state: those steps are done, and logged, again.

    Raises
    ------
    TrainingError
        Steps before the state are not in the log.
    """
    path = folder / LOG_FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    if len(lines) < step:
        raise TrainingError(
            f"{path}: expected a line for each of {step} steps done, found {len(lines)}.",
            hint="Put the log back, or start again in a new folder.",
        )
    scratch = folder / f".{LOG_FILE}.part"
    scratch.write_text("".join(lines[:step]), encoding="utf-8")
    scratch.replace(path)


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return one row per step so far."""
    lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
