"""What starting the program may cost, and whose package `model` it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, *, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "module",
    ["bids_app.cli", "bids_app.assets", "bids_app.demo", "bids_app.series_cli", "model.cli"],
)
def test_help_needs_no_heavy_library(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "try:\n"
        f"    {module}.main(['--help'])\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "heavy = {'torch', 'nilearn', 'pandas', 'bids', 'scipy', 'nibabel', 'templateflow'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    answer = run_python(code)
    assert answer.stdout.splitlines()[-1] == "LOADED []", answer.stdout + answer.stderr


def test_a_foreign_package_named_model_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import bids_app"
    answer = run_python(code, cwd=tmp_path)
    assert answer.returncode != 0
    assert str(tmp_path / "model.py") in answer.stderr
    assert "environment of its own" in answer.stderr
