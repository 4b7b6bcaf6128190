"""How well the recipe's vectors tell people and states apart, on cohorts it was not fitted to.

For each seed the recipe ``bundled`` is fitted anew without the cohort that is looked at: STAGES
(two denoisings of 14 people) from STAGES' other patients and ds000220, ds000220 from STAGES,
ds004592 (rest, tasks, films) from both. Identification across two sessions or states, raw /
standardised over the set, of whole scans and of one window of 200 s; and the state of a window,
five classes, a quarter of the people left out at a time, linear SVM of standardised features.
Intervals are over people, 95 %, of the mean over seeds, and of what is left when connectivity is
taken from it, person by person (within networks for identification, Fisher-z for the state).
Beside it, of the same windows: connectivity, and the same architecture with the same fit of other
first weights. Ten minutes. Usage::

    python benchmarks/strangers.py [--seeds 1 2 3] [--set KEY=VALUE ...] [--distil STEPS]

``--distil`` also trains each fit on the very cohorts that it was fitted to, fits it anew and
measures it again: what self-distillation adds to its own start.

Data: $SEMANTOKS_TEST_DATA, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_cohorts import COHORTS, SHARED, Source, scans

import model.fitting.data
from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.fitting.whitening import whiten
from model.networks import N_CORTEX, parcels
from model.preprocess import prepare, window
from model.pretraining.adapt import AdaptationError
from model.pretraining.pretrain import run_pretraining
from model.pretraining.untrained import fit_of, shrinkage_of
from model.series import ParcelSeries
from model.shards.store import write_shards
from model.shards.stored import Shards
from model.spec import InputSpec
from model.statistics.bootstrap import percentiles, resample
from model.statistics.connectivity import correlations, fisher_z
from model.statistics.measures import pair_scores, standardise

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
N_RESAMPLES = 2000
BESIDE = {"people": "FC within networks", "state": "FC Fisher-z"}
"""Connectivity that a difference is taken from."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A balanced accuracy, by person: the mean over classes of the share that is right."""

    right: Array
    """(S, C) what is right of each person and class; people found have one class"""
    of: Array
    """(S, C) of how much"""

    def value(self, counts: Array) -> Array:
        """(B,) per cent, where each person counts so often (B, S)."""
        return np.asarray(100 * ((counts @ self.right) / (counts @ self.of)).mean(axis=-1))


Measures = dict[str, Measure]


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
    parser.add_argument("--set", nargs="*", default=[], help="other settings of the recipe")
    parser.add_argument("--recipe-only", action="store_true", help="nothing beside it")
    parser.add_argument("--distil", type=int, default=0, metavar="STEPS")
    parser.add_argument("--figure", type=Path, help="draw identification and state")
    options = parser.parse_args()
    # Few simulated scans do for subcortex and cerebellum, which none of these cohorts has: of
    # their rows nothing is measured, of the whole brain's about five of 40 components are theirs.
    model.fitting.data.N_POPULATIONS = 2
    cohorts = {name: read(name) for name in FITS}
    lines: dict[str, list[Measures]] = {}
    if not options.recipe_only:
        for name, features in CONNECTIVITY.items():
            found = {c: [np.stack([*map(features, s.windows)]) for s in cohorts[c]] for c in FITS}
            lines[name] = [measured(cohorts, found)]
            show(name, lines[name])
        lines["FC tangent"] = [measured(cohorts, tangent(cohorts))]
        show("FC tangent", lines["FC tangent"])
    variants: dict[str, tuple[str, ...]] = {"recipe": ()}
    if options.distil:
        variants["distilled"] = ()
    if not options.recipe_only:
        variants |= CONTROLS
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in variants.items():
            n_steps = options.distil if name == "distilled" else 0
            words = (*options.set, *overrides)
            lines[name] = [
                measured(
                    cohorts,
                    fitted_vectors(
                        cohorts, Path(folder) / f"{name}-{seed}", seed, words, n_steps=n_steps
                    ),
                )
                for seed in options.seeds
            ]
            show(name, lines[name])
    if options.figure:
        draw({name: _means(results) for name, results in lines.items()}, options.figure)
    print(json.dumps({name: _told(name, lines) for name in lines}))


def read(name: str) -> list[Scan]:
    """Read a cohort's scans as the app would prepare them."""
    if name in COHORTS:
        source = COHORTS[name]
        found = scans(source, [SHARED / "timeseries" / f for f in source.files], SPEC)
        return [_cut(scan.subject, scan.session, scan.series) for scan in found]
    return list(_states())


def _states() -> Iterable[Scan]:
    return (_cut(*one) for one in state_series())


