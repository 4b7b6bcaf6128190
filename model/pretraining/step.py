"""One training step: schedules, gradient of a whole batch's losses, clipping, AdamW, teacher."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from model.pretraining.layer_rates import parameter_groups
from model.pretraining.learner import (
    Projections,
    compute_losses,
    indicators,
    join,
    momentum_at,
    update_teacher,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.pretraining.batches import Batch
    from model.pretraining.learner import Branch, Learner
    from model.pretraining.parallel import Processes
    from model.pretraining.settings import PretrainConfig


Schedule = npt.NDArray[np.float64]
"""(steps,) one value per step"""
Losses = dict[str, Tensor]
"""Scalars by name; ``total`` is what is minimized"""
Wanted = dict[str, bool]
"""Which parts of `Projections` the losses of a step need"""


def _half_cosine(n_steps: int) -> Schedule:
    """Fall from 1 at step 0 towards 0 at step ``n_steps``."""
    return (1 + np.cos(np.pi * np.arange(n_steps, dtype=np.float64) / max(1, n_steps))) / 2


def learning_rate(n_steps: int, *, peak: float, warmup_steps: int) -> Schedule:
    """Rise linearly to ``peak`` over the warm-up, then fall to 0 along a half cosine."""
    rise = peak * np.arange(1, warmup_steps + 1, dtype=np.float64) / max(1, warmup_steps)
    fall = peak * _half_cosine(n_steps - warmup_steps)
    return np.concatenate([rise, fall])


def weight_decay(n_steps: int, *, first: float, last: float) -> Schedule:
    """Go from ``first`` to ``last`` along a half cosine."""
    return last + (first - last) * _half_cosine(n_steps)


def regularizer_weight(n_steps: int, *, first: float, active_steps: int) -> Schedule:
    """Fall from ``first`` to 0 along a half cosine over the first ``active_steps``, then stay 0.

    With ``active_steps`` beyond the end of training the weight stays at ``first``.
    """
    if active_steps > n_steps:
        return np.full(n_steps, first)
    weight = np.zeros(n_steps)
    weight[:active_steps] = first * _half_cosine(active_steps)
    return weight


@dataclass(frozen=True, kw_only=True, eq=False)
class Schedules:
    """One value per step."""

    learning_rate: Schedule
    weight_decay: Schedule
    ttr_weight: Schedule

    @classmethod
    def of(cls, config: PretrainConfig) -> Schedules:
        """Compute those of a run; ``n_steps`` counts optimiser steps, however many pieces."""
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


def _groups(student: Branch, config: PretrainConfig) -> list[dict[str, Any]]:
    """Group the student's parameters by their share of the learning rate, ``lr``."""
    decay = config.optimizer.layer_decay
    if decay == 1:  # one group, in the order of saved states
        return [{"params": list(student.parameters()), "lr": 1.0}]
    return parameter_groups(
        student, depth=config.encoder.depth, learning_rate=1.0, layer_decay=decay
    )


