"""Identify the 14 STAGES development subjects from one session to the other.

Accuracy is the share of subjects whose most similar (Pearson) embedding of the other session
is their own, both directions averaged; chance is 7 %. Raw, and with every feature
standardised over the evaluated set (no labels). Full scan: windows averaged. One window: mean
over all pairs of one window per session. Usage::

    python benchmarks/identify_stages.py [--checkpoint FOLDER] [--data FILE.npz]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from typing import TYPE_CHECKING

from stages import N_CORTEX, SERIES, identification, load_scans

from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.encoder import Encoder, build_encoder
from model.networks import NETWORKS, parcels
from model.preprocess import normalize, window
from model.spec import EncoderSpec, InputSpec

if TYPE_CHECKING:
    from model.series import ParcelSeries, Windows

Array = npt.NDArray[np.float64]
RANDOM_SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Features:
    """Embeddings of two sessions of each subject."""

    scans: Array
    """(subjects, 2, D)"""
    windows: Array
    """(subjects, 2, W, D)"""


def main() -> None:
    options = _parse_arguments()
    trained = load_encoder(options.checkpoint) if options.checkpoint else None
    spec = trained.spec if trained else EncoderSpec(dim=256, depth=2, heads=4)
    scans = normalized(options.data, InputSpec())
    rows = connectivity_rows(scans)
    random = [encoder_rows(scans, build_encoder(spec, seed=s).eval()) for s in RANDOM_SEEDS]
    size = f"{spec.dim}/{spec.depth}"
    for part in random[0]:
        rows[f"random {size}, {part}"] = np.mean([r[part] for r in random], axis=0)
    if trained:
        for part, row in encoder_rows(scans, trained).items():
            rows[f"{options.checkpoint.name} {size}, {part}"] = row
    print_table(rows)
    print(json.dumps({"data": options.data.name, "n": len(scans), **_rounded(rows)}))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--data", type=Path, default=SERIES)
    return parser.parse_args()


def normalized(path: Path, spec: InputSpec) -> list[tuple[ParcelSeries, ParcelSeries]]:
    """Normalized series of both sessions of each subject."""
    method = spec.normalization
    return [(normalize(a, method), normalize(b, method)) for a, b in load_scans(path)]


def raw_and_standardised(first: Array, second: Array) -> tuple[float, float]:
    both = np.concatenate([first, second])
    both = (both - both.mean(0)) / np.maximum(both.std(0), 1e-12)
    return identification(first, second), identification(*np.split(both, 2))


def score(features: Features) -> Array:
    """(4,) full scan raw, full scan standardised, one window raw, one window standardised."""
    n_windows = features.windows.shape[2]
    full = raw_and_standardised(features.scans[:, 0], features.scans[:, 1])
    pairs = [
        raw_and_standardised(features.windows[:, 0, i], features.windows[:, 1, j])
        for i in range(n_windows)
        for j in range(n_windows)
    ]
    return np.array([*full, *np.mean(pairs, axis=0)])


def connectivity_rows(scans: list[tuple[ParcelSeries, ParcelSeries]]) -> dict[str, Array]:
    """Baselines: correlations, Fisher-transformed, and within networks only."""
    upper = np.triu_indices(N_CORTEX, 1)
    network = np.array([p.network for p in parcels()[:N_CORTEX]])
    same = network[upper[0]] == network[upper[1]]

    def fc(values: npt.NDArray[np.float32]) -> Array:
        return np.asarray(np.corrcoef(values[:N_CORTEX]))[upper]

    pearson = Features(
        scans=np.array([[fc(s.values.T) for s in pair] for pair in scans]),
        windows=np.array(
            [[[fc(w) for w in window(s, InputSpec()).values] for s in pair] for pair in scans]
        ),
    )
    fisher = Features(scans=np.arctanh(pearson.scans), windows=np.arctanh(pearson.windows))
    within = Features(scans=fisher.scans[..., same], windows=fisher.windows[..., same])
    return {
        "FC Pearson": score(pearson),
        "FC Fisher-z": score(fisher),
        "FC Fisher-z within networks": score(within),
    }


def encoder_rows(
    scans: list[tuple[ParcelSeries, ParcelSeries]], encoder: Encoder
) -> dict[str, Array]:
    """Scores of the readouts: mean of tokens with CLS, CLS alone, network means."""
    embedded = [[_embed(window(s, InputSpec()), encoder) for s in pair] for pair in scans]
    return {
        part: score(
            Features(
                scans=np.array([[w[part].mean(0) for w in pair] for pair in embedded]),
                windows=np.array([[w[part] for w in pair] for pair in embedded]),
            )
        )
        for part in embedded[0][0]
    }


def _embed(windows: Windows, encoder: Encoder) -> dict[str, Array]:
    """(W, D') per readout, networks that are missing left out."""
    embedding = embed_windows(windows, encoder, readout=("networks",))
    present = [name not in embedding.missing_networks for name in NETWORKS]
    networks = embedding.networks[:, present]
    return {
        "mean + cls": np.concatenate([embedding.mean, embedding.cls], axis=1).astype(float),
        "cls": embedding.cls.astype(float),
        "networks": networks.reshape(len(networks), -1).astype(float),
    }


def print_table(rows: dict[str, Array]) -> None:
    print("| accuracy, % | full scan raw | full scan std | one window raw | one window std |")
    print("|---|---|---|---|---|")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(f"{v:.1f}" for v in values) + " |")


def _rounded(rows: dict[str, Array]) -> dict[str, list[float]]:
    return {name: [round(float(v), 1) for v in values] for name, values in rows.items()}


if __name__ == "__main__":
    main()
