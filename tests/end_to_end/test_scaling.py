"""Scaling: rows are separate, resumable, marked where they failed; the law is found again."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from shard_builders import noise_scans

from model.checkpoint import load_encoder
from model.cli.app import main
from model.errors import ConfigError
from model.pretraining.batches import draw_batch
from model.pretraining.recipes import load_config
from model.pretraining.run_folder import TrainingError
from model.scaling import scale as scaling
from model.scaling.grid import load_plan
from model.scaling.law import fit_law
from model.shards.store import write_shards
from model.shards.subjects import write_lists
from model.spec import InputSpec

RECIPE = (Path(str(files("model"))) / "data/pretraining/tiny.toml").read_text()
PLAN = """\
recipe = "recipe.toml"
sizes = [16, 8]
seeds = [1, 2]

[held_out]
n_subjects = 4
n_samples = 140
seed = 7
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("n_steps = 20", "n_steps = 3"))
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path / "plan.toml"


STORED_PLAN = """\
recipe = "recipe.toml"
sizes = [4, 8]
seeds = [1]

[[probe]]
of = "held out"
participants = "people.tsv"
target = "group"
task = "classification"
repetitions = 2
epochs = 3
shares = [0.5, 0.25, 0.25]
"""


@pytest.fixture
def stored_plan(tmp_path, monkeypatch):
    """A plan of stored series: twelve to train on, one to validate, twelve held out."""
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / "shards", noise_scans(25), InputSpec(), made_from="noise")
    names = [f"sub-{i:02d}" for i in range(25)]
    lists = {"train": names[:12], "validation": names[12:13], "test": names[13:]}
    write_lists(tmp_path / "shards", lists)
    data = '[data]\nshards = "shards"\n' + "".join(f'{n} = "{n}.txt"\n' for n in lists)
    recipe = RECIPE.replace("n_steps = 20", "n_steps = 3").replace("[simulation]\n", data)
    (tmp_path / "recipe.toml").write_text(recipe.replace("batch_size = 8", "batch_size = 4"))
    rows = [f"{name}\t{'ab'[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "people.tsv").write_text("\n".join(["participant_id\tgroup", *rows]) + "\n")
    (tmp_path / "plan.toml").write_text(STORED_PLAN)
    return tmp_path / "plan.toml"


@pytest.fixture
def failing(monkeypatch):
    """Make the training of one row fail."""
    real = scaling.run_pretraining

    def fail(recipe, folder, overrides, *, device):
        if overrides == ("run.n_subjects=8", "run.seed=2"):
            raise TrainingError("expected a finite loss, found nan")
        return real(recipe, folder, overrides, device=device)

    monkeypatch.setattr(scaling, "run_pretraining", fail)
    return monkeypatch, real


def rows_of(out):
    return {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("rows/*.json"))}


def scale(plan):
    call = ["scale", str(plan), str(plan.parent / "out"), "--device", "cpu"]
    return CliRunner().invoke(main, call)


def test_every_row_has_its_scores_and_says_what_it_was(plan):
    answer = scale(plan)
    assert answer.exit_code == 0, answer.output
    rows = rows_of(plan.parent / "out")
    assert len(rows) == 4
    row = rows["size-000008_seed-2"]
    assert row["status"] == "done"
    assert row["overrides"] == ["run.n_subjects=8", "run.seed=2"]
    assert row["recipe"]["run"]["n_steps"] == 3
    assert len({r["subjects_sha256"] for r in rows.values()}) == 4
    for at in ("start", "scores"):
        assert 0 <= row[at]["simulated"]["window, raw, identification"] <= 100
    summary = json.loads((plan.parent / "out" / "scaling.json").read_text())
    assert summary["failed"] == []
    assert {law["n_rows"] for law in summary["laws"]} == {4}
    assert (plan.parent / "out" / "scaling.png").stat().st_size > 1000
    header, *lines = (plan.parent / "out" / "scaling.tsv").read_text().splitlines()
    assert "simulated: scan, raw, identification, at the start" in header.split("\t")
    assert len(lines) == 4


def test_without_learning_the_gain_is_nothing(plan):
    path = plan.parent / "recipe.toml"
    path.write_text(path.read_text().replace("learning_rate = 0.001", "learning_rate = 0.0"))
    assert scale(plan).exit_code == 0
    summary = json.loads((plan.parent / "out" / "scaling.json").read_text())
    gains = [g for law in summary["laws"] for found in law["gains"].values() for g in found]
    assert len(gains) == 4 * len(summary["laws"])
    assert set(gains) == {0.0}


