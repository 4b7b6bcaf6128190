"""Fit the encoder's last, linear step to simulated scans: whitening of each network's tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from model.encoder import build_encoder
from model.errors import ConfigError
from model.networks import NETWORKS
from model.simulation.draws import generator_of
from model.simulation.simulate import simulate

if TYPE_CHECKING:
    from torch import Tensor

    from model.encoder import Encoder
    from model.simulation.simulate import SimulationConfig
    from model.spec import InputSpec

N_POPULATIONS, N_SUBJECTS, N_SESSIONS = 60, 12, 2
"""Simulated scans to fit to; two windows of each."""
WINDOWS_PER_SCAN = 2
LEAST_VARIANCE = 1e-6
"""Share of the mean variance below which a direction holds rounding only."""


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
    grid: Tensor = tokens.view(len(tokens), len(NETWORKS), -1, tokens.shape[-1])
    return grid.mean(dim=2)
