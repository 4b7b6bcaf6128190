"""Baselines from the series themselves: connectivity, and the encoder with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model.evaluation.connectivity import connectivity
from model.evaluation.vectors import ByLevel, Vectors
from model.preprocess import window
from model.statistics.pairing import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.cohort.outputs import Run
    from model.encoder import Encoder
    from model.series import ParcelSeries, Windows
    from model.statistics.pairing import Key

RANDOM_SEEDS = (0, 1, 2)
RANDOM, RANDOM_WHITENED = "random weights", "random weights, whitened"
BEFORE = "before training"


def connectivity_vectors(runs: Mapping[Key, Run], series: Mapping[Key, ParcelSeries]) -> ByLevel:
    """Describe whole scans, and the windows that were embedded, by their connectivity."""
    scans = [s.values for s in series.values()]
    found: ByLevel = {"scan": Vectors(keys=list(series), sets=connectivity(scans))}
    keys, pieces = [], []
    for key, run in runs.items():
        for number, samples in enumerate(window_samples(run, series[key])):
            keys.append(replace(key, window=number))
            pieces.append(series[key].values[samples])
    found["window"] = Vectors(keys=keys, sets=connectivity(pieces))
    return found


def window_samples(run: Run, series: ParcelSeries) -> list[slice]:
    """Return which samples of a run's model series each of its windows held."""
    names, values = run.numbers("desc-windows_embedding.tsv")
    onset, duration = (values[:, names.index(name)] for name in ("onset", "duration"))
    first = np.round((onset - series.start_s) / series.tr_s).astype(int)
    n_samples = np.round(duration / series.tr_s).astype(int)
    return [slice(start, start + n) for start, n in zip(first, n_samples, strict=True)]


def random_vectors(
    series: Mapping[Key, ParcelSeries], encoder: Encoder
) -> tuple[ByLevel, dict[str, list[str]]]:
    """Embed with random weights of an encoder's architecture, and with those it began with.

    Random weights are whitened too, if the encoder is.

    Returns
    -------
    Vectors of several seeds, and the names of those that differ by seed only.
    """
    # torch only where it is needed: evaluating a table takes seconds without it.
    from model.evaluation.encoded import READOUTS, encode
    from model.pretraining.untrained import before_training, untrained, untrained_whitened

    controls = {RANDOM: [untrained(encoder, seed=seed) for seed in RANDOM_SEEDS]}
    if encoder.spec.whitened:
        controls[RANDOM_WHITENED] = [untrained_whitened(encoder, seed=s) for s in RANDOM_SEEDS]
    if (first := before_training(encoder)) is not None:
        controls[BEFORE] = [first]
    windows = [cut(s, encoder) for s in series.values()]
    found: ByLevel = {}
    for kind, encoders in controls.items():
        for number, control in enumerate(encoders):
            for level, vectors in encode(list(series), windows, control).items():
                named = {_numbered(kind, name, number): v for name, v in vectors.sets.items()}
                sets = {**found[level].sets, **named} if level in found else named
                found[level] = Vectors(keys=vectors.keys, sets=sets)
    members = {
        f"{kind}, {name}": [_numbered(kind, name, number) for number in range(len(encoders))]
        for kind, encoders in controls.items()
        for name in READOUTS
    }
    return found, members


def cut(series: ParcelSeries, encoder: Encoder) -> Windows:
    """Cut a model series as the encoder's card says, in the normalization that it has."""
    normalization: Any = series.unit
    return window(series, replace(encoder.own_card().input, normalization=normalization))


def check_checkpoint(runs: Mapping[Key, Run], encoder: Encoder) -> None:
    """Raise `EvaluationError` unless the runs were embedded by these very weights."""
    card = encoder.own_card()
    for run in runs.values():
        found = run.metadata("desc-scan_embedding.json").get("Model", {}).get("WeightsSHA256")
        if found != card.weights_sha256:
            raise EvaluationError(
                f"{run.name}: embedded by weights {found}, the checkpoint has "
                f"{card.weights_sha256}.",
                hint="Name the checkpoint that made these outputs.",
            )


def _numbered(kind: str, name: str, number: int) -> str:
    return f"{kind}, {name}, {number}"
