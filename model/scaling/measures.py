"""What an encoder is measured on: who is who among held-out people, and what a probe reads out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from model.cohort.outputs import model_series
from model.evaluation.encoded import encode
from model.evaluation.options import SourceOptions
from model.evaluation.source import keyed_scans
from model.preprocess import window
from model.pretraining.pretrain import Material
from model.probing.features import crop_extractor, drop_missing, find_runs, subject_of
from model.probing.methods import make_methods
from model.probing.options import MAIN_METRIC
from model.probing.protocol import labels_of
from model.probing.samples import ProbeError, Samples
from model.probing.scoring import evaluate
from model.probing.splits import make_splits
from model.series import ParcelSeries
from model.simulation.simulate import simulate
from model.statistics.measures import mean_scores
from model.statistics.pairing import Key, pairings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.pretraining.settings import PretrainConfig
    from model.probing.participants import Labels
    from model.probing.splits import Split
    from model.scaling.grid import HeldOut, Plan, Target
    from model.series import Windows
    from model.shards.crops import Cohort
    from model.spec import InputSpec

    Owned = tuple[str, str, ParcelSeries]
    """Subject, scan, series"""

READOUT = "networks"
"""Means per network: the readout that identifies best at every size (docs/pretraining.md)."""
HUNDRED = {"balanced_accuracy", "auc", "accuracy", "f1"}
"""Shares, given in %."""


class Measure(Protocol):
    """Something that an encoder is scored by."""

    @property
    def name(self) -> str:
        """Whose, or of what."""

    def score(self, encoder: Encoder) -> dict[str, float]:
        """Return scores by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RepeatedScans:
    """Windows of subjects who were scanned twice or more, or of the halves of their scans."""

    name: str
    keys: list[Key]
    """One per scan"""
    windows: list[Windows]

    def score(self, encoder: Encoder) -> dict[str, float]:
        """Return means over subjects by ``<level>, <raw or standardised>, <measure>``."""
        found: dict[str, float] = {}
        for level, vectors in encode(self.keys, self.windows, encoder).items():
            pairs = pairings(vectors.keys)
            for standardised in (False, True):
                _, scores = mean_scores(vectors.sets[READOUT], pairs, standardised=standardised)
                kind = "standardised" if standardised else "raw"
                found |= {f"{level}, {kind}, {n}": float(s.mean()) for n, s in scores.items()}
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledScans:
    """Scans of people with a label, and the splits on which it is read out."""

    name: str
    target: Target
    spec: InputSpec
    scans: list[Owned]
    labels: Labels
    splits: list[Split]

    def score(self, encoder: Encoder) -> dict[str, float]:
        """Return means over splits by ``<method>, <metric>``; shares in %.

        Raises
        ------
        ProbeError
            A split could not be scored.
        """
        config = self.target.probe
        readout = config.readout or encoder.own_card().readout
        extract = crop_extractor(encoder, self.spec, readout=readout, n_crops=config.n_crops)
        rows = [extract(series) for _, _, series in self.scans]
        owners = [
            owner for owner, found in zip(self.scans, rows, strict=True) for _ in range(len(found))
        ]
        samples = Samples(
            values=np.concatenate(rows),
            subjects=tuple(subject for subject, _, _ in owners),
            scans=tuple(scan for _, scan, _ in owners),
        )
        methods = make_methods(
            config.methods,
            {"crops": drop_missing(samples)[0]},
            n_outputs=len(self.labels.classes) or 1,
            epochs=config.epochs,
            seed=config.seed,
        )
        found = {}
        for method in methods:
            scored = [evaluate(method, self.labels, split) for split in self.splits]
            wrong = [f"{row.split}: {row.reason}" for row in scored if row.status != "ok"]
            if wrong:
                raise ProbeError(f"{self.name}, {method.name}: {'; '.join(wrong[:3])}.")
            metric = MAIN_METRIC[config.task]
            mean = float(np.mean([row.scores[metric] for row in scored]))
            found[f"{method.name}, {metric}"] = 100 * mean if metric in HUNDRED else mean
        return found


def measures_of(plan: Plan) -> list[Measure]:
    """Prepare all that a plan measures.

    Raises
    ------
    SemantoksError
        Outputs, shards or labels are missing, or cannot be split as asked.
    """
    recipe = plan.recipe
    found: list[Measure] = []
    stored: list[Owned] = []
    if plan.held_out is not None:
        found.append(_simulated(plan.held_out, recipe))
    else:
        test = Material(recipe).cohorts["test"]
        test.shards.verify(test.scans)
        stored = _series_of(test)
        found.append(_of_stored(test, stored))
    if plan.outputs is not None:
        found.append(_of_outputs(plan.outputs, recipe))
    for target in plan.targets:
        scans = stored if target.of == "held out" else _labelled_runs(plan, target)
        labels = labels_of(target.participants, target.probe, [s for s, _, _ in scans])
        found.append(
            LabelledScans(
                name=target.name,
                target=target,
                spec=recipe.input,
                scans=[scan for scan in scans if scan[0] in labels.values],
                labels=labels,
                splits=make_splits(target.probe, labels, target.participants),
            )
        )
    return found


def _simulated(held_out: HeldOut, recipe: PretrainConfig) -> RepeatedScans:
    """Draw two scans of each subject, all parcels present."""
    assert recipe.simulation is not None, "checked with the plan"  # noqa: S101 - our guarantee
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


def _series_of(test: Cohort) -> list[Owned]:
    """Read the first scan of each session of the held-out subjects."""
    return [
        (subject, scans[0].scan, test.shards.series(scans[0]))
        for subject in test.subjects
        for scans in test.shards.by_subject[subject].values()
    ]


def _of_stored(test: Cohort, stored: Sequence[Owned]) -> RepeatedScans:
    """Compare two sessions where every held-out subject has them, else the halves of one scan."""
    owned: dict[str, list[ParcelSeries]] = {}
    for subject, _, series in stored:
        owned.setdefault(subject, []).append(series)
    repeated = min(map(len, owned.values())) > 1
    pairs = {s: found[:2] if repeated else _halves(found[0]) for s, found in owned.items()}
    return RepeatedScans(
        name="held out" if repeated else "held out, halves",
        keys=[Key(subject, which) for subject in pairs for which in ("first", "second")],
        windows=[window(series, test.spec) for pair in pairs.values() for series in pair],
    )


def _halves(whole: ParcelSeries) -> list[ParcelSeries]:
    middle = whole.n_frames // 2
    return [whole.with_values(whole.values[part]) for part in (slice(middle), slice(middle, None))]


def _of_outputs(folder: Path, recipe: PretrainConfig) -> RepeatedScans:
    """Read the model series of an output folder."""
    runs = keyed_scans(folder, SourceOptions())
    return RepeatedScans(
        name=folder.name,
        keys=list(runs),
        windows=[window(model_series(run), recipe.input) for run in runs.values()],
    )


def _labelled_runs(plan: Plan, target: Target) -> list[Owned]:
    assert plan.outputs is not None, "checked with the plan"  # noqa: S101 - our guarantee
    config = target.probe
    runs = find_runs(plan.outputs, entities=config.entities, task_ids=config.task_ids)
    return [(subject_of(run), run.name, model_series(run)) for run in runs]
