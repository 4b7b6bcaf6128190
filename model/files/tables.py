"""Tables with a header, as the group level and others write them: by columns, or as text."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, NamedTuple

from model.files.fault import FileError, reading

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DELIMITERS = {".tsv": "\t", ".csv": ","}
MISSING = ("n/a", "N/A", "NaN", "nan", "")


class TextTable(NamedTuple):
    """Cells of a table as they stand in the file."""

    header: list[str]
    rows: list[list[str]]
    """As many cells each as the header; those that a short row lacks are empty."""

    def by_name(self) -> list[dict[str, str]]:
        """Return the cells of each row by column."""
        return [dict(zip(self.header, row, strict=True)) for row in self.rows]


def read_cells(path: Path) -> TextTable:
    """Read a small table (.tsv or .csv) as text.

    Raises
    ------
    FileError
        The file is absent or no such table, or a row is longer than the header.
    """
    with reading(path, "not a readable table"), path.open(encoding="utf-8-sig", newline="") as f:
        reader = csv.reader(f, delimiter=DELIMITERS.get(path.suffix, "\t"))
        numbered = [(reader.line_num, row) for row in reader if row]
    if not numbered:
        raise FileError(path, "the table is empty")
    (_, header), *rows = numbered
    for line, row in rows:
        if len(row) > len(header):
            raise FileError(path, "has more cells than the header", place=f"line {line}")
    return TextTable(header, [row + [""] * (len(header) - len(row)) for _, row in rows])


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
        The file is no such table, or two columns have one name.
    """
    # Here, for the import takes longer than most commands.
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    with reading(path, "not a readable table", also=(pa.ArrowException,)):
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        elif path.suffix in DELIMITERS:
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
        else:
            raise FileError(path, "expected .tsv, .csv or .parquet, or an output folder")
    names = table.column_names
    if len(names) == 1 and path.suffix in DELIMITERS:
        raise FileError(
            path,
            f"found one column, {names[0]!r:.60}, where columns are expected to be "
            f"divided by {'tabs' if path.suffix == '.tsv' else 'commas'}",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FileError(path, f"two columns are called {', '.join(twice[:8])}")
    return {name: table.column(name) for name in names}
