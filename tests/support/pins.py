"""Read constraints.txt and the files of pinned hashes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ENTRY = r"(?m)^([a-z0-9-]+)==(\S+)(?: ; .*?)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+$"


def pinned() -> dict[str, str]:
    """Return the version of each package that the tests have, by its name in a lock."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return dict(line.lower().replace("_", "-").split("==") for line in lines)


def locked(file: str) -> dict[str, str]:
    """Return the version of each package of a lock, all of which have hashes."""
    text = (ROOT / file).read_text()
    found = dict(re.findall(_ENTRY, text))
    assert len(found) == len(re.findall("(?m)^[a-z]", text))
    return found
