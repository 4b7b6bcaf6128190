"""Text, JSON, TOML and tables of others: the one reader of each, and the one fault of all."""

from __future__ import annotations

import contextlib
import csv
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from model.errors import SemantoksError
from model.files.cells import MARKED, cell_text
from model.files.content import not_a_file, not_fetched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

DELIMITERS = {".tsv": "\t", ".csv": ","}
FETCH = "datalad get"
"""The command that brings what a pointer stands for"""
_WORDS = 200
"""Characters of another's error, at most"""
_DIGITS = 300
"""Of a whole number, at most: more no float holds"""
MISSING = ("n/a", "N/A", "NaN", "nan", "")
_NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}


class FileError(SemantoksError):
    """A file cannot be read or written, or is not what it should be.

    Parameters
    ----------
    path
        The file.
    cause
        Why, in a few words without a full stop.
    place
        Where in the file, such as ``line 3, column 5`` or ``key Status``.
    """

    def __init__(self, path: Path, cause: str, *, place: str = "", hint: str = "") -> None:
        self.path = path
        self.cause = cause
        self.place = place
        super().__init__(self.sentence(), hint=hint)

    def sentence(self, *, where: str = "", what: str = "") -> str:
        """Say it as one sentence.

        Parameters
        ----------
        where
            Stands for the path, such as the file's name alone or the option that named it.
        what
            What the caller makes of it; the cause follows in parentheses.
        """
        cause = f"{self.place}: {self.cause}" if self.place else self.cause
        said = f"{what} ({cause})" if what else cause
        return f"{where or self.path}: {said}."


@contextlib.contextmanager
def reading(path: Path, failure: str = "cannot be read") -> Iterator[None]:
    """Read a file of others: whatever goes wrong in there is a fault of the file.

    The one boundary: no reader can be trusted to raise only what it documents, so the block
    holds its call and nothing of ours.

    Parameters
    ----------
    failure
        Begins the cause; the reader's own words follow in parentheses.

    Raises
    ------
    FileError
        The file is absent or damaged; its content was never fetched; or it is a pipe, socket or
        device, for which nobody waits.
    """
    if kind := not_a_file(path):
        raise FileError(path, f"expected a file, found {kind}")
    if pointer := not_fetched(path):
        raise FileError(
            path, f"found {pointer}, not the file's content", hint=f"Fetch it: {FETCH} {path.name}"
        )
    with faults_of(path, failure):
        yield


@contextlib.contextmanager
def faults_of(path: Path, failure: str = "cannot be read") -> Iterator[None]:
    """Turn whatever is raised into a fault of a file; errors of ours stay what they are.

    Raises
    ------
    FileError
        With the words of what was raised.
    """
    try:
        yield
    except SemantoksError:
        raise
    except Exception as err:  # any: to list types is to forget some
        raise FileError(path, f"{failure} ({_words(err)})") from err


@contextlib.contextmanager
def faults_as(
    kind: type[SemantoksError], *, where: str = "", what: str = "", hint: str = ""
) -> Iterator[None]:
    """Turn a fault of a file into the caller's kind of error; `FileError.sentence` words it.

    Raises
    ------
    SemantoksError
        Of this kind.
    """
    try:
        yield
    except FileError as fault:
        raise kind(fault.sentence(where=where, what=what), hint=hint or fault.hint) from fault


def _words(err: Exception) -> str:
    """Return the words of an error in a line; never much of a file, which may be quoted there."""
    if isinstance(err, MemoryError):
        return "needs more memory than there is"
    if isinstance(err, RecursionError):
        return "nested too deeply"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    text = " ".join((repr(err) if isinstance(err, LookupError) else str(err)).split())
    return (text if len(text) <= _WORDS else f"{text[:_WORDS]} …") or type(err).__name__


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
        The file is no such table, or two columns have one name.
    """
    # Here, for the import takes longer than most commands.
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    with reading(path, "not a readable table"):
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
    marked = pa.compute.replace_substring_regex
    return {
        name: marked(table.column(name), MARKED, r"\1")
        if path.suffix in DELIMITERS and pa.types.is_string(table.schema.field(name).type)
        else table.column(name)
        for name in names
    }


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without the mark that some editors put at the beginning.

    Raises
    ------
    FileError
        The file is absent, cannot be read, or is no UTF-8.
    """
    with reading(path):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, *, needs: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    needs
        Keys that must be there, and what each must hold: `dict`, `list`, `str`, `int`, or
        `float` for any number.

    Raises
    ------
    FileError
        The file is absent, no JSON (with line and column), no object, or lacks a key.
    """
    text = read_text(path)
    try:
        with reading(path, "not readable as JSON"):
            content = json.loads(text, parse_int=_whole_number)
    except FileError as fault:
        err = fault.__cause__
        if not isinstance(err, json.JSONDecodeError):
            raise
        place = f"line {err.lineno}, column {err.colno}"
        raise FileError(path, f"not readable as JSON ({err.msg})", place=place) from err
    if not isinstance(content, dict):
        raise FileError(path, f"expected a JSON object {{…}}, found {content!r:.60}")
    for key, kind in (needs or {}).items():
        _check(path, content, key, kind)
    return content


def _whole_number(digits: str) -> int:
    """Refuse what no float holds: whoever computes with it would fail far from the file."""
    if len(digits) > _DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    FileError
        The file is absent or no TOML (its words name line and column).
    """
    import tomllib

    text = read_text(path)
    with reading(path, "not readable as TOML"):
        return tomllib.loads(text)


def _check(path: Path, content: Mapping[str, Any], key: str, kind: type) -> None:
    if key not in content:
        raise FileError(path, "is not there", place=f"key {key}")
    value = content[key]
    kinds = (int, float) if kind is float else kind
    # A bool is an int to Python and a mistake in a file.
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise FileError(path, f"expected {_NAMES[kind]}, found {value!r:.60}", place=f"key {key}")
