"""Whether the content of a file is here at all: no pipe, no pointer to what was never fetched."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What git puts in place of a file's content; git-annex' own limit for an unlocked pointer.
_POINTERS = {b"/annex/objects/": "git-annex", b"version https://git-lfs.github.com/": "git-lfs"}
_POINTER_BYTES = 32 * 1024
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
        if path.is_symlink() and not path.exists():
            return f"a link that leads nowhere ({path.readlink()})"
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _POINTER_BYTES:
            return ""
        with path.open("rb") as file:
            start = file.read(max(map(len, _POINTERS)))
    except (OSError, ValueError):
        return ""
    for mark, maker in _POINTERS.items():
        if start.startswith(mark):
            return f"a pointer of {maker}"
    return ""
