"""Tables of others, as text or as columns: the one reader of each."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from model.files.cells import MARKED, cell_text
from model.files.faults import FileError, check_claim, faults_of, reading
from model.files.read import decoded, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DELIMITERS = {".tsv": "\t", ".csv": ","}
LARGEST_TABLE = 1 << 28
"""Bytes of a table that is read whole"""
MOST_COLUMNS = 1 << 16
"""Of a table: an embedding of 1,024 channels has 11,264"""
_MARK = b'"'
_OPEN_QUOTE = ("unexpected end of data", "expected after")
"""What `csv` says of a quotation mark that is not closed, or closed before the end of its cell"""
MISSING = ("n/a", "N/A", "NaN", "nan", "")


class TextTable(NamedTuple):
    """Cells of a table as they stand in the file."""

    header: list[str]
    rows: list[list[str]]
    """As many cells each as the header; those that a short row lacks are empty."""

    def by_name(self) -> list[dict[str, str]]:
        """Return the cells of each row by column."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


def refuse_wide(path: Path, content: bytes, separator: str) -> None:
    """Refuse a table with more columns than any has that is meant.

    Raises
    ------
    FileError
        There are more than `MOST_COLUMNS`.
    """
    end = re.search(rb"[\r\n]", content)
    n_columns = content.count(separator.encode(), 0, end.start() if end else len(content)) + 1
    if n_columns > MOST_COLUMNS:
        raise FileError(path, f"found {n_columns} columns, expected {MOST_COLUMNS} at most")


def refuse_joined(path: Path, lines: Iterable[str], separator: str) -> None:
    """Refuse a table in which quotation marks join rows, or cells that the row then lacks.

    Marks around a cell are no part of it, as in every program that writes tables. A cell that
    needs them to hold a separator is read; one that goes on in the next line is not, for nothing
    tells it from two marks that stand there by mistake, and the rows between them would be gone.

    Raises
    ------
    FileError
        A mark is not closed, a cell goes on in the next line, or a row lacks the cells that are
        joined.
    """
    deque(_numbered_rows(path, lines, separator), maxlen=0)


def _numbered_rows(
    path: Path, lines: Iterable[str], separator: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that hold something, each with its line; `refuse_joined` says which."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = n_columns = 0
    try:
        for row in reader:
            line, before = reader.line_num, line
            if line > before + 1:
                raise _joined(path, before + 1, f"lines {before + 1} to {line} to one row")
            n_columns = n_columns or len(row)
            if len(row) < n_columns and any(separator in cell for cell in row):
                raise _joined(path, line, "cells: the row is shorter than the first")
            if row:
                yield line, row
    except csv.Error as err:
        if not any(words in str(err) for words in _OPEN_QUOTE):
            raise
        raise FileError(
            path,
            "the quotation mark before a cell is not closed after it",
            place=f"line {line + 1}",
            hint='Close or remove it; one that belongs to the text is doubled: "say ""no""".',
        ) from err


def _joined(path: Path, line: int, what: str) -> FileError:
    return FileError(
        path,
        f"quotation marks join {what}",
        place=f"line {line}",
        hint="Remove the marks, or what they join: a row is one line.",
    )


def _holds_marks(path: Path) -> bool:
    """Tell whether there is a quotation mark in a file, which most tables are without."""
    with path.open("rb") as file:
        return any(_MARK in block for block in iter(partial(file.read, 1 << 20), b""))


def read_cells(path: Path, *, held: bytes | None = None) -> TextTable:
    """Read a small table (.tsv or .csv) as text.

    Parameters
    ----------
    held
        What the file holds, of a caller who has read it already.

    Raises
    ------
    FileError
        The file is absent, too wide or no such table, a row is longer than the header, or
        quotation marks join what stands apart (`refuse_joined`).
    """
    failure = "not a readable table"
    if held is None:
        held = read_bytes(path, most=LARGEST_TABLE, failure=failure)
    text = decoded(path, held, failure=failure)
    separator = DELIMITERS.get(path.suffix, "\t")
    refuse_wide(path, held, separator)
    with faults_of(path, failure):
        numbered = [*_numbered_rows(path, io.StringIO(text, newline=""), separator)]
    if not numbered:
        raise FileError(path, "the table is empty")
    (_, header), *rows = numbered
    for line, row in rows:
        if len(row) > len(header):
            raise FileError(path, "has more cells than the header", place=f"line {line}")
    texts = [[*map(cell_text, row)] + [""] * (len(header) - len(row)) for _, row in rows]
    return TextTable([*map(cell_text, header)], texts)


def read_columns(path: Path, *, text: Iterable[str]) -> dict[str, Any]:
    """Read a table (.tsv, .csv, .parquet).

    Parameters
    ----------
    text
        Columns that are labels even if they look like numbers: ``01`` stays.

    Returns
    -------
    pyarrow's columns by name; null for a missing value.

    Raises
    ------
    FileError
        The file is no such table, quotation marks join what stands apart (`refuse_joined`), or
        two columns have one name.
    """
    readers = {".parquet": _read_parquet} | dict.fromkeys(DELIMITERS, _read_delimited)
    if path.suffix not in readers:
        raise FileError(path, "expected .tsv, .csv or .parquet, or an output folder")
    with reading(path, "not a readable table"):
        table = readers[path.suffix](path, text)
        names = [str(name) for name in table.column_names]
        kinds = [str(kind) for kind in table.schema.types]
    if len(names) == 1 and path.suffix in DELIMITERS:
        raise FileError(
            path,
            "found one column, where columns are expected to be "
            f"divided by {'tabs' if path.suffix == '.tsv' else 'commas'}",
        )
    twice = sorted(name for name, n in Counter(names).items() if n > 1)
    if twice:
        raise FileError(path, f"two columns are called {', '.join(twice[:8])}")
    for name, kind in zip(names, kinds, strict=True):
        if re.search("binary|list|struct|map|union", kind):
            cause = f"expected numbers or text, found {kind:.60}"
            raise FileError(path, cause, place=f"column {name:.60}")
    return {name: table.column(name) for name in names}


def _read_parquet(path: Path, _text: Iterable[str]) -> Any:
    # Here, for the import takes longer than most commands.
    from pyarrow import parquet

    told = parquet.read_metadata(path)
    check_claim(path, 4 * told.num_rows * told.num_columns, f"a table of {told.num_rows} rows")
    table = parquet.read_table(path)
    table.validate(full=True)  # text that is no UTF-8 would fail far from here
    return table


def _read_delimited(path: Path, text: Iterable[str]) -> Any:
    import pyarrow as pa
    from pyarrow import compute
    from pyarrow import csv as arrow_csv

    separator = DELIMITERS[path.suffix]
    with path.open("rb") as file:
        refuse_wide(path, file.readline(LARGEST_TABLE), separator)
    if _holds_marks(path):
        with path.open(encoding="utf-8-sig", newline="") as lines:
            refuse_joined(path, lines, separator)
    table = arrow_csv.read_csv(
        path,
        # One block: a row of many features may be longer than the default block.
        read_options=arrow_csv.ReadOptions(block_size=max(path.stat().st_size, 1)),
        parse_options=arrow_csv.ParseOptions(delimiter=separator),
        convert_options=arrow_csv.ConvertOptions(
            null_values=MISSING,
            strings_can_be_null=True,
            column_types=dict.fromkeys(text, pa.string()),
        ),
    )
    columns = [
        compute.replace_substring_regex(column, MARKED, r"\1")
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)
