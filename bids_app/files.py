"""The app's files: foreign tables in, ours out whole or not at all."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import IO, TYPE_CHECKING, Any

from bids_app.errors import OutputError
from model.files import write as files
from model.files.cells import text_cell
from model.files.faults import faults_as, faults_of
from model.files.read import read_bytes, refuse_binary
from model.files.tables import LARGEST_TABLE, refuse_joined, refuse_wide
from model.files.write import clear_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd

__all__ = (
    "DIGITS", "clear_leftovers", "json_bytes", "read_table", "replacing", "table_bytes",
    "withdraw", "write_all", "write_bytes", "write_rows_of",
)  # fmt: skip

DIGITS = 8
"""Digits in tables: a relative rounding of 5e-9, below the float32 the numbers come in."""
_FLOAT = f"%.{DIGITS}g"


def read_table(path: Path, *, separator: str = "\t", **options: Any) -> pd.DataFrame:
    """Read a table of others, also a compressed one: the one place that calls `read_csv`.

    Parameters
    ----------
    **options
        Of `pandas.read_csv`, such as ``na_values``.

    Raises
    ------
    FileError
        The file is absent or too large, no such table, or quotation marks join what stands apart
        (`model.files.tables.refuse_joined`).
    """
    import pandas as pd

    failure = "not readable as a table"
    content = read_bytes(path, most=LARGEST_TABLE, failure=failure)
    refuse_binary(path, content)
    refuse_wide(path, content, separator)
    with faults_of(path, failure), warnings.catch_warnings():
        if b'"' in content:
            text = content.decode("utf-8-sig")
            refuse_joined(path, io.StringIO(text, newline=""), separator)
        # Rows that are longer than the header would be cut with no more than a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table: pd.DataFrame = pd.read_csv(
            io.BytesIO(content), sep=separator, index_col=False, **options
        )
    return table


def json_bytes(content: dict[str, Any]) -> bytes:
    """Encode JSON without null values: BIDS validators reject them."""
    return files.json_bytes(_without_null(content))


def table_bytes(table: pd.DataFrame) -> bytes:
    """Encode a BIDS TSV: tab-separated, ``n/a`` for missing values, text as `text_cell`, no index.

    Notes
    -----
    Tables of nothing but numbers, which are the large ones, take a path of their own: the same
    bytes in a fifth of the time.
    """
    text = io.StringIO()
    files.write_rows(text, [table.columns])
    if all(dtype.kind == "f" for dtype in table.dtypes):
        text.write(_number_rows(table))
    else:
        write_rows_of(table, text)
    return text.getvalue().encode()


def write_rows_of(table: pd.DataFrame, file: IO[str]) -> None:
    """Write the rows of a table into an open file, as `table_bytes` does."""
    words = {str(c): table[c].map(_as_cell) for c in table.columns if table[c].dtype.kind == "O"}
    table.assign(**words).to_csv(
        file,
        sep="\t",
        index=False,
        header=False,
        na_rep="n/a",
        float_format=_FLOAT,
        lineterminator="\n",
    )


def _as_cell(value: object) -> object:
    return text_cell(value) if isinstance(value, str) else value


def _number_rows(table: pd.DataFrame) -> str:
    row = "\t".join([_FLOAT] * table.shape[1]) + "\n"
    values = table.to_numpy(dtype=float).tolist()
    return "".join([row % tuple(line) for line in values]).replace("nan", "n/a")


def write_all(contents: Mapping[Path, bytes], *, scratch: Path | None = None) -> list[Path]:
    """Write files that belong together (`model.files.write.write_whole`).

    Raises
    ------
    OutputError
        A folder cannot be written or the disk is full; no final name has changed then.
    """
    with faults_as(OutputError):
        return files.write_whole(contents, scratch=scratch)


def write_bytes(path: Path, content: bytes, *, scratch: Path | None = None) -> Path:
    """Write one file as `write_all` does."""
    return write_all({path: content}, scratch=scratch)[0]


def withdraw(path: Path) -> None:
    """Remove a file for good, be it there or not (`model.files.write.withdraw`).

    Raises
    ------
    OutputError
        The folder cannot be written.
    """
    with faults_as(OutputError):
        files.withdraw(path)


@contextlib.contextmanager
def replacing(path: Path, *, keep_same: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it to `path`.

    Parameters
    ----------
    keep_same
        Leave a file untouched that holds the same already.

    Raises
    ------
    OutputError
        The folder cannot be written or the disk is full; the temporary file is removed.
    """
    with faults_as(OutputError), files.replacing(path, keep_same=keep_same) as temporary:
        yield temporary


def _without_null(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: _without_null(value) for key, value in content.items() if value is not None}
