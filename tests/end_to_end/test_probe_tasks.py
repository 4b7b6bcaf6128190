"""A simulated task with a known answer: the probe finds the condition, importance its network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bids_app.cli.app import main as semantoks_command
from bids_app.cli.blocks import main as blocks_command
from bids_app.cli.importance import main as importance_command
from bids_app.cli.series import main as series_command
from model.cli.app import main
from model.networks import NETWORKS, network_columns, parcel_names

if TYPE_CHECKING:
    from pathlib import Path

N, N_SAMPLES = 12, 260
BLOCKS = [(20.0 + 40 * i, 40.0, ("shapes", "faces")[i % 2]) for i in range(12)]
SHARES = ("--shares", ".5", ".25", ".25")


def run(command: object, *words: object) -> str:
    answer = CliRunner().invoke(command, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def subject(seed: int) -> np.ndarray:
    """(samples, parcels) smooth series in which the default network is one during faces."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(N_SAMPLES + 4, 457))
    values = sum(noise[i : i + N_SAMPLES] for i in range(4))
    columns = network_columns("Default")
    for onset, duration, condition in BLOCKS:
        if condition == "faces":
            during = slice(int(onset // 2), int((onset + duration) // 2))
            common = values[during, columns].mean(axis=1, keepdims=True)
            common *= 3 / common.std()
            values[during, columns] = 0.3 * values[during, columns] + common
    return values


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """Output folder of one run each, with every table that can be probed, and events."""
    folder = tmp_path_factory.mktemp("study")
    for seed in range(N):
        values = pd.DataFrame(subject(seed), columns=list(parcel_names()))
        values.to_csv(folder / f"sub-{seed:02d}_task-hariri.tsv", sep="\t", index=False)
    files = sorted(folder.glob("sub-*.tsv"))
    run(
        series_command,
        *files,
        folder / "out",
        "--tr",
        2,
        "--checkpoint",
        checkpoint,
        "--n-cpus",
        1,
    )
    run(semantoks_command, folder, folder / "out", "group", "--tsv")
    events = pd.DataFrame(BLOCKS, columns=["onset", "duration", "trial_type"])
    rng = np.random.default_rng(1)
    events["coin"] = rng.permutation(events["trial_type"])
    events.to_csv(folder / "task-hariri_events.tsv", sep="\t", index=False)
    words = ("--construction", "continuous", "--hrf-delay", 0, "--networks")
    run(blocks_command, folder, folder / "out", *words, "--checkpoint", checkpoint)
    run(importance_command, folder / "out", "--checkpoint", checkpoint)
    return folder


@pytest.fixture
def probe(study: Path, tmp_path: Path) -> Any:
    def call(table: str, *words: object, command: str = "probe", people: object = "-") -> Any:
        out = tmp_path / "results"
        data = study / "out" / table if table else study / "out"
        run(main, command, data, people, out, *SHARES, "--repetitions", 3, *words)
        return json.loads((out / "results.json").read_text()), out

    return call


CONDITION = ("--target", "trial_type", "--target-of", "rows", "--kind", "classification")


def test_the_condition_of_a_block_is_found_and_subjects_are_not_divided(probe) -> None:
    words = ("--method", "linear", "--permutations", 19)
    content, out = probe("group_desc-blocks_embedding.tsv", *CONDITION, *words)
    assert content["summary"]["linear"]["balanced_accuracy"]["mean"] > 0.7
    assert content["permutation_p"]["linear"] == pytest.approx(0.05)
    assert (content["n_subjects"], content["n_rows"]) == (N, 12 * N)
    table = pd.read_csv(out / "predictions.tsv", sep="\t")
    tested = table[table["split"] == "seed 0"]
    assert tested["participant_id"].nunique() == 3
    assert len(tested) == tested["row"].nunique() == 3 * 12
    assert tested["label"].value_counts().to_dict() == {"faces": 18, "shapes": 18}


def test_a_condition_that_means_nothing_is_at_chance(probe, study, tmp_path) -> None:
    table = pd.read_csv(study / "out" / "group_desc-blocks_embedding.tsv", sep="\t")
    rng = np.random.default_rng(0)
    table["trial_type"] = table.groupby("participant_id")["trial_type"].transform(rng.permutation)
    copy = tmp_path / "null_embedding.tsv"
    table.to_csv(copy, sep="\t", index=False)
    meta = (study / "out" / "group_desc-blocks_embedding.json").read_text()
    copy.with_suffix(".json").write_text(meta)
    words = ("--method", "linear", "--permutations", 9)
    content, _ = probe(str(copy), *CONDITION, *words)
    assert abs(content["summary"]["linear"]["balanced_accuracy"]["mean"] - 0.5) < 0.12
    assert content["permutation_p"]["linear"] > 0.1


def test_importance_names_the_network_of_the_condition(probe) -> None:
    content, out = probe("", *CONDITION, "--of", "blocks", command="importance")
    table = pd.read_csv(out / "importance.tsv", sep="\t")
    assert table["network"][0] == "Default"
    assert set(table["network"]) == {*NETWORKS, "all together"}
    others = table[~table["network"].isin(["Default", "all together"])]
    assert table["balanced_accuracy"][0] > 0.8
    assert (others["balanced_accuracy"] < 0.7).all()
    assert table["share_of_all"][0] > 0.8
    assert content["of"] == "blocks"
    assert "<svg" in (out / "importance.svg").read_text()


@pytest.mark.parametrize(
    "name", ["conditions", "onlyDefault", "blocksonlyDefault", "scan", "blocks"]
)
def test_every_table_of_embeddings_can_be_probed(probe, study, tmp_path, name) -> None:
    people = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(N)]})
    people["group"] = ["ab"[i % 2] for i in range(N)]
    people.to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    path = f"group_desc-{name}_embedding.tsv"
    if name == "scan" and not (study / "out" / path).exists():
        path = path.replace(".tsv", ".parquet")
    words = ("--target", "group", "--kind", "classification")
    content, _ = probe(path, *words, people=tmp_path / "people.tsv")
    assert content["n_subjects"] == N
    assert np.isfinite(content["summary"]["linear"]["auc"]["mean"])
    assert "n_rows" not in content


