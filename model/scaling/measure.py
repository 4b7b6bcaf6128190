"""What each row is measured on: scans that no row trained on, and how well they identify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from model.cohort.outputs import model_series
from model.evaluation.encoded import encode
from model.evaluation.source import SourceOptions, keyed_runs
from model.preprocess import window
from model.series import ParcelSeries
from model.simulation.simulate import simulate
from model.statistics.measures import mean_scores
from model.statistics.pairing import Key, pairings

if TYPE_CHECKING:
    from pathlib import Path

    from model.encoder import Encoder
    from model.pretraining.settings import PretrainConfig
    from model.scaling.plan import HeldOut, Plan
    from model.series import Windows

READOUT = "networks"
"""Means per network: the readout that identifies best at every size (docs/pretraining.md)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RepeatedScans:
    """Windows of subjects who were scanned twice or more."""

    name: str
    keys: list[Key]
    """One per scan"""
    windows: list[Windows]


def repeated_scans(plan: Plan) -> list[RepeatedScans]:
    """Prepare simulated scans, and the user's own if the plan names any."""
    sets = [_simulated(plan.held_out, plan.recipe)]
    if plan.outputs is not None:
        sets.append(_from_outputs(plan.outputs, plan.recipe))
    return sets


def measure(encoder: Encoder, scans: RepeatedScans) -> dict[str, float]:
    """Score an encoder.

    Returns
    -------
    Mean over subjects by ``<level>, <raw or standardised>, <measure>``.
    """
    found: dict[str, float] = {}
    for level, vectors in encode(scans.keys, scans.windows, encoder).items():
        pairs = pairings(vectors.keys)
        for standardised in (False, True):
            _, scores = mean_scores(vectors.sets[READOUT], pairs, standardised=standardised)
            kind = "standardised" if standardised else "raw"
            found |= {f"{level}, {kind}, {n}": float(s.mean()) for n, s in scores.items()}
    return found


def _simulated(held_out: HeldOut, recipe: PretrainConfig) -> RepeatedScans:
    """Draw two scans of each subject, all parcels present."""
    assert recipe.simulation is not None, "a plan's recipe simulates its subjects"  # noqa: S101
    config = replace(recipe.simulation, n_samples=held_out.n_samples, cut_probability=0.0)
    drawn = simulate(
        config,
        recipe.input,
        n_subjects=held_out.n_subjects,
        n_sessions=2,
        generator=torch.Generator().manual_seed(held_out.seed),
    )
    keys, windows = [], []
    for subject, sessions in enumerate(drawn.values):
        for session, values in enumerate(sessions):
            series = ParcelSeries(
                values=values.numpy().T, tr_s=recipe.input.tr_s, unit=recipe.input.normalization
            )
            keys.append(Key(f"{subject:05d}", str(session)))
            windows.append(window(series, recipe.input))
    return RepeatedScans(name="simulated", keys=keys, windows=windows)


def _from_outputs(folder: Path, recipe: PretrainConfig) -> RepeatedScans:
    """Read the model series of an output folder."""
    runs = keyed_runs(folder, SourceOptions())
    return RepeatedScans(
        name=folder.name,
        keys=list(runs),
        windows=[window(model_series(run), recipe.input) for run in runs.values()],
    )
