"""Training: it learns, repeats, resumes, refuses, and leaves a checkpoint that says how."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_encoder
from model.errors import ConfigError
from model.pretraining import loop
from model.pretraining.command import run_pretraining
from model.pretraining.config import load_config
from model.pretraining.loop import Learner, TrainingError, compute_losses, draw_batch
from model.spec import CheckpointCard

RECIPES = Path(str(files("model").joinpath("data/pretraining")))
TINY = RECIPES / "tiny.toml"
SHORT = ("run.n_steps=6", "run.save_every=2")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tiny batches: on a busy machine threads cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of an uninterrupted short run."""
    out = tmp_path_factory.mktemp("run") / "out"
    run_pretraining(TINY, out, SHORT)
    return out


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(recipe):
    assert load_config(recipe).run.name.startswith("semantoks")


def test_losses_are_finite_and_fall_on_a_batch_seen_again(monkeypatch, tmp_path):
    config = load_config(TINY, overrides=("run.n_steps=15", "objective.mask_probability=1.0"))
    batch = draw_batch(config, 0)
    monkeypatch.setattr(loop, "draw_batch", lambda _config, _step: batch)
    loop.train(config, tmp_path)
    totals = [row["cls"] + row["token"] / 2 for row in log_of(tmp_path)]
    assert all(abs(total) < 100 for total in totals)
    assert min(totals[-3:]) < totals[0] - 0.1


def test_a_killed_run_goes_on_as_if_it_had_not_been(monkeypatch, tmp_path, finished):
    real = loop.train_step

    def killed(*arguments, step):
        if step == 5:
            raise KeyboardInterrupt
        return real(*arguments, step=step)

    monkeypatch.setattr(loop, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run_pretraining(TINY, tmp_path / "out", SHORT)
    assert len(log_of(tmp_path / "out")) == 5  # one step more than the saved state
    monkeypatch.setattr(loop, "train_step", real)
    run_pretraining(TINY, tmp_path / "out", SHORT)
    assert log_of(tmp_path / "out") == log_of(finished)
    weights = [
        folder / "checkpoint" / "weights.safetensors" for folder in (tmp_path / "out", finished)
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_card_says_how_the_weights_were_made(finished):
    card = CheckpointCard.load(finished / "checkpoint" / "card.json")
    assert card.training["config"] == json.loads((finished / "config.json").read_text())
    assert card.training["config"]["run"]["n_steps"] == 6
    assert card.training["final_losses"]["total"] < 0
    assert "48 simulated scans" in card.training["data"]
    assert card.input.normalization == "robust"


def test_the_checkpoint_holds_the_teacher(finished):
    encoder = load_encoder(finished / "checkpoint")
    state = torch.load(finished / "state.pt", weights_only=True)["learner"]
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, state[f"teacher.encoder.{name}"])
    assert not torch.equal(encoder.cls_token, state["student.encoder.cls_token"])


def test_another_seed_trains_other_weights(tmp_path, finished):
    run_pretraining(TINY, tmp_path / "out", (*SHORT, "run.seed=2"))
    assert log_of(tmp_path / "out")[0] != log_of(finished)[0]


def test_a_batch_depends_on_seed_and_step_only():
    config = load_config(TINY)
    first, again, other = (draw_batch(config, step) for step in (3, 3, 4))
    assert torch.equal(first.views, again.views)
    assert not torch.equal(first.views, other.views)


def test_about_half_of_the_batches_are_masked():
    config = load_config(TINY, overrides=("run.batch_size=1", "simulation.n_samples=100"))
    masked = [draw_batch(config, step).mask is not None for step in range(60)]
    assert 18 <= sum(masked) <= 42


def test_missing_networks_are_masked_for_both_and_predicted_by_none():
    config = load_config(
        TINY, overrides=("simulation.cut_probability=1.0", "objective.mask_probability=1.0")
    )
    batch = draw_batch(config, 0)
    assert batch.absent[:, :, 8].all()
    assert not (batch.mask & batch.absent).any()
    assert batch.mask.any(dim=(2, 3)).all()


def test_the_teacher_gets_no_gradient_and_the_student_does():
    config = load_config(TINY, overrides=("objective.mask_probability=1.0",))
    learner = Learner(config)
    losses = compute_losses(learner, draw_batch(config, 0), config.objective, ttr_weight=0.5)
    torch.autograd.backward(losses["total"])
    assert set(losses) == {"cls", "ttr", "token", "total"}
    assert all(p.grad is None for p in learner.teacher.parameters())
    assert all(p.grad is not None for p in learner.student.parameters())


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(monkeypatch, tmp_path):
    config = load_config(TINY)
    nan = {"total": torch.tensor(float("nan"))}
    monkeypatch.setattr(loop, "compute_losses", lambda *_, **__: nan)
    with pytest.raises(TrainingError, match=r"step 0 .* seed 1"):
        loop.train(config, tmp_path)
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.epochs=3", "epochs"),
        ("objective.ttr_rate=sum", "ttr_rate"),
        ("simulation.n_samples=60", "less than a window"),
        ("encoder.patch_samples=10", "patches"),
        ("run.readout=['everything']", "readout"),
        ("run.n_steps=0", "n_steps"),
        ("data.path=x", "section.key=value"),
        ("n_steps=3", "section.key=value"),
    ],
)
def test_a_setting_that_is_unknown_or_impossible_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(TINY, overrides=(override,))


def test_a_recipe_with_a_section_missing_is_refused(tmp_path):
    path = tmp_path / "half.toml"
    path.write_text(TINY.read_text().replace("[views]", "[vistas]"))
    with pytest.raises(ConfigError, match="vistas"):
        load_config(path)


def test_an_override_that_is_no_toml_is_a_string():
    assert load_config(TINY, overrides=("views.pairing=sessions",)).views.n_sessions == 2


def test_a_folder_with_another_run_is_refused(finished):
    with pytest.raises(ConfigError, match="other settings"):
        run_pretraining(TINY, finished, (*SHORT, "run.seed=9"))


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ConfigError, match="not empty"):
        run_pretraining(TINY, tmp_path, SHORT)
