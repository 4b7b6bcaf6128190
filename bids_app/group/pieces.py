"""Windows and tokens of a cohort in one table each, written scan by scan, and as arrays."""

from __future__ import annotations

import zipfile
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bids_app.group.table import as_kind, opened
from bids_app.outputs.group import OF_TOKEN, OF_WINDOW, status_row
from model.cohort import names
from model.files.faults import FileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bids_app.group.table import Columns
    from bids_app.outputs.group import CohortScan
    from model.cohort.outputs import EmbeddedScan
    from model.series import FloatArray

NUMBERS_AT_ONCE = 1 << 24
"""Numbers of a Parquet row group: 67 MB. A file keeps 1 kB of each column of each group in mind
until it is closed, and of thousands of columns that is soon more than their numbers."""
_NUMBERS, _ROWS = 1 << 20, 1 << 16
"""Of a table that are read at a time: of its numbers, and rows of its other columns"""
_YEAR_ONE = (1980, 1, 1, 0, 0, 0)
"""Time in a zip file, so that the same content is the same bytes"""


class Pieces(NamedTuple):
    """What one scan has of windows or tokens."""

    scan: CohortScan
    places: Mapping[str, Sequence[Any]]
    """(R,) which piece each row is, by column"""
    columns: Sequence[str]
    values: FloatArray
    """(R, C); NaN where a network is missing"""


def windows_of(scans: Iterable[tuple[CohortScan, EmbeddedScan]]) -> Iterator[Pieces]:
    """Yield the windows of each scan: (W, C), every part of the embedding."""
    for scan, own in scans:
        header, values = own.numbers(f"{names.WINDOWS}.tsv")
        given = dict(zip(header, values.T, strict=True))
        at = [i for i, name in enumerate(header) if names.EMBEDDING_COLUMN.fullmatch(name)]
        columns = [header[i] for i in at]
        if not {names.ONSET, names.DURATION, "valid_fraction"} <= given.keys():
            raise FileError(own.file(f"{names.WINDOWS}.tsv"), "lacks onset or duration")
        onsets = given[names.ONSET]
        shares = given["valid_fraction"]
        lengths = given[names.DURATION]
        # Copies: a view would hold the numbers of the whole file.
        places: list[Any] = [np.arange(len(onsets)), onsets.copy(), lengths.copy(), shares.copy()]
        numbers = values[:, at].astype(np.float32)
        yield Pieces(scan, dict(zip(OF_WINDOW, places, strict=True)), columns, numbers)


def tokens_of(scans: Iterable[tuple[CohortScan, EmbeddedScan]]) -> Iterator[Pieces]:
    """Yield the tokens of each scan: (W N K, D), window by window, network by network."""
    for scan, own in scans:
        tokens = own.tokens()
        meta = own.metadata(f"{names.TOKENS}.json", Networks=list, Windows=dict)
        n_windows, n_rows, n_patches, dim = tokens.shape
        networks, windows = meta["Networks"], meta["Windows"]
        onsets, shares = np.array(windows["Onsets"]), np.array(windows["ValidFraction"])
        if len(networks) != n_rows or {len(onsets), len(shares)} != {n_windows}:
            raise FileError(own.file(f"{names.TOKENS}.json"), "is not of its tokens")
        window, row, patch = (axis.ravel() for axis in np.indices(tokens.shape[:3]))
        of_window = (window, onsets[window], windows["Length"] * shares[window], shares[window])
        start = onsets[window] + patch * (windows["Length"] / n_patches)
        of_token = ([networks[place] for place in row], patch, start)
        places = zip((*OF_WINDOW, *OF_TOKEN), (*of_window, *of_token), strict=True)
        yield Pieces(
            scan, dict(places), names.embedding_columns(dim, ["token"]), tokens.reshape(-1, dim)
        )


def write_pieces(pieces: Iterator[Pieces], columns: Columns, path: Path) -> None:
    """Write one row per piece as Parquet: its scan's columns, which piece it is, its numbers."""
    first = next(pieces)
    keys = [*map(columns.field, columns.keys())]
    schema = pa.schema(
        [
            *keys,
            *(pa.field(name, _kind(values)) for name, values in first.places.items()),
            *(pa.field(name, pa.float32()) for name in first.columns),
        ]
    )
    words = [f.name for f in schema if f.type != pa.float32()]
    options = {"use_dictionary": words, "write_statistics": words}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in _groups(chain([first], pieces), len(first.columns)):
            table = _table(group, keys, schema)
            # As one group: cut elsewhere, it would leave a second one of a few rows.
            writer.write_table(table, row_group_size=table.num_rows)


class _Group(NamedTuple):
    """Whole scans that are written together."""

    pieces: Sequence[Pieces]
    """Of each scan; their values are places in those of the group"""
    values: FloatArray
    """(R, C), columns contiguous: Parquet takes them as they are"""


