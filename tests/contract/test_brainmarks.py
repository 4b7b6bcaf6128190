"""brainmarks finds the plug-ins, runs its own tests of them, and evaluates a cohort we export."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bids_app.cli.series import main as series
from model.cli.app import main as model

ROOT = Path(__file__).resolve().parents[2]
N_SUBJECTS, N_FRAMES = 24, 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("brainmarks.main_logistic") is None,
        reason="brainmarks is not installed: pip install 'semantoks[brainmarks]'",
    ),
]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Outputs of smooth noise; in half of the subjects the visual parcels move together."""
    folder = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(0)
    arrays, rows = {}, ["participant_id\tgroup\tage"]
    for i in range(N_SUBJECTS):
        values = rng.standard_normal((N_FRAMES + 4, 457))
        values = np.stack([values[k : k + N_FRAMES] for k in range(5)]).mean(axis=0)
        if i % 2:
            values[:, :61] += 2 * rng.standard_normal((N_FRAMES, 1))
        arrays[f"sub-{i:02d}_task-rest"] = values
        rows.append(f"sub-{i:02d}\t{'case' if i % 2 else 'control'}\t{30 + i}")
    np.savez(folder / "series.npz", **arrays)
    (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
    arguments = [folder / "series.npz", folder / "out", "--tr", "2", "--order", "semantoks457"]
    result = CliRunner().invoke(series, [*map(str, arguments), "--quiet"])
    assert result.exit_code == 0, result.output
    return folder


def export(cohort: Path, *options: str):
    arguments = ["brainmarks", str(cohort / "out"), str(cohort / "root"), "--desc", "model"]
    arguments += ["--participants", str(cohort / "participants.tsv"), *options]
    return CliRunner().invoke(model, arguments)


@pytest.fixture(scope="module")
def root(cohort) -> Path:
    result = export(cohort, "--name", "cohort", "--target", "group")
    assert result.exit_code == 0, result.output
    return cohort / "root"


def run(folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BRAINMARKS_DATA_ROOT": str(folder),
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_suite_s_own_tests_of_the_model_pass(root):
    printed = run(root, "brainmarks.models.test_models", "semantoks and not brain_semantoks")
    assert " 2 passed" in printed


@pytest.mark.parametrize("representation", ["cls", "patch"])
def test_the_suite_tells_planted_groups_apart(root, representation):
    options = ["device=cpu", "amp=false", "num_workers=1", "n_trials=2", "cv_folds=2"]
    options += ["dataset_kwargs.cohort=cohort", "dataset_kwargs.target=group"]
    arguments = ["semantoks", representation, "semantoks", "--overrides", *options]
    run(root, "brainmarks.main_logistic", *arguments)
    (table,) = root.glob(f"output/**/*__{representation}__*/eval_table.csv")
    rows = [line.split(",") for line in table.read_text().splitlines()]
    column, split = rows[0].index("bacc"), rows[0].index("split")
    test = [float(row[column]) for row in rows[1:] if row[split] == "test"]
    assert len(test) == 3
    assert np.mean(test) > 0.9


def test_nobody_is_in_two_parts_and_the_split_is_recorded(root):
    import datasets

    folder = root / "cohort.schaefer400_tians3_buckner7.arrow"
    parts = {
        part: datasets.load_from_disk(folder / part) for part in ("train", "validation", "test")
    }
    subjects = [subject for part in parts.values() for subject in part["sub"]]
    assert len(subjects) == len(set(subjects)) == N_SUBJECTS
    about = json.loads((folder / "semantoks.json").read_text())
    assert about["Scans"] == {part: len(rows) for part, rows in parts.items()}
    targets = json.loads((root / "targets/cohort_target_map_group.json").read_text())
    assert targets.keys() == set(subjects)
    row = parts["train"][0]
    assert np.array(row["bold"]).shape == (N_FRAMES, 457)
    assert row["tr"] == 2.0


def test_an_existing_data_set_is_not_replaced(cohort, root):
    assert root.is_dir()
    result = export(cohort, "--name", "cohort", "--target", "group")
    assert "exists and is not empty" in result.stderr


def test_a_damaged_series_is_one_clear_error_and_leaves_nothing(cohort, tmp_path):
    shutil.copytree(cohort / "out", tmp_path / "out")
    shutil.copy(cohort / "participants.tsv", tmp_path)
    path = next(tmp_path.glob("out/sub-00/**/*_desc-model_timeseries.tsv"))
    path.write_text(path.read_text()[:-3000] + "\tx\n")
    result = export(tmp_path, "--name", "cohort", "--target", "group")
    assert result.exit_code == 1
    assert f"{path}: absent or damaged" in result.stderr
    assert not list(tmp_path.glob("root/*cohort*"))


def test_a_number_is_no_class(cohort):
    result = export(cohort, "--name", "other", "--target", "age")
    assert "24 different values" in result.stderr
    assert not list((cohort / "root").glob("other*"))
