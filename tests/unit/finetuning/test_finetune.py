"""The command finetune: what it learns, files that load, presets, what it refuses."""

from __future__ import annotations

import json
from importlib.util import find_spec

import builders
import numpy as np
import pandas as pd
import probe_builders
import pytest
import torch
from click.testing import CliRunner

from model.checkpoint import load_encoder
from model.cli.app import main
from model.errors import CheckpointError
from model.finetuning.options import FinetuneConfig
from model.finetuning.predictor import (
    HEAD_CARD,
    load_predictor,
    predict,
)
from model.preprocess import window
from model.series import ParcelSeries
from model.spec import InputSpec

needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("cohort")
    probe_builders.write_cohort(folder / "out", values)
    probe_builders.write_participants(folder / "participants.tsv", len(values))
    builders.make_checkpoint(folder / "checkpoint")
    return folder


def call(cohort, out, *words, target="planted", task="classification", rates=(3e-3,)):
    arguments = ["finetune", cohort / "out", cohort / "participants.tsv", out]
    arguments += ["--target", target, "--kind", task, "--checkpoint", cohort / "checkpoint"]
    arguments += ["--n-crops", 2, "--train-batch-size", 4, *words]
    arguments += [word for rate in rates for word in ("--learning-rate", rate)]
    return CliRunner().invoke(main, [str(word) for word in arguments])


@pytest.fixture(scope="module")
def finetuned(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("finetuned") / "run"
    answer = call(cohort, out, "--epochs", 8, "--frozen-epochs", 2)
    assert answer.exit_code == 0, answer.output
    return out


def test_a_planted_label_is_learned(finetuned):
    content = json.loads((finetuned / "results.json").read_text())
    by_method = {row["method"]: row for row in content["rows"]}
    assert set(by_method) == {"probe", "finetuned"}
    assert by_method["finetuned"]["scores"]["auc"] >= 0.75
    assert content["config"]["layer_decay"] == 0.9


def test_the_checkpoint_is_an_ordinary_one_that_says_where_it_comes_from(finetuned, cohort):
    base, ours = load_encoder(cohort / "checkpoint"), load_encoder(finetuned / "checkpoint")
    assert ours.card.training["base_weights_sha256"] == base.card.weights_sha256
    assert ours.card.name == "tiny-random-planted"
    assert ours.card.input == base.card.input
    assert not torch.equal(ours.norm.weight, base.norm.weight)


def test_the_saved_head_gives_the_predictions_of_the_results(finetuned, cohort):
    predictor, card = load_predictor(finetuned)
    table = pd.read_csv(finetuned / "predictions.tsv", sep="\t")
    row = table[table["method"] == "finetuned"].iloc[0]
    path = next((cohort / "out" / row["participant_id"]).rglob("*_timeseries.tsv"))
    series = ParcelSeries(values=pd.read_csv(path, sep="\t").to_numpy(), tr_s=2.0, unit="robust")
    # Two crops of 120 samples are what the windows of that scan are, too.
    scores = predict(predictor, card, window(series, InputSpec()))
    assert card.classes == ("a", "b")
    np.testing.assert_allclose(scores, row[["score_a", "score_b"]].astype(float), atol=1e-4)


def test_the_course_of_the_training_is_told(finetuned):
    table = pd.read_csv(finetuned / "epochs.tsv", sep="\t")
    assert table["frozen"].tolist()[:3] == [True, True, False]
    content = json.loads((finetuned / "results.json").read_text())
    best = next(row["setting"] for row in content["rows"] if row["method"] == "finetuned")
    assert best in table["epoch"].to_numpy()
    assert "<svg" in (finetuned / "epochs.svg").read_text()


def test_a_head_of_another_run_is_refused(finetuned, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finetuned, copy)
    card = json.loads((copy / HEAD_CARD).read_text()) | {"encoder_sha256": "other"}
    (copy / HEAD_CARD).write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="of different runs"):
        load_predictor(copy)


