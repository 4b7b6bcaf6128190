"""How near simulated scans come to real ones, in what the simulator's strengths were set by.

Statistics of the 14 STAGES development subjects (400 cortical parcels, two sessions, 234 samples
of 2 s) beside those of simulated populations of as many, the global signal taken out of both::

    python benchmarks/simulator.py [--populations N] [--data FILE.npz]

Own part: standard deviation over subjects of what an edge (Fisher's z) keeps from session to
session. Identification: share of subjects whose nearest scan of the other session is their own,
from one window of 100 samples, features standardised.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages import N_CORTEX, SERIES, TR_S, load_scans

from model.networks import NETWORKS, parcel_places, parcels
from model.preprocess import prepare
from model.simulation.simulate import SimulationConfig, simulate
from model.spec import InputSpec
from model.statistics.connectivity import correlations, fisher_z
from model.statistics.measures import identification, standardise

Array = npt.NDArray[np.float64]
WINDOW = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--populations", type=int, default=3)
    parser.add_argument("--data", type=Path, default=SERIES)
    options = parser.parse_args()
    real = real_scans(options.data)
    simulated = [simulated_scans(real.shape, seed) for seed in range(options.populations)]
    rows = {"real": statistics(real)}
    found = [statistics(scans) for scans in simulated]
    rows["simulated"] = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    print("| | real | simulated |\n|---|---|---|")
    for name, value in rows["real"].items():
        print(f"| {name} | {value:.3f} | {rows['simulated'][name]:.3f} |")
    print(json.dumps({"populations": options.populations, **rows}))


def real_scans(path: Path) -> Array:
    """(subjects, 2, parcels, samples) as the encoder sees them, without global signal."""
    pairs = load_scans(path)
    scans = [[prepare(scan, InputSpec()).values[:, :N_CORTEX].T for scan in p] for p in pairs]
    return without_global_signal(np.array(scans, dtype=float))


def simulated_scans(shape: tuple[int, ...], seed: int) -> Array:
    """Scans of one population, as many and as long."""
    config = dataclasses.replace(SimulationConfig(), n_samples=shape[-1], cut_probability=0.0)
    drawn = simulate(
        config,
        InputSpec(),
        n_subjects=shape[0],
        n_sessions=shape[1],
        generator=torch.Generator().manual_seed(seed),
    )
    return without_global_signal(drawn.values[:, :, :N_CORTEX].double().numpy())


def without_global_signal(scans: Array) -> Array:
    """Regress the mean over parcels out of (..., P, T)."""
    mean = scans.mean(axis=-2, keepdims=True)
    weight = (scans * mean).sum(-1, keepdims=True) / (mean**2).sum(-1, keepdims=True)
    return np.asarray(scans - weight * mean)


def statistics(scans: Array) -> dict[str, float]:
    """All rows of the table, of scans (subjects, sessions, P, T)."""
    edge = kinds_of_edges()
    r = edges(scans)
    mean = r.mean(axis=(0, 1))
    found = {
        f"mean correlation {name}": mean[edge[name]].mean()
        for name in ("within", "between", "homotopic", "distance 1", "distance 3", "distance 8")
    }
    for name in ("distance 1", "distance 9 and more", "other hemisphere", "within", "between"):
        found[f"own part of an edge, {name}"] = own_part(fisher_z(r[..., edge[name]]))
    power = (np.abs(np.fft.rfft(scans)) ** 2).mean(axis=(0, 1, 2))
    hz = np.fft.rfftfreq(scans.shape[-1], TR_S)
    at = {f: power[np.abs(hz - f) < 0.004].mean() for f in (0.0125, 0.025, 0.065)}
    found["power at 0.0125 Hz, over that at 0.025 Hz"] = at[0.0125] / at[0.025]
    found["power at 0.065 Hz, over that at 0.025 Hz"] = at[0.065] / at[0.025]
    flat = scans.reshape(-1, *scans.shape[2:])
    share = np.mean([np.linalg.eigvalsh(np.corrcoef(scan))[::-1][:3] for scan in flat], axis=0)
    for i, value in enumerate(share / N_CORTEX):
        found[f"share of eigenvalue {i + 1}"] = value
    windows = [fisher_z(edges(part)) for part in (scans[..., :WINDOW], scans[..., -WINDOW:])]
    for name in ("any", "within", "between"):
        pairs = product(*([w[:, session][:, edge[name]] for w in windows] for session in (0, 1)))
        found[f"identification, edges {name}, %"] = np.mean(
            [identification(*standardise(first, second)) for first, second in pairs]
        )
    return {name: float(value) for name, value in found.items()}


def edges(scans: Array) -> Array:
    """(subjects, sessions, E) correlations of scans (subjects, sessions, P, T)."""
    return np.array([[correlations(scan.T) for scan in sessions] for sessions in scans])


def kinds_of_edges() -> dict[str, npt.NDArray[np.bool_]]:
    """(E,) which edges are of each kind, in the order of `edges`."""
    table = parcels()[:N_CORTEX]
    network = np.array([NETWORKS.index(p.network) for p in table])
    side = np.array([p.hemisphere for p in table])
    twin = np.array([p.name.replace("_RH_", "_LH_") for p in table])
    i, j = np.triu_indices(N_CORTEX, 1)
    within, one_side = network[i] == network[j], side[i] == side[j]
    apart = np.abs(parcel_places()[i] - parcel_places()[j])
    near = within & one_side
    return {
        "any": np.ones(len(i), dtype=bool),
        "within": within,
        "between": ~within,
        "homotopic": twin[i] == twin[j],
        "other hemisphere": within & ~one_side,
        "distance 1": near & (apart == 1),
        "distance 3": near & (apart == 3),
        "distance 8": near & (apart == 8),
        "distance 9 and more": near & (apart > 8),
    }


def own_part(z: Array) -> float:
    """Standard deviation over subjects, of edges (subjects, 2, E), that both sessions share."""
    z = z - z.mean(axis=(0, 1))
    shared = (z[:, 0] * z[:, 1]).sum(axis=0) / (len(z) - 1)
    return float(np.sqrt(shared.mean()))


if __name__ == "__main__":
    main()
