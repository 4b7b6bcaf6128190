"""Student and teacher, what the losses see of them, the losses, and signs of collapse."""

from __future__ import annotations

import copy
import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypedDict, TypeVar, cast

import torch
from torch import Tensor, nn

from model.encoder import Encoder, ProjectionHead
from model.pretraining.losses import cls_loss, token_loss, ttr_loss
from model.pretraining.untrained import begin, fit_data
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from model.layers import Block
    from model.pretraining.losses import RateOn
    from model.pretraining.settings import ObjectiveConfig, PretrainConfig


_Module = TypeVar("_Module", bound="nn.Module")


def make_teacher(student: _Module) -> _Module:
    """Copy an encoder or a head; the copy has no gradients."""
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(requires_grad=False)
    return teacher


def momentum_at(step: int, *, n_steps: int, base: float) -> float:
    """Return the teacher's momentum, from ``base`` at step 0 along a cosine to 1."""
    return 1 - (1 - base) * (math.cos(math.pi * step / n_steps) + 1) / 2


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, *, momentum: float) -> None:
    """Move the teacher's parameters towards the student's: ``t <- m t + (1 - m) s``, in place.

    Buffers stay: the norm of the structured kernels is fixed at construction, and a teacher
    made by `make_teacher` has the student's.
    """
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    for kept, followed in pairs:
        kept.lerp_(followed, 1 - momentum)


class Projections(NamedTuple):
    """Unit vectors that the losses are taken of; views first, then subjects."""

    summary: Tensor
    """(V, B, p)"""
    averages: Tensor | None
    """(V, B, N, p) of networks over patches; None: not in this step"""
    tokens: Tensor | None
    """(V, B, N, K, p); None: not in this step"""
    features: Tensor | None
    """(V, B, 1 + N, D) not projected: summary, then networks; None: not in this step"""

    def __repr__(self) -> str:
        return shown(self)

    def map(self, change: Callable[[Tensor], Tensor]) -> Projections:
        """Change every part (V, B, ...) that there is."""
        summary, *others = self
        return Projections(change(summary), *(None if x is None else change(x) for x in others))

    def parts(self) -> list[Tensor]:
        """List the parts (V, B, ...) that there are."""
        return [part for part in self if part is not None]


def join(pieces: Sequence[Projections]) -> Projections:
    """Join pieces of a batch along the subjects."""
    if len(pieces) == 1:
        return pieces[0]
    joined = [
        torch.cat(parts, dim=1) if parts[0] is not None else None
        for parts in zip(*pieces, strict=True)
    ]
    return Projections(torch.cat([p.summary for p in pieces], dim=1), *joined[1:])


