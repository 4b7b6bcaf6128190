"""One training step, and the loop over them with a log, saved states and exact resume."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from model.encoder import Encoder, ProjectionHead
from model.errors import SemantoksError
from model.networks import NETWORKS
from model.pretraining.losses import cls_loss, token_loss, ttr_loss
from model.pretraining.masks import slice_masks
from model.pretraining.schedules import learning_rate, regularizer_weight, weight_decay
from model.pretraining.simulate import simulate
from model.pretraining.teacher import make_teacher, momentum_at, update_teacher
from model.pretraining.views import draw_views

if TYPE_CHECKING:
    from pathlib import Path

    from model.pretraining.config import ObjectiveConfig, PretrainConfig, RunConfig

_LOG = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
STATE_FILE = "state.pt"
POOL = 1
"""Tells the seeds of a pool's subjects from those of a step."""


class TrainingError(SemantoksError):
    """Training cannot go on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What one step learns from. It follows from the configuration and the step's number."""

    views: Tensor
    """(V, B, P, L)"""
    absent: Tensor
    """(V, B, N, K) true where a network is missing: masked for student and teacher"""
    mask: Tensor | None
    """(V, B, N, K) true where the student's tokens are masked; None: not in this batch"""


class Branch(nn.Module):
    """An encoder and its projection head: student or teacher."""

    def __init__(self, encoder: Encoder, head: ProjectionHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def tokens(self, views: Tensor, mask: Tensor) -> Tensor:
        """(V, B, 1 + N * K, D) tokens of both views in one pass."""
        encoded: Tensor = self.encoder(views.flatten(0, 1), mask.flatten(0, 1))
        return encoded.view(*views.shape[:2], *encoded.shape[1:])


class Learner(nn.Module):
    """Student and teacher, equal at first."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        objective = config.objective
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.run.seed)
            self.student = Branch(
                Encoder(config.encoder),
                ProjectionHead(config.encoder.dim, objective.head_hidden, objective.head_out),
            )
        self.teacher = make_teacher(self.student)


def draw_batch(config: PretrainConfig, step: int) -> Batch:
    """Simulate the subjects of one step and cut views; the same for the same step, always."""
    generator = _generator(config.run.seed, step)
    n_subjects = config.run.batch_size
    scans = simulate(
        config.simulation,
        config.input,
        n_subjects=n_subjects,
        n_sessions=config.views.n_sessions,
        generator=generator if config.run.n_subjects is None else _pool(config.run, step),
    )
    views = draw_views(
        scans.values, config.views, n_samples=config.input.window_samples, generator=generator
    )
    n_patches = config.encoder.n_patches
    absent = scans.missing_networks[:, None].expand(2, n_subjects, len(NETWORKS), n_patches)
    masked = float(torch.rand((), generator=generator)) < config.objective.mask_probability
    mask = slice_masks(
        2 * n_subjects, n_networks=len(NETWORKS), n_patches=n_patches, generator=generator
    )
    return Batch(
        views=torch.stack(views),
        absent=absent,
        mask=mask.view(absent.shape) & ~absent if masked else None,
    )


def _generator(*numbers: int) -> torch.Generator:
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed) >> 1)


def _pool(run: RunConfig, step: int) -> torch.Generator:
    """Give the generator of the subjects that are due at this step, whatever the views of them.

    A batch comes round whole: what is drawn per batch must not tell its subjects from others.
    """
    assert run.n_subjects is not None, "only runs with a pool come here"  # noqa: S101 - our guarantee
    block = step % (run.n_subjects // run.batch_size)
    return _generator(run.seed, block, POOL)


def compute_losses(
    learner: Learner, batch: Batch, objective: ObjectiveConfig, *, ttr_weight: float
) -> dict[str, Tensor]:
    """Return the losses of one step: each part, not weighted, and their weighted ``total``."""
    masked = batch.absent if batch.mask is None else batch.absent | batch.mask
    student = learner.student.tokens(batch.views, masked)
    with torch.no_grad():
        teacher = learner.teacher.tokens(batch.views, batch.absent)
    heads = (learner.student.head, learner.teacher.head)

    def project(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        return heads[0](student), heads[1](teacher)

    rate_on = objective.rate_on
    losses = {"cls": cls_loss(*project(student[:, :, 0], teacher[:, :, 0]), rate_on=rate_on)}
    total = losses["cls"]
    grid = (*batch.absent.shape, student.shape[-1])
    student, teacher = (tokens[:, :, 1:].reshape(grid) for tokens in (student, teacher))
    if ttr_weight > 0:
        averages = project(student.mean(dim=3), teacher.mean(dim=3))
        losses["ttr"] = ttr_loss(*averages, ttr_rate=objective.ttr_rate, rate_on=rate_on)
        total = total + ttr_weight * losses["ttr"]
    if batch.mask is not None:
        losses["token"] = token_loss(*project(student, teacher), batch.mask)
        total = total + objective.token_weight * losses["token"]
    return {**losses, "total": total}


def train(config: PretrainConfig, folder: Path) -> tuple[Encoder, float]:
    """Train to the last step, from the saved state if ``folder`` holds one.

    Parameters
    ----------
    config
        The run.
    folder
        Gets ``log.jsonl``, one line per step, and ``state.pt`` every so often.

    Returns
    -------
    The teacher's encoder, and the seconds that training took, interruptions left out.

    Raises
    ------
    TrainingError
        A loss is not finite; the message says which batch did it.
    """
    learner = Learner(config)
    optimizer = torch.optim.AdamW(learner.student.parameters())
    first, seconds = _restore(learner, optimizer, folder)
    steps = _Schedules.of(config)
    started = time.monotonic() - seconds
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        for step in range(first, config.run.n_steps):
            losses = train_step(learner, optimizer, config, steps, step=step)
            log.write(json.dumps({"step": step, **losses}) + "\n")
            if (step + 1) % config.run.save_every == 0 or step + 1 == config.run.n_steps:
                log.flush()
                seconds = time.monotonic() - started
                _save(learner, optimizer, folder, step=step + 1, seconds=seconds)
                _LOG.info("step %d of %d: %s", step + 1, config.run.n_steps, losses)
    return learner.teacher.encoder, seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class _Schedules:
    """One value per step."""

    learning_rate: np.ndarray[Any, np.dtype[np.float64]]
    weight_decay: np.ndarray[Any, np.dtype[np.float64]]
    ttr_weight: np.ndarray[Any, np.dtype[np.float64]]

    @classmethod
    def of(cls, config: PretrainConfig) -> _Schedules:
        n_steps, settings = config.run.n_steps, config.optimizer
        first, last = settings.weight_decay
        return cls(
            learning_rate=learning_rate(
                n_steps,
                peak=settings.learning_rate,
                warmup_steps=round(settings.warmup_share * n_steps),
            ),
            weight_decay=weight_decay(n_steps, first=first, last=last),
            ttr_weight=regularizer_weight(
                n_steps,
                first=config.objective.ttr_weight,
                active_steps=round(config.objective.ttr_share * n_steps),
            ),
        )


def train_step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    config: PretrainConfig,
    schedules: _Schedules,
    *,
    step: int,
) -> dict[str, float]:
    """Do one optimiser step and one teacher step; return the losses."""
    for group in optimizer.param_groups:
        group["lr"] = float(schedules.learning_rate[step])
        group["weight_decay"] = float(schedules.weight_decay[step])
    losses = compute_losses(
        learner,
        draw_batch(config, step),
        config.objective,
        ttr_weight=float(schedules.ttr_weight[step]),
    )
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    if not math.isfinite(values["total"]):
        raise TrainingError(
            f"expected a finite loss, found {values} at step {step} of run "
            f"{config.run.name!r} with seed {config.run.seed}.",
            hint=f"model.pretraining.loop.draw_batch(config, {step}) gives the batch; a lower "
            "learning rate may help.",
        )
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(losses["total"])
    norm = nn.utils.clip_grad_norm_(learner.student.parameters(), config.optimizer.clip_norm)
    optimizer.step()
    momentum = momentum_at(
        step, n_steps=config.run.n_steps, base=config.optimizer.teacher_momentum
    )
    update_teacher(learner.teacher, learner.student, momentum=momentum)
    return {**values, "gradient_norm": float(norm)}


def _save(
    learner: Learner, optimizer: torch.optim.Optimizer, folder: Path, *, step: int, seconds: float
) -> None:
    """Write everything that the next step depends on; a state that exists is complete."""
    scratch = folder / f"{STATE_FILE}.partial"
    state = {
        "step": step,
        "seconds": seconds,
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, scratch)
    scratch.replace(folder / STATE_FILE)


def _restore(
    learner: Learner, optimizer: torch.optim.Optimizer, folder: Path
) -> tuple[int, float]:
    """Fill learner and optimiser from a saved state; return the next step and seconds so far."""
    path = folder / STATE_FILE
    lines = _log_lines(folder)
    step, seconds = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    # Steps after the saved state are done again, and logged again.
    (folder / LOG_FILE).write_text("".join(lines[:step]), encoding="utf-8")
    return step, seconds


def _log_lines(folder: Path) -> list[str]:
    """Lines of the log so far; line i is step i."""
    path = folder / LOG_FILE
    return path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
