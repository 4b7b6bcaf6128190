"""The tables of a cohort, written scan by scan: memory does not grow with their number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bids_app.files import DIGITS, write_rows_of
from bids_app.outputs.group import ALWAYS, CONFIGURATION, FIRST, status_row
from model.cohort.names import EMBEDDING_COLUMN, embedding_columns, parts_in
from model.files.write import write_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bids_app.outputs.group import CohortScan
    from model.series import FloatArray

ROWS_AT_ONCE = 4096
"""Rows of a Parquet row group: 46 MB at 2,816 columns."""
CONSTANT = 1e-4
"""Share of the widest range of a part's columns up to which a column is constant. Rounding of
float32 is 2e-7 of it at most; the least of columns that vary is 2e-3 of it within a cohort, and
2e-4 in a table of the two cohorts that the weights were fitted to
(`benchmarks/bundled_columns.py`)."""
_WIDEST = 2**53
"""Beyond it a whole number is kept as one with digits after the point."""


@dataclass(kw_only=True)
class Columns:
    """Names and kinds of the columns that scans have: identifiers and quality numbers."""

    last: tuple[str, ...] = (CONFIGURATION,)
    """Those that stand last, whatever a later scan brings"""
    kinds: dict[str, set[type]] = field(default_factory=dict)
    of_embedded: set[str] = field(default_factory=set)

    def note(self, row: Mapping[str, Any], *, embedded: bool) -> None:
        """Take in the columns of the row of one scan."""
        for name, value in row.items():
            self.kinds.setdefault(name, set())
            if value is not None:
                is_wide = isinstance(value, int) and abs(value) > _WIDEST
                self.kinds[name].add(float if is_wide else type(value))
        if embedded:
            self.of_embedded |= row.keys()

    def complete(self) -> None:
        """Add the columns that every table has, n/a where nothing is known: they are relied on."""
        for name, kind in ALWAYS.items():
            self.kinds.setdefault(name, {kind})
            self.of_embedded.add(name)

    def names(self) -> list[str]:
        """Return all columns, the identifying ones first."""
        first = [name for name in FIRST if name in self.kinds]
        last = [name for name in self.last if name in self.kinds]
        return first + [n for n in self.kinds if n not in first and n not in last] + last

    def keys(self) -> list[str]:
        """Return those that stand before an embedding."""
        return [
            name
            for name in self.names()
            if name in self.of_embedded and name not in ("status", "reason")
        ]

    def field(self, name: str) -> pa.Field:
        """Return the Parquet type of a column."""
        kinds = self.kinds[name]
        if kinds and kinds <= {int}:
            return pa.field(name, pa.int64())
        if kinds and kinds <= {int, float}:
            return pa.field(name, pa.float64())
        return pa.field(name, pa.string())


def in_full(value: Any) -> Any:
    """Return a number of a joined column so that no writer of tables rounds it: it is not ours.

    Examples
    --------
    >>> str(in_full(123456789.0)), str(in_full(1.5)), in_full("01"), in_full(float("nan"))
    ('123456789', '1.5', '01', None)
    """
    if not isinstance(value, float):
        return value
    return Decimal(f"{value:.15g}") if math.isfinite(value) else None


def write_status_table(scans: Iterable[CohortScan], columns: Columns, path: Path) -> None:
    """Write one row per scan of any status, tab-separated."""
    names = columns.names()
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = (
            status_row(scan._replace(known={k: in_full(v) for k, v in scan.known.items()}))
            for scan in scans
        )
        cells = ([row.get(name) for name in names] for row in rows)
        write_rows(file, chain([names], cells), digits=DIGITS)


def write_embedding_table(
    rows: Iterator[tuple[CohortScan, FloatArray]],
    columns: Columns,
    parts: Sequence[str],
    path: Path,
) -> None:
    """Write one row per embedded scan as Parquet: identifiers, quality numbers, embedding (C,)."""
    first = next(rows)
    numbers = embedding_columns(first[1].size // len(parts), parts)
    schema = pa.schema(
        [
            *map(columns.field, columns.keys()),
            *(pa.field(name, pa.float32()) for name in numbers),
        ]
    )
    words = [f.name for f in schema if f.type != pa.float32()]
    values = np.empty((ROWS_AT_ONCE, len(numbers)), dtype=np.float32, order="F")
    # Of numbers that never repeat and are never searched, dictionaries and ranges only cost.
    options = {"use_dictionary": words, "write_statistics": words}
    with pq.ParquetWriter(path, schema, **options) as writer:
        scans: list[CohortScan] = []
        for scan, row in chain([first], rows):
            values[len(scans)] = row
            scans.append(scan)
            if len(scans) == ROWS_AT_ONCE:
                writer.write_table(_row_group(scans, values, schema))
                scans.clear()
        if scans:
            writer.write_table(_row_group(scans, values[: len(scans)], schema))


def _row_group(scans: list[CohortScan], values: FloatArray, schema: pa.Schema) -> pa.Table:
    n_keys = len(schema) - values.shape[1]
    records = [*map(status_row, scans)]
    arrays = [
        pa.array([as_kind(record.get(key.name), key.type) for record in records], key.type)
        for key in list(schema)[:n_keys]
    ]
    arrays += [pa.array(column, from_pandas=True) for column in values.T]
    return pa.Table.from_arrays(arrays, schema=schema)


def as_kind(value: Any, kind: pa.DataType) -> Any:
    """Return a value as a column of a kind holds it."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        return str(value)
    return float(value) if pa.types.is_floating(kind) else value


def opened(table: Path) -> Any:
    """Open a table to read it piece by piece; not, as is the default, row groups in advance."""
    return pq.ParquetFile(table, pre_buffer=False)


def constant_columns(table: Path) -> list[str]:
    """Name the numbers of the embedding that no two scans differ in, but by rounding.

    Compared with the widest column of the same part. Of one scan, or where a part is missing in
    all, there is nothing to tell: none are named.
    """
    with opened(table) as file:
        columns = [name for name in file.schema_arrow.names if EMBEDDING_COLUMN.fullmatch(name)]
        if file.metadata.num_rows < 2:
            return []
        parts = [
            [name for name in columns if name.rpartition("_")[0] == part]
            for part in parts_in(columns)
        ]
        return [name for its in parts for name in _constant_of_part(file, its)]


def _constant_of_part(file: Any, columns: list[str]) -> list[str]:
    """Name those of a part: read part by part, as all columns at once take four row groups."""
    low, high = np.full((2, len(columns)), np.nan)
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE // 4, columns=columns):
        for place, column in enumerate(batch.columns):
            values = column.to_numpy(zero_copy_only=False)
            low[place] = np.fmin(low[place], np.fmin.reduce(values))
            high[place] = np.fmax(high[place], np.fmax.reduce(values))
    reach = high - low
    widest = np.fmax.reduce(reach)
    is_constant = (reach <= CONSTANT * widest) & (widest > 0)
    return [name for name, is_one in zip(columns, is_constant, strict=True) if is_one]


def write_tsv(table: Path, path: Path, *, joined: Collection[str]) -> None:
    """Write a Parquet table as tab-separated text; numbers of joined columns in full."""
    with opened(table) as file, path.open("w", encoding="utf-8", newline="") as out:
        write_rows(out, [file.schema_arrow.names])
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE // 4):
            rows = batch.to_pandas()
            whole = {name: rows[name].astype(object).map(in_full) for name in joined}
            write_rows_of(rows.assign(**whole), out)
