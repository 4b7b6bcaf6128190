"""Killed at every step between the first file and the last status, no status ever lies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "fonts", [{}, {"MPLCONFIGDIR": "given"}], ids=["as installed", "as in the image"]
)
def test_killed_at_any_step_no_status_lies_and_the_next_call_gives_the_same_bytes(
    tmp_path: Path, fonts: dict[str, str]
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    answer = subprocess.run(
        [sys.executable, str(TESTS / "support" / "killed.py"), str(tmp_path)],
        cwd=TESTS.parent,
        env=inherited | fonts | {"PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    upon_nothing, upon_others = map(int, answer.stdout.split())
    # Two scans of two outputs and a status: each file is made, locked, opened and renamed.
    assert upon_nothing >= 2 * 3 * 4
    assert upon_others >= upon_nothing
