"""What an encoder must beat: its own architecture with random weights, and its own beginning."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from model.encoder import build_encoder
from model.pretraining.first_weights import begin
from model.pretraining.settings import RANDOM, UNTRAINED
from model.pretraining.whitening import whiten
from model.simulation.simulate import SimulationConfig

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


def before_training(encoder: Encoder) -> Encoder | None:
    """Draw the weights that training began with, whitened if the encoder is.

    None where the card does not tell them, or tells that they were another checkpoint's.
    """
    run = _run_settings(encoder)
    if run.get("init") not in UNTRAINED:
        return None
    seed, spec = int(run["seed"]), encoder.spec
    if spec.whitened:
        window, shrinkage = encoder.own_card().input, shrinkage_of(encoder)
        drawn = _whitened(spec, window, shrinkage=shrinkage, seed=seed, init=run["init"])
    else:
        drawn = _drawn(spec, seed=seed, init=run["init"])
    return drawn.to(encoder.cls_token.device)


def shrinkage_of(encoder: Encoder) -> float:
    """Return the shrinkage that the encoder's card tells; `SHRINKAGE` where it does not."""
    return float(_run_settings(encoder).get("whitening") or SHRINKAGE)


def _run_settings(encoder: Encoder) -> dict[str, Any]:
    """Return what the card tells of the pretraining run; nothing if there was none."""
    run: dict[str, Any] = encoder.own_card().training.get("config", {}).get("run", {})
    return run


@cache
def _whitened(
    spec: EncoderSpec, window: InputSpec, *, shrinkage: float, seed: int, init: str = RANDOM
) -> Encoder:
    drawn = _drawn(replace(spec, whitened=False), seed=seed, init=init)
    return whiten(drawn, SimulationConfig(), window, shrinkage=shrinkage, seed=seed)


def _drawn(spec: EncoderSpec, *, seed: int, init: str) -> Encoder:
    drawn = build_encoder(spec, seed=seed).eval()
    begin(drawn, init)
    return drawn
