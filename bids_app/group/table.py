"""The tables of a cohort, written scan by scan: memory does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bids_app.errors import InputError
from bids_app.files import DIGITS, write_rows_of
from bids_app.outputs.group import CONFIGURATION, FIRST, status_row
from model.cohort.names import PARTS, SCAN, STATUS, beside, embedding_columns
from model.files.read import FileError, faults_as, read_json, reading
from model.files.write import write_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bids_app.outputs.group import CohortScan
    from model.series import FloatArray

ROWS_AT_ONCE = 4096
"""Rows of a Parquet row group: 46 MB at 2,816 columns."""


@dataclass(kw_only=True)
class Columns:
    """Names and kinds of the columns that scans have: identifiers and quality numbers."""

    kinds: dict[str, set[type]] = field(default_factory=dict)
    of_embedded: set[str] = field(default_factory=set)

    def note(self, scan: CohortScan) -> None:
        """Take in the columns of one scan."""
        row = status_row(scan.record)
        for name, value in row.items():
            self.kinds.setdefault(name, set())
            if value is not None:
                self.kinds[name].add(type(value))
        if scan.embedded:
            self.of_embedded |= row.keys()

    def names(self) -> list[str]:
        """Return all columns, the identifying ones first."""
        first = [name for name in FIRST if name in self.kinds]
        return first + [name for name in self.kinds if name not in first]

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


def write_status_table(scans: Iterable[CohortScan], columns: Columns, path: Path) -> None:
    """Write one row per scan of any status, tab-separated."""
    names = columns.names()
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = (status_row(scan.record) for scan in scans)
        cells = ([row.get(name) for name in names] for row in rows)
        write_rows(file, chain([names], cells), digits=DIGITS)


def write_embedding_table(
    rows: Iterator[tuple[CohortScan, FloatArray]], columns: Columns, path: Path
) -> None:
    """Write one row per embedded scan as Parquet: identifiers, quality numbers, embedding (C,)."""
    first = next(rows)
    parts = embedding_columns(first[1].size // len(PARTS))
    schema = pa.schema(
        [
            *map(columns.field, columns.keys()),
            pa.field(CONFIGURATION, pa.string()),
            *(pa.field(name, pa.float32()) for name in parts),
        ]
    )
    words = [f.name for f in schema if f.type != pa.float32()]
    values = np.empty((ROWS_AT_ONCE, len(parts)), dtype=np.float32, order="F")
    rows = chain([first], rows)
    # Of numbers that never repeat and are never searched, dictionaries and ranges only cost.
    options = {"use_dictionary": words, "write_statistics": words}
    with pq.ParquetWriter(path, schema, **options) as writer:
        while group := list(islice(rows, ROWS_AT_ONCE)):
            for place, (_, row) in enumerate(group):
                values[place] = row
            writer.write_table(_row_group([e for e, _ in group], values[: len(group)], schema))


def _row_group(scans: list[CohortScan], values: FloatArray, schema: pa.Schema) -> pa.Table:
    n_keys = len(schema) - values.shape[1]
    records = [status_row(e.record) | {CONFIGURATION: e.record.configuration} for e in scans]
    arrays = [
        pa.array([_as_kind(record.get(key.name), key.type) for record in records], key.type)
        for key in list(schema)[:n_keys]
    ]
    arrays += [pa.array(column, from_pandas=True) for column in values.T]
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_kind(value: Any, kind: pa.DataType) -> Any:
    return str(value) if value is not None and pa.types.is_string(kind) else value


def _opened(table: Path) -> Any:
    """Open a table to read it piece by piece; not, as is the default, row groups in advance."""
    return pq.ParquetFile(table, pre_buffer=False)


def write_tsv(table: Path, path: Path) -> None:
    """Write a Parquet table as tab-separated text."""
    with _opened(table) as file, path.open("w", encoding="utf-8", newline="") as out:
        write_rows(out, [file.schema_arrow.names])
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE // 4):
            write_rows_of(batch.to_pandas(), out)


def embedding_path(status: Path) -> Path:
    """Name the scan embedding that a status file of an embedded scan promises."""
    return beside(status, STATUS, f"{SCAN}.tsv")


def damaged_embedding() -> AbstractContextManager[None]:
    """Say that a scan's embedding cannot be used, and what to do."""
    return faults_as(
        InputError,
        what="the embedding of this scan is damaged",
        hint="Delete it and run the participant level again; it redoes only this scan.",
    )


def read_scan_embedding(status: Path, *, size: int) -> FloatArray:
    """Read the one row (C,) of a scan's scan embedding, and check that it is whole.

    Parameters
    ----------
    size
        Columns that the other scans have; 0: this is the first.

    Raises
    ------
    InputError
        Table or sidecar is damaged.
    """
    path = embedding_path(status)
    with damaged_embedding():
        meta = read_json(path.with_suffix(".json"), needs={"EmbeddingDimension": int})
        dim = meta["EmbeddingDimension"]
        expected = size or dim * len(PARTS)
        with reading(path):
            header, row, *rest = path.read_bytes().split(b"\n")
            values = np.array(row.replace(b"n/a", b"nan").split(b"\t")).astype(np.float32)
        if header != _header(dim) or rest != [b""] or values.size != expected:
            found = f"found {len(rest)} of {values.size}"
            raise FileError(path, f"expected 1 row of {expected} columns, {found}")
    return values


@cache
def _header(dim: int) -> bytes:
    return "\t".join(embedding_columns(dim)).encode()
