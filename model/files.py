"""Files of results that appear whole or not at all."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from model.errors import SemantoksError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


class ResultError(SemantoksError):
    """A result cannot be written."""


def write_whole(contents: Mapping[Path, bytes]) -> list[Path]:
    """Write files that belong together: all under temporary names first, then renamed.

    Raises
    ------
    ResultError
        The folder cannot be written; no final name has changed then.
    """
    token = uuid.uuid4().hex[:12]
    temporary = {path: path.with_name(f".{path.name}.{token}.part") for path in contents}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path].write_bytes(content)
        for path, scratch in temporary.items():
            scratch.replace(path)
    except OSError as err:
        raise ResultError(
            f"{err.filename}: cannot be written ({err.strerror}).",
            hint="Check permissions, quota and free space.",
        ) from err
    finally:
        for scratch in temporary.values():
            scratch.unlink(missing_ok=True)
    return list(contents)


def json_bytes(content: Any) -> bytes:
    """Encode JSON; a number that is not finite is a bug and refused."""
    return (json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def tsv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Encode a table: tabs, ``n/a`` for None, six significant digits."""
    lines = ["\t".join(header), *("\t".join(map(_cell, row)) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def _cell(value: object) -> str:
    if value is None or value != value:
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
