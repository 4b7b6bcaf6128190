"""Which libraries the program loads for what, and whose package `model` it takes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import builders
import pytest

from bids_app.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
LATE = {
    *("torch", "safetensors", "nilearn", "sklearn", "scipy", "pandas", "pyarrow", "nibabel"),
    *("bids", "templateflow", "matplotlib", "PIL", "jinja2"),
}
"""Libraries that take a tenth of a second to load, or more."""


def run_python(code: str, *, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )


def loaded_by(module: str, *arguments: object) -> set[str]:
    """Call a command line in a process of its own; return which of `LATE` it loaded."""
    code = (
        f"import sys, {module}\n"
        "try:\n"
        f"    {module}.main({[str(word) for word in arguments]!r})\n"
        "except SystemExit as stop:\n"
        "    assert stop.code in (0, None), stop.code\n"
        f"print('LOADED', *sorted({LATE!r} & set(sys.modules)))"
    )
    answer = run_python(code)
    words = answer.stdout.splitlines()[-1:]
    assert words, answer.stderr
    assert words[0].startswith("LOADED"), answer.stdout + answer.stderr
    return set(words[0].split()[1:])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a derivative with one scan, an atlas and a checkpoint."""
    folder = tmp_path_factory.mktemp("study")
    builders.make_dataset(folder / "fmriprep")
    builders.make_atlas(folder / "atlas")
    builders.make_checkpoint(folder / "checkpoint")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        *(("bids_app.cli.app", *words) for words in (["--help"], ["--version"])),
        *(("bids_app.cli.app", name, "--help") for name in COMMANDS),
        ("model.cli.app", "--help"),
    ],
)
def test_help_and_version_load_no_heavy_library(words: tuple[str, ...]) -> None:
    assert loaded_by(*words) == set()


def test_a_dry_run_loads_what_it_checks_with_and_nothing_that_draws_or_learns(study: Path) -> None:
    options = ("--atlas", study / "atlas", "--checkpoint", study / "checkpoint")
    arguments = (study / "fmriprep", study / "dry", "participant", "--quiet", *options)
    found = loaded_by("bids_app.cli.app", *arguments, "--dry-run")
    assert not found & {"nilearn", "sklearn", "templateflow", "matplotlib", "PIL", "jinja2"}
    loaded_by("bids_app.cli.app", *arguments, "--no-reports")
    nothing_to_do = loaded_by("bids_app.cli.app", *arguments, "--dry-run")
    assert not nothing_to_do & {"torch", "safetensors", "pandas"}


def test_a_run_loads_what_it_uses_and_neither_a_second_run_nor_the_group_level_torch(
    study: Path,
) -> None:
    options = ("--atlas", study / "atlas", "--checkpoint", study / "checkpoint")
    arguments = (study / "fmriprep", study / "out", "participant", "--quiet", *options)
    run = loaded_by("bids_app.cli.app", *arguments, "--no-reports")
    loaded_by("bids_app.cli.app", *arguments)
    again = loaded_by("bids_app.cli.app", *arguments)
    assert "torch" in run
    assert not run & {"nilearn", "sklearn", "templateflow", "matplotlib", "PIL", "jinja2"}
    assert not again & {"torch", "safetensors", "pandas", "nilearn", "matplotlib", "jinja2"}
    group = loaded_by("bids_app.cli.app", study / "fmriprep", study / "out", "group")
    assert not group & {"torch", "nilearn", "sklearn", "matplotlib", "PIL", "bids"}


def test_a_foreign_package_named_model_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import bids_app"
    answer = run_python(code, cwd=tmp_path)
    assert answer.returncode != 0
    assert str(tmp_path / "model.py") in answer.stderr
    assert "environment of its own" in answer.stderr


def test_the_oracle_imports_nothing_of_ours_and_nothing_that_knows_the_answer() -> None:
    tree = ast.parse((ROOT / "tests" / "oracle" / "plain.py").read_text())
    found = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found <= {"__future__", "cmath", "math", "numpy"}


def test_links_of_others_are_followed_by_what_raises_nothing() -> None:
    paths = [path for room in ("bids_app", "model") for path in (ROOT / room).rglob("*.py")]
    lines = [line for path in paths for line in path.read_text().splitlines()]
    assert [line for line in lines if ".resolve()" in line and "__file__" not in line] == []
