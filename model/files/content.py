"""Whether the content of a file is here at all: no pipe, no pointer to what was never fetched."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

# How the texts begin that git puts in place of a file's content. That of git-annex is a path, or
# the link of a locked file where the file system, or git's settings, know no links.
_POINTERS = {
    "git-annex": re.compile(rb"(\.\./|\.git|/modules/[^/\s]+)*/annex/objects/"),
    "git-lfs": re.compile(rb"version https://git-lfs\.github\.com/"),
}
_POINTER_BYTES = 32 * 1024
"""git-annex' own limit"""
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def real_path(path: Path) -> Path:
    """Return an absolute path without links; `Path.resolve` raises where one leads to itself."""
    return Path(os.path.realpath(path))


def not_a_file(path: Path) -> str:
    """Name what a path leads to instead of a file or folder; empty: one of these, or nothing.

    Opening such a thing could wait for ever, or never end.
    """
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except (OSError, ValueError):  # nothing there, or no name at all: told by who opens it
        return ""


def not_fetched(path: Path) -> str:
    """Name the pointer that stands in place of a file's content; empty: its content is here.

    Pointers are links that lead nowhere (git-annex, locked) and small texts (git-annex,
    unlocked, and git-lfs).
    """
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            if not path.exists():
                return f"a link that leads nowhere ({path.readlink()})"
            found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _POINTER_BYTES:
            return ""
        with path.open("rb") as file:
            start = file.read(512)
    except (OSError, ValueError):
        return ""
    makers = (maker for maker, begins in _POINTERS.items() if begins.match(start))
    return next((f"a pointer of {maker}" for maker in makers), "")
