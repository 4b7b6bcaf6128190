"""Where vectors come from: a table of embeddings, or an output folder of the app."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cohort.names import EMBEDDING_COLUMN, SCAN, WHOLE, WINDOWS, parts_of, rows_in
from model.cohort.outputs import EmbeddedScan, embedded_scans, harmonization_in
from model.evaluation.vectors import ByLevel, Vectors
from model.files.faults import FileError
from model.files.read import read_json
from model.files.tables import read_columns
from model.networks import NETWORKS
from model.partition.groups import is_short
from model.statistics.pairing import EvaluationError, Key, refuse_duplicates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model.evaluation.options import SourceOptions
    from model.evaluation.vectors import Array, Level

    Columns = Mapping[str, Sequence[Any]]

ENDINGS: dict[Level, str] = {
    "scan": f"{SCAN}.tsv",
    "window": f"{WINDOWS}.tsv",
}
SHOWN = 8


def keys_of(
    columns: Columns, options: SourceOptions, *, where: str
) -> tuple[list[int], list[Key]]:
    """Return the rows that are used, and what each is.

    Raises
    ------
    EvaluationError
        A column is absent, a label is missing, or no row is left.
    """
    wanted = [options.subject_column, options.session_column, *(name for name, _ in options.where)]
    wanted += [c for c in (options.pipeline_column, options.window_column) if c is not None]
    absent = [name for name in dict.fromkeys(wanted) if name not in columns]
    if absent:
        others = [name for name in columns if not EMBEDDING_COLUMN.fullmatch(name)]
        raise EvaluationError(
            f"{where}: no column {', '.join(absent)}; there are {_listed(others)}.",
            hint="Name the columns: --subject-column, --session-column, --pipeline-column, "
            "--window-column, --where COLUMN=VALUE.",
        )
    n_rows = len(columns[options.subject_column])
    rows = [
        row
        for row in range(n_rows)
        if all(str(columns[name][row]) == value for name, value in options.where)
    ]
    if not n_rows:
        raise EvaluationError(f"{where}: holds no rows.")
    if not rows:
        there = [f"{name}: {_values(columns[name])}" for name, _ in options.where]
        raise EvaluationError(
            f"{where}: none of {n_rows} rows is chosen by --where; there are {'; '.join(there)}."
        )
    return rows, [_key(columns, options, row, where=where) for row in rows]


def _key(columns: Columns, options: SourceOptions, row: int, *, where: str) -> Key:
    label = {
        "subject": columns[options.subject_column][row],
        "session": columns[options.session_column][row],
        "pipeline": columns[options.pipeline_column][row] if options.pipeline_column else "",
    }
    unknown = [name for name, value in label.items() if value is None]
    if unknown:
        raise EvaluationError(
            f"{where}: row {row + 1} has no {' and no '.join(unknown)}.",
            hint="Leave such rows out, or fill in their labels.",
        )
    number = columns[options.window_column][row] if options.window_column else 0
    if not isinstance(number, int | float) or number != int(number):
        raise EvaluationError(
            f"{where}: row {row + 1}: expected the number of a window in column "
            f"{options.window_column}, found {number!r}."
        )
    return Key(**{name: str(value) for name, value in label.items()}, window=int(number))


def read_source(path: Path, options: SourceOptions) -> tuple[ByLevel, list[str]]:
    """Read a table (.tsv, .csv, .parquet) or an output folder of semantoks.

    Returns
    -------
    Vectors of scans and, where there are any, of windows; and what a reader must know of what
    was left out.

    Raises
    ------
    EvaluationError, FileError, OutputsError
        Columns, labels or files are missing, or a key occurs twice.
    """
    if path.is_dir():
        return _read_folder(path, options)
    columns, keys = read_rows(path, options)
    refuse_duplicates(keys)
    sets, notes = {}, _harmonized(path)
    for name, chosen in _feature_columns(list(columns), options.features, where=path.name).items():
        text = [c for c in chosen if any(isinstance(value, str) for value in columns[c])]
        if text:
            raise EvaluationError(
                f"{path.name}: columns chosen as features hold text: {_listed(text)}.",
                hint="--features takes a regular expression for the names of feature columns.",
            )
        values = np.array([columns[c] for c in chosen], dtype=np.float64).T
        _refuse_empty(values, keys, where=f"{path.name}, {name}")
        sets[name], note = complete(values, chosen, name=f"{path.name}, {name}")
        notes += note
    level: Level = "window" if options.window_column else "scan"
    return {level: Vectors(keys=keys, sets=sets)}, notes


def _harmonized(path: Path) -> list[str]:
    """Say of a table without effects of sites from whom these were learned."""
    with contextlib.suppress(FileError):  # tables of others need none
        if (said := harmonization_in(read_json(path.with_suffix(".json")))) is not None:
            whom = "train of a split" if said.split_sha256 else "everybody in it"
            return [
                f"{path.name}: effects of {said.column} were taken out as learned from {whom}; "
                "what is measured holds for those people, and of others it would be worse"
            ]
    return []


def keyed_scans(folder: Path, options: SourceOptions) -> dict[Key, EmbeddedScan]:
    """Return the chosen runs of an output folder by subject, session and pipeline."""
    runs = embedded_scans(folder)
    names = dict.fromkeys(name for run in runs for name in run.columns)
    columns = {name: [run.columns.get(name) for run in runs] for name in names}
    rows, keys = keys_of(columns, options, where=str(folder))
    refuse_duplicates(keys)
    return {key: runs[row] for row, key in zip(rows, keys, strict=True)}


def _read_folder(folder: Path, options: SourceOptions) -> tuple[ByLevel, list[str]]:
    runs = keyed_scans(folder, options)
    found: ByLevel = {}
    notes: list[str] = []
    for level, ending in ENDINGS.items():
        tables = [run.numbers(ending) for run in runs.values()]
        names = tables[0][0]
        values = np.concatenate([rows for _, rows in tables])
        keys = [
            Key(key.subject, key.session, key.pipeline, window)
            for key, (_, rows) in zip(runs, tables, strict=True)
            for window in range(len(rows))
        ]
        sets = {}
        for name, chosen in _feature_columns(names, options.features, where=str(folder)).items():
            at = [names.index(c) for c in chosen]
            sets[name], note = complete(values[:, at], chosen, name=f"{folder.name}, {name}")
            notes += note
        found[level] = Vectors(keys=keys, sets=sets)
    return found, notes


def read_rows(path: Path, options: SourceOptions) -> tuple[dict[str, list[Any]], list[Key]]:
    """Read the chosen rows of a table by columns, None for a missing value; and what each is."""
    labels = [options.subject_column, options.session_column, *(c for c, _ in options.where)]
    labels += [options.pipeline_column] if options.pipeline_column else []
    columns = {n: c.to_pylist() for n, c in read_columns(path, text=labels).items()}
    rows, keys = keys_of(columns, options, where=path.name)
    return {name: [values[row] for row in rows] for name, values in columns.items()}, keys


def _feature_columns(names: list[str], pattern: str | None, *, where: str) -> dict[str, list[str]]:
    """Return the columns of each set of vectors."""
    if pattern is not None:
        try:
            chosen = [name for name in names if re.fullmatch(pattern, name)]
        except Exception as err:  # RecursionError and OverflowError, too
            raise EvaluationError(
                f"--features {pattern}: not a regular expression ({err}).",
                hint="For example 'dim_[0-9]+'.",
            ) from err
        if not chosen:
            raise EvaluationError(
                f"{where}: no column's name fits --features {pattern}; there are {_listed(names)}."
            )
        return {"features": chosen}
    part = {name: name.rpartition("_")[0] for name in names if EMBEDDING_COLUMN.fullmatch(name)}
    rows, short = rows_in(part.values()), [*filter(is_short, part.values())]
    readouts = {"networks": rows, "mean + cls": WHOLE, "cls": {"cls"}, "short": short}
    found = {
        readout: [name for name in part if part[name] in parts]
        for readout, parts in readouts.items()
    }
    # Others name columns alike, such as dim_000; an embedding of ours has one of these parts.
    if not {*part.values()} & {*parts_of(NETWORKS)}:
        raise EvaluationError(
            f"{where}: no embedding of semantoks (columns Vis_000, cls_000, …); there are "
            f"{_listed(names)}.",
            hint="--features REGEX names the columns of a vector, such as 'dim_[0-9]+'.",
        )
    return {readout: columns for readout, columns in found.items() if columns}


def complete(values: Array, columns: list[str], *, name: str) -> tuple[Array, list[str]]:
    """Leave out the columns of (R, C) values that any row lacks, and tell which."""
    whole = np.asarray(np.isfinite(values).all(axis=0))
    if whole.all():
        return values, []
    if not whole.any():
        raise EvaluationError(f"{name}: no column has a number in every row.")
    lost = [c for c, kept in zip(columns, whole, strict=True) if not kept]
    parts = list(dict.fromkeys(c.rpartition("_")[0] or c for c in lost))
    return values[:, whole], [
        f"{name}: {len(lost)} of {len(columns)} columns ({_listed(parts)}) are missing in at "
        "least one row and left out of all"
    ]


def _refuse_empty(values: Array, keys: Sequence[Key], *, where: str) -> None:
    """Refuse rows without any number: no column would be whole with them."""
    empty = np.asarray(~np.isfinite(values).any(axis=1))
    if empty.any():
        named = [f"{k.subject} {k.session}" for k, gone in zip(keys, empty, strict=True) if gone]
        raise EvaluationError(
            f"{where}: {len(named)} of {len(keys)} rows have no vector, only missing values: "
            f"{_listed(named)}.",
            hint="Leave these rows out of the table.",
        )


def _values(column: Sequence[Any]) -> str:
    """Name what a column holds."""
    return _listed(list(dict.fromkeys(str(value) for value in column)))


def _listed(names: Sequence[str]) -> str:
    more = f", … ({len(names)})" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
