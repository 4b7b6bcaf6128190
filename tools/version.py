"""The version of the software, everywhere it is written; `model.__version__` leads.

`python tools/version.py` compares all places with it, `python tools/version.py 0.2.0` sets it
in all of them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEADS = ("model/__init__.py", r'^__version__ = "(\S+)"$')
PLACES = (
    LEADS,
    ("CITATION.cff", r"^version: (\S+)$"),
    ("descriptor.json", r'"tool-version": "(\S+)"'),
    ("examples/runners/nipoppy/descriptor.json", r'"tool-version": "(\S+)"'),
    ("examples/runners/nipoppy/config.json", r'"VERSION": "(\S+)"'),
    ("docs/glossary.md", r"`semantoks --version`, (\S+)\)"),
    ("docs/model_card.md", r"comes with software (\S+)\.$"),
)
# Images, archives, folders: semantoks:0.1.0, semantoks/0.1.0, semantoks-0-1-0, semantoks: "0-1-0".
NAMED = r'semantoks(?:[:@_/-]v?|: ")(\d+([.-])\d+\2\d+(?:[.-]?(?:dev|rc)\d+)?)\b'
_SEARCHED = ("descriptor.json", "docs/**/*.md", "examples/runners/**/*", "tools/platforms/*.sh")


def written(root: Path = ROOT) -> list[tuple[Path, re.Match[str]]]:
    """Return every place where the version stands: file, and match whose group 1 it is."""
    found = []
    for name, pattern in PLACES:
        (match,) = re.finditer(pattern, (root / name).read_text(), re.MULTILINE)
        found.append((root / name, match))
    for path in sorted({path for glob in _SEARCHED for path in root.glob(glob) if path.is_file()}):
        found += [(path, match) for match in re.finditer(NAMED, path.read_text())]
    return found


def same(text: str, version: str) -> bool:
    """Return whether a place names this version, with dots or with dashes."""
    return text in (version, version.replace(".", "-"))


def main() -> None:
    places = written()
    version = places[0][1][1]
    if len(sys.argv) == 1:
        wrong = [f"{p.relative_to(ROOT)}: {m[0]}" for p, m in places if not same(m[1], version)]
        sys.exit(f"not {version}:\n" + "\n".join(wrong) if wrong else None)
    # From the end of each file: what stands before a match keeps its place.
    for path, match in sorted(places, key=lambda place: -place[1].start()):
        text = path.read_text()
        new = sys.argv[1].replace(".", "-") if "-" in match[1] else sys.argv[1]
        path.write_text(text[: match.start(1)] + new + text[match.end(1) :])
        print(f"{path.relative_to(ROOT)}: {new}")


if __name__ == "__main__":
    main()
