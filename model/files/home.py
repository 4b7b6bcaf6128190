"""Where what is installed beside the package lies: one folder, which may be read-only."""

from __future__ import annotations

import os
from pathlib import Path

CHECKPOINTS = "checkpoints"
MOUNTED = "In a container: is it mounted there?"
"""What helps where a path that was given leads nowhere"""


def semantoks_home() -> Path | None:
    """Return the folder of what ``semantoks assets`` installs.

    ``$SEMANTOKS_HOME``; without that variable ``semantoks`` in the user's cache folder
    (``$XDG_CACHE_HOME`` or ``~/.cache``); None: the user has no home folder.
    """
    if chosen := os.environ.get("SEMANTOKS_HOME"):
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            return None
    return cache / "semantoks"


def checkpoint_folder(name: str) -> str:
    """Return the name of an installed checkpoint's folder: no colon, which containers divide at.

    >>> checkpoint_folder("published:seed2")
    'published-seed2'
    """
    return name.replace(":", "-")


def installed_checkpoints(home: Path) -> list[Path]:
    """Return the folders of the checkpoints that are installed under a home, sorted."""
    folder = home / CHECKPOINTS
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def checkpoint_place(path: Path) -> Path:
    """Find an installed checkpoint by its name.

    Parameters
    ----------
    path
        What the user gave: a path, or a name such as ``published`` or ``published:seed2``.

    Returns
    -------
    The folder of the installed checkpoint where the word is a single one, nothing of that name
    lies in the working directory, and a checkpoint of that name is installed; else the path.
    """
    if len(path.parts) != 1 or os.path.lexists(path):
        return path
    home = semantoks_home()
    folder = None if home is None else home / CHECKPOINTS / checkpoint_folder(path.name)
    return folder if folder is not None and folder.is_dir() else path
