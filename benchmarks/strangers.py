"""How well the recipe's vectors tell people and states apart, on cohorts it was not fitted to.

For each seed the recipe ``bundled`` is fitted anew without the cohort that is looked at: STAGES
(two denoisings of 14 people) from STAGES' other patients and ds000220, ds000220 from STAGES,
ds004592 (rest, tasks, films) from both. All of one window of 200 s: identification across two
sessions or states, raw / standardised over the set; and the state of a window, five classes, a
quarter of the people left out at a time, linear SVM of standardised features. Beside it, of the
same windows: connectivity, and the same architecture with the same fit of other first weights.
Whole scans with ``--level scan``. Usage::

    python benchmarks/strangers.py [--seeds 1 2 3] [--level window] [--set KEY=VALUE ...]

Data: $SEMANTOKS_TEST_DATA, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_cohorts import COHORTS, SHARED, Source, scans
from stages import N_CORTEX

from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.networks import NETWORKS, network_columns
from model.preprocess import prepare, window
from model.pretraining.pretrain import run_pretraining
from model.series import ParcelSeries
from model.shards.store import write_shards
from model.spec import InputSpec
from model.statistics.measures import identification, standardise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from model.encoder import Encoder

Array = npt.NDArray[np.float64]
SPEC = InputSpec()
FITS = {
    "stages-dev": ("stages-single", "ds000220"),
    "stages-8phys": ("stages-single", "ds000220"),
    "ds000220": ("stages",),
    "ds004592": ("stages", "ds000220"),
}
"""Cohorts that are looked at, and those that are fitted to then."""
PAIRS = (
    ("stages-dev", "ses-1", "ses-2"),
    ("stages-8phys", "ses-1", "ses-2"),
    ("ds000220", "ses-1", "ses-2"),
    ("ds004592", "rest1", "documentary"),
    ("ds004592", "gradCPTface", "sitcomep1"),
)
CONTROLS = {
    "random weights, whitened": ("run.init=random", "fit.mixtures=[]"),
    "first weights of parcels alone, whitened": ("fit.mixtures=[]",),
}
N_FOLDS = 4


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A scan cut into windows."""

    subject: str
    session: str
    windows: list[Array]
    """(100, 400) each, normalized over the scan"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--level", choices=["window", "scan"], default="window")
    parser.add_argument("--set", nargs="*", default=[], help="other settings of the recipe")
    parser.add_argument("--no-controls", action="store_true")
    options = parser.parse_args()
    whole = options.level == "scan"
    cohorts = {name: read(name) for name in FITS}
    lines = {}
    for name, features in CONNECTIVITY.items():
        found = {c: [np.stack([features(w) for w in s.windows]) for s in cohorts[c]] for c in FITS}
        lines[name] = measured(cohorts, found, whole=whole)
        show(name, [lines[name]])
    lines["FC tangent"] = measured(cohorts, tangent(cohorts), whole=whole)
    show("FC tangent", [lines["FC tangent"]])
    variants: dict[str, tuple[str, ...]] = {} if options.no_controls else dict(CONTROLS)
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in (variants | {"recipe": ()}).items():
            results = [
                measured(
                    cohorts,
                    fitted_vectors(
                        cohorts, Path(folder) / f"{len(lines)}-{seed}", seed,
                        (*options.set, *overrides),
                    ),
                    whole=whole,
                )
                for seed in options.seeds
            ]  # fmt: skip
            lines[name] = {k: float(np.mean([r[k] for r in results])) for k in results[0]}
            show(name, results)
    print(
        json.dumps(
            {k: {n: np.round(v, 1).tolist() for n, v in r.items()} for k, r in lines.items()}
        )
    )


def read(name: str) -> list[Scan]:
    """Read a cohort's scans as the app would prepare them."""
    if name in COHORTS:
        source = COHORTS[name]
        found = scans(source, [SHARED / "timeseries" / f for f in source.files], SPEC)
        return [_cut(scan.subject, scan.session, scan.series) for scan in found]
    return list(_states())


