"""Baselines from the series themselves: connectivity, and the encoder with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.cohort.names import DURATION, ONSET, SCAN, WINDOWS
from model.evaluation.vectors import ByLevel, Vectors
from model.networks import parcels
from model.preprocess import window
from model.statistics.connectivity import (
    TangentSpace,
    correlations,
    fisher_z,
    shrunk_covariance,
)
from model.statistics.pairing import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model.cohort.outputs import EmbeddedScan
    from model.encoder import Encoder
    from model.series import ParcelSeries, Windows
    from model.statistics.pairing import Key


Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
PEARSON, FISHER, WITHIN, TANGENT = (
    "FC Pearson",
    "FC Fisher-z",
    "FC within networks",
    "FC tangent",
)


RANDOM_SEEDS = (0, 1, 2)
RANDOM, RANDOM_WHITENED = "random weights", "random weights, whitened"
BEFORE = "before training"


def connectivity(
    pieces: Sequence[npt.NDArray[np.floating]],
    scans: Sequence[npt.NDArray[np.floating]] | None = None,
) -> dict[str, Float32Array]:
    """Describe every piece of data by its connectivity.

    Parameters
    ----------
    pieces
        (T, P) series, NaN where a parcel is missing. Parcels that any piece lacks, or that are
        constant in one, are left out of all.
    scans
        (T, P) the whole scans that the pieces are of, where they are parts; the tangent space is
        that at the mean of the scans, for it takes long to find.

    Returns
    -------
    (R, edges) by kind: Pearson's correlations; Fisher's z of them; the same within networks
    only; and the tangent space at the geometric mean of the scans' covariances (shrunk after
    Ledoit and Wolf), without labels.
    """
    present = np.all([piece.std(axis=0) > 0 for piece in pieces], axis=0)
    network = np.array([parcel.network for parcel in parcels()])[present]
    rows, columns = np.triu_indices(present.sum(), 1)
    same = network[rows] == network[columns]
    pearson = np.stack([correlations(piece[:, present]) for piece in pieces])
    fisher = fisher_z(pearson)
    covariances = [_covariance(piece[:, present]) for piece in pieces]
    of_scans = covariances if scans is None else [_covariance(scan[:, present]) for scan in scans]
    return {
        PEARSON: pearson,
        FISHER: fisher,
        WITHIN: fisher[:, same],
        TANGENT: TangentSpace(of_scans).vectors(covariances).astype(np.float32),
    }


def _covariance(series: npt.NDArray[np.floating]) -> Array:
    """(P, P) shrunk covariance of (T, P) series of variance 1, which is their correlation."""
    z = np.asarray(series, np.float64) - np.mean(series, axis=0, dtype=np.float64)
    return shrunk_covariance(z / np.sqrt((z**2).mean(axis=0)))


def connectivity_vectors(
    runs: Mapping[Key, EmbeddedScan], series: Mapping[Key, ParcelSeries]
) -> ByLevel:
    """Describe whole scans, and the windows that were embedded, by their connectivity."""
    scans = [s.values for s in series.values()]
    found: ByLevel = {"scan": Vectors(keys=list(series), sets=connectivity(scans))}
    keys, pieces = [], []
    for key, run in runs.items():
        for number, samples in enumerate(window_samples(run, series[key])):
            keys.append(replace(key, window=number))
            pieces.append(series[key].values[samples])
    found["window"] = Vectors(keys=keys, sets=connectivity(pieces, scans))
    return found


def window_samples(run: EmbeddedScan, series: ParcelSeries) -> list[slice]:
    """Return which samples of a run's model series each of its windows held."""
    names, values = run.numbers(f"{WINDOWS}.tsv")
    onset, duration = (values[:, names.index(name)] for name in (ONSET, DURATION))
    first = np.round((onset - series.start_s) / series.tr_s).astype(int)
    n_samples = np.round(duration / series.tr_s).astype(int)
    return [slice(start, start + n) for start, n in zip(first, n_samples, strict=True)]


def random_vectors(
    series: Mapping[Key, ParcelSeries], encoder: Encoder, *, folders: Sequence[Path] = ()
) -> tuple[ByLevel, dict[str, list[str]], list[str]]:
    """Embed with random weights of an encoder's architecture, and with those it began with.

    Random weights are whitened too, if the encoder is, and on the same scans; where these are
    not at hand there are no such rows.

    Parameters
    ----------
    folders
        Of shards, among which are those that the encoder's whitening was fitted to, if any.

    Returns
    -------
    Vectors of several seeds, the names of those that differ by seed only, and what is left out.
    """
    # torch only where it is needed: evaluating a table takes seconds without it.
    from model.evaluation.encoded import READOUTS, encode
    from model.pretraining.untrained import (
        FitDataError,
        before_training,
        untrained,
        untrained_whitened,
    )

    controls = {RANDOM: [untrained(encoder, seed=seed) for seed in RANDOM_SEEDS]}
    left_out = []
    try:
        if encoder.spec.whitened:
            controls[RANDOM_WHITENED] = [
                untrained_whitened(encoder, seed=seed, folders=folders) for seed in RANDOM_SEEDS
            ]
        told = encoder.own_card().training
        if told.get("config", {}).get("run", {}).get("n_steps") == 0:
            left_out = [f"{BEFORE} is left out: nothing was trained"]
        elif (first := before_training(encoder, folders=folders)) is not None:
            controls[BEFORE] = [first]
        elif parent := told.get("parent"):
            left_out = [f"{BEFORE} is left out: it began with the checkpoint {parent}"]
    except FitDataError as err:
        left_out = [f"{RANDOM_WHITENED} and {BEFORE} are left out: {err}"]
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
    return found, members, left_out


def cut(series: ParcelSeries, encoder: Encoder) -> Windows:
    """Cut a model series as the encoder's card says, in the normalization that it has."""
    return window(series, encoder.own_card().input_with(series.unit))


def check_checkpoint(runs: Mapping[Key, EmbeddedScan], encoder: Encoder) -> None:
    """Raise `EvaluationError` unless the runs were embedded by these very weights."""
    card = encoder.own_card()
    for run in runs.values():
        found = run.metadata(f"{SCAN}.json").get("Model", {}).get("WeightsSHA256")
        if found != card.weights_sha256:
            raise EvaluationError(
                f"{run.name}: embedded by weights {found}, the checkpoint has "
                f"{card.weights_sha256}.",
                hint="Name the checkpoint that made these outputs.",
            )


def _numbered(kind: str, name: str, number: int) -> str:
    return f"{kind}, {name}, {number}"
