"""Evaluate embeddings without labels: read, pair, measure, write."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cohort.outputs import model_series
from model.evaluation.baselines import (
    FISHER,
    PEARSON,
    TANGENT,
    WITHIN,
    check_checkpoint,
    connectivity_vectors,
    random_vectors,
)
from model.evaluation.compare import Measurement, Resampling, measurements
from model.evaluation.leakage import leakage
from model.evaluation.results import below_chance, write_report, write_robustness
from model.evaluation.source import keyed_scans, read_rows, read_source
from model.evaluation.vectors import ByLevel, Vectors, one_below_other, side_by_side
from model.statistics.pairing import EvaluationError, single_session_subjects

if TYPE_CHECKING:
    from model.encoder import Encoder
    from model.evaluation.options import EvaluationOptions
    from model.evaluation.robustness import Displacement

REPORT = tuple(
    f"{name}.{end}" for name in ("evaluation", "robustness") for end in ("tsv", "json", "png")
)


def run_evaluation(
    source: Path, out: Path, options: EvaluationOptions
) -> tuple[list[Measurement], list[str]]:
    """Evaluate the embeddings of a table or of an output folder.

    Returns
    -------
    Every number, and what a reader must know of what was left out; also written to ``out``.

    Raises
    ------
    EvaluationError
        The embeddings cannot be paired, or an option needs what the source does not have.
    """
    foreign = {p.name for p in out.iterdir()} - set(REPORT) if out.is_dir() else set()
    if foreign:
        raise EvaluationError(
            f"{out} holds other things than an evaluation: {', '.join(sorted(foreign)[:3])}.",
            hint="Name a new folder.",
        )
    _check_options(source, options)
    encoder = _load(options)
    chosen = _of_reference(options)
    by_level, replicates, notes = _gather(source, chosen, encoder)
    baselines = [PEARSON, FISHER, WITHIN, TANGENT, *replicates]
    if options.against is not None:
        by_level, names, more = _beside(by_level, chosen)
        baselines += names
        notes += more
    notes = list(dict.fromkeys([*notes, *_about(by_level)]))
    found = measurements(
        by_level,
        baselines=baselines,
        replicates=replicates,
        resampling=Resampling(n_resamples=options.n_resamples, seed=options.seed),
    )
    found += _leakage(source, chosen)
    notes += below_chance(found)
    settings = {"source": str(source), "options": _plain(chosen), "notes": notes}
    curves = []
    if options.robustness and encoder is not None:
        curves = _curves(source, chosen, encoder)
    elif options.condition_column is not None:
        curves = _curves_of_table(source, options)
    # Curves of an earlier evaluation in this folder would be taken for those of this one.
    for name in REPORT:
        (out / name).unlink(missing_ok=True)
    write_report(found, settings, out)
    if curves:
        write_robustness(curves, settings, out)
    return found, notes


def _check_options(source: Path, options: EvaluationOptions) -> None:
    """Refuse options that need what the source does not have, before any work."""
    if (options.robustness or options.random_weights) and not source.is_dir():
        raise EvaluationError(
            f"{source}: --robustness and --random-weights need the series, and a table has none.",
            hint="Name the output folder of semantoks instead of its group table.",
        )
    table_only = options.condition_column is not None
    mixed = options.across or options.source.pipeline_column or options.source.window_column
    if table_only != (options.reference is not None) or (
        table_only and (source.is_dir() or mixed)
    ):
        raise EvaluationError(
            "--condition-column and --reference belong together, to a table of whole scans by "
            "one pipeline.",
            hint="For example --condition-column noise --reference none.",
        )
    if source.is_dir() and (options.motion_column or options.site_column):
        raise EvaluationError(
            "motion and site are columns of a table, and the source is a folder.",
            hint="Name the group table of the folder (semantoks X OUTPUT_DIR group).",
        )


def _of_reference(options: EvaluationOptions) -> EvaluationOptions:
    """Choose the rows of scans to which nothing was done."""
    if options.condition_column is None or options.reference is None:
        return options
    where = (*options.source.where, (options.condition_column, options.reference))
    return replace(options, source=replace(options.source, where=where))


def _gather(
    source: Path, options: EvaluationOptions, encoder: Encoder | None
) -> tuple[ByLevel, dict[str, list[str]], list[str]]:
    """Read the source, beside its baselines, above the same from another pipeline."""
    paths = [source] if options.across is None else [source, options.across]
    if len({path.is_dir() for path in paths}) > 1:
        raise EvaluationError(
            f"{source} and {paths[-1]}: expected two tables or two output folders."
        )
    found: ByLevel = {}
    replicates: dict[str, list[str]] = {}
    notes = []
    for number, path in enumerate(paths):
        by_level, said = read_source(path, options.source)
        if path.is_dir():
            replicates, left_out = _add_baselines(by_level, path, options, encoder)
            said = [*said, *left_out]
        notes += said
        for level, vectors in by_level.items():
            labelled = _labelled(vectors, str(number)) if options.across else vectors
            found[level] = one_below_other(found[level], labelled) if level in found else labelled
    return found, replicates, notes


def _load(options: EvaluationOptions) -> Encoder | None:
    if not (options.random_weights or options.robustness):
        return None
    from model.checkpoint import load_encoder

    return load_encoder(options.checkpoint)


def _add_baselines(
    by_level: ByLevel, folder: Path, options: EvaluationOptions, encoder: Encoder | None
) -> tuple[dict[str, list[str]], list[str]]:
    """Put connectivity and random weights beside the embeddings, in place."""
    if encoder is None and not options.connectivity:
        return {}, []
    runs = keyed_scans(folder, options.source)
    series = {key: model_series(run) for key, run in runs.items()}
    added: list[ByLevel] = []
    replicates: dict[str, list[str]] = {}
    left_out: list[str] = []
    if options.connectivity:
        added.append(connectivity_vectors(runs, series))
    if encoder is not None:
        check_checkpoint(runs, encoder)
    if encoder is not None and options.random_weights:
        random, replicates, left_out = random_vectors(series, encoder, folders=options.fit_shards)
        added.append(random)
    for level in by_level:
        for other in added:
            by_level[level] = side_by_side(by_level[level], other[level])
    return replicates, left_out


def _beside(by_level: ByLevel, options: EvaluationOptions) -> tuple[ByLevel, list[str], list[str]]:
    """Put other embeddings beside, over the rows that both have; return their names."""
    assert options.against is not None, "called with a path"  # noqa: S101 - our guarantee
    other, notes = read_source(options.against, options.source)
    found: ByLevel = {}
    names: list[str] = []
    for level in by_level.keys() & other.keys():
        pipeline = {key: replace(key, pipeline="0") for key in other[level].keys}
        keys = list(pipeline.values()) if options.across else other[level].keys
        sets = {f"{options.against.stem}: {n}": v for n, v in other[level].sets.items()}
        found[level] = side_by_side(by_level[level], Vectors(keys=keys, sets=sets))
        names = list(sets)
        lost = len(by_level[level].keys) - len(found[level].keys)
        if lost:
            notes.append(f"{lost} {level}s are not in {options.against} and were left out")
    if not found:
        raise EvaluationError(
            f"{options.against} holds {', '.join(other)}s, the source {', '.join(by_level)}s.",
            hint="Compare two tables of scans, two of windows, or two output folders.",
        )
    return found, names, notes


def _curves(source: Path, options: EvaluationOptions, encoder: Encoder) -> list[Displacement]:
    """Measure robustness on the series of the source."""
    from model.evaluation.perturbations import conditions
    from model.evaluation.robustness import robustness

    runs = keyed_scans(source, options.source)
    return robustness(
        {key: model_series(run) for key, run in runs.items()},
        encoder,
        conditions(),
        resampling=Resampling(n_resamples=options.n_resamples, seed=options.seed),
    )


def _curves_of_table(source: Path, options: EvaluationOptions) -> list[Displacement]:
    """Measure robustness on the rows of a table, by its first set of vectors."""
    from model.evaluation.robustness import robustness_of_rows

    by_condition = replace(options.source, pipeline_column=options.condition_column)
    by_level, _ = read_source(source, by_condition)
    values = next(iter(by_level["scan"].sets.values()))
    return robustness_of_rows(
        by_level["scan"].keys,
        values,
        reference=str(options.reference),
        resampling=Resampling(n_resamples=options.n_resamples, seed=options.seed),
    )


def _leakage(source: Path, options: EvaluationOptions) -> list[Measurement]:
    """Measure what the vectors tell about motion and site, if columns for them are named."""
    named = [c for c in (options.motion_column, options.site_column) if c is not None]
    if not named:
        return []
    columns, _ = read_rows(source, options.source)
    absent = [name for name in named if name not in columns]
    if absent:
        raise EvaluationError(f"{source.name}: no column {', '.join(absent)}.")
    by_level, _ = read_source(source, options.source)
    (level, vectors), *_ = by_level.items()
    return leakage(
        vectors,
        {name: columns[name] for name in named},
        level=level,
        motion=options.motion_column,
        site=options.site_column,
        seed=options.seed,
    )


def _labelled(vectors: Vectors, pipeline: str) -> Vectors:
    keys = [replace(key, pipeline=pipeline) for key in vectors.keys]
    return Vectors(keys=keys, sets=vectors.sets)


def _about(by_level: ByLevel) -> list[str]:
    """Tell who takes no part, what is shorter than other scans, and what looks like a copy."""
    notes = []
    for level, vectors in by_level.items():
        alone = single_session_subjects(vectors.keys)
        if alone and level == next(iter(by_level)):
            notes.append(
                f"{len(alone)} subject(s) with one session take no part: {', '.join(alone[:5])}"
            )
        windows = Counter((k.subject, k.session, k.pipeline) for k in vectors.keys)
        if len(set(windows.values())) > 1:
            few, many = min(windows.values()), max(windows.values())
            notes.append(f"scans have {few} to {many} windows; the first {few} of each are used")
        name, values = next(iter(vectors.sets.items()))
        n_copies = len(values) - len(np.unique(values, axis=0))
        if n_copies:
            notes.append(f"{name}: {n_copies} {level}(s) have exactly the vector of another one")
    return notes


def _plain(options: EvaluationOptions) -> dict[str, Any]:
    """Return the options for JSON."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    return plain | {"fit_shards": [str(path) for path in options.fit_shards]}
