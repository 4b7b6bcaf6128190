"""Files appear whole or not at all: temporary name in the same folder, then rename."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bids_app.errors import OutputError
from model.files import write as files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd

FLOAT_FORMAT = "%.8g"
"""Digits in tables: a relative rounding of 5e-9, below the float32 the numbers come in."""


def json_bytes(content: dict[str, Any]) -> bytes:
    """Encode JSON without null values: BIDS validators reject them."""
    return files.json_bytes(_without_null(content))


def table_bytes(table: pd.DataFrame) -> bytes:
    """Encode a BIDS TSV: tab-separated, ``n/a`` for missing values, no index.

    Notes
    -----
    Tables of nothing but numbers, which are the large ones, take a path of their own: the same
    bytes in a fifth of the time.
    """
    numbers = all(dtype.kind == "f" for dtype in table.dtypes)
    text = (table.iloc[:0] if numbers else table).to_csv(
        sep="\t", index=False, na_rep="n/a", float_format=FLOAT_FORMAT, lineterminator="\n"
    )
    return (text + _number_rows(table)).encode() if numbers else text.encode()


def _number_rows(table: pd.DataFrame) -> str:
    row = "\t".join([FLOAT_FORMAT] * table.shape[1]) + "\n"
    values = table.to_numpy(dtype=float).tolist()
    return "".join([row % tuple(line) for line in values]).replace("nan", "n/a")


def write_all(contents: Mapping[Path, bytes]) -> list[Path]:
    """Write files that belong together: first all under temporary names, then all renamed.

    A file that already holds the same bytes is left untouched.

    Returns
    -------
    The paths, in order.

    Raises
    ------
    OutputError
        A folder cannot be written or the disk is full; no final name has changed then.
    """
    with contextlib.ExitStack() as renames:
        for path, content in contents.items():
            if not _holds(path, content):
                renames.enter_context(replacing(path)).write_bytes(content)
    return list(contents)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write one file as `write_all` does."""
    return write_all({path: content})[0]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it to `path`.

    Raises
    ------
    OutputError
        The folder cannot be written or the disk is full; the temporary file is removed.
    """
    try:
        with files.replacing(path) as temporary:
            yield temporary
    except files.ResultError as err:
        raise OutputError(err.message, hint=err.hint) from err


def remove_partial(folder: Path, tag: str) -> None:
    """Remove what a process that was killed left in a folder under temporary names."""
    for path in folder.glob(f".*.{tag}-*.part"):
        with contextlib.suppress(OSError):
            path.unlink()


def _without_null(content: Any) -> Any:
    if not isinstance(content, dict):
        return content
    return {key: _without_null(value) for key, value in content.items() if value is not None}


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
