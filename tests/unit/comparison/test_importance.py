"""Networks are compared by one method on the same rows, whatever was stopped or is absent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from model.cli.app import main
from model.cohort.names import embedding_columns

N, SESSIONS, DIM = 12, 3, 4
SUBJECTS = [f"sub-{i:02d}" for i in range(N)]


def write_table(folder, name, *, seed, without=()):
    """Write a table of a cohort's scans, but for some (subject, session)."""
    rng = np.random.default_rng(seed)
    lines = [["participant_id", "session_id", *embedding_columns(DIM, ["mean", "cls"])]]
    for i, subject in enumerate(SUBJECTS):
        for session in range(SESSIONS):
            numbers = rng.normal(size=2 * DIM) + i % 2
            if (subject, session) not in without:
                lines.append([subject, f"ses-{session}", *map(str, numbers)])
    path = folder / f"group_desc-{name}_embedding.tsv"
    path.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    meta = {"Model": {"WeightsSHA256": "w"}, "EmbeddingDimension": DIM, "ScanVector": ["mean"]}
    meta["Parts"] = {"mean": "", "cls": ""}
    path.with_suffix(".json").write_text(json.dumps(meta))


@pytest.fixture
def importance(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = [f"{subject}\t{'ab'[i % 2]}" for i, subject in enumerate(SUBJECTS)]
    (tmp_path / "people.tsv").write_text("\n".join(["participant_id\tgroup", *rows]) + "\n")

    def call(*words):
        arguments = ["importance", tmp_path / "tables", tmp_path / "people.tsv", tmp_path / "out"]
        arguments += ["--target", "group", "--kind", "classification", "--repetitions", 2]
        arguments += ["--shares", 0.5, 0.25, 0.25, *words]
        return CliRunner().invoke(main, [str(word) for word in arguments])

    return call


def test_a_stopped_call_does_not_go_on_with_another_method(importance, tmp_path, monkeypatch):
    for seed, name in enumerate(("scan", "onlyVis")):
        write_table(tmp_path / "tables", name, seed=seed)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("model.comparison.importance.permute", stopped)
        assert importance("--method", "linear").exit_code != 0
    other = importance("--method", "probe", "--epochs", 50)
    assert other.exit_code == 2
    assert "differs in fit" in other.output
    answer = importance("--method", "linear")
    assert answer.exit_code == 0, answer.output


def test_one_scan_each_is_drawn_of_those_that_every_table_has(importance, tmp_path):
    # Each subject lacks a network in one session: of those left, one is drawn.
    lacking = [(subject, i % SESSIONS) for i, subject in enumerate(SUBJECTS)]
    write_table(tmp_path / "tables", "scan", seed=0)
    write_table(tmp_path / "tables", "onlyVis", seed=1, without=lacking)
    answer = importance("--scans", "one")
    assert answer.exit_code == 0, answer.output
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["n_subjects"] == N
    sizes = [found["features"]["crops"]["n_scans"] for found in content["networks"].values()]
    assert sizes == [N, N]
