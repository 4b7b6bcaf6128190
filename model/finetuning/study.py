"""Who is fine-tuned on what: series, labels and splits of a run, read before any training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from model.errors import ConfigError
from model.finetuning.train import Crops
from model.preprocess import window
from model.probing.features import (
    crop_extractor,
    crops,
    drop_missing,
    extract,
    find_runs,
    labelled,
    one_each,
    subject_of,
)
from model.probing.methods import make_methods
from model.probing.protocol import labels_of_runs
from model.probing.samples import Samples
from model.probing.scoring import Row, evaluate, target_scale
from model.probing.splits import split_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.finetuning.options import FinetuneConfig
    from model.finetuning.train import DrawCrops
    from model.probing.participants import Labels
    from model.probing.samples import FloatArray
    from model.probing.splits import Split
    from model.series import ParcelSeries
    from model.spec import CheckpointCard, ReadoutPart

PROBE_EPOCHS = 50


class WholeScan(NamedTuple):
    """A scan and whose it is."""

    subject: str
    scan: str
    series: ParcelSeries
    """(T, P)"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Material of a run, and one of its splits."""

    config: FinetuneConfig
    base: CheckpointCard
    """The checkpoint that training starts from."""
    readout: tuple[ReadoutPart, ...]
    labels: Labels
    split: Split
    repetition: int
    samples: dict[str, Samples]
    """Crops: ``windows`` (S, P, L), ``masked`` (S, N, K), ``embedded`` (S, F) by the base."""
    series: tuple[WholeScan, ...]
    """Every scan, where crops are drawn anew in each epoch"""
    data_sha256: str

    def at(self, repetition: int) -> Study:
        """Return the same with the split of another repetition."""
        split = split_of(self.config, self.labels, repetition=repetition)
        return replace(self, split=split, repetition=repetition)

    @property
    def seed(self) -> int:
        """Of what is drawn in the training on this split."""
        return self.config.seed + self.repetition

    @property
    def n_outputs(self) -> int:
        """Classes; 1 in regression."""
        return len(self.labels.classes) or 1

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and spread of the training subjects' numbers; 0 and 1 of classes."""
        return target_scale(self.labels, self.split)

    def crops_of(self, subjects: Sequence[str]) -> Crops:
        """Return windows, masks and scaled targets of some subjects."""
        windows = self.samples["windows"].of(subjects)
        offset, spread = self.scale
        return Crops(
            windows=windows,
            masked=self.samples["masked"].of(subjects).values.astype(bool),
            targets=(self.labels.of(windows.keys(self.labels)) - offset) / spread,
        )

    def training_crops(self) -> DrawCrops:
        """Return what gives the training windows of an epoch."""
        if self.config.train_crops == "all":
            same = self.crops_of(self.split.train)
            return lambda _generator: same
        chosen = set(self.split.train)
        scans = [one for one in self.series if one.subject in chosen]
        return partial(self._drawn_crops, scans)

    def _drawn_crops(self, scans: Sequence[WholeScan], generator: torch.Generator) -> Crops:
        """Cut a window (1, P, L) anywhere out of each scan; a short one gives a padded one."""
        spec = self.base.input
        found = []
        for _, _, series in scans:
            spare = series.n_frames - spec.window_samples
            start = int(torch.randint(max(spare, 0) + 1, (1,), generator=generator))
            starts = np.array([start]) if spare > 0 else None
            found.append(window(series, spec, starts=starts))
        windows = Samples(
            values=np.concatenate([one.values for one in found]),
            subjects=tuple(one.subject for one in scans),
            scans=tuple(one.scan for one in scans),
        )
        offset, spread = self.scale
        return Crops(
            windows=windows,
            masked=np.concatenate([one.token_mask(self.base.encoder.groups) for one in found]),
            targets=(self.labels.of(windows.keys(self.labels)) - offset) / spread,
        )

    def probe(self) -> Row:
        """Probe the base encoder on the same split: what fine-tuning has to beat."""
        embedded, _ = drop_missing(self.samples["embedded"])
        (method,) = make_methods(
            ["probe"],
            {"crops": embedded},
            n_outputs=self.n_outputs,
            epochs=PROBE_EPOCHS,
            seed=self.config.seed,
            regress_by=self.config.regress_by,
        )
        return evaluate(method, self.labels, self.split)


def open_study(data: Path, participants: Path, config: FinetuneConfig, encoder: Encoder) -> Study:
    """Read series, labels and the first split.

    Raises
    ------
    SemantoksError
        Something is missing, damaged, or not fit for the question.
    """
    if not data.is_dir():
        raise ConfigError(
            f"{data}: fine-tuning needs series, not embeddings.",
            hint="Name the output folder of the participant level.",
        )
    runs = one_each(find_runs(data, entities=config.entities, task_ids=config.task_ids), config)
    labels = labels_of_runs(participants, config, runs)
    split = split_of(config, labels, repetition=config.repetition)
    base = encoder.own_card()
    readout = config.readout or base.readout
    if "short" in readout:
        raise ConfigError(
            "the short form is fitted to the tokens as they are, and no readout of a training.",
            hint="Give --readout networks, or mean and cls.",
        )

    whole: list[ParcelSeries] = []

    def windows(series: ParcelSeries) -> FloatArray:
        if config.train_crops == "random":
            whole.append(series)
        return crops(series, base.input, n_crops=config.n_crops).values

    def masked(series: ParcelSeries) -> FloatArray:
        cut = crops(series, base.input, n_crops=config.n_crops)
        return cut.token_mask(base.encoder.groups).astype("float32")

    embedded = crop_extractor(encoder, base.input, readout=readout, n_crops=config.n_crops)
    chosen = labelled(runs, labels)
    samples, digest = extract(
        chosen,
        {"windows": windows, "masked": masked, "embedded": embedded},
    )
    return Study(
        config=config,
        base=base,
        readout=readout,
        labels=labels,
        split=split,
        repetition=config.repetition,
        samples=samples,
        series=tuple(
            WholeScan(subject_of(run), run.name, series)
            for run, series in zip(chosen, whole, strict=False)
        ),
        data_sha256=digest,
    )
