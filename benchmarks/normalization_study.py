"""How far artefacts and circumstances move a scan's embedding, by normalization and weights.

Perturbs each scan (`model/evaluation/perturbations.py`), embeds it as the app would, and
compares it with the embedding of the unperturbed scan: cosine, plain and after the mean over the
unperturbed scans is taken away, and identification of the subject against the other,
unperturbed session.
Prints tables and one line of JSON; tables, figure and conclusions are in docs/robustness.md.
About five minutes on two cores. Usage::

    python benchmarks/normalization_study.py [--data F.npz] [--figure F.png] [--checkpoint DIR]

Whitening shrinks the very directions in which the scans it was fitted to differ, so that what is
done to those moves them more than others'. ``--checkpoint`` takes the recipe fitted to others::

    semantoks-model pretrain bundled OUT --set \\
        'fit.shards=["shards/stages-single", "shards/ds000220"]'
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from normalization_figure import draw
from stages import SERIES, load_scans

from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.encoder import Encoder, build_encoder
from model.evaluation.perturbations import conditions
from model.preprocess import prepare, window
from model.series import ParcelSeries
from model.simulation.simulate import SimulationConfig, simulate
from model.spec import InputSpec, Normalization
from model.statistics.measures import identification

Array = npt.NDArray[np.float64]
VARIANTS: tuple[Normalization, ...] = ("robust", "zscore")
"""The model's two ways from series to input; despiking belongs to the first."""
COLUMNS = ("cosine", "centred", "identified %")
BoolArray = npt.NDArray[np.bool_]
Scans = list[tuple[ParcelSeries, ParcelSeries]]
N_SUBJECTS, N_SAMPLES, SEED = 14, 234, 1
"""Simulated subjects and samples, as many as are real; seed of simulation and random weights."""
TARGETS = {
    "gain and offset per parcel": 0.999,
    "gain and offset per scan": 0.999,
    "2 % spikes, whole frames": 0.98,
    "2 % spikes, each parcel": 0.98,
    "10 % of parcels lost": 0.95,
} | {f"TR {tr} s": 0.97 for tr in ("0.72", "0.8", "1.5", "3")}
"""The cosine that was asked for, by perturbation"""


class Measured(TypedDict):
    """What is measured of one perturbation over all scans of one kind."""

    cosine: float
    """Median over scans of the cosine to the unperturbed scan's vector"""
    cosine_5th: float
    centred: float
    """The same after the mean over the unperturbed scans is taken from both"""
    centred_5th: float
    identified: float | None
    """Percent; perturbed session against the other one unperturbed, both ways round"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of one table."""

    scans: str
    weights: str
    variant: Normalization
    family: str
    name: str
    target: float | None
    measured: Measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SERIES)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="instead of the bundled one")
    options = parser.parse_args()
    jobs = [
        (options.data, options.checkpoint, kind, weights, variant)
        for kind in ("real", "simulated")
        for weights in ("bundled", "random")
        for variant in VARIANTS
    ]
    with ProcessPoolExecutor(max_workers=2) as pool:
        rows = [row for part in pool.map(study, *zip(*jobs, strict=True)) for row in part]
    for kind, weights in dict.fromkeys((job[2], job[3]) for job in jobs):
        print_table([r for r in rows if (r.scans, r.weights) == (kind, weights)], kind, weights)
    if options.figure:
        draw([r for r in rows if (r.scans, r.weights) == ("real", "bundled")], options.figure)
    print(json.dumps([asdict(row) for row in rows], allow_nan=False))


def simulated_scans() -> Scans:
    """Return as many subjects and frames as are real, without spikes, all parcels present."""
    config = SimulationConfig(n_samples=N_SAMPLES, spike_probability=0.0, cut_probability=0.0)
    spec = InputSpec(normalization="zscore")  # the soft limit of the other would distort them
    generator = torch.Generator().manual_seed(SEED)
    made = simulate(config, spec, n_subjects=N_SUBJECTS, n_sessions=2, generator=generator)

    def series(values: torch.Tensor) -> ParcelSeries:
        return ParcelSeries(values=values.numpy().T, tr_s=spec.tr_s, unit="residual")

    return [(series(first), series(second)) for first, second in made.values]


