"""Text, JSON and TOML that others wrote: the one reader of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from model.files.fault import FileError, reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAMES = {dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number"}


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
            content = json.loads(text)
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
