"""Write a folder of results whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    ConfigError
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
        raise ConfigError(f"{out}: cannot be written ({err}).") from err


def json_text(content: dict[str, Any]) -> str:
    """Encode strictly: NaN and infinity are refused, paths become text."""
    return json.dumps(content, indent=2, allow_nan=False, default=str) + "\n"


def tsv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Encode a table; None is n/a, numbers have 6 significant digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is None or value == "":
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float) else value


def svg_bytes(figure: Figure) -> bytes:
    """Render a figure; the same figure gives the same bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "semantoks"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
