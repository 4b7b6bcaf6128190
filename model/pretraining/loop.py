"""The loop over steps, with progress, a log, saved states, curves and exact resume."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from model.figures import style
from model.invocation.progress import duration_text
from model.pretraining.batches import describe_batch, draw_held_out, stream_batches
from model.pretraining.run_folder import (
    Log,
    TrainingError,
    read_log,
    restore_state,
    save_state,
    truncate_log,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from model.pretraining.batches import Batch
    from model.pretraining.settings import RunConfig
    from model.pretraining.step import Trainer
    from model.shards.crops import Cohort


CURVES_FILE = "curves.png"
PANELS = {
    "total loss, weighted": ("total",),
    "CLS": ("cls", "validation_cls"),
    "temporal regularizer": ("ttr", "validation_ttr"),
    "masked tokens": ("token", "validation_token"),
    "gradient norm": ("gradient_norm",),
    "RankMe (1: collapse)": ("rankme_cls", "rankme_networks"),
    "teacher std (0: collapse)": ("teacher_std",),
}
FROM_ZERO = {"gradient_norm", "rankme_cls", "teacher_std"}
"""Whose distance from zero is what a reader looks for."""


VALIDATION = "validation_"
"""Prefix of held-out losses in the log."""
DRAW_EVERY_S = 60.0
"""Least time between two drawings of the curves: one costs a second."""


def draw_curves(rows: Sequence[dict[str, float]], folder: Path) -> None:
    """Draw what the log holds to ``curves.png``.

    Parameters
    ----------
    rows
        One per step; a quantity may be there in some only.
    folder
        Gets the figure, whole or not at all.
    """
    # Not at the top: drawing takes a second to import, and most commands do not draw.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12, 6))
    figure.subplots_adjust(left=0.05, right=0.98, bottom=0.08, top=0.93, wspace=0.25, hspace=0.4)
    axes = figure.subplots(2, 4).ravel()
    for ax, (title, names) in zip(axes, PANELS.items(), strict=False):
        ax.set_prop_cycle(color=style.SERIES)
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                dots = "." if name.startswith("validation") or len(points) < 50 else ""
                ax.plot(*zip(*points, strict=True), lw=0.8, marker=dots, label=name)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("step", fontsize=8)
        ax.tick_params(labelsize=7)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if names[0] in FROM_ZERO and ax.lines:
            ax.set_ylim(bottom=0)
        if ax.lines:
            ax.legend(fontsize=7, frameon=False)
    axes[-1].set_axis_off()
    scratch = folder / f".{CURVES_FILE}.part"
    figure.savefig(scratch, format="png", dpi=100)
    scratch.replace(folder / CURVES_FILE)


def train(
    trainer: Trainer,
    folder: Path,
    *,
    cohort: Cohort | None = None,
    validation: Cohort | None = None,
    report: Callable[[str], None],
) -> float:
    """Train to the last step, from the saved state if ``folder`` holds one.

    Parameters
    ----------
    trainer
        Student, teacher and optimiser; the teacher is what is kept.
    folder
        Gets ``log.jsonl``, one line per step, and ``state.pt`` every so often, and ``curves.png``.
    cohort, validation
        Subjects to train on, and to compute losses of whenever a state is saved; None: simulate,
        and no validation.
    report
        Gets a line of progress whenever losses are fetched.

    Returns
    -------
    Seconds that training took, interruptions left out.

    Raises
    ------
    TrainingError
        A loss is not finite; the message says which batch did it. Another process is gone.
    """
    config, processes = trainer.config, trainer.processes
    run = config.run
    first, seconds = restore_state(trainer, folder)
    processes.wait()
    if processes.leads:
        truncate_log(folder, step=first)
    log = Log(folder, lambda step: describe_batch(config, step, cohort))
    clock = _Clock(report, run, first=first, spent=seconds)
    held_out = None
    if validation is not None and processes.leads:
        held_out = draw_held_out(config, validation).to(processes.device)
    pieces_of_step = stream_batches(
        config,
        range(first, run.n_steps),
        processes.pieces(run.micro_batches),
        cohort=cohort,
        device=processes.device,
    )
    for step, pieces in pieces_of_step:
        save = (step + 1) % run.save_every == 0 or step + 1 == run.n_steps
        fetch = save or (step + 1) % run.fetch_every == 0
        values = _step_together(trainer, step, pieces, look=fetch)
        if not processes.leads:
            continue
        if save and held_out is not None:
            values |= {VALIDATION + k: v for k, v in trainer.evaluate(held_out).items()}
        log.add(step, values)
        if fetch:
            clock.tell(step + 1, log.fetch())
        if save:
            save_state(trainer, folder, step=step + 1, seconds=clock.seconds)
        if save and (step + 1 == run.n_steps or clock.time_to_draw()):
            draw_curves(read_log(folder), folder)
    return clock.seconds


def _step_together(
    trainer: Trainer, step: int, pieces: Sequence[Batch], *, look: bool
) -> dict[str, Tensor]:
    """Do a step; say plainly if another process is gone."""
    try:
        return trainer.step(step, pieces, look=look)
    except RuntimeError as err:
        if trainer.processes.size == 1:
            raise
        rank, size = trainer.processes.rank, trainer.processes.size
        raise TrainingError(
            f"process {rank} of {size} stopped at step {step}, most likely since another is gone "
            f"({err}).",
            hint="semantoks-model resume goes on from the last saved state.",
        ) from err


class _Clock:
    """Time, speed and what is left, as a line of progress."""

    def __init__(
        self, report: Callable[[str], None], run: RunConfig, *, first: int, spent: float
    ) -> None:
        self.report, self.run = report, run
        self.started = time.monotonic() - spent
        self.last = (first, time.monotonic())
        self.drawn = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def time_to_draw(self) -> bool:
        """Tell whether the last drawing is old."""
        if time.monotonic() - self.drawn < DRAW_EVERY_S:
            return False
        self.drawn = time.monotonic()
        return True

    def tell(self, done: int, values: dict[str, float]) -> None:
        """Report the last step's numbers, and the speed since the last report."""
        now = time.monotonic()
        per_step = (now - self.last[1]) / (done - self.last[0])
        self.last = (done, now)
        numbers = " ".join(f"{k} {v:.3g}" for k, v in values.items() if k != "step")
        self.report(
            f"step {done}/{self.run.n_steps} | {numbers} | "
            f"{self.run.batch_size / per_step:.3g} subjects/s, "
            f"{duration_text((self.run.n_steps - done) * per_step)} left"
        )
