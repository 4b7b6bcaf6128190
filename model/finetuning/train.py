"""The training loop: frozen start, layer-wise rates, early stopping, best state restored."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from model.finetuning.predictor import scores_of
from model.pretraining.layer_rates import parameter_groups
from model.probing.head import batches, loss_of
from model.probing.options import MAIN_METRIC
from model.probing.samples import ProbeError
from model.probing.scoring import by_subject, measure_subjects
from model.series import shown
from model.views.corruption import ViewsConfig, augment

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from model.finetuning.options import FinetuneConfig
    from model.finetuning.predictor import Predictor
    from model.probing.participants import Labels
    from model.probing.samples import Samples


_LOG = logging.getLogger(__name__)

AUGMENTATION = ViewsConfig(pairing="scan", parcels_zeroed=(0.0, 0.0))
"""Level 1 of time, scale and noise, none of parcels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Windows of some subjects."""

    windows: Samples
    """(S, P, L)"""
    masked: npt.NDArray[np.bool_]
    """(S, N, K)"""
    targets: npt.NDArray[np.float64]
    """(S,) class indices, or numbers with mean 0 and spread 1 in the training subjects"""

    __repr__ = shown


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """How one pass went."""

    epoch: int
    frozen: bool
    train_loss: float
    validation_loss: float
    validation_score: float
    """Main metric over the validation subjects."""

    @property
    def rank(self) -> tuple[float, float]:
        """Better is larger: score, then loss where scores are equal."""
        return (self.validation_score, -self.validation_loss)


def train(
    predictor: Predictor,
    train_crops: Crops,
    validation: Crops,
    labels: Labels,
    config: FinetuneConfig,
    *,
    scale: tuple[float, float],
) -> list[Epoch]:
    """Train in place; the predictor ends in the state of its best validation.

    Parameters
    ----------
    scale
        Mean and spread that regression targets were scaled by; 0 and 1 in classification.

    Returns
    -------
    All epochs; the best is the first with the largest `Epoch.rank`.

    Raises
    ------
    ProbeError
        A loss is not finite; or validation lacks a class.
    """
    optimizer = torch.optim.AdamW(
        parameter_groups(
            predictor,
            depth=len(predictor.encoder.blocks),
            learning_rate=config.learning_rate,
            layer_decay=config.layer_decay,
        ),
        weight_decay=config.weight_decay,
    )
    generator = torch.Generator().manual_seed(config.seed + config.repetition)
    n_steps = config.epochs * max(1, len(train_crops.targets) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / n_steps)) / 2
    )
    epochs: list[Epoch] = []
    best_state: dict[str, Tensor] = {}
    for number in range(config.epochs):
        frozen = number < config.frozen_epochs
        loss = _train_epoch(
            predictor, train_crops, config, optimizer, schedule, generator, frozen=frozen
        )
        epochs.append(
            Epoch(
                epoch=number,
                frozen=frozen,
                train_loss=loss,
                **_validate(predictor, validation, labels, config, scale=scale),
            )
        )
        _LOG.info("%s", epochs[-1])
        best = best_of(epochs)
        if best is epochs[-1]:
            # Clones: the state dict itself holds the live weights, which go on changing.
            best_state = {k: v.detach().clone() for k, v in predictor.state_dict().items()}
        elif number - max(best.epoch, config.frozen_epochs - 1) >= config.patience:
            break
    predictor.load_state_dict(best_state)
    return epochs


def best_of(epochs: Sequence[Epoch]) -> Epoch:
    """Return the first of the best epochs."""
    return max(epochs, key=lambda epoch: epoch.rank)


def _train_epoch(
    predictor: Predictor,
    crops: Crops,
    config: FinetuneConfig,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    generator: torch.Generator,
    *,
    frozen: bool,
) -> float:
    """See every crop once, corrupted anew; return the mean loss of the batches."""
    predictor.train()
    device = predictor.encoder.cls_token.device
    x, masked = torch.from_numpy(crops.windows.values), torch.from_numpy(crops.masked)
    y = _tensor(crops.targets, predictor)
    losses = []
    for batch in batches(len(y), size=config.batch_size, generator=generator):
        views = augment(x[batch], AUGMENTATION, generator=generator)
        scores = predictor(views.to(device), masked[batch].to(device), frozen=frozen)
        loss = loss_of(scores, y[batch].to(device))
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise ProbeError(
                f"the loss is {losses[-1]} at rate {config.learning_rate}.",
                hint="Lower the learning rate.",
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(predictor.parameters(), config.clip_norm)
        optimizer.step()
        schedule.step()
    return float(np.mean(losses))


def _validate(
    predictor: Predictor,
    crops: Crops,
    labels: Labels,
    config: FinetuneConfig,
    *,
    scale: tuple[float, float],
) -> dict[str, float]:
    scores = scores_of(predictor, crops.windows.values, crops.masked, batch_size=config.batch_size)
    loss = loss_of(torch.from_numpy(scores), _tensor(crops.targets, predictor))
    offset, spread = scale
    predicted = by_subject(scores * spread + offset, crops.windows.subjects)
    score = measure_subjects(predicted, labels, of="validation")[MAIN_METRIC[labels.task]]
    return {"validation_loss": float(loss), "validation_score": score}


def _tensor(targets: npt.NDArray[np.float64], predictor: Predictor) -> Tensor:
    """Return indices as integers, numbers as floats: by that `loss_of` tells the tasks."""
    y = torch.from_numpy(targets)
    return y.float() if predictor.head.linear.out_features == 1 else y.long()
