"""The training loop: frozen start, layer-wise rates, early stopping, best state restored."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from model.finetuning.predictor import scores_of
from model.invocation.progress import say_share
from model.pretraining.layer_rates import parameter_groups
from model.probing.head import batches, loss_of
from model.probing.samples import ProbeError
from model.probing.scoring import by_key, merit
from model.series import shown
from model.views.corruption import ViewsConfig, augment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from model.finetuning.options import FinetuneConfig
    from model.finetuning.predictor import Predictor
    from model.probing.participants import Labels
    from model.probing.samples import Samples

    DrawCrops = Callable[[torch.Generator], "Crops"]

_LOG = logging.getLogger(__name__)

_NO_DECAY = {"weight_decay": 0.0}
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
    """`model.probing.scoring.merit` over the validation subjects."""

    def __str__(self) -> str:
        which = f"epoch {self.epoch + 1}{' (head only)' if self.frozen else ''}"
        loss = f"training loss {self.train_loss:.3g}, validation {self.validation_loss:.3g}"
        return f"{which}: {loss}, score {self.validation_score:.3f}"

    @property
    def rank(self) -> tuple[float, float]:
        """Better is larger: score, then loss where scores are equal."""
        return (self.validation_score, -self.validation_loss)


def train(
    predictor: Predictor,
    draw: DrawCrops,
    validation: Crops,
    labels: Labels,
    config: FinetuneConfig,
    *,
    learning_rate: float,
    scale: tuple[float, float],
    seed: int,
) -> list[Epoch]:
    """Train in place; the predictor ends in the state of the epoch that is kept.

    Parameters
    ----------
    draw
        Gives the crops of an epoch, of equal number in all.
    learning_rate
        One of the configuration's.
    scale
        Mean and spread that regression targets were scaled by; 0 and 1 in classification.
    seed
        Of the order of crops and of what is drawn of them.

    Returns
    -------
    All epochs; `kept` tells which one the predictor is of.

    Raises
    ------
    ProbeError
        A loss is not finite; or validation lacks a class.
    """
    groups = parameter_groups(
        predictor,
        depth=len(predictor.encoder.blocks),
        learning_rate=learning_rate,
        layer_decay=config.layer_decay,
    )
    if config.decay_exempt:
        groups = without_decay(groups, predictor)
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    crops = draw(generator)
    n_steps = config.epochs * max(1, len(crops.targets) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / n_steps)) / 2
    )
    epochs: list[Epoch] = []
    best_state: dict[str, Tensor] = {}
    for number in range(config.epochs):
        frozen = number < config.frozen_epochs
        crops = draw(generator) if number else crops
        loss = _train_epoch(
            predictor, crops, config, optimizer, schedule, generator, frozen=frozen
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
        say_share((number + 1) / config.epochs)
        if config.keep == "last":
            continue
        best = best_of(epochs)
        if best is epochs[-1]:
            # Clones: the state dict itself holds the live weights, which go on changing.
            best_state = {k: v.detach().clone() for k, v in predictor.state_dict().items()}
        elif number - max(best.epoch, config.frozen_epochs - 1) >= config.patience:
            break
    if config.keep == "best":
        predictor.load_state_dict(best_state)
    return epochs


def kept(epochs: Sequence[Epoch], config: FinetuneConfig) -> Epoch:
    """Return the epoch whose state the predictor has after training."""
    return epochs[-1] if config.keep == "last" else best_of(epochs)


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
                f"the loss is {losses[-1]} after {len(losses)} steps of an epoch.",
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
    predicted = by_key(scores * spread + offset, crops.windows.keys(labels))
    score = merit(
        labels.task,
        np.array(list(predicted.values())),
        labels.of(tuple(predicted)),
        of="validation",
        regress_by=config.regress_by,
    )
    return {"validation_loss": float(loss), "validation_score": score}


def _tensor(targets: npt.NDArray[np.float64], predictor: Predictor) -> Tensor:
    """Return indices as integers, numbers as floats: by that `loss_of` tells the tasks."""
    y = torch.from_numpy(targets)
    return y.float() if predictor.head.n_outputs == 1 else y.long()


def without_decay(groups: Sequence[dict[str, Any]], predictor: Predictor) -> list[dict[str, Any]]:
    """Divide groups of parameters: biases, norms and layer scales of the encoder do not decay."""
    spared = {
        id(parameter)
        for name, parameter in predictor.encoder.named_parameters()
        if name.endswith(".bias") or "norm" in name or "gamma" in name
    }
    divided = []
    for group in groups:
        for decays in (True, False):
            chosen = [p for p in group["params"] if (id(p) not in spared) == decays]
            if chosen:
                divided.append({**group, "params": chosen, **({} if decays else _NO_DECAY)})
    return divided
