"""What an installation holds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pins
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", folder, ROOT],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_packages_and_the_plug_ins(wheel_names) -> None:
    tops = {name.split("/")[0] for name in wheel_names if ".dist-info" not in name}
    assert tops == {"bids_app", "model", "semantoks", "brainmarks"}


def test_the_plug_ins_leave_the_namespace_to_brainmarks(wheel_names) -> None:
    found = {name for name in wheel_names if name.startswith("brainmarks/")}
    assert found == {"brainmarks/models/semantoks.py", "brainmarks/datasets/semantoks.py"}


def test_the_packages_files_are_installed_and_nothing_else(wheel_names) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "bids_app", "model", "semantoks", "brainmarks"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not tracked:
        pytest.skip("not a git checkout")
    assert {name for name in wheel_names if ".dist-info/" not in name} == set(tracked)


def test_the_lock_has_every_dependency_but_torch_at_the_pinned_version_by_hash() -> None:
    locked = pins.locked("requirements.lock")
    assert len(locked) > 40
    # Only on Windows, where the tests do not run.
    assert locked.items() - {("colorama", locked["colorama"])} <= pins.pinned().items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}
    assert needed - {"torch"} <= set(locked)
