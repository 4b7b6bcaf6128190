"""Simulated cohorts with a planted label, written as participant level leaves them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.cohort.names import folder_of
from model.cohort.record import ScanRecord
from model.files.write import Digest
from model.networks import network_columns, parcel_names
from model.simulation.simulate import SimulationConfig, simulate
from model.spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

N_SAMPLES = 120


def simulate_cohort(n_subjects: int, *, n_sessions: int = 1, seed: int = 0) -> np.ndarray:
    """(subjects, sessions, samples, parcels); odd subjects have a synchronous default network."""
    scans = simulate(
        SimulationConfig(n_samples=N_SAMPLES, cut_probability=0.0, spike_probability=0.0),
        InputSpec(),
        n_subjects=n_subjects,
        n_sessions=n_sessions,
        generator=torch.Generator().manual_seed(seed),
    )
    values = scans.values.numpy().swapaxes(2, 3).copy()
    columns = network_columns("Default")
    planted = values[1::2][..., columns]
    common = planted.mean(axis=3, keepdims=True)
    planted = planted + 2 * common / common.std(axis=2, keepdims=True)
    values[1::2][..., columns] = planted / planted.std(axis=2, keepdims=True)
    return values


def write_series(
    out: Path,
    name: str,
    values: np.ndarray,
    *,
    status: str = "embedded",
    settings: str = "same",
    normalization: str = "robust",
) -> Path:
    """Write the files of one run that a probe reads; the series' path."""
    entities = dict(part.split("-") for part in name.split("_"))
    folder = out / folder_of(entities)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{name}_atlas-Semantoks457"
    path = stem.with_name(f"{stem.name}_desc-model_timeseries.tsv")
    meta = {"RepetitionTime": 2.0, "Normalization": normalization, "StartTime": 0.0}
    meta["ConfigurationHash"] = f"{settings}-1"
    path.with_suffix(".json").write_text(json.dumps(meta))
    rows = np.where(np.isnan(values), "n/a", np.char.mod("%.6g", values))
    lines = ["\t".join(parcel_names()), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    record = ScanRecord(
        status=status,
        reason="",
        entities=entities,
        source=name,
        configuration=f"{settings}-1",
        outputs={p.name: Digest.of(p.read_bytes()) for p in (path, path.with_suffix(".json"))},
    )
    stem.with_name(f"{stem.name}_status.json").write_text(json.dumps(record.as_json()))
    return path


def write_cohort(out: Path, values: np.ndarray) -> Path:
    """Write every run of (subjects, sessions, samples, parcels)."""
    for i, sessions in enumerate(values):
        for j, series in enumerate(sessions):
            write_series(out, f"sub-{i:02d}_ses-{j + 1}_task-rest", series)
    return out


def write_participants(path: Path, n_subjects: int) -> Path:
    """Write a planted, a random, and a numeric column, a site, and a group of one value."""
    rng = np.random.default_rng(3)
    order = rng.permutation(n_subjects)
    rows = [
        (
            f"sub-{i:02d}",
            "ab"[i % 2],
            "ab"[order[i] % 2],
            f"{10 * (i % 2) + rng.normal():.3f}",
            "xyz"[i // 2 % 3],
            "all",
        )
        for i in range(n_subjects)
    ]
    header = ("participant_id", "planted", "random", "number", "site", "constant")
    return write_tsv(path, [header, *rows])


def write_tsv(path: Path, rows: Iterable[Iterable[str]]) -> Path:
    """Write rows of text."""
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n")
    return path