def study(
    data: Path, checkpoint: Path | None, kind: str, weights: str, variant: Normalization
) -> list[Row]:
    """Measure every perturbation; the first two rows are other scans, for comparison."""
    torch.set_num_threads(1)  # four windows at a time: threads cost more than they bring
    scans = load_scans(data) if kind == "real" else simulated_scans()
    encoder = load_encoder(checkpoint)
    if weights == "random":
        encoder = build_encoder(encoder.spec, seed=SEED).eval()
    clean, measured = embed_all(scans, encoder, variant)
    present = measured.any(axis=(0, 1))
    clean = clean[:, :, present]
    row = partial(Row, scans=kind, weights=weights, variant=variant)
    rows = [
        row(family="reference", name=n, target=None, measured=x) for n, x in other_scans(clean)
    ]
    for number, condition in enumerate(conditions()):
        # A generator of its own: a scan meets the same artefact in every variant.
        rng = np.random.default_rng([SEED, number])
        perturbed = [(condition.apply(a, rng), condition.apply(b, rng)) for a, b in scans]
        moved, measured = embed_all(perturbed, encoder, variant)
        moved, measured = moved[:, :, present], measured[:, :, present]
        about = partial(row, family=condition.family, target=TARGETS.get(condition.name))
        rows.append(about(name=condition.name, measured=compare(moved, clean)))
        if not measured.all():
            numbers = compare(moved, clean, measured=measured)
            rows.append(about(name=f"{condition.name}, the others", measured=numbers))
    return rows


def embed_all(scans: Scans, encoder: Encoder, variant: Normalization) -> tuple[Array, BoolArray]:
    """(S, 2, N, D) scan vectors by row, and (S, 2, N) false where a row was masked.

    A masked row is represented by what the encoder predicts there.
    """
    spec = InputSpec(normalization=variant)
    rows = encoder.spec.rows
    vectors, measured = [], []
    for series in (s for pair in scans for s in pair):
        windows = window(prepare(series, spec), spec)
        embedding = embed_windows(windows, encoder, readout=("networks",))
        vectors.append(embedding.filled_vector().reshape(len(rows), -1))
        measured.append([name not in embedding.missing_networks for name in rows])
    shape = (len(scans), 2, len(rows))
    return np.array(vectors, dtype=float).reshape(*shape, -1), np.reshape(measured, shape)


def compare(moved: Array, clean: Array, *, measured: BoolArray | None = None) -> Measured:
    """Return the numbers of a `Row` from (S, 2, N, D) vectors, without networks not measured."""
    used = np.ones((*clean.shape[:3], 1)) if measured is None else measured[..., None]
    mean = clean.mean(axis=(0, 1))
    plain, centred = (
        cosine(moved * used, clean * used),
        cosine((moved - mean) * used, (clean - mean) * used),
    )
    # A network left out says nothing of who it is: the mean over scans in its place.
    flat_moved, flat_clean = (
        x.reshape(*x.shape[:2], -1) for x in (np.where(used, moved, mean), clean)
    )
    found = [identification(flat_moved[:, s], flat_clean[:, 1 - s]) for s in (0, 1)]
    return summary(plain, centred, identified=round(float(np.mean(found)), 1))


def other_scans(clean: Array) -> list[tuple[str, Measured]]:
    """Return what unperturbed scans of the same subject, and of others, have in common."""
    centred = clean - clean.mean(axis=(0, 1))
    n_subjects = len(clean)
    first, second = np.divmod(np.arange(n_subjects**2), n_subjects)
    flat = clean.reshape(n_subjects, 2, -1)
    found = {True: round(identification(flat[:, 0], flat[:, 1]), 1), False: None}

    def numbers(*, same: bool) -> Measured:
        a, b = (index[(first == second) == same] for index in (first, second))
        both = (cosine(x[a, 0], x[b, 1]) for x in (clean, centred))
        return summary(*both, identified=found[same])

    return [
        ("same subject, other session", numbers(same=True)),
        ("other subject", numbers(same=False)),
    ]


def cosine(a: Array, b: Array) -> Array:
    """Cosines of vectors that fill the last two axes, flattened over the rest."""
    a, b = (x.reshape(-1, x.shape[-2] * x.shape[-1]) for x in (a, b))
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def summary(plain: Array, centred: Array, *, identified: float | None) -> Measured:
    """Return median and 5th percentile of both cosines."""
    return Measured(
        cosine=float(np.median(plain)),
        cosine_5th=float(np.percentile(plain, 5)),
        centred=float(np.median(centred)),
        centred_5th=float(np.percentile(centred, 5)),
        identified=identified,
    )


def print_table(rows: list[Row], kind: str, weights: str) -> None:
    """Print one kind of scans and weights as markdown: median (5th percentile)."""
    variants = list(dict.fromkeys(r.variant for r in rows))
    print(f"\n{kind} scans, {weights} weights\n")
    header = [f"{column}, {v}" for column in COLUMNS for v in variants]
    print("| | target | " + " | ".join(header) + " |")
    print("|---" * (len(header) + 2) + "|")
    for name in dict.fromkeys(r.name for r in rows):
        chosen = [r for r in rows if r.name == name]
        found = [r.measured for r in chosen]
        cells = [f"{m['cosine']:.3f} ({m['cosine_5th']:.3f})" for m in found]
        cells += [f"{m['centred']:.3f} ({m['centred_5th']:.3f})" for m in found]
        cells += ["" if m["identified"] is None else f"{m['identified']:.0f}" for m in found]
        print(f"| {name} | {chosen[0].target or ''} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
