"""What the image is built of, and what of its packages it keeps."""

from __future__ import annotations

import importlib.util
import py_compile
import re
import subprocess
import sys
from pathlib import Path

import pins
import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("environment", ROOT / "tools/image/environment.py")
environment = importlib.util.module_from_spec(SPEC)
sys.modules["environment"] = environment  # dataclasses look there
SPEC.loader.exec_module(environment)

KEPT = (
    "one/__init__.py",
    "one/tests.py",
    "one/testing/__init__.py",
    "one/tests/LICENSE",
    "torch/bin/torch_shm_manager",
    "torch/lib/libtorch.so",
    "pyarrow/libarrow.so.2600",
    "one-1.dist-info/licenses/LICENSE.txt",
    "one-1.dist-info/METADATA",
)
GONE = (
    "one/tests/__init__.py",
    "one/deep/test/data/image.nii",
    "one/fast.pyx",
    "torch/bin/test_api",
    "torch/include/ATen/ATen.h",
    "torch/lib/libtorchbind_test.so",
    "pyarrow/libarrow_flight.so.2600",
)


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    site = tmp_path / "lib/python3.11/site-packages"
    for name in (*KEPT, *GONE):
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    about = site / "one-1.dist-info"
    (about / "METADATA").write_text("Name: one\nVersion: 1\nLicense: MIT\n")
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in (*KEPT, *GONE)))
    return tmp_path


def test_only_tests_headers_and_servers_go_and_the_list_of_files_follows(venv) -> None:
    site = venv / "lib/python3.11/site-packages"
    assert environment.reduce(site) == sum(map(len, GONE))
    left = {str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()}
    assert left == {*KEPT, "one-1.dist-info/RECORD"}
    assert (site / "one-1.dist-info/RECORD").read_text() == "".join(f"{n},,\n" for n in KEPT)
    assert not (site / "torch/include").exists()


def test_licences_are_copied_and_listed(venv, tmp_path) -> None:
    environment.main("licences", str(venv), str(tmp_path / "licences"))
    table = (tmp_path / "licences/packages.tsv").read_text()
    assert table == "package\tversion\tlicence\tfiles\none\t1\tMIT\t2\n"
    assert (tmp_path / "licences/one-1/licenses/LICENSE.txt").is_file()
    assert (tmp_path / "licences/one-1/one/tests/LICENSE").is_file()


def test_bytecode_is_taken_whatever_the_time_of_its_source(tmp_path) -> None:
    source = tmp_path / "module.py"
    source.write_text("print('compiled at build')\n")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    environment.main("compile", str(tmp_path))
    source.write_text("print('compiled anew at start')\n")
    command = [sys.executable, "-B", "-c", "import module"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout == "compiled at build\n"


def test_what_the_dockerfile_copies_is_let_in_and_exists() -> None:
    lines = re.findall(r"(?m)^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text())
    copied = {name.removeprefix("./") for line in lines for name in line.split()}
    assert len(copied) > 8
    assert [name for name in copied if not (ROOT / name).exists()] == []
    allowed = set(re.findall(r"(?m)^!(.+)$", (ROOT / ".dockerignore").read_text()))
    assert copied <= allowed


def test_what_builds_the_image_is_pinned_by_hash_at_the_versions_that_the_tests_have() -> None:
    locked, pinned = pins.locked("tools/image/build.lock"), pins.pinned()
    assert {"cyclonedx-bom", "huggingface-hub"} <= set(locked)
    assert {name: pinned[name] for name in locked if name in pinned}.items() <= locked.items()
