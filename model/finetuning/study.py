"""Who is fine-tuned on what: series, labels and split of one run, read before any training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.errors import ConfigError
from model.finetuning.train import Crops
from model.probing.features import (
    crop_extractor,
    crops,
    drop_missing,
    extract,
    find_runs,
    subject_of,
)
from model.probing.methods import make_methods
from model.probing.protocol import labels_of
from model.probing.scoring import Row, evaluate, target_scale
from model.probing.splits import split_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.finetuning.options import FinetuneConfig
    from model.probing.participants import Labels
    from model.probing.samples import FloatArray, Samples
    from model.probing.splits import Split
    from model.series import ParcelSeries
    from model.spec import CheckpointCard, ReadoutPart

PROBE_EPOCHS = 50


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Material of one run."""

    config: FinetuneConfig
    base: CheckpointCard
    """The checkpoint that training starts from."""
    readout: tuple[ReadoutPart, ...]
    labels: Labels
    split: Split
    samples: dict[str, Samples]
    """Crops: ``windows`` (S, P, L), ``masked`` (S, N, K), ``embedded`` (S, F) by the base."""
    data_sha256: str

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
            targets=(self.labels.of(windows.subjects) - offset) / spread,
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
        )
        return evaluate(method, self.labels, self.split)


def open_study(data: Path, participants: Path, config: FinetuneConfig, encoder: Encoder) -> Study:
    """Read series, labels and split.

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
    runs = find_runs(data, entities=config.entities, task_ids=config.task_ids)
    labels = labels_of(participants, config, [subject_of(run) for run in runs])
    split = split_of(config, labels, repetition=config.repetition)
    base = encoder.own_card()
    readout = config.readout or base.readout

    def windows(series: ParcelSeries) -> FloatArray:
        return crops(series, base.input, n_crops=config.n_crops).values

    def masked(series: ParcelSeries) -> FloatArray:
        cut = crops(series, base.input, n_crops=config.n_crops)
        return cut.token_mask(base.encoder.groups).astype("float32")

    embedded = crop_extractor(encoder, base.input, readout=readout, n_crops=config.n_crops)
    samples, digest = extract(
        [run for run in runs if subject_of(run) in labels.values],
        {"windows": windows, "masked": masked, "embedded": embedded},
    )
    return Study(
        config=config,
        base=base,
        readout=readout,
        labels=labels,
        split=split,
        samples=samples,
        data_sha256=digest,
    )
