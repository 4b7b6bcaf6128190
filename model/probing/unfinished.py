"""What a call has found, kept in its folder until all is there."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from model.errors import ConfigError, some
from model.files.faults import faults_as
from model.files.read import read_json
from model.files.write import json_bytes, refuse_occupied, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER = "unfinished"
QUESTION = "question.json"
RESULTS = "results.json"


def refuse_others(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder whose content would be lost, before any work.

    What an interrupted call left is no such content; results are, unless they may be replaced.
    Anything else is never touched.

    Raises
    ------
    ConfigError
        There is something at `out`.
    """
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if held == {FOLDER} or (overwrite and RESULTS in held):
        return
    try:
        refuse_occupied(out)
    except ConfigError as err:
        hint = (
            "Name a new folder, or give --overwrite: these results are replaced when the new ones "
            "are whole."
            if RESULTS in held
            else "Name a new folder; --overwrite replaces results only."
        )
        raise ConfigError(err.message, hint=hint) from err


class Unfinished:
    """Pieces of the answer to one question, each kept as soon as it is known.

    Parameters
    ----------
    out
        Folder of the results.
    question
        What the pieces depend on, for JSON: data, labels, settings.
    overwrite
        Whether the pieces of another question give way.

    Raises
    ------
    ConfigError
        There are pieces of another question, or they are damaged.
    ResultError
        The folder cannot be written.
    """

    def __init__(self, out: Path, question: Mapping[str, Any], *, overwrite: bool) -> None:
        self._folder = out / FOLDER
        asked = json.loads(json_bytes(question))
        found = self._read(QUESTION)
        if found is not None and found != asked:
            keys = sorted(k for k in {*asked, *found} if asked.get(k) != found.get(k))
            if not overwrite:
                raise ConfigError(
                    f"{self._folder} holds the beginning of another call, which differs in "
                    f"{some(keys)}.",
                    hint="Give the settings and data of that call, which then goes on; or a new "
                    "folder, or --overwrite.",
                )
            shutil.rmtree(self._folder)
        write_whole({self._folder / QUESTION: json_bytes(asked)})

    def get(self, name: str) -> Any:
        """Return a piece, or None."""
        return self._read(f"{name}.json")

    def keep(self, name: str, piece: Any) -> None:
        """Keep a piece, which JSON can hold."""
        write_whole({self._folder / f"{name}.json": json_bytes(piece)})

    def place(self, name: str) -> Path:
        """Return where a folder of this name lies among the pieces."""
        return self._folder / name

    def forget(self) -> None:
        """Remove all pieces, and the folder of the results if it holds nothing else."""
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._folder.parent.rmdir()

    def _read(self, name: str) -> Any:
        path = self._folder / name
        if not path.exists():
            return None
        hint = f"Delete {self._folder}; the call then begins anew."
        with faults_as(ConfigError, what="damaged", hint=hint):
            return read_json(path)
