"""docs/architecture.md shows the house as it is: order of the rooms, the way of a scan."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_every_room_and_file_says_what_it_is() -> None:
    command = [sys.executable, str(ROOT / "tools/house.py"), "tree"]
    tree = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = tree.splitlines()
    assert len(lines) > 200
    # Names end at column 28 or, where they are longer, one space before what they are.
    assert [line for line in lines if not re.fullmatch(r" *\S+ +\S.*\.", line)] == []


@pytest.mark.parametrize(("word", "package"), [("app", "bids_app"), ("model", "model")])
def test_the_order_of_the_rooms_is_that_of_the_contract(word: str, package: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = [
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    ]
    row = re.search(rf"^\| {word} \| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    shown = [set(re.findall(r"`(\w+)`", part)) for part in row[1].split("·")]
    assert shown == [set(layer.split(" | ")) for layer in layers if layer != "__main__"]


def test_the_picture_names_what_is_there() -> None:
    picture = (ROOT / "docs/figures/one_scan.svg").read_text()
    rooms = re.findall(r'font-weight="bold" fill="#222">([^<]+)</text>', picture)
    steps = re.findall(r'font-family="monospace" fill="#222">([^<]+)</text>', picture)
    assert len(rooms) == len(steps) > 5
    for room, step in zip(rooms, steps, strict=True):
        if room == "seam":
            continue
        module, _, name = step.partition(".")
        folder = ROOT / "model" if room == "model/" else ROOT / "bids_app" / room
        defined = {
            node.name
            for node in ast.walk(ast.parse((folder / f"{module}.py").read_text()))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in defined, f"{room}{module}.py has no {name}"
