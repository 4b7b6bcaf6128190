"""Which network tells most of a target by itself, over a cohort, on the splits of one probe."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from model.cohort.names import GROUP_BLOCKS, GROUP_BLOCKS_ONLY, GROUP_ONLY, GROUP_SCANS
from model.errors import ConfigError
from model.figures import style
from model.files.write import json_bytes, new_folder, tsv_bytes
from model.probing.inputs import GroupTable, read_group_table, table_features
from model.probing.methods import make_methods
from model.probing.options import MAIN_METRIC, TABLE_METHODS
from model.probing.probe import adjustments, fit_all, p_values, permute, question
from model.probing.protocol import labels_of_rows, provenance, row_record
from model.probing.samples import ProbeError, one_of_each
from model.probing.splits import make_splits
from model.probing.summary import (
    answers_of,
    cautions,
    finish,
    knowing_nothing,
    predictions_tsv,
    ratios_of,
    rows_tsv,
    summarize,
    text_table,
)
from model.probing.unfinished import Unfinished, refuse_others

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model.comparison.options import ImportanceOptions
    from model.probing.methods import Method
    from model.probing.options import ProbeConfig
    from model.probing.participants import Labels
    from model.probing.summary import Summary

_LOG = logging.getLogger(__name__)

WHOLE = "all together"
_ENDING = "_embedding"
COLOUR, WHOLE_COLOUR = style.SERIES[:2]


def run_importance(
    folder: Path,
    participants: Path,
    out: Path,
    config: ProbeConfig,
    options: ImportanceOptions,
    *,
    overwrite: bool = False,
) -> str:
    """Probe the table of each single network, and that of all together, on the same splits.

    Parameters
    ----------
    folder
        Output folder that holds the tables.
    participants, out, config, overwrite
        As for `model.probing.probe.run_probe`; one method at most, ``linear`` by default.
    options
        Which tables.

    Returns
    -------
    The comparison as text.

    Raises
    ------
    SemantoksError
        Tables are absent or of different weights, or not fit for the question; nothing is
        written.
    """
    refuse_others(out, overwrite=overwrite)
    kind = _method(config)
    tables = _one_each(_common_rows(_read_tables(folder, config, options)), config)
    whole = tables[WHOLE]
    labels = labels_of_rows(
        participants,
        config,
        whole.owners(),
        partial(whole.column, config.target, where=folder),
        where=str(folder),
    )
    splits = make_splits(config, labels, participants)
    warnings = cautions(labels, splits, are_drawn=config.are_drawn)
    for warning in warnings:
        _LOG.warning("%s", warning)
    adjust, _ = adjustments(config, labels, participants)
    methods: list[Method] = []
    sources: dict[str, Any] = {}
    for name, table in tables.items():
        features = table_features(table, labels)
        (method,) = make_methods(
            [kind],
            features.samples,
            n_outputs=len(labels.classes) or 1,
            epochs=config.epochs,
            seed=config.seed,
            regress_by=config.regress_by,
            adjust=adjust,
        )
        methods.append(replace(method, name=name))
        sources[name] = features.source
    record = provenance(folder, participants, config, labels, splits)
    record |= {"fit": kind, "of": options.of, "networks": sources}
    record |= {"warnings": warnings} if warnings else {}
    asked = question(record) | {"of": options.of, "fit": kind}
    pieces = Unfinished(out, asked, overwrite=overwrite)
    rows = fit_all(methods, labels, splits, pieces)
    if not any(row.scores for row in rows):
        pieces.forget()
        raise ProbeError(f"no network could be scored, such as for: {rows[0].reason}")
    null = permute(methods, labels, splits, config, participants, pieces)
    answers = answers_of(rows, splits, labels)
    summary, differences = summarize(
        rows, labels.task, ratios=ratios_of(splits), answers=answers, reference=WHOLE
    )
    found = p_values(summary, null, labels)
    record["answers"] = answers
    record |= {"summary": summary, "all_minus_network": differences, "permutation_p": found}
    record["rows"] = [row_record(row) for row in rows]
    order = ranked(summary, labels)
    with new_folder(out, replace=True) as new:
        (new / "results.json").write_bytes(json_bytes(record))
        (new / "results.tsv").write_bytes(rows_tsv(rows, labels.task))
        (new / "predictions.tsv").write_bytes(predictions_tsv(rows, labels))
        (new / "importance.tsv").write_bytes(importance_tsv(summary, differences, found, labels))
        (new / "importance.svg").write_bytes(importance_svg(summary, found, labels))
    shown = {name: summary[name] for name in [*order, WHOLE] if name in summary}
    return text_table(shown, differences, labels.task, p_values=found, reference=WHOLE)


def _method(config: ProbeConfig) -> str:
    chosen = config.methods or ("linear",)
    if len(chosen) > 1 or chosen[0] not in TABLE_METHODS:
        raise ConfigError(
            f"methods {', '.join(chosen)}: single networks are compared by one of "
            f"{' and '.join(TABLE_METHODS)}."
        )
    if config.readout or config.read != "series":
        raise ConfigError("single networks have the parts mean and cls: no --readout, no --read.")
    return chosen[0]


def _read_tables(
    folder: Path, config: ProbeConfig, options: ImportanceOptions
) -> dict[str, GroupTable]:
    """Read the table of each network, in their files' order, and last that of all together."""
    whole, begin, command = {
        "scans": (GROUP_SCANS, GROUP_ONLY, "semantoks importance"),
        "blocks": (GROUP_BLOCKS, GROUP_BLOCKS_ONLY, "semantoks blocks --networks"),
    }[options.of]
    paths = {
        path.name.removeprefix(begin).removesuffix(f"{_ENDING}.tsv"): path
        for path in sorted(folder.glob(f"{begin}*{_ENDING}.tsv"))
    }
    if not paths:
        raise ConfigError(
            f"{folder}: no table of a single network ({begin}*{_ENDING}.tsv).",
            hint=f"`{command}` writes them.",
        )
    there = [folder / f"{whole}{ending}" for ending in (".parquet", ".tsv")]
    found = [path for path in there if path.exists()]
    if not found:
        raise ConfigError(
            f"{folder}: no {whole}.tsv, which single networks are compared with.",
            hint="The group level of semantoks writes it.",
        )
    tables = {
        name: read_group_table(
            path, readout=(), entities=config.entities, task_ids=config.task_ids
        )
        for name, path in {**paths, WHOLE: found[0]}.items()
    }
    if len({table.model.get("WeightsSHA256") for table in tables.values()}) > 1:
        raise ConfigError(
            f"{folder}: the tables are of different weights.", hint=f"Call `{command}` again."
        )
    return tables


