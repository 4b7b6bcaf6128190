"""Encoders without training: first weights, whitening, and the controls made of both."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch

from model.encoder import build_encoder
from model.errors import ConfigError
from model.pretraining.settings import HIGH_PASS, RANDOM, UNTRAINED
from model.simulation.draws import generator_of
from model.simulation.simulate import SimulationConfig, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from model.encoder import Encoder
    from model.spec import EncoderSpec, InputSpec
    from model.tokenizer import NetworkTokenizer, StructuredConv


DENSE_GAIN = 10.0
"""A difference of neighbouring samples is small, for BOLD is smooth; GELU shows the variance of
what is not."""


N_POPULATIONS, N_SUBJECTS, N_SESSIONS = 60, 12, 2
"""Simulated scans to fit to; two windows of each."""
WINDOWS_PER_SCAN = 2
LEAST_VARIANCE = 1e-6
"""Share of the mean variance below which a direction holds rounding only."""
SHRINKAGE = 0.3
"""Of the whitening of random weights, where the card does not tell that of the checkpoint."""


def begin(encoder: Encoder, init: str) -> None:
    """Make of random weights, in place, those that ``run.init`` names.

    Nothing is done for ``random``, nor for a checkpoint, which replaces them.
    """
    if init == HIGH_PASS:
        pass_no_constant(encoder)


@torch.no_grad()
def pass_no_constant(encoder: Encoder) -> None:
    """Turn an encoder's random filters, in place, into random filters without a mean."""
    for tokenizer in cast("Iterable[NetworkTokenizer]", encoder.tokenizers):
        weight = tokenizer.dense.weight
        weight.copy_(DENSE_GAIN * (weight - weight.mean(dim=-1, keepdim=True)))
        _subtract_average(tokenizer.structured)


def _subtract_average(conv: StructuredConv) -> None:
    """Make every head the sample minus a random average of those around it, for all parcels."""
    n_scales = len(conv.kernels)
    for i, kernel in enumerate(conv.kernels):
        # Undoes the weights of the scales: an average has no strong middle.
        average = kernel[:, :1].abs() / 2 ** (n_scales - 1 - i)
        kernel.copy_(-average.expand_as(kernel))
    conv.fix_norm()
    conv.skip.copy_(-conv.taps().sum(dim=-1))


def whiten(
    encoder: Encoder,
    simulation: SimulationConfig,
    spec: InputSpec,
    *,
    shrinkage: float,
    seed: int,
    n_populations: int = N_POPULATIONS,
) -> Encoder:
    """Return the encoder with whitened tokens, fitted to the mean tokens of simulated windows.

    Parameters
    ----------
    encoder
        Not whitened yet, in eval mode; not changed.
    simulation, spec
        Strengths and sampling of the scans, of which all parcels are present.
    shrinkage
        Share, from 0 to 1, of the mean variance in the variance of each direction: keeps
        directions that hardly vary from being blown up.
    seed
        Of the simulation.
    n_populations
        Populations to draw; covariances are those within them.

    Raises
    ------
    ConfigError
        The encoder is whitened already, fewer windows than dimensions, or a shrinkage outside
        0 to 1.
    """
    if encoder.spec.whitened:
        raise ConfigError("the encoder's tokens are whitened already.")
    if not 0 <= shrinkage <= 1:
        raise ConfigError(f"expected a shrinkage from 0 to 1, found {shrinkage}.")
    scans = replace(
        simulation, n_samples=WINDOWS_PER_SCAN * spec.window_samples, cut_probability=0.0
    )
    means = torch.stack(
        [_mean_tokens(encoder, scans, spec, seed=[seed, p]) for p in range(n_populations)]
    )
    mean, matrix = fit(means, shrinkage=shrinkage)
    whitened = build_encoder(replace(encoder.spec, whitened=True), seed=0)
    whitened.load_state_dict(
        encoder.state_dict() | {"whitening.mean": mean, "whitening.matrix": matrix}
    )
    return whitened.requires_grad_(requires_grad=False).eval()


def fit(means: Tensor, *, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Return mean (N, D) and matrix (N, D, D) that whiten (populations, windows, N, D).

    Columns of the matrix go by falling variance before whitening; those of directions in which
    nothing varies are zero.
    """
    n_populations, n_windows, _, dim = means.shape
    if n_populations * (n_windows - 1) < dim:
        raise ConfigError(
            f"expected more than {dim} windows to whiten {dim} dimensions, found "
            f"{n_populations} populations of {n_windows}."
        )
    means = means.double()
    within = (means - means.mean(dim=1, keepdim=True)).flatten(0, 1).transpose(0, 1)
    variance, directions = torch.linalg.eigh(within.mT @ within / within.shape[1])
    shrunk = (1 - shrinkage) * variance + shrinkage * variance.mean(dim=-1, keepdim=True)
    # The norm before leaves a direction without any variance: its rounding must not be read out.
    varies = variance > LEAST_VARIANCE * variance.mean(dim=-1, keepdim=True)
    matrix = (directions * (varies / shrunk.sqrt())[:, None]).flip(-1)
    return means.mean(dim=(0, 1)).float(), matrix.float()


def _mean_tokens(
    encoder: Encoder, simulation: SimulationConfig, spec: InputSpec, *, seed: list[int]
) -> Tensor:
    """(windows, N, D) mean tokens of one simulated population."""
    drawn = simulate(
        simulation,
        spec,
        n_subjects=N_SUBJECTS,
        n_sessions=N_SESSIONS,
        generator=generator_of(seed),
    )
    windows = torch.split(drawn.values.flatten(0, 1), spec.window_samples, dim=-1)
    with torch.inference_mode():
        tokens = torch.cat([encoder(x.contiguous())[:, 1:] for x in windows])
    grid: Tensor = tokens.view(len(tokens), len(encoder.spec.rows), -1, tokens.shape[-1])
    return grid.mean(dim=2)


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