@pytest.mark.parametrize("kind", ["windows", "tokens"])
def test_windows_are_probed_as_they_were_written(probe, kind) -> None:
    words = ("--target", "onset", "--target-of", "rows", "--kind", "regression", "--read", kind)
    content, _ = probe("", *words, "--method", "linear")
    assert content["n_rows"] > 2 * N
    assert content["readout"] == (["tokens"] if kind == "tokens" else ["networks"])
    assert np.isfinite(content["summary"]["linear"]["mae"]["mean"])


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        ("blocks", ("--target", "colour", "--target-of", "rows"), "no column colour"),
        ("blocks", ("--target", "participant_id", "--target-of", "rows"), "it is people who"),
        ("blocks", ("--target", "trial_type"), "--target-of rows"),
        ("blocks", (*CONDITION[:4], "--method", "fc-svm"), "would need series"),
    ],
)
def test_wrong_questions_about_rows_are_one_clear_error(
    study, tmp_path, table, words, message
) -> None:
    path = study / "out" / f"group_desc-{table}_embedding.tsv"
    arguments = ["probe", path, "-", tmp_path / "out", *words, "--kind", "classification"]
    answer = CliRunner().invoke(main, [str(word) for word in arguments])
    assert answer.exit_code in (1, 2)
    assert message in answer.output
    assert not (tmp_path / "out").exists()


def test_importance_without_its_tables_says_who_writes_them(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    words = ["importance", tmp_path / "empty", "-", tmp_path / "out", *CONDITION]
    answer = CliRunner().invoke(main, [str(word) for word in words])
    assert answer.exit_code == 2
    assert "`semantoks importance` writes them" in answer.output