def test_first_weights_and_whitening_are_no_gain_of_training(plan, monkeypatch):
    """The control has what the run begins and ends with, not random weights of another kind."""
    monkeypatch.setattr("model.fitting.data.N_POPULATIONS", 3)
    path = plan.parent / "recipe.toml"
    text = path.read_text().replace("learning_rate = 0.001", "learning_rate = 0.0")
    path.write_text(text.replace("seed = 1", 'seed = 1\ninit = "centred"\nwhitening = 0.3'))
    assert scale(plan).exit_code == 0
    for row in rows_of(plan.parent / "out").values():
        assert row["start"] == row["scores"]
    folder = plan.parent / "out" / "runs"
    start, trained = (
        load_encoder(folder / name / "checkpoint")
        for name in ("start_seed-1", "size-000008_seed-1")
    )
    assert start.spec.whitened
    for name, value in start.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name])


def test_training_moves_the_scores_of_its_start(plan):
    scale(plan)
    rows = rows_of(plan.parent / "out")
    assert all(row["start"] != row["scores"] for row in rows.values())
    # Of one seed the start is one, whatever the size of what is learned from.
    of_seed = {row["seed"]: [] for row in rows.values()}
    for row in rows.values():
        of_seed[row["seed"]].append(row["start"])
    assert all(first == second for first, second in of_seed.values())
    made = {path.name for path in (plan.parent / "out" / "runs").iterdir()}
    assert made == {*rows, "start_seed-1", "start_seed-2"}


def test_stored_series_are_learned_from_in_nested_parts_and_probed(stored_plan):
    answer = scale(stored_plan)
    assert answer.exit_code == 0, answer.output
    rows = rows_of(stored_plan.parent / "out")
    row = rows["size-000004_seed-1"]
    assert set(row["scores"]) == {"held out", "held out, group"}
    assert 0 <= row["scores"]["held out, group"]["probe, balanced_accuracy"] <= 100
    cards = {
        name: json.loads(
            (stored_plan.parent / f"out/runs/{name}/checkpoint/card.json").read_text()
        )
        for name in rows
    }
    used = {n: c["training"]["data"]["lists"]["train"]["n_subjects"] for n, c in cards.items()}
    assert used == {"size-000004_seed-1": 4, "size-000008_seed-1": 8}
    assert len({row["subjects_sha256"] for row in rows.values()}) == 2


