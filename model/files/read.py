"""Text, JSON, TOML and tables of others: the one reader of each, and the one fault of all."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from model.errors import SemantoksError
from model.files.cells import MARKED, cell_text
from model.files.content import not_a_file, not_fetched
from model.files.settings import fits, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

DELIMITERS = {".tsv": "\t", ".csv": ","}
FETCH = "datalad get"
"""The command that brings what a pointer stands for"""
LARGEST_TEXT = 1 << 26
"""Bytes of a file that is read as text"""
LARGEST_JSON = 1 << 24
"""Bytes of a JSON file: what it is read into takes up to thirty times as much"""
LARGEST_TOML = 1 << 18
LARGEST_TABLE = 1 << 28
"""Bytes of a table that is read whole"""
MOST_COLUMNS = 1 << 16
"""Of a table: an embedding of 1,024 channels has 11,264"""
BELIEVED = 1 << 25
"""Bytes that a file may announce, however small it is: a series of 9,000 frames in float64, of
which a scan takes thirty times as much on its way"""
_UNPACKED = 1 << 26
"""Bytes of text that a compressed file may hold, however small it is"""
_TIMES = 16
"""So many times its own size it may announce or hold, if that is more"""
_WORDS = 200
"""Characters of another's error, at most"""
_DIGITS = 300
"""Of a whole number, at most: more no float holds"""
_DEEPEST = 50
"""Lists or objects within one another: what is deeper cannot be written again"""
_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can spell and nothing can write"""
MISSING = ("n/a", "N/A", "NaN", "nan", "")


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


def check_claim(path: Path, n_bytes: int, what: str) -> None:
    """Refuse what a file announces and can hardly hold, before memory is taken for it.

    Raises
    ------
    FileError
        It would take more than `BELIEVED`, and many times what the file has.
    """
    with reading(path):
        found = path.stat().st_size
    if n_bytes > max(BELIEVED, _TIMES * found):
        raise FileError(
            path,
            f"{what} is announced with {n_bytes / 1e6:.0f} MB, in a file of {found / 1e6:.1f} MB",
        )


def read_bytes(path: Path, *, most: int, failure: str = "cannot be read") -> bytes:
    """Read a file whole, decompressed if its name ends in ``.gz``.

    Raises
    ------
    FileError
        The file cannot be read, or holds more than `most` bytes.
    """
    with reading(path, failure):
        size = path.stat().st_size
        if packed := path.suffix.lower() == ".gz":
            most = min(most, max(_UNPACKED, _TIMES * size))
            with gzip.open(path) as file:
                content: bytes = file.read(most + 1)
        else:
            content = b"" if size > most else path.read_bytes()
    if max(len(content), size) > most:
        found = f"{size / 1e6:.1f} MB" + (" compressed" if packed else "")
        raise FileError(path, f"too large: found {found}, expected {most / 1e6:.0f} MB at most")
    return content


def _decoded(path: Path, content: bytes, *, failure: str = "cannot be read") -> str:
    """Take UTF-8 text, with or without the mark that some editors put at the beginning."""
    with faults_of(path, failure):
        text = content.decode("utf-8-sig")
    refuse_binary(path, content)
    return text


def refuse_binary(path: Path, content: bytes) -> None:
    """Refuse bytes that no text has, and at which some readers end a cell in silence.

    Raises
    ------
    FileError
        There is a NUL byte.
    """
    if (at := content.find(0)) >= 0:
        line = content.count(b"\n", 0, at) + 1
        raise FileError(path, "holds NUL bytes: no text, or not UTF-8", place=f"line {line}")


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


def read_cells(path: Path) -> TextTable:
    """Read a small table (.tsv or .csv) as text.

    Raises
    ------
    FileError
        The file is absent or no such table, or a row is longer than the header.
    """
    failure = "not a readable table"
    content = read_bytes(path, most=LARGEST_TABLE, failure=failure)
    text = _decoded(path, content, failure=failure)
    with faults_of(path, failure):
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=DELIMITERS.get(path.suffix, "\t")
        )
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
    columns = [
        compute.replace_substring_regex(column, MARKED, r"\1")
        if pa.types.is_string(column.type)
        else column
        for column in table.columns
    ]
    return pa.table(columns, schema=table.schema)


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without the mark that some editors put at the beginning.

    Raises
    ------
    FileError
        The file is absent, cannot be read, is too large, or is no UTF-8.
    """
    return _decoded(path, read_bytes(path, most=LARGEST_TEXT))


def read_json(
    path: Path, *, needs: Mapping[str, Any] | None = None, held: bytes | None = None
) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    needs
        Keys that must be there, and what each must hold: an annotation as a field of settings
        has (`model.files.settings`), such as `dict`, `str`, or `float` for any finite number.
    held
        What the file holds, of a caller who has read it already.

    Raises
    ------
    FileError
        The file is absent or too large, no JSON (with line and column), no object, gives a key
        two values, or lacks one.
    """
    held = read_bytes(path, most=LARGEST_JSON) if held is None else held
    content = parse_json(path, _decoded(path, held))
    for key, kind in (needs or {}).items():
        if key not in content:
            raise FileError(path, "is not there", place=f"key {key}")
        if not fits(content[key], kind):
            found = f"expected {in_words(kind)}, found {content[key]!r:.60}"
            raise FileError(path, found, place=f"key {key}")
    return content


def parse_json(path: Path, text: str) -> dict[str, Any]:
    """Take the JSON object of a file's text, or of a line of it.

    Raises
    ------
    FileError
        It is none.
    """
    try:
        with faults_of(path, "not readable as JSON"):
            content = json.loads(text, parse_int=_whole_number, object_pairs_hook=_object)
    except FileError as fault:
        err = fault.__cause__
        if not isinstance(err, json.JSONDecodeError):
            raise
        place = f"line {err.lineno}, column {err.colno}"
        raise FileError(path, f"not readable as JSON ({err.msg})", place=place) from err
    if not isinstance(content, dict):
        kind = in_words(type(content))
        raise FileError(path, f"expected a JSON object {{…}}, found {kind}")
    for key, value in content.items():
        _check_values(path, value, key=key)
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key with two values: which is meant cannot be known."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise ValueError(f"two values for key {key:.60}")
    return found


def _whole_number(digits: str) -> int:
    """Refuse what no float holds: whoever computes with it would fail far from the file."""
    if len(digits) > _DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _check_values(path: Path, content: Any, *, key: str) -> None:
    """Refuse what can be read and cannot be used, anywhere in what a file holds."""
    place = f"key {ascii(key)[1:-1]:.60}"
    level, depth = [key, content], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise FileError(path, f"nested more than {_DEEPEST} levels deep", place=place)
        for value in level:
            if isinstance(value, str) and not value.isascii() and _HALF.search(value):
                cause = "text with half of a character (\\ud800 to \\udfff)"
                raise FileError(path, cause, place=place)
            if isinstance(value, int) and abs(value) > sys.float_info.max:
                raise FileError(path, "a whole number that no float holds", place=place)
        within = [value for value in level if isinstance(value, dict | list)]
        level = [inner for value in within for inner in _within(value)]


def _within(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    FileError
        The file is absent, too large, or no TOML (its words name line and column).
    """
    import tomllib

    text = _decoded(path, read_bytes(path, most=LARGEST_TOML))
    with faults_of(path, "not readable as TOML"):
        content = tomllib.loads(text)
    for key, value in content.items():
        _check_values(path, value, key=key)
    return content
