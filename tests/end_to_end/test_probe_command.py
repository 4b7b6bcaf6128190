"""The whole probe on simulated subjects: a planted label is found, a random one is not."""

from __future__ import annotations

import json
import os

import builders
import numpy as np
import pandas as pd
import probe_builders
import pytest
from click.testing import CliRunner
from shard_builders import make_shards

from model.checkpoint import load_encoder
from model.cli.app import main
from model.fitting.data import open_data
from model.fitting.settings import FitConfig
from model.fitting.whitening import whiten
from model.probing.features import find_runs
from model.probing.inputs import series_features
from model.probing.methods import make_methods
from model.probing.options import METHODS, ProbeConfig
from model.probing.participants import Labels
from model.probing.scoring import evaluate
from model.probing.splits import draw_split
from model.spec import InputSpec

N = 24
SERIES = ("probe", "linear", "random-probe", "random-linear", "fc-svm", "fisher-linear")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Folder with outputs of two sessions each, participants, checkpoint."""
    folder = tmp_path_factory.mktemp("cohort")
    values = probe_builders.simulate_cohort(N, n_sessions=2)
    probe_builders.write_cohort(folder / "out", values)
    probe_builders.write_participants(folder / "participants.tsv", N)
    builders.make_checkpoint(folder / "checkpoint")
    return folder


@pytest.fixture
def probe(cohort, tmp_path):
    """Call ``semantoks-model probe``; results go to ``tmp_path / out``."""

    def call(target, *words, task="classification", data=None):
        arguments = ["probe", data or cohort / "out", cohort / "participants.tsv"]
        arguments += [tmp_path / "out", "--target", target, "--kind", task]
        if data is None:
            arguments += ["--checkpoint", cohort / "checkpoint"]
        return CliRunner().invoke(main, [str(word) for word in (*arguments, *words)])

    return call


def only(*methods):
    return [word for method in methods for word in ("--method", method)]


def results(tmp_path):
    return json.loads((tmp_path / "out" / "results.json").read_text())


def test_a_planted_label_is_decoded_by_every_method(probe, tmp_path):
    words = ("--repetitions", 2, "--epochs", 15, "--n-crops", 4)
    answer = probe("planted", *words, *only(*SERIES))
    assert answer.exit_code == 0, answer.output
    summary = results(tmp_path)["summary"]
    assert list(summary) == list(SERIES)
    assert min(numbers["balanced_accuracy"]["mean"] for numbers in summary.values()) > 0.8
    table = pd.read_csv(tmp_path / "out" / "results.tsv", sep="\t")
    assert len(table) == 2 * len(SERIES)
    assert (table["status"] == "ok").all()
    assert "<svg" in (tmp_path / "out" / "results.svg").read_text()
    assert answer.stdout.splitlines()[0].startswith("method")


def test_random_labels_are_at_chance(cohort):
    runs = find_runs(cohort / "out", entities=[])
    names = [f"sub-{i:02d}" for i in range(N)]
    anyone = Labels(
        column="x", task="classification", classes=("a", "b"), values=dict.fromkeys(names, 0.0)
    )
    config = ProbeConfig(target="x", task="classification", n_crops=2)
    encoder = load_encoder(cohort / "checkpoint")
    features = series_features(runs, anyone, encoder, config, kinds=["crops", "fc"])
    methods = make_methods(["linear", "fc-svm"], features.samples, n_outputs=2, epochs=1, seed=0)
    # The planted label, shuffled: what is there to find must not help.
    rng = np.random.default_rng(0)
    scores = {method.name: [] for method in methods}
    for seed in range(24):
        values = dict(zip(names, rng.permutation(N) % 2.0, strict=True))
        labels = Labels(column="x", task="classification", classes=("a", "b"), values=values)
        for method in methods:
            row = evaluate(method, labels, draw_split(labels, (0.5, 0.25, 0.25), seed=seed))
            scores[method.name].append(row.scores["balanced_accuracy"])
    # Six test subjects, 24 draws: the standard error is about .045.
    assert all(abs(np.mean(values) - 0.5) < 0.15 for values in scores.values())


def test_a_number_is_regressed(probe, tmp_path):
    words = ("--repetitions", 2, "--epochs", 30, "--n-crops", 2)
    answer = probe("number", *words, *only("probe", "linear", "fc-svm"), task="regression")
    assert answer.exit_code == 0, answer.output
    content = results(tmp_path)
    assert content["summary"]["linear"]["r"]["mean"] > 0.6
    assert set(content["summary"]["probe"]) == {"r2", "r", "mae"}
    assert content["classes"] == []


def test_tangent_space_runs_on_whole_brains(probe, tmp_path):
    # Few to train on: the reference takes an eigendecomposition of each, some ten times.
    shares = ("--shares", 0.1, 0.1, 0.8)
    answer = probe("planted", "--repetitions", 1, *shares, *only("tangent-linear"))
    assert answer.exit_code == 0, answer.output
    content = results(tmp_path)
    assert content["features"]["covariance"]["n_features"] == 457
    assert content["rows"][0]["scores"]["auc"] > 0.8


def test_results_say_how_they_came_about(probe, tmp_path, cohort):
    answer = probe("planted", "--repetitions", 2, "--seed", 7, *only("linear"))
    assert answer.exit_code == 0, answer.output
    content = results(tmp_path)
    card = json.loads((cohort / "checkpoint" / "card.json").read_text())
    assert content["checkpoint"]["WeightsSHA256"] == card["weights_sha256"]
    assert content["config"]["seed"] == 7
    # Two or three of each class are tested in each of two splits.
    assert 4 <= content["answers"]["linear"] <= N
    assert [split["name"] for split in content["splits"]] == ["seed 7", "seed 8"]
    assert {len(content[key]) for key in ("subjects_sha256", "labels_sha256", "data_sha256")} == {
        64
    }
    assert content["rows"][0]["setting"] in (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
    assert content["features"]["crops"] == {
        "n_scans": 2 * N, "n_samples": 16 * N, "n_features": 144, "n_left_out": 0
    }  # fmt: skip


def test_the_same_command_gives_the_same_bytes(probe, tmp_path):
    words = ("--repetitions", 2, "--epochs", 2, *only("probe", "linear"))
    assert probe("planted", *words).exit_code == 0
    os.rename(tmp_path / "out", tmp_path / "first")  # noqa: PTH104 - a test may
    assert probe("planted", *words).exit_code == 0
    for name in ("results.json", "results.tsv", "predictions.tsv", "results.svg"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_predictions_of_every_test_subject_are_there_once_per_split(probe, tmp_path):
    assert probe("planted", "--repetitions", 2, *only("linear")).exit_code == 0
    table = pd.read_csv(tmp_path / "out" / "predictions.tsv", sep="\t")
    assert list(table.columns[:5]) == ["method", "split", "participant_id", "label", "predicted"]
    assert not table.duplicated(["method", "split", "participant_id"]).any()
    assert len(table) == sum(split["n_test"] for split in results(tmp_path)["splits"])
    correct = (table["label"] == table["predicted"]).groupby(table["split"]).mean()
    rows = results(tmp_path)["rows"]
    assert correct.tolist() == pytest.approx([row["scores"]["accuracy"] for row in rows])


def test_each_site_is_left_out_once(probe, tmp_path):
    answer = probe("planted", "--site", "site", *only("linear"))
    assert answer.exit_code == 0, answer.output
    assert [row["split"] for row in results(tmp_path)["rows"]] == ["site x", "site y", "site z"]


def test_a_site_of_one_class_is_skipped_with_the_reason_and_no_score(tmp_path, cohort):
    rows = [line.split("\t") for line in (cohort / "participants.tsv").read_text().splitlines()]
    table = [[*row, "mixed"] for row in rows]
    table[0][-1] = "scanner"
    for row in table[1:]:
        # The first subjects of class b come from a scanner of their own.
        row[-1] = (
            "b-only" if row[1] == "b" and row[0] < "sub-08" else "xy"[int(row[0][-1]) % 4 > 1]
        )
    path = probe_builders.write_tsv(tmp_path / "p.tsv", table)
    arguments = ["probe", cohort / "out", path, tmp_path / "out", "--target", "planted"]
    arguments += ["--kind", "classification", "--site", "scanner", *only("linear")]
    arguments += ["--checkpoint", cohort / "checkpoint"]
    answer = CliRunner().invoke(main, [str(word) for word in arguments])
    assert answer.exit_code == 0, answer.output
    skipped = results(tmp_path)["rows"][0]
    assert skipped == {
        "method": "linear",
        "split": "site b-only",
        "status": "skipped",
        "reason": "test: 1 of at least 2 different labels among 4 samples.",
    }
    assert results(tmp_path)["summary"]["linear"]["auc"]["n"] == 2


def test_sites_that_all_have_one_class_leave_nothing_to_score(tmp_path, cohort):
    # Two sites for each class: training always has both, no test set does.
    names = [f"sub-{i:02d}" for i in range(N)]
    rows = [(name, "ab"[i % 2], f"site{i % 4}") for i, name in enumerate(names)]
    header = ("participant_id", "group", "site")
    path = probe_builders.write_tsv(tmp_path / "p.tsv", [header, *rows])
    arguments = ["probe", cohort / "out", path, tmp_path / "out", "--target", "group"]
    arguments += ["--kind", "classification", "--site", "site", *only("linear")]
    arguments += ["--checkpoint", cohort / "checkpoint"]
    answer = CliRunner().invoke(main, [str(word) for word in arguments])
    assert answer.exit_code == 1
    assert "no split can be scored: site site0: test: 1 of at least 2" in answer.output
    assert not (tmp_path / "out").exists()


def test_a_failed_fit_is_a_row_without_a_number_and_exit_code_1(probe, tmp_path, monkeypatch):
    monkeypatch.setattr("model.probing.methods.MAX_ITERATIONS", 1)
    answer = probe("planted", "--repetitions", 1, *only("linear", "fc-svm"))
    assert answer.exit_code == 1
    assert "1 fits failed" in answer.output
    failed, done = results(tmp_path)["rows"]
    assert failed["status"] == "failed"
    assert "scores" not in failed
    assert "linear" not in results(tmp_path)["summary"]
    assert done["status"] == "ok"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing", "classification"), "no column nothing"),
        (("constant", "classification"), "nothing to tell apart"),
        (("planted", "regression"), "expected numbers"),
        (("number", "classification"), "too few subjects"),
        (("planted", "classification", "--shares", ".96", ".02", ".02"), "too few subjects"),
        (("planted", "classification", "--device", "cuda:99"), "device cuda:99"),
        (("planted", "classification", "--device", "moon"), "cpu, cuda or cuda:N"),
        (("planted", "classification", "--method", "magic"), "unknown methods"),
        (("planted", "classification", "--entity", "task-faces"), "no embedded run"),
    ],
)
def test_wrong_questions_are_one_clear_error_and_leave_nothing(probe, tmp_path, words, message):
    target, task, *more = words
    answer = probe(target, *more, task=task)
    assert answer.exit_code in (1, 2)
    assert message in answer.output
    assert "Traceback" not in answer.output
    assert list(tmp_path.iterdir()) == []


def test_results_are_never_written_over(probe, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    answer = probe("planted", "--repetitions", 1, *only("linear"))
    assert answer.exit_code == 2
    assert "not empty" in answer.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_results_are_replaced_when_that_is_asked_for_and_nothing_else_is(probe, tmp_path):
    words = ("--repetitions", 1, "--n-crops", 1, *only("linear"))
    assert probe("planted", *words).exit_code == 0
    refused = probe("random", *words)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    assert probe("random", *words, "--overwrite").exit_code == 0
    assert results(tmp_path)["config"]["target"] == "random"
    (tmp_path / "out" / "results.json").unlink()
    assert probe("random", *words, "--overwrite").exit_code == 2
    assert (tmp_path / "out" / "results.tsv").exists()


def test_a_call_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    probe, tmp_path, monkeypatch
):
    words = ("--repetitions", 2, "--n-crops", 1, "--permutations", 2, *only("linear", "fc-svm"))
    assert probe("planted", *words).exit_code == 0
    os.rename(tmp_path / "out", tmp_path / "whole")  # noqa: PTH104 - a test may
    fitted = []

    def stopped(method, labels, split):
        if len(fitted) == 3:
            raise KeyboardInterrupt
        fitted.append((method.name, split.name))
        return evaluate(method, labels, split)

    monkeypatch.setattr("model.probing.probe.evaluate", stopped)
    assert probe("planted", *words).exit_code != 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["unfinished"]
    other = probe("planted", *words, "--seed", 9)
    assert other.exit_code == 2
    assert "differs in seed" in other.output
    fitted.clear()
    fitted += ["room for one more"] * 2
    assert probe("planted", *words).exit_code != 0  # stopped again, in the permutations
    assert fitted[2] == ("fc-svm", "seed 1")
    monkeypatch.undo()
    assert probe("planted", *words).exit_code == 0
    for name in ("results.json", "results.tsv", "predictions.tsv", "results.svg"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_planted_label_is_better_than_its_permutations_and_a_random_one_is_not(
    probe, tmp_path, caplog
):
    words = ("--repetitions", 2, "--n-crops", 1, "--permutations", 9, *only("fisher-linear"))
    answer = probe("planted", *words)
    assert answer.exit_code == 0, answer.output
    assert results(tmp_path)["permutation_p"] == {"fisher-linear": 0.1}
    assert len(results(tmp_path)["permuted"]["fisher-linear"]) == 9
    assert answer.stdout.splitlines()[1].endswith("0.1")
    assert probe("random", *words, "--overwrite").exit_code == 0
    assert results(tmp_path)["permutation_p"]["fisher-linear"] > 0.1
    assert "the smallest class 2: one answer moves balanced accuracy by up to 0.25" in caplog.text
    assert results(tmp_path)["warnings"]


def test_the_published_preset_is_the_paper_s_probe_on_one_session_each(probe, tmp_path):
    answer = probe("number", "--preset", "published", "--epochs", 2, task="regression")
    assert answer.exit_code == 0, answer.output
    content = results(tmp_path)
    assert list(content["summary"]) == ["probe", "random-probe", "fc-svm-raw"]
    assert content["features"]["crops"]["n_scans"] == N
    assert content["readout"] == ["mean", "cls"]
    assert content["rows"][0]["validation"] < 0  # minus the mean absolute error
    assert content["summary"]["probe"]["mae"]["n"] == 10


def test_what_is_given_comes_before_the_preset(probe, tmp_path):
    words = ("--preset", "published", "--repetitions", 1, "--readout", "cls", *only("linear"))
    assert probe("planted", *words).exit_code == 0
    content = results(tmp_path)
    assert (list(content["summary"]), content["readout"]) == (["linear"], ["cls"])


def test_covariates_are_taken_out_and_shown_by_themselves(tmp_path, cohort):
    rows = [line.split("\t") for line in (cohort / "participants.tsv").read_text().splitlines()]
    # The clinic is the group by another name: nothing of the group is left without it.
    table = [[*row, {"a": "north", "b": "south"}.get(row[1], "clinic")] for row in rows]
    people = probe_builders.write_tsv(tmp_path / "p.tsv", table)
    arguments = ["probe", cohort / "out", people, tmp_path / "out", "--target", "planted"]
    arguments += ["--kind", "classification", "--repetitions", 2, "--n-crops", 1]
    arguments += ["--checkpoint", cohort / "checkpoint", "--covariate", "clinic"]
    arguments += ["--covariate", "number", *only("linear", "covariates-linear")]
    answer = CliRunner().invoke(main, [str(word) for word in arguments])
    assert answer.exit_code == 0, answer.output
    summary = results(tmp_path)["summary"]
    assert summary["covariates-linear"]["auc"]["mean"] == 1.0
    assert summary["linear"]["auc"]["mean"] < 0.9


def test_a_stopped_call_does_not_go_on_when_covariates_have_changed(tmp_path, cohort, monkeypatch):
    people = tmp_path / "p.tsv"
    people.write_text((cohort / "participants.tsv").read_text())

    def call(*words):
        arguments = ["probe", cohort / "out", people, tmp_path / "out", "--target", "planted"]
        arguments += ["--kind", "classification", "--repetitions", 1, "--n-crops", 1]
        arguments += ["--checkpoint", cohort / "checkpoint", *only("linear"), *words]
        return CliRunner().invoke(main, [str(word) for word in arguments])

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("model.probing.probe.permute", stopped)
        assert call("--covariate", "number").exit_code != 0
    table = pd.read_csv(people, sep="\t")
    table.loc[0, "number"] += 1
    table.to_csv(people, sep="\t", index=False)
    other = call("--covariate", "number")
    assert other.exit_code == 2
    assert "differs in participants_sha256" in other.output
    # Where nothing but the labels is read of the table, only these matter.
    with monkeypatch.context() as patched:
        patched.setattr("model.probing.probe.permute", stopped)
        assert call("--overwrite").exit_code != 0
    people.write_text((cohort / "participants.tsv").read_text())
    assert call().exit_code == 0


def test_a_stopped_call_does_not_go_on_when_the_table_of_splits_has_changed(
    probe, tmp_path, monkeypatch
):
    parts = ["train"] * 12 + ["validation"] * 6 + ["test"] * 6

    def write_splits(parts):
        rows = [(f"sub-{i:02d}", part) for i, part in enumerate(parts)]
        probe_builders.write_tsv(tmp_path / "s.tsv", [("participant_id", "split"), *rows])

    def stopped(*_):
        raise KeyboardInterrupt

    words = ("--splits", tmp_path / "s.tsv", "--n-crops", 1, *only("linear"))
    write_splits(parts)
    with monkeypatch.context() as patched:
        patched.setattr("model.probing.probe.permute", stopped)
        assert probe("planted", *words).exit_code != 0
    write_splits(parts[::-1])
    other = probe("planted", *words)
    assert other.exit_code == 2
    assert "differs in splits_table_sha256" in other.output
    write_splits(parts)
    answer = probe("planted", *words)
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--covariate", "constant"), "all subjects have constant all"),
        (("--covariate", "planted"), "not the target"),
        (("--covariate", "iq"), "no column iq"),
        (("--harmonize", "site", "--site", "site"), "has not learned from"),
        (("--method", "covariates-linear"), "needs --covariate"),
    ],
)
def test_wrong_covariates_are_one_clear_error(probe, tmp_path, words, message):
    answer = probe("planted", *words)
    assert answer.exit_code in (1, 2)
    assert message in answer.output
    assert list(tmp_path.iterdir()) == []


def test_sites_are_harmonized_within_splits(probe, tmp_path):
    pytest.importorskip("combatlearn", reason="combatlearn is not installed")
    words = ("--harmonize", "site", "--repetitions", 2, "--n-crops", 2)
    answer = probe("planted", *words, *only("linear", "fisher-linear"))
    assert answer.exit_code == 0, answer.output
    assert results(tmp_path)["summary"]["fisher-linear"]["auc"]["mean"] > 0.8


def test_series_methods_cannot_be_had_from_a_table(probe, tmp_path):
    path = tmp_path / "group_desc-scan_embedding.parquet"
    path.touch()
    answer = probe("planted", *only("fc-svm"), data=path)
    assert answer.exit_code == 2
    assert "fc-svm would need series" in answer.output


def test_a_whitened_checkpoint_has_a_whitened_control(probe, tmp_path, cohort, monkeypatch):
    monkeypatch.setattr("model.fitting.data.N_POPULATIONS", 2)
    data = open_data(FitConfig(), InputSpec(), simulation=None, seed=0)
    white, _ = whiten(load_encoder(cohort / "checkpoint"), data, shrinkage=0.3)
    builders.make_checkpoint(tmp_path / "white", white)
    words = ("--checkpoint", tmp_path / "white", "--repetitions", 1, "--n-crops", 2)
    control = ("random-linear", "random-whitened-linear")
    answer = probe("planted", *words, *only(*control))
    assert answer.exit_code == 0, answer.output
    assert list(results(tmp_path)["summary"]) == list(control)
    assert results(tmp_path)["checkpoint"]["RandomWhiteningShrinkage"] == 0.3


def test_the_control_of_weights_fitted_to_stored_scans_needs_these(
    probe, tmp_path, cohort, monkeypatch
):
    folder = make_shards(tmp_path / "study", 8)
    config = FitConfig(shards=(str(folder),))
    data = open_data(config, InputSpec(), simulation=None, seed=0)
    white, rows = whiten(load_encoder(cohort / "checkpoint"), data, shrinkage=0.3)
    builders.make_checkpoint(tmp_path / "white", white, fit=data.describe() | rows)
    words = ("--checkpoint", tmp_path / "white", "--repetitions", 1, "--n-crops", 2)
    with monkeypatch.context() as patched:  # nobody looks for them where it is not asked for
        patched.setattr("model.probing.probe.fit_of", None)
        answer = probe("planted", *words, "--fit-shards", folder, *only("linear"))
        assert answer.exit_code == 0, answer.output
    control = only("random-whitened-linear")
    words = (*words, "--overwrite")
    answer = probe("planted", *words, *control)
    assert answer.exit_code == 2
    assert "not at hand: study" in " ".join(answer.output.split())
    answer = probe("planted", *words, "--fit-shards", folder, *control)
    assert answer.exit_code == 0, answer.output
    assert results(tmp_path)["config"]["fit_shards"] == [str(folder)]


def test_an_encoder_that_is_not_whitened_has_no_whitened_control(probe):
    answer = probe("planted", *only("random-whitened-linear"))
    assert answer.exit_code == 2
    assert "no whitened control" in answer.output


def test_methods_are_all_those_the_help_page_promises():
    assert set(SERIES) < set(METHODS)
