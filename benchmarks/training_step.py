"""Training steps per second: against the published structure, and what drawing a batch costs.

Both do the whole step of `model.pretraining.step` (two views, student and teacher, losses, AdamW,
teacher update) on the same batches in turns. The published one differs in the encoder
(`published_structure.py`), which computes all tokens in every step, in waiting for every loss,
and in torch's default AdamW. With one thread the time is the processor's, without waiting for
others' programs. Prints a table and one line of JSON; docs/pretraining.md has the conclusions.
Usage::

    python benchmarks/training_step.py {small,released} [--batch N] [--threads N] [--rounds N]
        [--device cuda] [--precision bf16]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from published_structure import published_structure

from model.pretraining.batches import draw_pieces
from model.pretraining.learner import Learner, make_teacher
from model.pretraining.parallel import Processes
from model.pretraining.recipes import load_config, recipe_path
from model.pretraining.step import Trainer
from model.series import ParcelSeries
from model.shards.crops import Cohort
from model.shards.store import NewScan, write_shards
from model.shards.stored import Shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model.pretraining.settings import PretrainConfig

N_FRAMES = 180
SCANS_OF_PAPER, EPOCHS = 39_139, 100
RELEASED = ("encoder.dim=768", "encoder.depth=8", "encoder.heads=12")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configuration", choices=["small", "released"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config(
        recipe_path("simulated"),
        overrides=(
            *(RELEASED if options.configuration == "released" else ()),
            f"run.batch_size={options.batch}",
            f"run.precision={options.precision}",
            "run.n_steps=1000",
            "objective.ttr_weight=0.5",
            "objective.ttr_share=0.05",
            'objective.ttr_rate="flattened"',
        ),
    )
    processes = Processes(device=torch.device(options.device))
    rows = [
        *compare_steps(config, processes, options.rounds),
        *time_drawing(config, processes, options.rounds),
    ]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(json.dumps({"benchmark": "training_step", **vars(options), "rows": rows}))


def compare_steps(
    config: PretrainConfig, processes: Processes, rounds: int
) -> list[dict[str, object]]:
    """Time steps of both, after the temporal regularizer has ended, masked and not."""
    ours = Trainer(Learner(config), config, processes)
    learner = Learner(config)
    learner.student.encoder = published_structure(learner.student.encoder)
    learner.teacher = make_teacher(learner.student)
    theirs = Trainer(learner, config, processes)
    theirs.optimizer = torch.optim.AdamW(learner.student.parameters())

    def published_step(step: int, pieces: list) -> dict[str, float]:
        return {k: float(v) for k, v in theirs.step(step, pieces, look=False).items()}

    calls = {"ours": partial(ours.step, look=False), "published": published_step}
    times: dict[str, list[float]] = {name: [] for name in calls}
    first = config.run.n_steps // 2
    for step in range(first, first + rounds + 1):
        pieces = draw_pieces(config, step, cohort=None, pieces=(0,), device=processes.device)
        losses = {}
        for name, call in calls.items():
            with _timed(processes) as seconds:
                losses[name] = float(call(step, pieces)["total"])
            if step > first:  # the first step of each allocates
                times[name].append(seconds[0])
        print(
            f"step {step}, masked {pieces[0].mask is not None}: losses {losses}", file=sys.stderr
        )
    best = {name: min(found) for name, found in times.items()}
    ratios = [b / a for a, b in zip(times["ours"], times["published"], strict=True)]
    hours = SCANS_OF_PAPER * EPOCHS / config.run.batch_size * best["ours"] / 3600
    return [
        {
            "steps_per_s": f"{1 / best['ours']:.3g}",
            "published_per_s": f"{1 / best['published']:.3g}",
            "ratio": f"{statistics.median(ratios):.2f}",
            "ratio_range": f"{min(ratios):.2f} to {max(ratios):.2f}",
            "subjects_per_s": f"{config.run.batch_size / best['ours']:.3g}",
            "hours_for_the_papers_run": f"{hours:.0f}",
        }
    ]


class _timed:  # noqa: N801 - reads as a function
    """Measure a block; processor time where that is all the time there is."""

    def __init__(self, processes: Processes) -> None:
        cpu = processes.device.type == "cpu" and torch.get_num_threads() == 1
        self.clock: Callable[[], float] = time.process_time if cpu else time.perf_counter
        self.wait = torch.cuda.synchronize if processes.device.type == "cuda" else lambda: None
        self.seconds: list[float] = []

    def __enter__(self) -> list[float]:
        self.wait()
        self.started = self.clock()
        return self.seconds

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.seconds.append(self.clock() - self.started)


def time_drawing(
    config: PretrainConfig, processes: Processes, rounds: int
) -> list[dict[str, object]]:
    """Time a batch from shards and from the simulator."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_shards(
            Path(folder, "s"), _scans(config.run.batch_size), config.input, made_from="noise"
        )
        shards = Shards(Path(folder, "s"))
        cohort = Cohort(shards, list(shards.by_subject), config.input, n_sessions=2)
        for name, source in (("shards", cohort), ("simulator", None)):
            times = []
            for step in range(rounds):
                with _timed(processes) as seconds:
                    draw_pieces(config, step, cohort=source, pieces=(0,), device=processes.device)
                times.append(seconds[0])
            rate = config.run.batch_size / min(times)
            rows.append({"batch_from": name, "subjects_per_s": f"{rate:.4g}"})
    return rows


def _scans(n_subjects: int) -> Iterator[NewScan]:
    rng = np.random.default_rng(0)
    for number in range(2 * n_subjects):
        subject, session = f"sub-{number // 2:02d}", f"ses-{number % 2}"
        values = rng.standard_normal((N_FRAMES, 457))
        yield NewScan(
            subject=subject,
            session=session,
            scan=f"{subject}_{session}",
            source="noise",
            series=ParcelSeries(values=values, tr_s=2.0, unit="robust"),
        )


if __name__ == "__main__":
    main()