class DropPath:
    """Multiplies what residual branches add, where it is told to; says nothing in between.

    Factors are drawn with the batch: nothing random happens in a forward pass, so that a second
    pass over the same windows, or a resumed run, does the same.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.factors: Tensor | None = None
        """(branches, windows); None: nothing is left out"""
        blocks = cast("Iterable[Block]", encoder.blocks)
        scales = [scale for block in blocks for scale in (block.scale1, block.scale2)]
        for i, scale in enumerate(scales):
            scale.register_forward_hook(partial(self._multiply, branch=i))

    def _multiply(
        self, _scale: nn.Module, _given: object, added: Tensor, *, branch: int
    ) -> Tensor:
        if self.factors is None:
            return added
        return added * self.factors[branch, :, None, None].to(added.dtype)


class Branch(nn.Module):
    """An encoder and its projection head: student or teacher."""

    paths: DropPath | None = None
    """Of a student that is trained with some left out."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__()
        objective = config.objective
        self.encoder = Encoder(config.encoder)
        self.head = ProjectionHead(
            config.encoder.dim,
            objective.head_hidden,
            objective.head_out,
            hidden_layers=objective.head_layers,
        )
        self.average_projections = objective.ttr_average == "projections"
        self.bf16 = config.run.precision == "bf16"

    def forward(
        self,
        views: Tensor,
        mask: Tensor,
        *,
        averages: bool = False,
        tokens: bool = False,
        features: bool = False,
        factors: Tensor | None = None,
    ) -> Projections:
        """Project the summaries, and what else is asked for, of both views in one pass.

        Parameters
        ----------
        views
            (V, B, P, L)
        mask
            (V, B, N, K) true where the mask token stands for a token.
        averages, tokens, features
            Which parts of `Projections` to return.
        factors
            (branches, V * B) of residual branches, for `DropPath`; None: as they are.
        """
        if self.paths is not None:
            self.paths.factors = factors
        grid_wanted = averages or tokens or features
        with torch.autocast(views.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            encoded = self.encoder(
                views.flatten(0, 1), mask.flatten(0, 1), summary_only=not grid_wanted
            ).float()
            encoded = encoded.view(*views.shape[:2], *encoded.shape[1:])
            summary = self.head(encoded[:, :, 0])
            if not grid_wanted:
                return Projections(summary, None, None, None)
            grid = encoded[:, :, 1:].reshape(*mask.shape, -1)
            of_networks = self._averages(grid) if averages else None
            of_tokens = self.head(grid) if tokens else None
        means = torch.cat([encoded[:, :, :1], grid.mean(dim=3)], dim=2) if features else None
        return Projections(summary, of_networks, of_tokens, means)

    def _averages(self, grid: Tensor) -> Tensor:
        projected: Tensor = (
            self.head(grid).mean(dim=3)
            if self.average_projections
            else self.head(grid.mean(dim=3))
        )
        return projected


class Learner(nn.Module):
    """Student and teacher, equal at first.

    Parameters
    ----------
    config
        The run; its seed gives the random weights.
    parent
        Encoder to start from; None: random weights. The projection head is random always, for
        checkpoints do not keep it.
    """

    def __init__(self, config: PretrainConfig, parent: Encoder | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.run.seed)
            self.student = Branch(config)
        with_mixtures = config.fit is not None and config.fit.mixtures
        begin(self.student.encoder, config.run.init, fit_data(config) if with_mixtures else None)
        if parent is not None:
            self.student.encoder.load_state_dict(parent.state_dict())
        whitening = self.student.encoder.whitening
        if config.run.fixed_whitening and whitening is not None:
            whitening.requires_grad_(requires_grad=False)
        self.teacher = make_teacher(self.student)
        if config.optimizer.drop_path:
            self.student.paths = DropPath(self.student.encoder)


class _Rate(TypedDict):
    """What coding rate is raised, and how strongly."""

    rate_on: RateOn
    rate_centred: bool
    rate_weight: float


def compute_losses(
    student: Projections,
    teacher: Projections,
    mask: Tensor | None,
    objective: ObjectiveConfig,
    *,
    ttr_weight: float,
) -> dict[str, Tensor]:
    """Return the losses of a whole batch: each part, not weighted, and their weighted ``total``.

    ``mask`` is (V, B, N, K), true where a token was hidden from the student. A part is in the
    losses, which are scalars (), where student and teacher have it.
    """
    rate: _Rate = {
        "rate_on": objective.rate_on,
        "rate_centred": objective.rate_centred,
        "rate_weight": objective.rate_weight,
    }
    distance = objective.distance
    losses = {"cls": cls_loss(student.summary, teacher.summary, **rate, distance=distance)}
    total = objective.cls_weight * losses["cls"]
    if student.averages is not None and teacher.averages is not None:
        losses["ttr"] = ttr_loss(
            student.averages,
            teacher.averages,
            ttr_rate=objective.ttr_rate,
            **rate,
            distance=distance,
        )
        total = total + ttr_weight * losses["ttr"]
    if student.tokens is not None and teacher.tokens is not None and mask is not None:
        losses["token"] = token_loss(
            student.tokens,
            teacher.tokens,
            mask,
            reduction=objective.masked_reduction,
            distance=distance,
        )
        total = total + objective.token_weight * losses["token"]
    return {**losses, "total": total}


@torch.no_grad()
def indicators(teacher: Projections) -> dict[str, Tensor]:
    """Measure the teacher on one batch.

    Returns
    -------
    ``rankme_cls`` and ``rankme_networks``: effective rank of the summary tokens (2 B rows) and
    of the networks' means (18 B rows), not projected; 1 is collapse, the smaller of rows and
    dimension the most there can be. ``teacher_std``: spread of the projected summaries over the
    batch; 0 is collapse, 1 is even on the sphere.
    """
    assert teacher.features is not None, "asked for with them"  # noqa: S101 - our guarantee
    summary, networks = teacher.features[:, :, 0], teacher.features[:, :, 1:]
    projected = teacher.summary.flatten(0, 1)
    return {
        "rankme_cls": rankme(summary.flatten(0, 1)),
        "rankme_networks": rankme(networks.flatten(0, 2)),
        "teacher_std": projected.std(dim=0).square().sum().sqrt(),
    }


def rankme(rows: Tensor) -> Tensor:
    """Return the effective rank of (R, D) rows, the exponential of their spectrum's entropy.

    Notes
    -----
    Garrido et al. 2023, arXiv 2210.02885; by the eigenvalues of the smaller Gram matrix.
    """
    rows = rows.double()
    gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    if not gram.isfinite().all():  # the decomposition would raise
        return torch.full((), torch.nan, device=rows.device)
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = values / values.sum()
    rank: Tensor = torch.special.entr(share).sum().exp()
    return rank