def state_series() -> Iterable[tuple[str, str, ParcelSeries]]:
    """Yield person, run and prepared series of ds004592: evaluated only, never fitted to."""
    from bids_app.signal.denoise import denoise

    with np.load(SHARED / "timeseries/schaefer200_to_400.npz") as file:
        to_400 = file["W"].T
    with np.load(SHARED / "timeseries/ds004592_dev_schaefer200.npz") as file:
        for key in sorted(file.files):
            subject, run = key.split("_")
            values = np.full((len(file[key]), 457), np.nan)
            values[:, :N_CORTEX] = file[key].astype(np.float64) @ to_400
            clean = denoise(values, tr_s=1.0, confounds=None, high_pass_hz=0.01, low_pass_hz=0.1)
            yield (
                subject,
                run,
                prepare(ParcelSeries(values=clean.values, tr_s=1.0, unit="residual"), SPEC),
            )


def _cut(subject: str, session: str, series: ParcelSeries) -> Scan:
    pieces = window(series, SPEC).values
    return Scan(
        subject=subject,
        session=session,
        windows=[np.asarray(w[:N_CORTEX].T, dtype=np.float64) for w in pieces],
    )


def edges(values: Array) -> Array:
    """Fisher-z of the correlations of (samples, 400)."""
    return fisher_z(correlations(values)).astype(np.float32)


def _within() -> npt.NDArray[np.bool_]:
    network = np.array([parcel.network for parcel in parcels()[:N_CORTEX]])
    first, second = np.triu_indices(N_CORTEX, 1)
    return np.asarray(network[first] == network[second])


WITHIN = _within()
CONNECTIVITY: Mapping[str, Callable[[Array], Array]] = {
    "FC Fisher-z": edges,
    "FC within networks": lambda values: edges(values)[WITHIN],
}


def tangent(cohorts: Mapping[str, list[Scan]]) -> dict[str, list[Array]]:
    """Connectivity seen from the mean of the people that are fitted to, shrunk by a tenth."""
    known = {name: _mean_of(read(name)) for name in {c for fit in FITS.values() for c in fit}}
    upper = np.triu_indices(N_CORTEX)
    found = {}
    for name, members in cohorts.items():
        mean = np.mean([known[cohort] for cohort in FITS[name]], axis=0)
        variance, along = np.linalg.eigh(0.9 * mean + 0.1 * np.eye(N_CORTEX))
        root = (along / np.sqrt(variance)) @ along.T
        found[name] = [
            np.stack([(root @ np.corrcoef(w.T) @ root)[upper] for w in scan.windows]).astype(
                np.float32
            )
            for scan in members
        ]
    return found


def _mean_of(members: list[Scan]) -> Array:
    return np.asarray(np.mean([np.corrcoef(w.T) for s in members for w in s.windows], axis=0))


def fitted_vectors(
    cohorts: Mapping[str, list[Scan]],
    folder: Path,
    seed: int,
    settings: tuple[str, ...],
    *,
    n_steps: int,
) -> dict[str, list[Array]]:
    """Fit the recipe for each cohort without it, and embed the cohort's windows."""
    encoders: dict[tuple[str, ...], Encoder] = {}
    found = {}
    for name, fitted_to in FITS.items():
        if fitted_to not in encoders:
            out = folder / "+".join(fitted_to)
            shards = [str(stored(folder.parent / "shards", cohort)) for cohort in fitted_to]
            words = (f"fit.shards={json.dumps(shards)}", f"run.seed={seed}", *settings)
            run_pretraining("bundled", out, ("fit.short=0", *words))
            encoder = load_encoder(out / "checkpoint")
            if n_steps:
                encoder = _distilled(encoder, out, shards, seed=seed, n_steps=n_steps)
            encoders[fitted_to] = encoder
        found[name] = [_embed(scan, encoders[fitted_to]) for scan in cohorts[name]]
    return found


def _distilled(
    start: Encoder, folder: Path, shards: list[str], *, seed: int, n_steps: int
) -> Encoder:
    """Train a fit on the cohorts it was fitted to, then whiten it anew on the same scans."""
    for cohort in map(Path, shards):
        people = sorted({scan.subject for scan in Shards(cohort).scans})
        for name, listed in (
            ("train", people[7:]),
            ("validation", people[:2]),
            ("test", people[2:7]),
        ):
            (cohort / f"{name}.txt").write_text("\n".join(listed) + "\n")
    out = folder.with_name(f"{folder.name}-distilled")
    words = (
        f"run.init={folder / 'checkpoint'}",
        f"run.seed={seed}",
        f"run.n_steps={n_steps}",
        f"data.shards={shards[0]}",
        f"data.more_shards={json.dumps(shards[1:])}",
        "views.pairing=either",
    )
    with suppress(AdaptationError):  # its own check is of one seed and few people
        run_pretraining("adapt", out, words)
    trained = load_encoder(out / "checkpoint")
    data = fit_of(start, [*map(Path, shards)])
    return whiten(trained, data, shrinkage=shrinkage_of(start))[0]


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
        found = embed_windows(window(piece, SPEC), encoder, readout=("networks",))
        rows = found.networks[0]
        vectors.append(rows[~np.isnan(rows).any(axis=1)].ravel())
    return np.stack(vectors).astype(np.float64)


