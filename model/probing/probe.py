"""Probe a target: read, split, fit every method on every split, write the results whole."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from model.checkpoint import load_encoder
from model.errors import ConfigError, some
from model.files.write import json_bytes, new_folder
from model.invocation.progress import Progress
from model.pretraining.untrained import FitDataError, fit_of
from model.probing.features import find_runs, one_each
from model.probing.inputs import (
    read_group_table,
    read_windows,
    series_features,
    table_features,
)
from model.probing.methods import (
    RANDOM,
    WHITENED,
    features_of,
    learn_combat,
    learn_residuals,
    make_methods,
)
from model.probing.options import COVARIATES, EXTRA_METHODS, MAIN_METRIC, METHODS, TABLE_METHODS
from model.probing.participants import read_covariates
from model.probing.protocol import NOBODY, labels_of_rows, labels_of_runs, provenance, row_record
from model.probing.samples import ProbeError, Samples
from model.probing.scoring import Row, evaluate
from model.probing.splits import exchangeable, make_splits, sites_of
from model.probing.summary import (
    answers_of,
    cautions,
    figure_svg,
    predictions_tsv,
    ratios_of,
    rows_tsv,
    summarize,
    text_table,
)
from model.probing.unfinished import Unfinished, refuse_others
from model.statistics.repetitions import permutation_p

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.probing.inputs import Features
    from model.probing.methods import Method, Prepare
    from model.probing.options import ProbeConfig
    from model.probing.participants import Labels
    from model.probing.splits import Split
    from model.probing.summary import Summary

_LOG = logging.getLogger(__name__)

_MORE_OR_FEWER = ("methods", "repetitions", "permutations")
"""Settings that change which rows there are, and none of them."""


def run_probe(
    data: Path,
    participants: Path,
    out: Path,
    config: ProbeConfig,
    *,
    checkpoint: Path | None = None,
    device: str = "cpu",
    overwrite: bool = False,
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
        What a call that was stopped left there is gone on with.
    checkpoint
        As for `model.checkpoint.load_encoder`; with an output folder only.
    device
        Where the series are encoded.
    overwrite
        Whether results in ``out`` are replaced, once the new ones are whole.

    Returns
    -------
    The summary as text, and the rows it is of.

    Raises
    ------
    SemantoksError
        Input, labels or splits are not fit for the question; nothing is written.
    """
    refuse_others(out, overwrite=overwrite)
    is_encoded_anew = data.is_dir() and config.read == "series"
    labels, splits, features = (_from_folder if is_encoded_anew else _from_table)(
        data, participants, config, checkpoint, device
    )
    warnings = cautions(labels, splits, are_drawn=config.are_drawn)
    for warning in warnings:
        _LOG.warning("%s", warning)
    adjust, covariates = adjustments(config, labels, participants)
    samples = features.samples | covariates
    names = [name for name in _asked(config) if features_of(name) in samples]
    methods = make_methods(
        names,
        samples,
        n_outputs=len(labels.classes) or 1,
        epochs=config.epochs,
        seed=config.seed,
        regress_by=config.regress_by,
        adjust=adjust,
    )
    record = provenance(data, participants, config, labels, splits) | features.source
    pieces = Unfinished(out, question(record), overwrite=overwrite)
    rows = fit_all(methods, labels, splits, pieces)
    if all(row.status == "skipped" for row in rows):
        pieces.forget()
        raise ProbeError(
            f"no split can be scored: {some(sorted({f'{r.split}: {r.reason}' for r in rows}))}"
        )
    null = permute(methods, labels, splits, config, participants, pieces)
    record |= {"warnings": warnings} if warnings else {}
    return _write(out, record, labels, splits, rows, null), rows


def _asked(config: ProbeConfig) -> Sequence[str]:
    """Name the methods that are asked for; without a word, all but some."""
    return config.methods or [
        name
        for name in METHODS
        if name not in EXTRA_METHODS or (name == COVARIATES and config.covariates)
    ]


