"""Probe a target: read, split, fit every method on every split, write the results whole."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from model.checkpoint import load_encoder
from model.errors import ConfigError, some
from model.files.write import json_bytes, new_folder, refuse_occupied
from model.probing.features import find_runs, subject_of
from model.probing.inputs import read_group_table, series_features, table_features
from model.probing.methods import WHITENED, features_of, make_methods
from model.probing.options import METHODS, TABLE_METHODS
from model.probing.protocol import labels_of, provenance, row_record
from model.probing.samples import ProbeError
from model.probing.scoring import evaluate
from model.probing.splits import make_splits
from model.probing.summary import figure_svg, predictions_tsv, rows_tsv, summarize, text_table

if TYPE_CHECKING:
    from pathlib import Path

    from model.probing.inputs import Features
    from model.probing.options import ProbeConfig
    from model.probing.participants import Labels
    from model.probing.scoring import Row
    from model.probing.splits import Split

_LOG = logging.getLogger(__name__)


def run_probe(
    data: Path,
    participants: Path,
    out: Path,
    config: ProbeConfig,
    *,
    checkpoint: Path | None = None,
    device: str = "cpu",
) -> tuple[str, list[Row]]:
    """Probe a column of the participants table.

    Parameters
    ----------
    data
        Output folder of participant level, or the group level's table of embeddings.
    participants
        Table with ``participant_id`` and the target.
    out
        New folder for ``results.json``, ``results.tsv``, ``predictions.tsv``, ``results.svg``.
    checkpoint
        As for `model.checkpoint.load_encoder`; with an output folder only.
    device
        Where the series are encoded.

    Returns
    -------
    The summary as text, and the rows it is of.

    Raises
    ------
    SemantoksError
        Input, labels or splits are not fit for the question; nothing is written.
    """
    refuse_occupied(out)
    labels, splits, features = (_from_folder if data.is_dir() else _from_table)(
        data, participants, config, checkpoint, device
    )
    names = [name for name in config.methods or METHODS if features_of(name) in features.samples]
    methods = make_methods(
        names,
        features.samples,
        n_outputs=len(labels.classes) or 1,
        epochs=config.epochs,
        seed=config.seed,
    )
    rows = []
    for method in methods:
        for split in splits:
            rows.append(evaluate(method, labels, split))
            _LOG.info("%s, %s: %s", method.name, split.name, rows[-1].scores or rows[-1].reason)
    if all(row.status == "skipped" for row in rows):
        raise ProbeError(
            f"no split can be scored: {some(sorted({f'{r.split}: {r.reason}' for r in rows}))}"
        )
    record = provenance(data, participants, config, labels, splits) | features.source
    return _write(out, record, labels, splits, rows), rows


def _from_folder(
    data: Path, participants: Path, config: ProbeConfig, checkpoint: Path | None, device: str
) -> tuple[Labels, list[Split], Features]:
    """Compute what the methods need, once labels and splits are known to hold."""
    runs = find_runs(data, entities=config.entities, task_ids=config.task_ids)
    labels = labels_of(participants, config, [subject_of(run) for run in runs])
    splits = make_splits(config, labels, participants)
    encoder = load_encoder(checkpoint, device=device)
    kinds = {features_of(name) for name in config.methods or METHODS}
    if not encoder.spec.whitened and WHITENED in kinds:
        if config.methods:
            raise ConfigError(
                "the checkpoint's tokens are not whitened, so there is no whitened control.",
                hint="Its control is random-probe and random-linear.",
            )
        kinds.remove(WHITENED)
    return labels, splits, series_features(runs, labels, encoder, config, kinds=kinds)


def _from_table(
    data: Path, participants: Path, config: ProbeConfig, checkpoint: Path | None, device: str
) -> tuple[Labels, list[Split], Features]:
    """Take the embeddings as they are."""
    del device  # nothing is encoded
    wrong = sorted(set(config.methods) - set(TABLE_METHODS))
    if wrong or checkpoint is not None:
        raise ConfigError(
            f"{data} holds embeddings: {', '.join(wrong) or '--checkpoint'} would need series.",
            hint="Name the output folder of the participant level instead.",
        )
    table = read_group_table(
        data, readout=config.readout, entities=config.entities, task_ids=config.task_ids
    )
    labels = labels_of(participants, config, table.samples.subjects)
    return labels, make_splits(config, labels, participants), table_features(table, labels)


def _write(
    out: Path, record: dict[str, Any], labels: Labels, splits: list[Split], rows: list[Row]
) -> str:
    summary, differences = summarize(rows, splits, labels.task)
    results = record | {
        "summary": summary,
        "probe_minus_method": differences,
        "rows": [row_record(row) for row in rows],
    }
    with new_folder(out) as folder:
        (folder / "results.json").write_bytes(json_bytes(results))
        (folder / "results.tsv").write_bytes(rows_tsv(rows, labels.task))
        (folder / "predictions.tsv").write_bytes(predictions_tsv(rows, labels))
        (folder / "results.svg").write_bytes(figure_svg(rows, summary, labels))
    return text_table(summary, differences, labels.task)