def test_a_number_is_learned_in_its_units(cohort, tmp_path):
    answer = call(
        cohort, tmp_path / "run", "--epochs", 6, "--frozen-epochs", 1,
        target="number", task="regression",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    table = pd.read_csv(tmp_path / "run" / "predictions.tsv", sep="\t")
    assert table["predicted"].between(-10, 20).all()
    _, card = load_predictor(tmp_path / "run")
    assert card.spread > 3


@pytest.fixture(scope="module")
def published(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "run"
    words = ("--preset", "published", "--epochs", 3, "--n-splits", 2, "--head", "mlp")
    answer = call(cohort, out, *words, rates=(1e-9, 1e-2))
    assert answer.exit_code == 0, answer.output
    return out


def test_the_preset_sets_what_is_not_given(published):
    config = json.loads((published / "results.json").read_text())["config"]
    assert config["readout"] == ["mean", "cls"]
    assert (config["keep"], config["frozen_epochs"], config["epochs"]) == ("last", 0, 3)
    assert config["train_crops"] == "random"
    assert config["decay_exempt"]
    assert config["scans"] == "one"


def test_every_repetition_begins_anew_and_leaves_its_weights(published, cohort):
    content = json.loads((published / "results.json").read_text())
    assert content["summary"]["finetuned"]["auc"]["n"] == 2
    assert [row["method"] for row in content["rows"]] == ["probe"] * 2 + ["finetuned"] * 2
    base = load_encoder(cohort / "checkpoint")
    for number in range(2):
        predictor, card = load_predictor(published / f"repetition-{number}")
        assert card.hidden == (512, 512, 256)
        assert [layer.out_features for layer in predictor.head.hidden] == [512, 512, 256]
        # The rate of 1e-9 moves nothing: the larger one was chosen, or both were level.
        assert predictor.encoder.spec == base.spec
    assert not (published / "unfinished").exists()


def test_a_run_that_was_stopped_does_no_repetition_twice(cohort, tmp_path, monkeypatch):
    from model.finetuning import finetune

    words = ("--epochs", 1, "--frozen-epochs", 0, "--n-splits", 2)
    fit_ = finetune.fit
    done = []

    def stopped(study, encoder):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(study.repetition)
        return fit_(study, encoder)

    monkeypatch.setattr(finetune, "fit", stopped)
    assert call(cohort, tmp_path / "run", *words).exit_code != 0
    monkeypatch.setattr(finetune, "fit", lambda *a: done.append(a[0].repetition) or fit_(*a))
    answer = call(cohort, tmp_path / "run", *words)
    assert answer.exit_code == 0, answer.output
    assert done == [0, 1]


def test_random_crops_are_other_ones_in_each_epoch_and_lie_within_the_scan(cohort):
    from model.finetuning.study import open_study

    config = FinetuneConfig(
        target="planted",
        task="classification",
        batch_size=4,
        n_crops=1,
        train_crops="random",
        readout=("cls",),
    )
    encoder = load_encoder(cohort / "checkpoint")
    study = open_study(cohort / "out", cohort / "participants.tsv", config, encoder)
    generator = torch.Generator().manual_seed(0)
    draw = study.training_crops()
    first, second = draw(generator), draw(generator)
    assert first.windows.values.shape == (len(study.split.train), 457, 100)
    assert set(first.windows.subjects) == set(study.split.train)
    assert not np.array_equal(first.windows.values, second.windows.values)
    subject, _, series = next(one for one in study.series if one.subject in study.split.train)
    row = first.windows.values[first.windows.subjects.index(subject)]
    starts = [np.array_equal(series.values[i : i + 100].T, row) for i in range(21)]
    assert sum(starts) == 1


@needs_peft
def test_adapters_end_in_an_ordinary_checkpoint(cohort, tmp_path):
    answer = call(cohort, tmp_path / "run", "--epochs", 2, "--frozen-epochs", 1, "--lora-rank", 2)
    assert answer.exit_code == 0, answer.output
    card = load_encoder(tmp_path / "run" / "checkpoint").card
    assert card.training["method"] == "LoRA, rank 2, merged"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--layer-decay", 1.5), "0<x<=1"),
        (("--learning-rate", -1), "x>0"),
        (("--epochs", 5), "would not learn"),
        (("--device", "cuda:99"), "device cuda:99"),
        (("--shares", 0.96, 0.02, 0.02), "too few subjects"),
    ],
)
def test_wrong_settings_are_one_clear_error_and_leave_nothing(cohort, tmp_path, words, message):
    answer = call(cohort, tmp_path / "run", *words, rates=())
    assert answer.exit_code in (1, 2)
    assert message in answer.output
    assert "Traceback" not in answer.output
    assert list(tmp_path.iterdir()) == []


def test_embeddings_cannot_be_fine_tuned_on(cohort, tmp_path):
    table = tmp_path / "group.parquet"
    table.touch()
    arguments = ["finetune", table, cohort / "participants.tsv", tmp_path / "run"]
    arguments += ["--target", "planted", "--kind", "classification"]
    answer = CliRunner().invoke(main, [str(word) for word in arguments])
    assert answer.exit_code == 2
    assert "needs series" in answer.output