def measured(cohorts: Mapping[str, list[Scan]], vectors: Mapping[str, list[Array]]) -> Measures:
    """Return all numbers of one kind of vectors."""
    found: Measures = {}
    for cohort, first, second in PAIRS:
        by_key = {
            (s.subject, s.session): v
            for s, v in zip(cohorts[cohort], vectors[cohort], strict=True)
        }
        people = sorted({s for s, session in by_key if session == first and (s, second) in by_key})
        sets = [[by_key[p, session] for p in people] for session in (first, second)]
        means = [np.stack([v.mean(axis=0) for v in one]) for one in sets]
        name = f"{cohort} {first}" if cohort == "ds004592" else cohort
        n_first, n_second = (min(map(len, one)) for one in sets)
        windows = [
            (np.stack([v[i] for v in sets[0]]), np.stack([v[j] for v in sets[1]]))
            for i in range(n_first)
            for j in range(n_second)
            # A third of the pairs of windows does for long scans.
            if not ((i + j) % 3 and n_first * n_second > 40)
        ]
        for what, pairs in (("scan", [(means[0], means[1])]), ("window", windows)):
            found[f"{name} {what} raw"] = _identified(pairs)
            found[f"{name} {what} std"] = _identified([standardise(*pair) for pair in pairs])
    found["state"] = state(cohorts["ds004592"], vectors["ds004592"])
    return found


def _identified(pairs: list[tuple[Array, Array]]) -> Measure:
    """Average over pairs of sets whether each person is found."""
    scores = np.mean([pair_scores(*pair)["identification"] for pair in pairs], axis=0)
    right = np.asarray(scores, dtype=np.float64)[:, None] / 100
    return Measure(right=right, of=np.ones_like(right))


def state(scans_: list[Scan], vectors: list[Array]) -> Measure:
    """Tell the state of a window, people left out; chance 20 %."""
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
    is_of = (person == people[:, None])[:, None] & (label == np.unique(label)[:, None])
    return Measure(right=(is_of & (predicted == label)).sum(axis=-1), of=is_of.sum(axis=-1))


def _pooled(results: list[Measures], name: str) -> Measure:
    """Average a measure over seeds, person by person."""
    return Measure(right=np.mean([r[name].right for r in results], axis=0), of=results[0][name].of)


def _means(results: list[Measures]) -> dict[str, float]:
    everyone = {name: np.ones((1, len(m.of))) for name, m in results[0].items()}
    return {name: float(_pooled(results, name).value(n)[0]) for name, n in everyone.items()}


def _told(name: str, lines: Mapping[str, list[Measures]]) -> dict[str, dict[str, object]]:
    """Tell means over seeds, each seed's, their intervals, and those of the difference."""
    means, told = _means(lines[name]), {}
    for number, mean in means.items():
        own = _pooled(lines[name], number)
        counts = resample(len(own.of), N_RESAMPLES, seed=1)
        beside = BESIDE["state" if number == "state" else "people"]
        told[number] = {
            "mean": round(mean, 1),
            "seeds": [round(_means([one])[number], 1) for one in lines[name]],
            "interval": _rounded(own.value(counts)),
        }
        if beside in lines and beside != name:
            other = _pooled(lines[beside], number)
            told[number]["above connectivity"] = _rounded(own.value(counts) - other.value(counts))
    return told


def _rounded(statistics: Array) -> list[float]:
    return [round(x, 1) for x in percentiles(statistics)]


def draw(lines: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw what each kind of vectors tells of one window: people, by cohort, and states."""
    names = list(lines)
    figure = Figure(figsize=(9, 0.45 * len(names) + 1.4), layout="constrained")
    people, states = figure.subplots(1, 2, sharey=True)
    ends = [k.removesuffix(" raw") for k in lines[names[0]] if k.endswith("window raw")]
    place = np.arange(len(names))[::-1]
    for i, end in enumerate(ends):
        x = [lines[name][f"{end} raw"] for name in names]
        people.plot(x, place, "o", color=f"C{i}", label=end.removesuffix(" window"))
    states.plot([lines[name]["state"] for name in names], place, "ks")
    states.axvline(lines[names[0]]["state"], color="grey", linewidth=1, linestyle="--")
    people.set(xlabel="people found, %", yticks=place, yticklabels=names)
    states.set(xlabel="states told, %")
    for axes in (people, states):
        axes.grid(axis="x", alpha=0.3)
    figure.legend(*people.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    figure.savefig(path, dpi=110)


def show(name: str, results: list[Measures]) -> None:
    """Print the mean over seeds, and the state of each."""
    mean = _means(results)
    for level in ("scan", "window"):
        ends = [k.removesuffix(" raw") for k in mean if k.endswith(f"{level} raw")]
        told = " | ".join(f"{mean[f'{p} raw']:.1f} / {mean[f'{p} std']:.1f}" for p in ends)
        print(f"| {name} | {level} | {told} |")
    each = ", ".join(f"{_means([r])['state']:.1f}" for r in results)
    print(f"| {name} | state | {mean['state']:.1f} ({each}) |", flush=True)


if __name__ == "__main__":
    main()
