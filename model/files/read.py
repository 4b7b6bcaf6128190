"""Bytes, text, JSON and TOML of others: the one reader of each."""

from __future__ import annotations

import gzip
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from model.files.faults import EMPTY, TIMES_ITS_SIZE, FileError, faults_of, reading
from model.files.settings import fits, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LARGEST_TEXT = 1 << 26
"""Bytes of a file that is read as text"""
LARGEST_JSON = 1 << 24
"""Bytes of a JSON file: what it is read into takes up to thirty times as much"""
LARGEST_TOML = 1 << 18
_UNPACKED = 1 << 26
"""Bytes of text that a compressed file may hold, however small it is"""
_DIGITS = 300
"""Of a whole number, at most: more no float holds"""
_DEEPEST = 50
"""Lists or objects within one another: what is deeper cannot be written again"""
_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, which JSON can spell and nothing can write"""


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
            most = min(most, max(_UNPACKED, TIMES_ITS_SIZE * size))
            with gzip.open(path) as file:
                content: bytes = file.read(most + 1)
        else:
            content = b"" if size > most else path.read_bytes()
    if max(len(content), size) > most:
        found = f"{size / 1e6:.1f} MB" + (" compressed" if packed else "")
        raise FileError(path, f"too large: found {found}, expected {most / 1e6:.0f} MB at most")
    return content


def decoded(path: Path, content: bytes, *, failure: str = "cannot be read") -> str:
    """Take UTF-8 text, with or without the mark that some editors put at the beginning.

    Raises
    ------
    FileError
        It is no UTF-8, or holds NUL bytes.
    """
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


def read_text(path: Path) -> str:
    """Read UTF-8 text, with or without the mark that some editors put at the beginning.

    Raises
    ------
    FileError
        The file is absent, cannot be read, is too large, or is no UTF-8.
    """
    return decoded(path, read_bytes(path, most=LARGEST_TEXT))


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
    content = parse_json(path, decoded(path, held))
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
        if not isinstance(err, json.JSONDecodeError) or fault.cause == EMPTY:
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


def _check_values(path: Path, content: Any, *, key: str, nul: bool = True) -> None:
    """Refuse what can be read and cannot be used, anywhere in what a file holds.

    Scanners leave NUL in names, which concern nobody; no path can hold it (`nul` False).
    """
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
            if isinstance(value, str) and not nul and "\0" in value:
                raise FileError(path, "text with a NUL character", place=place)
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

    text = decoded(path, read_bytes(path, most=LARGEST_TOML))
    with faults_of(path, "not readable as TOML"):
        content = tomllib.loads(text)
    for key, value in content.items():
        _check_values(path, value, key=key, nul=False)
    return content