def adjustments(
    config: ProbeConfig, labels: Labels, participants: Path
) -> tuple[list[Prepare], dict[str, Samples]]:
    """Read what features are adjusted by, site first.

    Returns
    -------
    Transformations, and the covariates (S, C) as features of their own, if subjects are
    predicted.

    Raises
    ------
    LabelError, SplitError
        Subjects have no site or no covariate.
    ConfigError
        There is no table of people.
    """
    if not config.covariates and config.harmonize is None:
        return [], {}
    if str(participants) == NOBODY:
        raise ConfigError(
            "sites and covariates are columns of a table of people, and none is given.",
            hint="Name the table in place of -.",
        )
    adjust: list[Prepare] = []
    if config.harmonize is not None:
        sites = sites_of(config.harmonize, labels, participants)
        adjust.append(partial(learn_combat, sites=sites))
    if not config.covariates:
        return adjust, {}
    people = labels.subjects
    covariates = read_covariates(participants, config.covariates, people)
    adjust.append(partial(learn_residuals, covariates=covariates))
    if labels.owners:
        return adjust, {}
    values = np.array([covariates[subject] for subject in people], np.float32)
    return adjust, {"covariates": Samples(values=values, subjects=people, scans=people)}


def question(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row depends on; which rows there are may change from call to call."""
    config = record["config"]
    kept = ["labels_sha256", "data_sha256", "splits_table_sha256"]
    kept += ["checkpoint", "readout", "networks", "software"]
    if config["covariates"] or config["harmonize"] or config["site"]:
        kept.append("participants_sha256")
    asked = {k: v for k, v in config.items() if k not in _MORE_OR_FEWER}
    return asked | {key: record[key] for key in kept if key in record}


def _from_folder(
    data: Path, participants: Path, config: ProbeConfig, checkpoint: Path | None, device: str
) -> tuple[Labels, list[Split], Features]:
    """Compute what the methods need, once labels and splits are known to hold."""
    runs = one_each(find_runs(data, entities=config.entities, task_ids=config.task_ids), config)
    labels = labels_of_runs(participants, config, runs)
    splits = make_splits(config, labels, participants)
    encoder = load_encoder(checkpoint, device=device)
    kinds = {features_of(name) for name in _asked(config)}
    for kind, reason in _no_control(encoder, config, kinds).items():
        if config.methods:
            raise ConfigError(reason)
        _LOG.warning("Methods by %s are left out: %s", kind, reason)
        kinds.discard(kind)
    return labels, splits, series_features(runs, labels, encoder, config, kinds=kinds)


def _no_control(encoder: Encoder, config: ProbeConfig, kinds: Collection[str]) -> dict[str, str]:
    """Say why random weights cannot be compared with, by those kinds of features asked for."""
    found = {}
    if RANDOM in kinds and "short" in (config.readout or encoder.own_card().readout):
        found[RANDOM] = "the readout is a short form, which is fitted, and they are not"
    if WHITENED not in kinds:  # whose scans are then not looked for either
        return found
    if not encoder.spec.whitened:
        found[WHITENED] = (
            "the checkpoint's tokens are not whitened, so there is no whitened control"
        )
        return found
    try:
        fit_of(encoder, config.fit_shards)
    except FitDataError as err:
        found[WHITENED] = str(err)
    return found


def _from_table(
    data: Path, participants: Path, config: ProbeConfig, checkpoint: Path | None, device: str
) -> tuple[Labels, list[Split], Features]:
    """Take the embeddings as they are."""
    del device  # nothing is encoded
    wrong = sorted(set(config.methods) - {*TABLE_METHODS, COVARIATES})
    if wrong or checkpoint is not None:
        raise ConfigError(
            f"{data} holds embeddings: {', '.join(wrong) or '--checkpoint'} would need series.",
            hint="Name the output folder of the participant level, without --read.",
        )
    if data.is_dir():
        runs = find_runs(data, entities=config.entities, task_ids=config.task_ids)
        table = read_windows(
            one_each(runs, config), config.readout, are_tokens=config.read == "tokens"
        )
    else:
        table = read_group_table(
            data,
            readout=config.readout,
            entities=config.entities,
            task_ids=config.task_ids,
            one_each=config.seed if config.scans == "one" else None,
            splits=config.splits,
        )
    labels = labels_of_rows(
        participants,
        config,
        table.owners(),
        partial(table.column, config.target, where=data),
        where=str(data),
    )
    return labels, make_splits(config, labels, participants), table_features(table, labels)


def fit_all(
    methods: Sequence[Method], labels: Labels, splits: Sequence[Split], pieces: Unfinished
) -> list[Row]:
    """Fit every method on every split, or take the row that an earlier call kept.

    Of few people the same split is drawn twice: it is fitted once.
    """
    metric = MAIN_METRIC[labels.task]
    # All methods of a split before the next: what is left then costs as much as what is done.
    asked = {_piece(method, split): (method, split) for split in splits for method in methods}
    rows = {name: Row(**piece) for name in asked if (piece := pieces.get(name))}
    left = {name: asked[name] for name in asked if name not in rows}
    _LOG.info("%d fits: %d methods on %d splits", len(asked), len(methods), len(splits))
    with Progress(n_items=len(asked), n_done=len(rows), size=len(left)) as progress:
        for name, (method, split) in left.items():
            rows[name] = row = evaluate(method, labels, split)
            pieces.keep(name, asdict(row))
            said = row.scores.get(metric)
            told = row.reason if said is None else f"{metric} {said:.3f}"
            progress.tell(f"{method.name}, {split.name}: {told}")
    return [
        replace(rows[_piece(method, split)], split=split.name)
        for method in methods
        for split in splits
    ]


def _piece(method: Method, split: Split) -> str:
    return f"{method.name}-{split.sha256()[:16]}"


def permute(
    methods: Sequence[Method],
    labels: Labels,
    splits: Sequence[Split],
    config: ProbeConfig,
    participants: Path,
    pieces: Unfinished,
) -> dict[str, list[float]]:
    """Ask the same of labels that mean nothing: mean main metric of each permutation, by method.

    Splits are drawn anew for each, as they are stratified by the labels.
    """
    null: dict[str, list[float]] = {method.name: [] for method in methods}
    if not config.permutations:
        return null
    groups = exchangeable(config, labels, participants, splits)
    asked = [
        (f"permutation-{number}-{method.name}-{len(splits)}", number, method)
        for number in range(config.permutations)
        for method in methods
    ]
    kept = {name: piece for name, _, _ in asked if (piece := pieces.get(name)) is not None}
    n_left = len(asked) - len(kept)

    @lru_cache(maxsize=1)
    def deal(number: int) -> tuple[Labels, list[Split]]:
        dealt = labels.permuted(groups, np.random.default_rng([config.seed, number]))
        return dealt, make_splits(config, dealt, participants)

    with Progress(n_items=len(asked), n_done=len(kept), size=n_left) as progress:
        for name, number, method in asked:
            if name not in kept:
                kept[name] = {"score": _mean_score(method, *deal(number))}
                pieces.keep(name, kept[name])
                progress.tell(f"permutation {number + 1}, {method.name}")
            if kept[name]["score"] is not None:
                null[method.name].append(kept[name]["score"])
    return null


def _mean_score(method: Method, labels: Labels, splits: Sequence[Split]) -> float | None:
    metric = MAIN_METRIC[labels.task]
    rows = [evaluate(method, labels, split) for split in splits]
    values = [row.scores[metric] for row in rows if metric in row.scores]
    return float(np.mean(values)) if values else None


def _write(
    out: Path,
    record: dict[str, Any],
    labels: Labels,
    splits: list[Split],
    rows: list[Row],
    null: dict[str, list[float]],
) -> str:
    answers = answers_of(rows, splits, labels)
    summary, differences = summarize(rows, labels.task, ratios=ratios_of(splits), answers=answers)
    found = p_values(summary, null, labels)
    results = record | {
        "answers": answers,
        "summary": summary,
        "probe_minus_method": differences,
        "permutation_p": found,
        "permuted": {method: scores for method, scores in null.items() if scores},
        "rows": [row_record(row) for row in rows],
    }
    with new_folder(out, replace=True) as folder:
        (folder / "results.json").write_bytes(json_bytes(results))
        (folder / "results.tsv").write_bytes(rows_tsv(rows, labels.task))
        (folder / "predictions.tsv").write_bytes(predictions_tsv(rows, labels))
        (folder / "results.svg").write_bytes(figure_svg(rows, summary, labels))
    return text_table(summary, differences, labels.task, p_values=found)


def p_values(
    summary: Summary, null: Mapping[str, Sequence[float]], labels: Labels
) -> dict[str, float]:
    """Compare each method's mean main metric with that of permutations, if there are any."""
    metric = MAIN_METRIC[labels.task]
    return {
        method: permutation_p(summary[method][metric]["mean"], scores)
        for method, scores in null.items()
        if scores and method in summary
    }