def _groups(pieces: Iterable[Pieces], n_columns: int) -> Iterator[_Group]:
    """Yield scans in groups of `NUMBERS_AT_ONCE` at most; each takes the place of the one before.

    A scan of more numbers is a group by itself.
    """
    waiting: list[Pieces] = []
    room, end = _room(NUMBERS_AT_ONCE // n_columns, n_columns), 0
    for one in pieces:
        n_rows = len(one.values)
        if waiting and end + n_rows > len(room):
            yield _Group(waiting, room[:end])
            waiting, end = [], 0
        if n_rows > len(room):
            room = _room(n_rows, n_columns)
        place = room[end : end + n_rows]
        place[:] = one.values
        # Names of thousands of columns take more than the numbers below them.
        waiting.append(one._replace(values=place, columns=()))
        end += n_rows
    yield _Group(waiting, room[:end])


def _room(n_rows: int, n_columns: int) -> FloatArray:
    return np.empty((n_rows, n_columns), np.float32, order="F")


def _kind(values: Sequence[Any]) -> pa.DataType:
    kind = np.asarray(values).dtype.kind
    return {"i": pa.int64(), "f": pa.float64()}.get(kind, pa.string())


def _table(group: _Group, keys: Sequence[pa.Field], schema: pa.Schema) -> Any:
    """Make one table of several scans: a column of each would take more than its numbers do."""
    rows = [status_row(one.scan) for one in group.pieces]
    scan_of = np.repeat(np.arange(len(rows)), [len(one.values) for one in group.pieces])
    arrays = [
        pa.array([as_kind(row.get(f.name), f.type) for row in rows], f.type).take(scan_of)
        for f in keys
    ]
    arrays += [
        pa.array(np.concatenate([one.places[name] for one in group.pieces]))
        for name in group.pieces[0].places
    ]
    arrays += [pa.array(column, from_pandas=True) for column in group.values.T]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_npz(table: Path, path: Path, *, grid: tuple[int, ...] = ()) -> None:
    """Write a table of windows or tokens as arrays, for `numpy.load`.

    Parameters
    ----------
    grid
        (N, K): the rows of a window, in this order, become axes of their own.

    Notes
    -----
    ``values`` is (W, C), or (W, N, K, D); ``columns`` names its C; every other column of the
    table is a (W,) array, text as numpy's, empty where there is nothing.
    """
    with opened(table) as file, zipfile.ZipFile(path, "w") as archive:
        every = file.schema_arrow.names
        numbers = [name for name in every if names.EMBEDDING_COLUMN.fullmatch(name)]
        step = int(np.prod(grid)) if grid else 1
        shape = (file.metadata.num_rows // step, *grid, len(numbers))
        with _entry(archive, "values") as out:
            kind = np.lib.format.dtype_to_descr(np.dtype(np.float32))
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(out, header)
            n_rows = max(1, _NUMBERS // len(numbers))
            for batch in file.iter_batches(batch_size=n_rows, columns=numbers):
                out.write(np.column_stack([_plain(column) for column in batch.columns]).tobytes())
        _save(archive, "columns", np.array(numbers))
        # A whole window's words are its first token's, but for which token it is.
        for name in every:
            if name not in numbers and not (grid and name in OF_TOKEN):
                _save(archive, name, _every(file, name, step))
        if grid:
            networks = file.read_row_group(0, columns=["network"]).column(0)
            _save(archive, "networks", _words(networks.slice(0, step))[:: grid[1]])


def _entry(archive: zipfile.ZipFile, name: str) -> Any:
    return archive.open(zipfile.ZipInfo(f"{name}.npy", _YEAR_ONE), "w", force_zip64=True)


def _save(archive: zipfile.ZipFile, name: str, values: Any) -> None:
    with _entry(archive, name) as out:
        np.lib.format.write_array(out, values, allow_pickle=False)


def _every(file: Any, name: str, step: int) -> Any:
    """Return every `step`-th value of a column; no more of it is ever held."""
    found, n_seen = [], 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=[name]):
        places = pa.array(range(-n_seen % step, len(batch), step), pa.int64())
        found.append(batch.column(0).take(places))
        n_seen += len(batch)
    column = pa.chunked_array(found)
    return _words(column) if pa.types.is_string(column.type) else _plain(column)


def _plain(column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.to_numpy(zero_copy_only=False)


def _words(column: Any) -> Any:
    return np.array(["" if word is None else word for word in column.to_pylist()], dtype=np.str_)


def grid_of(table: Path) -> tuple[int, int]:
    """Return (N, K): networks and patches of each window in a table of tokens."""
    with opened(table) as file:
        first = file.iter_batches(batch_size=1 << 14, columns=["window", "network", "patch"])
        rows = next(first)
        n_patches = int(np.max(_plain(rows.column(2)))) + 1
        n_networks = len(set(rows.column(1).to_pylist()))
    return n_networks, n_patches
