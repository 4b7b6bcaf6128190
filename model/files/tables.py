"""Tables with a header, as the group level and others write them, read by columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.errors import SemantoksError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DELIMITERS = {".tsv": "\t", ".csv": ","}
MISSING = ("n/a", "N/A", "NaN", "nan", "")


class TableError(SemantoksError):
    """A table is absent or damaged."""


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
    TableError
        The file is no such table, or two columns have one name.
    """
    # Here, for the import takes longer than most commands.
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path)
        elif path.suffix in DELIMITERS:
            table = csv.read_csv(
                path,
                # One block: a row of many features may be longer than the default block.
                read_options=csv.ReadOptions(block_size=max(path.stat().st_size, 1)),
                parse_options=csv.ParseOptions(delimiter=DELIMITERS[path.suffix]),
                convert_options=csv.ConvertOptions(
                    null_values=MISSING,
                    strings_can_be_null=True,
                    column_types=dict.fromkeys(text, pa.string()),
                ),
            )
        else:
            raise TableError(f"{path.name}: expected .tsv, .csv or .parquet, or an output folder.")
    except (OSError, pa.ArrowException) as err:
        raise TableError(f"{path}: not a readable table ({err}).") from err
    names = table.column_names
    if len(names) == 1 and path.suffix in DELIMITERS:
        raise TableError(
            f"{path.name}: found one column, {names[0]!r:.60}, where columns are expected to be "
            f"divided by {'tabs' if path.suffix == '.tsv' else 'commas'}."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{path.name}: two columns are called {', '.join(twice[:8])}.")
    return {name: table.column(name) for name in names}