def _common_rows(tables: Mapping[str, GroupTable]) -> dict[str, GroupTable]:
    """Keep the rows that every table has: all networks are asked about the same scans."""
    common = set.intersection(*(set(table.samples.scans) for table in tables.values()))
    n_rows = max(len(table.samples.scans) for table in tables.values())
    if not common:
        raise ProbeError("no scan has a row in the table of every network.")
    if len(common) < n_rows:
        _LOG.warning(
            "%d of %d rows lack a network and are left out.", n_rows - len(common), n_rows
        )
    return {name: table.of(common) for name, table in tables.items()}


def _one_each(tables: Mapping[str, GroupTable], config: ProbeConfig) -> dict[str, GroupTable]:
    """Keep one row of each subject, the same in every table, if that is what is asked for."""
    if config.scans == "all":
        return dict(tables)
    samples = tables[WHOLE].samples
    drawn = one_of_each(samples.subjects, seed=config.seed)
    kept = {samples.scans[i] for i in drawn}
    return {name: table.of(kept) for name, table in tables.items()}


def ranked(summary: Summary, labels: Labels) -> list[str]:
    """Order the networks by their mean main metric, the best first."""
    metric = MAIN_METRIC[labels.task]
    return sorted(
        (name for name in summary if name != WHOLE),
        key=lambda name: -summary[name][metric]["mean"],
    )


def importance_tsv(
    summary: Summary, differences: Summary, p: Mapping[str, float], labels: Labels
) -> bytes:
    """Return one line per network, the best first: score, interval, share of the whole, p.

    The share is of what all together tell above knowing nothing; none where that is nothing.
    """
    metric, nothing = MAIN_METRIC[labels.task], knowing_nothing(labels)
    above = summary[WHOLE][metric]["mean"] - nothing if WHOLE in summary else 0.0
    header = ["network", "n_splits", metric, "sd", "low", "high", "share_of_all", "all_minus_it"]
    lines = []
    for name in [*ranked(summary, labels), *([WHOLE] if WHOLE in summary else [])]:
        numbers = summary[name][metric]
        share = (numbers["mean"] - nothing) / above if above > 0 else None
        difference = differences.get(name, {}).get(metric, {}).get("mean")
        spread = [numbers.get(key) for key in ("sd", "low", "high")]
        lines.append(
            [name, numbers["n"], numbers["mean"], *spread, share, difference, p.get(name)]
        )
    return tsv_bytes([*header, "p"], lines)


def importance_svg(summary: Summary, p: Mapping[str, float], labels: Labels) -> bytes:
    """Draw the main metric of each network with its interval, beside all together and nothing."""
    from matplotlib.figure import Figure

    metric, order = MAIN_METRIC[labels.task], ranked(summary, labels)
    figure = Figure(figsize=(6.4, 1.4 + 0.32 * len(order)), layout="constrained")
    axes = figure.subplots()
    if WHOLE in summary:
        numbers = summary[WHOLE][metric]
        axes.axvline(numbers["mean"], color=WHOLE_COLOUR, label=WHOLE)
        if "low" in numbers:
            axes.axvspan(numbers["low"], numbers["high"], color=WHOLE_COLOUR, alpha=0.12, lw=0)
    for y, name in enumerate(order):
        numbers, colour = summary[name][metric], style.NETWORK_COLOURS.get(name, COLOUR)
        if "low" in numbers:
            ends = [numbers["low"], numbers["high"]]
            axes.plot(ends, [y, y], color=colour, linewidth=2, label="95 % interval")
        axes.plot(numbers["mean"], y, "D", color=colour, label="one network alone")
    scores = [summary[name][metric]["mean"] for name in order]
    return finish(figure, axes, labels, [_label(name, p) for name in order], scores)


def _label(name: str, p: Mapping[str, float]) -> str:
    return f"{name} (p {p[name]:.2g})" if name in p else name