def _states() -> Iterable[Scan]:
    """ds004592: evaluated only, never fitted to."""
    from bids_app.signal.denoise import denoise

    with np.load(SHARED / "timeseries/schaefer200_to_400.npz") as file:
        to_400 = file["W"].T
    with np.load(SHARED / "timeseries/ds004592_dev_schaefer200.npz") as file:
        for key in sorted(file.files):
            subject, run = key.split("_")
            values = np.full((len(file[key]), 457), np.nan)
            values[:, :N_CORTEX] = file[key].astype(np.float64) @ to_400
            clean = denoise(values, tr_s=1.0, confounds=None, high_pass_hz=0.01, low_pass_hz=0.1)
            series = ParcelSeries(values=clean.values, tr_s=1.0, unit="residual")
            yield _cut(subject, run, prepare(series, SPEC))


def _cut(subject: str, session: str, series: ParcelSeries) -> Scan:
    pieces = window(series, SPEC).values
    return Scan(
        subject=subject,
        session=session,
        windows=[np.asarray(w[:N_CORTEX].T, dtype=np.float64) for w in pieces],
    )


def edges(values: Array) -> Array:
    """Fisher-z of the correlations of (samples, 400)."""
    r = np.corrcoef(values.T)[np.triu_indices(N_CORTEX, 1)]
    return np.arctanh(r.clip(-0.999, 0.999)).astype(np.float32)


def _within() -> npt.NDArray[np.bool_]:
    network = np.empty(N_CORTEX, dtype=int)
    for i, name in enumerate(NETWORKS[:7]):
        network[network_columns(name)] = i
    first, second = np.triu_indices(N_CORTEX, 1)
    return network[first] == network[second]


WITHIN = _within()
CONNECTIVITY: Mapping[str, Callable[[Array], Array]] = {
    "FC Fisher-z": edges,
    "FC within networks": lambda values: edges(values)[WITHIN],
}


def tangent(cohorts: Mapping[str, list[Scan]]) -> dict[str, list[Array]]:
    """Connectivity seen from the mean of the cohort that is looked at, shrunk by a tenth."""
    found = {}
    for name, members in cohorts.items():
        each = [[np.corrcoef(w.T) for w in scan.windows] for scan in members]
        mean = np.mean([c for scan in each for c in scan], axis=0)
        variance, along = np.linalg.eigh(0.9 * mean + 0.1 * np.eye(N_CORTEX))
        root = (along / np.sqrt(variance)) @ along.T
        upper = np.triu_indices(N_CORTEX)
        found[name] = [
            np.stack([(root @ c @ root)[upper] for c in scan]).astype(np.float32) for scan in each
        ]
    return found


def fitted_vectors(
    cohorts: Mapping[str, list[Scan]], folder: Path, seed: int, settings: tuple[str, ...]
) -> dict[str, list[Array]]:
    """Fit the recipe for each cohort without it, and embed the cohort's windows."""
    encoders: dict[tuple[str, ...], Encoder] = {}
    found = {}
    for name, fitted_to in FITS.items():
        if fitted_to not in encoders:
            out = folder / "+".join(fitted_to)
            shards = [str(stored(folder.parent / "shards", cohort)) for cohort in fitted_to]
            words = (f"fit.shards={json.dumps(shards)}", f"run.seed={seed}", *settings)
            run_pretraining("bundled", out, words)
            encoders[fitted_to] = load_encoder(out / "checkpoint")
        found[name] = [_embed(scan, encoders[fitted_to]) for scan in cohorts[name]]
    return found


def stored(folder: Path, cohort: str) -> Path:
    """Store a cohort that may be fitted to, once."""
    path = folder / cohort
    if not path.exists():
        source: Source = COHORTS[cohort]
        folder.mkdir(exist_ok=True)
        paths = [SHARED / "timeseries" / file for file in source.files]
        write_shards(
            path, scans(source, paths, SPEC), SPEC, made_from=cohort, licence=source.licence
        )
    return path


