"""Methods over tasks: paired over splits, corrected for the number of tasks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from model.cli.app import main

N_SPLITS = 10


def write_task(folder, *, better, n_splits=N_SPLITS, task="classification"):
    """Results of a task in which the probe is better than fc-svm by so much."""
    metric = "balanced_accuracy" if task == "classification" else "r2"
    rng = np.random.default_rng(len(folder.name))
    splits = [f"seed {i}" for i in range(n_splits)]
    base = 0.6 + 0.05 * rng.normal(size=n_splits)
    noise = 0.01 * rng.normal(size=n_splits)
    of = {"probe": base + better + noise, "fc-svm": base, "linear": base - 0.3}
    rows = [
        {"method": name, "split": split, "status": "ok", "scores": {metric: float(value)}}
        for name, values in of.items()
        for split, value in zip(splits, values, strict=True)
    ]
    content = {"config": {"task": task}, "rows": rows}
    content["splits"] = [{"name": name, "n_test": 20, "n_train": 60} for name in splits]
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def compare(tmp_path):
    def call(*words):
        arguments = ["compare", *words[0], tmp_path / "out", *words[1:]]
        return CliRunner().invoke(main, [str(word) for word in arguments])

    return call


def test_the_best_other_method_is_compared_in_each_task_and_tasks_are_corrected_for(
    compare, tmp_path
):
    tasks = [
        write_task(tmp_path / "sex", better=0.1),
        write_task(tmp_path / "age", better=0.1, task="regression"),
        write_task(tmp_path / "nothing", better=0.0),
    ]
    answer = compare(tasks)
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "out" / "comparison.tsv", sep="\t")
    assert table["task"].tolist() == ["sex", "age", "nothing"]
    assert (table["other"] == "fc-svm").all()
    least = 2 / 2**N_SPLITS
    assert table["wilcoxon_p"][:2].tolist() == pytest.approx([least] * 2, rel=1e-4)
    assert table["wilcoxon_holm"][:2].tolist() == pytest.approx([3 * least] * 2, rel=1e-4)
    assert table["wilcoxon_holm"][2] > 0.05
    # Splits share subjects: the corrected test is the more careful one.
    assert (table["corrected_t_p"] > 0).all()
    assert table["metric"].tolist() == ["balanced_accuracy", "r2", "balanced_accuracy"]


def test_each_method_may_be_compared(compare, tmp_path):
    answer = compare([write_task(tmp_path / "sex", better=0.1)], "--versus", "each")
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "out" / "comparison.tsv", sep="\t")
    assert table["other"].tolist() == ["fc-svm", "linear"]
    assert (table["wilcoxon_holm"] >= 2 * table["wilcoxon_p"] - 1e-9).all()


def test_too_few_splits_unknown_methods_and_folders_without_results_are_told(compare, tmp_path):
    few = write_task(tmp_path / "few", better=0.1, n_splits=5)
    (tmp_path / "empty").mkdir()
    for folders, words, message in (
        ([few], (), "5 splits with probe and fc-svm"),
        ([few], ("--compared", "magic"), "expected scores of magic"),
        ([few], ("--method", "magic"), "no scores of magic"),
        ([few], ("--method", "probe"), "the one that others are compared with"),
        ([few], ("--method", "linear", "--method", "linear"), "expected each once"),
        ([few, few], (), "called the same"),
        ([tmp_path / "empty"], (), "results.json"),
    ):
        answer = compare(folders, *words)
        assert answer.exit_code == 2, answer.output
        assert message in answer.output.replace("\n", " ")
        assert not (tmp_path / "out").exists()
