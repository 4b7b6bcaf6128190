"""The tables of a cohort, written run by run: memory does not grow with their number."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bids_app.files import FLOAT_FORMAT
from bids_app.group.index import damaged_embedding, embedding_path
from bids_app.outputs.embedding import PARTS, embedding_columns
from model.cohort.outputs import ID_COLUMNS
from model.files.fault import FileError, reading
from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bids_app.group.index import Entry
    from model.series import FloatArray

ROWS_AT_ONCE = 4096
"""Rows of a Parquet row group: 46 MB at 2,816 columns."""
INDEX_KEY = b"semantoks_index_sha256"
"""Metadata of the Parquet file: the index that says where its rows come from"""
_MISSING = "n/a"
_FIRST = (
    "participant_id", "session_id", "task_id", "acq", "ce", "rec", "dir", "run_id",
    "space", "res", "status", "reason",
)  # fmt: skip
"""Identifying columns come first, whatever the first scan happened to have."""


@dataclass(kw_only=True)
class Columns:
    """Names and kinds of the columns that runs have: identifiers and quality numbers."""

    kinds: dict[str, set[type]] = field(default_factory=dict)
    of_embedded: set[str] = field(default_factory=set)

    def note(self, entry: Entry) -> None:
        """Take in the columns of one run."""
        row = status_row(entry.record)
        for name, value in row.items():
            self.kinds.setdefault(name, set())
            if value is not None:
                self.kinds[name].add(type(value))
        if entry.embedded:
            self.of_embedded |= row.keys()

    def names(self) -> list[str]:
        """Return all columns, the identifying ones first."""
        first = [name for name in _FIRST if name in self.kinds]
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


def status_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a status to one row; None where there is nothing to say."""
    row: dict[str, Any] = {}
    for key, value in record["Entities"].items():
        if key != "desc":  # the same for every run: preproc
            row[ID_COLUMNS.get(key, key)] = f"{key}-{value}" if key in ("sub", "ses") else value
    row |= {"status": record["Status"], "reason": record["Reason"] or None}
    for key, value in record["QC"].items():
        text = ",".join(value) if isinstance(value, list | dict) else value
        row[key] = None if text == "" else text
    return row | {"source": record["Source"]}


def write_status_table(entries: Iterable[Entry], columns: Columns, path: Path) -> None:
    """Write one row per run of any status, tab-separated."""
    names = columns.names()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(names)
        for entry in entries:
            row = status_row(entry.record)
            writer.writerow([_text(row.get(name)) for name in names])


def write_embedding_table(
    rows: Iterator[tuple[Entry, FloatArray]], columns: Columns, path: Path, *, index_sha256: str
) -> None:
    """Write one row per embedded run as Parquet: identifiers, quality numbers, embedding (C,)."""
    first = next(rows)
    parts = embedding_columns(first[1].size // len(PARTS))
    schema = pa.schema(
        [
            *map(columns.field, columns.keys()),
            pa.field("configuration_hash", pa.string()),
            *(pa.field(name, pa.float32()) for name in parts),
        ],
        metadata={INDEX_KEY: index_sha256.encode()},
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


def _row_group(entries: list[Entry], values: FloatArray, schema: pa.Schema) -> pa.Table:
    n_keys = len(schema) - values.shape[1]
    records = [
        status_row(e.record) | {"configuration_hash": e.record["ConfigurationHash"]}
        for e in entries
    ]
    arrays = [
        pa.array([_as_kind(record.get(key.name), key.type) for record in records], key.type)
        for key in list(schema)[:n_keys]
    ]
    arrays += [pa.array(column, from_pandas=True) for column in values.T]
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_kind(value: Any, kind: pa.DataType) -> Any:
    return str(value) if value is not None and pa.types.is_string(kind) else value


def index_of(table: Path) -> str | None:
    """Return the hash of the index that a table was made from; None where there is none."""
    try:
        metadata = pq.read_schema(table).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    found = metadata.get(INDEX_KEY)
    return None if found is None else found.decode()


def rows_of(table: Path) -> Iterator[FloatArray]:
    """Yield the embedding (C,) of every row of a table, NaN where there is no signal."""
    with _opened(table) as file:
        names = [f.name for f in file.schema_arrow if f.type == pa.float32()]
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE // 4, columns=names):
            yield from np.stack([c.to_numpy(zero_copy_only=False) for c in batch.columns], axis=1)


def _opened(table: Path) -> Any:
    """Open a table to read it piece by piece; not, as is the default, row groups in advance."""
    return pq.ParquetFile(table, pre_buffer=False)


def write_tsv(table: Path, path: Path) -> None:
    """Write a Parquet table as tab-separated text."""
    with _opened(table) as file, path.open("w", encoding="utf-8", newline="") as out:
        out.write("\t".join(file.schema_arrow.names) + "\n")
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE // 4):
            batch.to_pandas().to_csv(
                out,
                sep="\t",
                index=False,
                header=False,
                na_rep=_MISSING,
                float_format=FLOAT_FORMAT,
                lineterminator="\n",
            )


def read_scan_embedding(status: Path, *, size: int) -> FloatArray:
    """Read the one row (C,) of a run's scan embedding, and check that it is whole.

    Parameters
    ----------
    size
        Columns that the other runs have; 0: this is the first.

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


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _MISSING
    return FLOAT_FORMAT % value if isinstance(value, float) else str(value)
