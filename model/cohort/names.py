"""Names and columns of the app's outputs that are read back: defined here, written by them.

`bids_app.outputs` writes by these and holds all other names; docs/outputs.md is the contract.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from model.partition.groups import NAME, is_short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

STATUS = "status.json"
"""Ending of the file that says how a scan ended; an ending stands after the scan's name and _."""
STATUSES = f"sub-*/**/*_{STATUS}"
"""Where the statuses lie below an output folder."""

# Tables and arrays of a scan by the ending of their names, without .tsv, .npy, .npz or .json.
DENOISED = "desc-denoised_timeseries"
MODEL = "desc-model_timeseries"
COVERAGE = "coverage"
OUTLIERS = "outliers"
PICTURES = "desc-pictures_quality"
SCAN = "desc-scan_embedding"
WINDOWS = "desc-windows_embedding"
TOKENS = "desc-tokens_embedding"
MATRIX = "relmat"
"""Of connectivity, which the group level writes beside a scan's files; ``stat-X_`` stands first"""
SERIES = {"denoised": DENOISED, "model": MODEL}
"""Series of a scan by what was done to it."""

GROUP_SCANS = "group_desc-scan_embedding"
"""Name of the table of all embedded scans, without .parquet, .tsv or .json."""

GROUP_STATUS = "group_status"
"""Name of the table of all scans, whatever their status, without suffix."""
EXCLUDED = "ExcludedScans"
"""Key of its sidecar: why the user left scans out of the tables, by their names"""

HARMONIZED = "desc-harmonized_embedding"
"""Table of a cohort, after the effect of sites was taken out"""
GROUP_BLOCKS = "group_desc-blocks_embedding"
"""Name of the table of all task blocks, without .tsv or .json."""
GROUP_ONLY, GROUP_BLOCKS_ONLY = "group_desc-only", "group_desc-blocksonly"
"""How the names of tables of scans and of blocks from one network alone begin."""

# Columns.
DROPPED, INTERPOLATED = "dropped", "interpolated"
"""Of `OUTLIERS`: 1 where a frame was left out, or replaced from its neighbours."""
ONSET, DURATION = "onset", "duration"
"""Of `WINDOWS`, in seconds."""
SUBJECT, SESSION = "participant_id", "session_id"
_COLUMN = {"sub": SUBJECT, "ses": SESSION, "task": "task_id", "run": "run_id"}
"""Column by entity; the others keep their entity's name."""
IDENTIFIERS = tuple(
    _COLUMN.get(entity, entity)
    for entity in (
        "sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "space", "res",
        "echo", "part", "den",
    )
)  # fmt: skip
"""Columns that say which scan a row is of, in their order; labels, not numbers."""
WHOLE = ("mean", "cls")
"""Parts of every embedding."""
EMBEDDING_COLUMN = re.compile(rf"({NAME})_\d{{3,}}")
"""Of an embedding table; the first group is the part."""


def parts_of(rows: Iterable[str], *, n_short: int = 0) -> tuple[str, ...]:
    """Return the parts of an embedding in the order of its columns: mean, CLS, then each row.

    And the short form, if any, in ``n_short`` pieces as long as a token.

    Examples
    --------
    >>> parts_of(["Vis"], n_short=2)
    ('mean', 'cls', 'Vis', 'short1', 'short2')
    """
    short = ("short",) if n_short == 1 else (f"short{i + 1}" for i in range(n_short))
    return (*WHOLE, *rows, *short)


def embedding_columns(dim: int, parts: Iterable[str]) -> list[str]:
    """Name the columns of an embedding table, part by part."""
    return [f"{part}_{i:03d}" for part in parts for i in range(dim)]


def expanded(readout: Iterable[str], parts: Sequence[str]) -> list[str]:
    """Return the parts of a readout; where it says ``networks``, those of ``parts`` that are rows.

    Likewise the pieces of the short form.

    Examples
    --------
    >>> expanded(["cls", "networks"], ["mean", "cls", "Vis", "Brain1"])
    ['cls', 'Vis', 'Brain1']
    """
    short = [part for part in parts if is_short(part)]
    several = {"networks": rows_in(parts), "short": short or ["short"]}
    return [name for part in readout for name in several.get(part, [part])]


def rows_in(parts: Iterable[str]) -> list[str]:
    """Return those of the parts that are rows of the grid."""
    return [part for part in parts if part not in WHOLE and not is_short(part)]


def parts_in(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the parts that a table's embedding columns are of, in their order."""
    found = (EMBEDDING_COLUMN.fullmatch(column) for column in columns)
    return tuple(dict.fromkeys(match[1] for match in found if match))


def identifiers(entities: Mapping[str, str]) -> dict[str, str]:
    """Return the identifying columns of a scan from its entities.

    Examples
    --------
    >>> identifiers({"sub": "01", "task": "rest", "desc": "preproc"})
    {'participant_id': 'sub-01', 'task_id': 'rest'}
    """
    return {
        _COLUMN.get(key, key): f"{key}-{value}" if key in ("sub", "ses") else value
        for key, value in entities.items()
        if key != "desc"  # the same for every scan: preproc
    }


def folder_of(entities: Mapping[str, str]) -> str:
    """Say where the files of a scan lie below an output folder.

    Examples
    --------
    >>> folder_of({"sub": "01", "ses": "a", "task": "rest"})
    'sub-01/ses-a/func'
    """
    levels = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    return "/".join([*levels, "func"])


def scan_name(columns: Mapping[str, str | None]) -> str:
    """Name a scan by its identifying columns, as its files are.

    Examples
    --------
    >>> scan_name({"participant_id": "sub-01", "task_id": "rest"})
    'sub-01_task-rest'
    """
    entity = {column: key for key, column in _COLUMN.items()}
    return "_".join(
        value if column in (SUBJECT, SESSION) else f"{entity.get(column, column)}-{value}"
        for column, value in columns.items()
        if column in IDENTIFIERS and value is not None
    )


def beside(path: Path, ending: str, other: str) -> Path:
    """Return the file of the same scan with another ending, both with their suffixes."""
    return path.with_name(path.name.removesuffix(ending) + other)
