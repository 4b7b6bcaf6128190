"""The course of a run for people: a table and curves of its epochs."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING

from model.files.figures import svg_bytes
from model.files.write import tsv_bytes
from model.finetuning.train import Epoch, best_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def epochs_tsv(epochs: Sequence[Epoch]) -> bytes:
    """Return one line per epoch."""
    return tsv_bytes([f.name for f in fields(Epoch)], [astuple(epoch) for epoch in epochs])


def curves_svg(epochs: Sequence[Epoch], metric: str) -> bytes:
    """Draw losses and validation score by epoch; a line marks the epoch that was kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    number = [epoch.epoch for epoch in epochs]
    losses.plot(number, [epoch.train_loss for epoch in epochs], label="training")
    losses.plot(number, [epoch.validation_loss for epoch in epochs], label="validation")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend(frameon=False)
    scores.plot(number, [epoch.validation_score for epoch in epochs], color="C1")
    scores.set(xlabel="epoch", ylabel=f"validation {metric}")
    for axes in (losses, scores):
        axes.axvline(best_of(epochs).epoch, color="0.6", linestyle=":")
    return svg_bytes(figure)
