"""Tables of others, as text or as columns: the one reader of each."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, deque
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


def _numbered_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that hold something, each with the number of the line on which it begins.

    Raises
    ------
    FileError
        A quotation mark is not closed: the rows after it would become one cell.
    """
    reader = csv.reader(lines, delimiter=DELIMITERS.get(path.suffix, "\t"), strict=True)
    begins = 1
    try:
        for row in reader:
            if row:
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as err:
        if not any(words in str(err) for words in _OPEN_QUOTE):
            raise
        raise FileError(
            path,
            "the quotation mark before a cell is not closed after it",
            place=f"line {begins}",
            hint='Close or remove it; one that belongs to the text is doubled: "say ""no""".',
        ) from err


def read_cells(path: Path, *, held: bytes | None = None) -> TextTable:
    """Read a small table (.tsv or .csv) as text.

    Parameters
    ----------
    held
        What the file holds, of a caller who has read it already.

    Raises
    ------
    FileError
        The file is absent, too wide or no such table, a row is longer than the header, or a
        quotation mark is not closed.
    """
    failure = "not a readable table"
    if held is None:
        held = read_bytes(path, most=LARGEST_TABLE, failure=failure)
    text = decoded(path, held, failure=failure)
    refuse_wide(path, held, DELIMITERS.get(path.suffix, "\t"))
    with faults_of(path, failure):
        numbered = [*_numbered_rows(path, io.StringIO(text, newline=""))]
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
        The file is no such table, a quotation mark is not closed, or two columns have one name.
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

    with path.open("rb") as file:
        refuse_wide(path, file.readline(LARGEST_TABLE), DELIMITERS[path.suffix])
    table = arrow_csv.read_csv(
        path,
        # One block: a row of many features may be longer than the default block.
        read_options=arrow_csv.ReadOptions(block_size=max(path.stat().st_size, 1)),
        parse_options=arrow_csv.ParseOptions(delimiter=DELIMITERS[path.suffix]),
        convert_options=arrow_csv.ConvertOptions(
            null_values=MISSING,
            strings_can_be_null=True,
            column_types=dict.fromkeys(text, pa.string()),
        ),
    )
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    if any(
        compute.any(compute.match_substring_regex(column, r"[\r\n]")).as_py() for column in texts
    ):
        # Arrow ends an open quotation mark with the file; a cell of several lines is as rare.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            deque(_numbered_rows(path, lines), maxlen=0)
    columns = [
        compute.replace_substring_regex(column, MARKED, r"\1")
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)
