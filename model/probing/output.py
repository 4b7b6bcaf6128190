"""Write a folder of results whole or not at all."""

from __future__ import annotations

import io
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import ConfigError
from model.files import ResultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure


def refuse_occupied(out: Path) -> None:
    """Refuse a folder that holds something, before any work.

    Raises
    ------
    ConfigError
        There is something at `out`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty.", hint="Name a new folder.")


@contextmanager
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


def svg_bytes(figure: Figure) -> bytes:
    """Render a figure; the same figure gives the same bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "semantoks"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
