"""What an encoder must beat: its own architecture with random weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from model.encoder import build_encoder
from model.pretraining.simulate import SimulationConfig
from model.pretraining.whitening import whiten

if TYPE_CHECKING:
    from model.encoder import Encoder
    from model.spec import EncoderSpec, InputSpec

SHRINKAGE = 0.3
"""Of the whitening of random weights, where the card does not tell that of the checkpoint."""


def untrained(encoder: Encoder, *, seed: int) -> Encoder:
    """Draw the weights anew; the tokens are not whitened, even if those of the encoder are."""
    drawn = build_encoder(encoder.spec, seed=seed).eval()
    return drawn.to(encoder.cls_token.device)


def untrained_whitened(encoder: Encoder, *, seed: int) -> Encoder:
    """Draw the weights of a whitened encoder anew and whiten on the simulator, as it was.

    So training is told apart from whitening, which needs none. It takes a quarter of a minute
    with the bundled architecture.
    """
    drawn = _whitened(
        encoder.spec, encoder.own_card().input, shrinkage=shrinkage_of(encoder), seed=seed
    )
    return drawn.to(encoder.cls_token.device)


def shrinkage_of(encoder: Encoder) -> float:
    """Return the shrinkage that the encoder's card tells; `SHRINKAGE` where it does not."""
    run = encoder.own_card().training.get("config", {}).get("run", {})
    return float(run.get("whitening") or SHRINKAGE)


@cache
def _whitened(spec: EncoderSpec, window: InputSpec, *, shrinkage: float, seed: int) -> Encoder:
    drawn = build_encoder(replace(spec, whitened=False), seed=seed).eval()
    return whiten(drawn, SimulationConfig(), window, shrinkage=shrinkage, seed=seed)