def _embed(scan: Scan, encoder: Encoder) -> Array:
    """(W, F) the rows that have data, means over patches, side by side."""
    values = np.full((len(scan.windows) * 100, 457), np.nan, dtype=np.float32)
    values[:, :N_CORTEX] = np.concatenate(scan.windows)
    kind = {"tr_s": SPEC.tr_s, "unit": SPEC.normalization}
    vectors = []
    for i in range(len(scan.windows)):
        piece = ParcelSeries(values=values[100 * i : 100 * (i + 1)], **kind)
        rows = embed_windows(window(piece, SPEC), encoder).networks[0]
        vectors.append(rows[~np.isnan(rows).any(axis=1)].ravel())
    return np.stack(vectors).astype(np.float64)


def measured(
    cohorts: Mapping[str, list[Scan]], vectors: Mapping[str, list[Array]], *, whole: bool
) -> dict[str, float]:
    """Return all numbers of one kind of vectors, in per cent."""
    found = {}
    for cohort, first, second in PAIRS:
        by_key = {
            (s.subject, s.session): v
            for s, v in zip(cohorts[cohort], vectors[cohort], strict=True)
        }
        people = sorted({s for s, session in by_key if session == first and (s, second) in by_key})
        sets = [[by_key[p, session] for p in people] for session in (first, second)]
        if whole:
            sets = [[v.mean(axis=0, keepdims=True) for v in one] for one in sets]
        n_first, n_second = (min(map(len, one)) for one in sets)
        raw, standard = [], []
        for i in range(n_first):
            for j in range(n_second):
                if (i + j) % 3 and n_first * n_second > 40:
                    continue  # a third of the pairs of windows does for long scans
                pair = np.stack([v[i] for v in sets[0]]), np.stack([v[j] for v in sets[1]])
                raw.append(identification(*pair))
                standard.append(identification(*standardise(*pair)))
        name = f"{cohort} {first}" if cohort == "ds004592" else cohort
        found[f"{name} raw"] = float(np.mean(raw))
        found[f"{name} std"] = float(np.mean(standard))
    found["state"] = state(cohorts["ds004592"], vectors["ds004592"])
    return found


def state(scans_: list[Scan], vectors: list[Array]) -> float:
    """Balanced accuracy of the state of a window, people left out; chance 20 %."""
    x = np.concatenate(vectors)
    label = np.repeat([s.session.rstrip("12") for s in scans_], list(map(len, vectors)))
    person = np.repeat([s.subject for s in scans_], list(map(len, vectors)))
    people = np.unique(person)
    predicted = np.empty_like(label)
    for fold in range(N_FOLDS):
        left_out = np.isin(person, people[fold::N_FOLDS])
        scaler = StandardScaler().fit(x[~left_out])
        scaled = scaler.transform(x) / np.sqrt(x.shape[1])  # one C for vectors of all lengths
        model = SVC(kernel="linear", class_weight="balanced").fit(
            scaled[~left_out], label[~left_out]
        )
        predicted[left_out] = model.predict(scaled[left_out])
    return 100 * float(balanced_accuracy_score(label, predicted))


def show(name: str, results: list[dict[str, float]]) -> None:
    """Print the mean over seeds, and the state of each."""
    mean = {k: np.mean([r[k] for r in results]) for k in results[0]}
    pairs = [k.removesuffix(" raw") for k in mean if k.endswith(" raw")]
    told = " | ".join(f"{mean[f'{p} raw']:.1f} / {mean[f'{p} std']:.1f}" for p in pairs)
    each = ", ".join(f"{r['state']:.1f}" for r in results)
    print(f"| {name} | {told} | {mean['state']:.1f} ({each}) |", flush=True)


if __name__ == "__main__":
    main()
