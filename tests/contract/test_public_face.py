"""`import semantoks`: every public name exists, and nothing heavy before it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files

import pytest

import semantoks


def test_every_name_exists_and_is_listed() -> None:
    assert list(semantoks.__all__) == sorted(semantoks.__all__)
    assert set(dir(semantoks)) == set(semantoks.__all__)
    for name in semantoks.__all__:
        assert getattr(semantoks, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_model'"):
        _ = semantoks.load_model
    with pytest.raises(ImportError, match="load_model"):
        from semantoks import load_model  # noqa: F401


def test_importing_loads_no_heavy_library() -> None:
    code = (
        "import sys, semantoks; semantoks.__version__, semantoks.SemantoksError\n"
        "print(*{'torch', 'numpy', 'pandas', 'nibabel', 'scipy'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr


@pytest.mark.parametrize("package", ["semantoks", "bids_app", "model"])
def test_type_checkers_are_told_that_there_are_types(package) -> None:
    assert files(package).joinpath("py.typed").is_file()
