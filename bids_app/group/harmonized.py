"""The table of a cohort without the effects of sites: a second one, beside the raw embeddings."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bids_app.errors import OptionsError
from bids_app.group.phenotypes import label
from bids_app.group.table import ROWS_AT_ONCE, opened
from model.cohort.names import EMBEDDING_COLUMN, SUBJECT, parts_in, scan_name
from model.errors import ConfigError, some
from model.files.faults import faults_as
from model.files.tables import read_cells
from model.files.write import file_sha256, scratch_file
from model.series import shown
from model.statistics.adjustment import combat_library, learn_combat

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from bids_app.group.options import GroupOptions
    from model.statistics.adjustment import Array

    BoolArray = np.ndarray[Any, np.dtype[np.bool_]]

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """Who is at which site, of whom it is learned, and what stays."""

    sites: tuple[str, ...]
    """(S,) of each scan"""
    learned_from: BoolArray
    """(S,) scans of training people"""
    kept: Array | None
    """(S, C) covariates; None: none"""
    n_people: int

    __repr__ = shown


def refuse_without_combat() -> None:
    """Refuse what needs the library, before anything is done for it.

    Raises
    ------
    OptionsError
        It is not installed.
    """
    try:
        combat_library()
    except ConfigError as err:
        raise OptionsError(err.message, hint=err.hint) from err


def _read_training(path: Path | None, people: Collection[str]) -> frozenset[str]:
    """Return the labels of those who are learned from: without a split, of everybody.

    Parameters
    ----------
    people
        Labels of those who have scans; the split may name others, and need not name them all,
        which is said.

    Raises
    ------
    OptionsError
        The table is none of a split, or nobody with scans is in ``train``.
    """
    if path is None:
        return frozenset(people)
    hint = f"--splits takes a table with {SUBJECT} and split: one of {', '.join(PARTS)}."
    with faults_as(OptionsError, hint=hint):
        table = read_cells(path)
    if not {SUBJECT, "split"} <= set(table.header):
        raise OptionsError(
            f"{path}: expected columns {SUBJECT} and split, found {', '.join(table.header):.120}.",
            hint=hint,
        )
    parts: dict[str, str] = {}
    for row in table.by_name():
        person, part = label(row[SUBJECT].strip(), "sub"), row["split"].strip()
        if part not in PARTS:
            raise OptionsError(f"{path}: sub-{person} is in {part!r}; expected one of {PARTS}.")
        if parts.setdefault(person, part) != part:
            raise OptionsError(f"{path}: sub-{person} is in two parts of the split.")
    trained = frozenset(person for person in people if parts.get(person) == "train")
    if not trained:
        raise OptionsError(
            f"--splits {path}: none of the {len(people)} people with scans is in train.",
            hint="Labels are compared as they are written, with or without sub-: 1 is not 01.",
        )
    absent = [f"sub-{person}" for person in sorted({*people}.difference(parts))]
    if absent:
        log.warning("--splits: not in it, and not learned from: %s", some(absent))
    others = [f"sub-{person}" for person in sorted({*parts}.difference(people))]
    if others:
        log.warning("--splits: in it, but without a scan here: %s", some(others))
    return trained


def design_of(rows: pd.DataFrame, there: Mapping[str, BoolArray], options: GroupOptions) -> Design:
    """Check that sites can be told apart, and lay out what is learned from whom.

    Parameters
    ----------
    rows
        Columns of the table of scans that are no embedding.
    there
        (S,) of each part of the embedding: the scans that have it.

    Raises
    ------
    OptionsError
        A column is not there, scans have no site or covariate, a site has one person to learn
        from or none, there is one site alone, covariates tell sites apart, or a part has too
        few scans of a site.
    """
    column = options.harmonize or ""
    _refuse_missing(rows, [column, *options.harmonize_keep])
    sites = tuple(map(str, rows[column]))
    people = [label(one, "sub") for one in rows[SUBJECT]]
    trained = _read_training(options.splits, {*people})
    if options.splits is None:
        log.warning(
            "--harmonize %s learns from everybody: no basis for testing a prediction, and refused "
            "by semantoks-model probe. --splits FILE learns from train alone.", column,
        )  # fmt: skip
    learned = np.array([person in trained for person in people])
    of = Counter(
        site for site, _ in {*zip(_some(sites, learned), _some(people, learned), strict=True)}
    )
    few = [f"{site} ({of[site]})" for site in sorted(set(sites)) if of[site] < 2]
    if few:
        raise OptionsError(
            f"--harmonize {column}: expected two people of each site to learn from, found fewer"
            f"{' in train of --splits' if options.splits else ''}: {some(few)}.",
            hint="Leave such sites out, or merge them in a copy of the participants table.",
        )
    if len(of) < 2:
        raise OptionsError(
            f"--harmonize {column}: all scans are of one site, {sites[0]}.",
            hint="Name another column, or leave --harmonize out: nothing is to be removed.",
        )
    kept = _coded(rows, options.harmonize_keep)
    _refuse_confounded(sites, kept, learned, options)
    design = Design(sites=sites, learned_from=learned, kept=kept, n_people=len(trained))
    for part, has_it in there.items():
        _refuse_rare(part, has_it, design)
    return design


def _refuse_rare(part: str, there: BoolArray, design: Design) -> None:
    """Refuse a part of the embedding that is missing in all but a few scans of a site."""
    sites = np.array(design.sites)
    of = Counter(sites[there & design.learned_from].tolist())
    few = [site for site in sorted({*sites[there].tolist()}) if of[site] < 2]
    if there.any() and (few or len(of) < 2):
        raise OptionsError(
            f"--harmonize: of {part} fewer than two scans to learn from at {some(few or [*of])}.",
            hint="Its network is missing in the others; leave such sites out.",
        )


def _some(values: Sequence[str], chosen: Any) -> list[str]:
    return [value for value, is_in in zip(values, chosen, strict=True) if is_in]


def _refuse_missing(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    absent = [name for name in columns if name not in rows]
    if absent:
        raise OptionsError(
            f"--harmonize: no column {some(absent)} in the table of scans.",
            hint="--participants joins columns; there are now " + ", ".join(rows.columns) + ".",
        )
    for name in columns:
        gone = rows[name].isna().to_numpy()
        if gone.any():
            words = [scan_name(_present(row)) for row in rows[gone].to_dict("records")]
            raise OptionsError(
                f"--harmonize: {gone.sum()} of {len(rows)} scans have no {name}: {some(words)}.",
                hint="Complete the participants table, or delete scans that are not wanted.",
            )


def _present(row: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): value for name, value in row.items() if isinstance(value, str)}


def _coded(rows: pd.DataFrame, columns: Sequence[str]) -> Array | None:
    """(S, C) numbers as they are, text as one 0/1 for each value but the first."""
    if not columns:
        return None
    coded = []
    for name in columns:
        values = rows[name]
        if values.nunique() < 2:
            raise OptionsError(
                f"--harmonize-keep {name}: all scans have the same, {values.iloc[0]}.",
                hint="Leave it out.",
            )
        if pd.api.types.is_numeric_dtype(values):
            coded.append(values.to_numpy(float))
        else:
            text = values.astype(str)
            coded += [(text == one).to_numpy(float) for one in sorted(set(text))[1:]]
    return np.column_stack(coded)


def _refuse_confounded(
    sites: Sequence[str], kept: Array | None, learned: Any, options: GroupOptions
) -> None:
    if kept is None:
        return
    dummies = np.array([[site == one for one in sorted(set(sites))] for site in sites], float)
    design = np.column_stack([dummies, kept - kept.mean(axis=0)])[learned]
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise OptionsError(
            f"--harmonize-keep {' '.join(options.harmonize_keep)}: cannot be told apart from the "
            f"sites ({options.harmonize}) in those who are learned from.",
            hint="Such as a site with one sex alone, a column that is the same in all of them, or "
            "two that say the same.",
        )


def write_harmonized(
    table: Path, design: Design, options: GroupOptions, path: Path
) -> dict[str, Any]:
    """Write the table of embeddings again, without the effects of sites.

    Each part of the embedding (`mean`, `cls`, each network) by itself, learned from the scans
    of training people that have it; a network that a scan lacks stays missing.

    Returns
    -------
    What the sidecar says of it.
    """
    with opened(table) as file:
        names = file.schema_arrow.names
        numbers = [name for name in names if EMBEDDING_COLUMN.fullmatch(name)]
        words = [name for name in names if name not in set(numbers)]
        n_scans = len(design.sites)
        with scratch_file(path.parent) as waiting:
            waiting.truncate(4 * n_scans * len(numbers))
            found = np.memmap(waiting, np.float32, "r+", shape=(len(numbers), n_scans))
            for part in parts_in(numbers):
                own = [at for at, name in enumerate(numbers) if name.rpartition("_")[0] == part]
                values = _numbers(file, [numbers[at] for at in own])
                found[own[0] : own[-1] + 1] = _without_sites(values, design).T
            _write_like(file, words, numbers, found, path)
    return _described(design, options)


def _without_sites(values: Array, design: Design) -> Array:
    there = np.isfinite(values).all(axis=1)
    if not there.any():
        return values
    learned = there & design.learned_from
    sites, kept = np.array(design.sites), design.kept
    apply = learn_combat(
        values[learned], [*sites[learned]], None if kept is None else kept[learned]
    )
    found = values.copy()
    found[there] = apply(values[there], [*sites[there]], None if kept is None else kept[there])
    return found


def _numbers(file: Any, columns: Sequence[str]) -> Array:
    table = file.read(columns=list(columns))
    return np.column_stack(
        [column.to_numpy().astype(np.float64) for column in table.itercolumns()]
    )


def _write_like(
    file: Any, words: Sequence[str], numbers: Sequence[str], found: Any, path: Path
) -> None:
    schema = file.schema_arrow
    options = {"use_dictionary": [*words], "write_statistics": [*words]}
    at = 0
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in range(file.num_row_groups):
            keys = file.read_row_group(group, columns=[*words])
            rows = found[:, at : at + keys.num_rows]
            at += keys.num_rows
            arrays = [keys.column(name) for name in words]
            arrays += [pa.array(np.array(row), from_pandas=True) for row in rows]
            whole = pa.Table.from_arrays(arrays, names=[*words, *numbers]).select(schema.names)
            writer.write_table(whole.cast(schema), row_group_size=ROWS_AT_ONCE)


def _described(design: Design, options: GroupOptions) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "Description": "As the table of scan embeddings, without what ComBat finds to be effects "
        "of sites: their mean and scale. The raw embeddings stand in the table beside it.",
        "Harmonization": {
            "Method": "ComBat",
            "Library": f"combatlearn {version('combatlearn')}",
            "SiteColumn": options.harmonize,
            "Sites": dict(sorted(Counter(design.sites).items())),
            "KeptColumns": list(options.harmonize_keep),
            "NumberOfPeopleLearnedFrom": design.n_people,
            "SplitSHA256": None if options.splits is None else file_sha256(options.splits),
        },
    }
