"""Files and folders of results that appear whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import ConfigError, SemantoksError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class ResultError(SemantoksError):
    """A result cannot be written."""

    exit_code = 73


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success rename it to `path`.

    Raises
    ------
    ResultError
        The folder cannot be written or the disk is full; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{process_tag()}-{next(_number)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as err:
        raise ResultError(
            f"{path}: cannot be written ({err.strerror or err}).",
            hint="Check permissions, quota and free space of the output folder.",
        ) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@cache
def process_tag() -> str:
    """Return what stands in the temporary names of this process and of no other."""
    # Not the process id: containers that start together all have the same one.
    return uuid.uuid4().hex[:12]


_number = itertools.count()


def write_whole(contents: Mapping[Path, bytes]) -> list[Path]:
    """Write files that belong together: all under temporary names first, then renamed.

    Raises
    ------
    ResultError
        A folder cannot be written; no final name has changed then.
    """
    with contextlib.ExitStack() as renames:
        for path, content in contents.items():
            renames.enter_context(replacing(path)).write_bytes(content)
    return list(contents)


def refuse_occupied(out: Path) -> None:
    """Refuse a folder that holds something, before any work.

    Raises
    ------
    ConfigError
        There is something at `out`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty.", hint="Name a new folder.")


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out`; on success it becomes `out`, else it goes away.

    Raises
    ------
    ResultError
        The folder cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            yield new
            new.rename(out)
    except OSError as err:
        raise ResultError(f"{out}: cannot be written ({err}).") from err


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