class Trainer:
    """Student, teacher and optimiser on their device, shared by the processes of a run."""

    def __init__(self, learner: Learner, config: PretrainConfig, processes: Processes) -> None:
        self.config, self.processes = config, processes
        self.learner = learner.to(processes.device)
        groups = _groups(learner.student, config)
        self.shares = [group.pop("lr") for group in groups]
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.schedules = Schedules.of(config)
        self.student: Branch | DistributedDataParallel = learner.student
        if processes.size > 1:
            ids = [processes.device.index] if processes.device.type == "cuda" else None
            self.student = DistributedDataParallel(learner.student, device_ids=ids)

    def step(self, step: int, pieces: Sequence[Batch], *, look: bool) -> Losses:
        """Do one optimiser step and one teacher step.

        Parameters
        ----------
        step
            Its number.
        pieces
            This process's pieces of the batch.
        look
            Whether to compute the indicators of collapse, which waits for the device.

        Returns
        -------
        Losses, gradient norm and indicators: scalars on the device, not waited for.
        """
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            group["lr"] = share * float(self.schedules.learning_rate[step])
            group["weight_decay"] = float(self.schedules.weight_decay[step])
        self.optimizer.zero_grad(set_to_none=True)
        values = self.backward(
            pieces, ttr_weight=float(self.schedules.ttr_weight[step]), look=look
        )
        parameters = self.learner.student.parameters()
        norm = nn.utils.clip_grad_norm_(parameters, self.config.optimizer.clip_norm)
        self.optimizer.step()
        momentum = momentum_at(
            step, n_steps=self.config.run.n_steps, base=self.config.optimizer.teacher_momentum
        )
        update_teacher(self.learner.teacher, self.learner.student, momentum=momentum)
        return {**values, "gradient_norm": norm}

    def backward(
        self, pieces: Sequence[Batch], *, ttr_weight: float, look: bool = False
    ) -> Losses:
        """Fill the student's gradients with those of the whole batch's loss.

        Notes
        -----
        The coding rate couples all subjects of a batch, so gradients of pieces cannot simply be
        added up. With several pieces in one process the student sees each twice: first without
        a graph, to get the projections of the whole batch and the gradient of its loss with
        respect to them; then with one, piece by piece, to carry that gradient on (Gao et al.
        2021, arXiv 2101.06983). The result is that of the undivided batch.
        """
        wanted: Wanted = {"averages": ttr_weight > 0, "tokens": pieces[0].mask is not None}
        with torch.no_grad():
            taught = join(
                [self.learner.teacher(p.views, p.absent, **wanted, features=look) for p in pieces]
            )
        taught = taught.map(self.processes.gather)
        masks = [p.mask for p in pieces if p.mask is not None]
        mask = self.processes.gather(torch.cat(masks, dim=1).byte()).bool() if masks else None

        def losses_of(own: Projections) -> Losses:
            student = own.map(self.processes.gather)
            losses = compute_losses(
                student, taught, mask, self.config.objective, ttr_weight=ttr_weight
            )
            torch.autograd.backward(losses["total"] * self.processes.scale)
            return losses

        if len(pieces) == 1:
            losses = losses_of(self._learn(self.student, pieces[0], wanted))
        else:
            losses = self._backward_in_pieces(pieces, wanted, losses_of)
        values = {name: loss.detach() for name, loss in losses.items()}
        return values | (indicators(taught) if look else {})

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Losses:
        """Compute the parts of the loss on a batch that is not trained on."""
        assert batch.mask is not None, "a held-out batch is masked"  # noqa: S101 - our guarantee
        wanted = {"averages": True, "tokens": True}
        teacher = self.learner.teacher(batch.views, batch.absent, **wanted)
        student = self._learn(self.learner.student, batch, wanted)
        losses = compute_losses(
            student, teacher, batch.mask, self.config.objective, ttr_weight=0.0
        )
        return {name: loss for name, loss in losses.items() if name != "total"}

    def _backward_in_pieces(
        self, pieces: Sequence[Batch], wanted: Wanted, losses_of: Callable[[Projections], Losses]
    ) -> Losses:
        """Carry the gradient of the whole batch's loss back through each piece in turn.

        ``losses_of`` computes the losses of the whole batch's projections and their gradients.
        """
        with torch.no_grad():
            first = join([self._learn(self.learner.student, p, wanted) for p in pieces])
        leaves = first.map(lambda part: part.detach().requires_grad_())
        losses = losses_of(leaves)
        size = pieces[0].views.shape[1]
        for i, piece in enumerate(pieces):
            own = slice(i * size, (i + 1) * size)
            with self._exchange(last=i + 1 == len(pieces)):
                again = self._learn(self.student, piece, wanted)
                pairs = zip(again.parts(), leaves.parts(), strict=True)
                used = [(part, leaf.grad[:, own]) for part, leaf in pairs if leaf.grad is not None]
                torch.autograd.backward([part for part, _ in used], [grad for _, grad in used])
        return losses

    def _learn(self, student: nn.Module, piece: Batch, wanted: Wanted) -> Projections:
        masked = piece.absent if piece.mask is None else piece.absent | piece.mask
        projections: Projections = student(piece.views, masked, **wanted, factors=piece.factors)
        return projections

    def _exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Let DDP exchange gradients after the last piece only."""
        if last or not isinstance(self.student, DistributedDataParallel):
            return nullcontext()
        return self.student.no_sync()
