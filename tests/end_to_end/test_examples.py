"""The examples run, each on the outputs of a small cohort; they are kept without their outputs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import builders
import pytest
from click.testing import CliRunner

from bids_app.cli.app import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture(scope="module")
def out(tmp_path_factory, atlas, checkpoint) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    data = builders.make_dataset(folder / "in", subjects=("01", "02", "03"), sessions=("1", "2"))
    words = ["--atlas", atlas, "--checkpoint", checkpoint, "--n-cpus", 1, "--no-reports"]
    call = (data.root, folder / "out", "participant", *words)
    assert CliRunner().invoke(main, [str(word) for word in call]).exit_code == 0
    return folder / "out"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_runs_and_is_kept_without_outputs(path, out, checkpoint, monkeypatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert "load_embeddings" in "".join(cell.source for cell in code)
    monkeypatch.setenv("SEMANTOKS_OUT", str(out))
    monkeypatch.setenv("SEMANTOKS_CHECKPOINT", str(checkpoint))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    root = EXAMPLES.parent
    with_sources = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", ":".join(with_sources))
    # The notebooks call the commands as users do; pytest may run in no activated environment.
    commands = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.km = client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable
    client.execute(cwd=str(out.parent))


def test_the_tables_read_in_r(out) -> None:
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("R is not installed")
    call = (out, out, "group", "--tsv", "--connectivity", "--no-reports")
    assert CliRunner().invoke(main, [str(word) for word in call]).exit_code == 0
    answer = subprocess.run(
        [program, "--vanilla", EXAMPLES / "6_in_r.R", out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("6 scans, ")
    assert "_stat-pearsoncorrelation_relmat.tsv : 457 457" in answer.stdout
