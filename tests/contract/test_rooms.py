"""Rooms keep their doors: few files, one sentence, and others import what is public only."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for package in ("bids_app", "model")
    for path in (ROOT / package).rglob("__init__.py")
    if path.parent.parent != ROOT
)
FILES = [
    path
    for package in ("bids_app", "model", "semantoks")
    for path in (ROOT / package).rglob("*.py")
]


def imported_modules(path: Path) -> set[str]:
    """Name the modules and members that a file imports, wherever it does."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    return {f"{n.module}.{alias.name}" for n in nodes if n.module for alias in n.names}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_fourteen_files_at_most(room):
    assert len(list((ROOT / room).glob("*.py"))) <= 14


@pytest.mark.parametrize("room", ROOMS)
def test_other_rooms_import_public_modules_only(room):
    package = room.replace("/", ".")
    public = importlib.import_module(package).__all__
    for name in public:
        assert (ROOT / room / f"{name}.py").is_file() or (ROOT / room / name).is_dir(), name
    outside = [path for path in FILES if (ROOT / room) not in path.parents]
    used = {
        name.removeprefix(f"{package}.").partition(".")[0]: path
        for path in outside
        for name in imported_modules(path)
        if name.startswith(f"{package}.")
    }
    assert not {name: str(path) for name, path in used.items() if name not in public}