def test_one_session_of_everybody_is_compared_in_halves(stored_plan):
    shutil.rmtree(stored_plan.parent / "shards")
    folder = stored_plan.parent / "shards"
    write_shards(folder, noise_scans(25, n_sessions=1), InputSpec(), made_from="noise")
    names = [f"sub-{i:02d}" for i in range(25)]
    write_lists(folder, {"train": names[:12], "validation": names[12:13], "test": names[13:]})
    assert scale(stored_plan).exit_code == 0
    assert (
        "held out, halves" in rows_of(stored_plan.parent / "out")["size-000004_seed-1"]["scores"]
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('of = "held out"', 'of = "outputs"', "nobody to probe for outputs, group"),
        ('of = "held out"', 'of = "train"', "'held out', 'outputs'"),
        ('of = "held out"\n', "", "expected text for of"),
        ("epochs = 3", 'methods = ["fc-svm"]', "expected some of probe, linear"),
        ("epochs = 3", 'splits = "x.tsv"', "no table of them is read"),
        ("epochs = 3", "epoch = 3", "unknown keys .'epoch'."),
        ("[[probe]]", "[held_out]\nn_subjects = 4\n[[probe]]", "none with one that learns"),
        ("sizes = [4, 8]", "sizes = [2, 8]", "run.n_subjects 2 .* a batch of 4"),
    ],
)
def test_a_plan_of_stored_series_is_checked_too(stored_plan, old, new, message):
    stored_plan.write_text(STORED_PLAN.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_plan(stored_plan)


def test_more_subjects_than_there_are_are_refused_before_any_work(stored_plan):
    stored_plan.write_text(STORED_PLAN.replace("[4, 8]", "[4, 40]"))
    answer = scale(stored_plan)
    assert answer.exit_code == 1
    assert "at least 40 subjects to choose from, found 12" in answer.output
    assert not (stored_plan.parent / "out").exists()


def test_a_failed_row_has_no_score_and_the_others_go_on(plan, failing):
    monkeypatch, real = failing
    answer = scale(plan)
    assert answer.exit_code == 1
    assert "1 of 4 rows failed" in answer.output
    assert "Traceback" not in answer.output
    rows = rows_of(plan.parent / "out")
    failed = rows["size-000008_seed-2"]
    assert failed["status"] == "failed"
    assert "finite loss" in failed["reason"]
    assert "scores" not in failed
    assert rows["size-000016_seed-2"]["status"] == "done"
    times = {p: p.stat().st_mtime_ns for p in (plan.parent / "out" / "rows").iterdir()}
    monkeypatch.setattr(scaling, "run_pretraining", real)
    assert scale(plan).exit_code == 0
    changed = [p.stem for p, t in times.items() if p.stat().st_mtime_ns != t]
    assert changed == ["size-000008_seed-2"]


def test_a_killed_analysis_goes_on_with_the_row_it_was_at(plan, monkeypatch):
    real = scaling.run_pretraining

    def killed(recipe, folder, overrides, *, device):
        if overrides == ("run.n_subjects=16", "run.seed=1"):
            raise KeyboardInterrupt
        return real(recipe, folder, overrides, device=device)

    monkeypatch.setattr(scaling, "run_pretraining", killed)
    assert scale(plan).exit_code != 0
    before = rows_of(plan.parent / "out")
    assert "size-000016_seed-1" not in before
    monkeypatch.setattr(scaling, "run_pretraining", real)
    assert scale(plan).exit_code == 0
    after = rows_of(plan.parent / "out")
    assert len(after) == 4
    assert before.items() <= after.items()


def test_another_plan_in_the_same_folder_is_refused(plan):
    scale(plan)
    plan.write_text(PLAN.replace("seeds = [1, 2]", "seeds = [1, 3]"))
    answer = scale(plan)
    assert answer.exit_code == 2
    assert "other settings" in answer.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[16, 8]", "[12, 8]", "whole number of batches"),
        ("[16, 8]", "[8]", "two or more"),
        ("[16, 8]", "[8, 8]", "differ"),
        ("[1, 2]", "[]", "differ"),
        ("[1, 2]", '["a"]', "each a whole number"),
        ("[1, 2]", "[true]", "each a whole number"),
        ("[16, 8]", "8", "a list"),
        ("[16, 8]", "[0, 8]", "from 1 on"),
        ("n_samples = 140", "n_samples = 50", "at least a window of 100"),
        ("seed = 7", "seed = -7", "from 0 to"),
        ("seed = 7", "sed = 7", "sed"),
        ("recipe.toml", "absent.toml", r"absent\.toml"),
        ("n_subjects = 4", "n_subjects = 1", "at least 2"),
        ("sizes", "size", "unknown keys"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_before_any_work(plan, old, new, message):
    plan.write_text(PLAN.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_plan(plan)


@pytest.mark.parametrize("name", ["simulated", "whitened"])
def test_a_shipped_plan_is_valid(name):
    shipped = load_plan(Path(str(files("model"))) / f"data/scaling/{name}.toml")
    assert len(shipped.sizes) >= 3
    assert len(shipped.seeds) >= 3
    assert max(shipped.sizes) == shipped.recipe.run.n_steps * shipped.recipe.run.batch_size


def batches(plan, n_subjects, steps):
    config = load_config(
        plan.parent / "recipe.toml",
        overrides=(f"run.n_subjects={n_subjects}", "views.parcels_zeroed=[0.0, 0.0]"),
    )
    return [draw_batch(config, step).views for step in steps]


def test_the_subjects_of_a_pool_come_round_again_in_other_views(plan):
    first, second, third = batches(plan, 16, (0, 1, 2))

    def alike(a, b):
        a, b = (torch.corrcoef(x[0, 0]).nan_to_num().flatten() for x in (a, b))
        return torch.corrcoef(torch.stack([a, b]))[0, 1]

    assert alike(first, third) > alike(first, second) + 0.2
    assert not torch.equal(first, third)


def test_a_larger_pool_holds_the_smaller_one(plan):
    assert torch.equal(*batches(plan, 8, (0,)), *batches(plan, 16, (0,)))


def test_the_law_that_made_the_gains_is_found_again():
    rng = np.random.default_rng(0)
    gains = {
        n: list(3.0 + 2.0 * np.log10(n) + 0.3 * rng.normal(size=5)) for n in (10, 100, 1000, 10000)
    }
    law = fit_law(gains)
    assert law.per_decade == pytest.approx(2.0, abs=0.2)
    assert law.at_one == pytest.approx(3.0, abs=0.6)
    low, high = law.per_decade_interval
    assert low < 2.0 < high
    assert high - low < 0.6
    assert law.r_squared > 0.98


def test_a_law_from_single_seeds_has_no_interval():
    law = fit_law({10: [1.0, 2.0], 100: [3.0], 1000: [5.0, 4.0]})
    assert law.per_decade == pytest.approx(1.5)
    assert law.per_decade_interval is None
    assert law.band == []


def test_outputs_that_are_not_there_leave_no_plan_behind(plan):
    plan.write_text(PLAN.replace("[held_out]", 'outputs = "nowhere"\n[held_out]'))
    answer = scale(plan)
    assert answer.exit_code == 1
    assert "no embedded run" in answer.output
    assert not (plan.parent / "out").exists()


@pytest.mark.parametrize("gains", [{}, {10: [1.0, 2.0]}, {10: [1.0], 100: []}])
def test_fewer_than_two_sizes_have_no_law(gains):
    assert fit_law(gains) is None
