"""Training: it learns, repeats, resumes, refuses, and leaves a checkpoint that says how."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import builders
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import model.encoder
from model.checkpoint import load_encoder
from model.errors import CheckpointError, ConfigError, SemantoksError
from model.pretraining import pretrain
from model.pretraining.batches import draw_batch
from model.pretraining.learner import Learner
from model.pretraining.parallel import Processes
from model.pretraining.pretrain import run_pretraining
from model.pretraining.recipes import load_config, recipe_path
from model.pretraining.run_folder import Log, TrainingError, git_revision
from model.pretraining.step import Trainer
from model.spec import CheckpointCard

RECIPES = Path(str(files("model").joinpath("data/pretraining")))
TINY = RECIPES / "tiny.toml"
ALONE = Processes(device=torch.device("cpu"))
SHORT = ("run.n_steps=6", "run.save_every=2")


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


def test_losses_are_finite_and_fall_on_a_batch_seen_again():
    config = load_config(TINY, overrides=("run.n_steps=15", "objective.mask_probability=1.0"))
    batch = draw_batch(config, 0)
    trainer = Trainer(Learner(config), config, ALONE)
    rows = [trainer.step(step, [batch], look=False) for step in range(15)]
    totals = [float(row["cls"] + row["token"] / 2) for row in rows]
    assert all(abs(total) < 100 for total in totals)
    assert min(totals[-3:]) < totals[0] - 0.1


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
    trainer = Trainer(Learner(config), config, ALONE)
    losses = trainer.backward([draw_batch(config, 0)], ttr_weight=0.5)
    assert set(losses) == {"cls", "ttr", "token", "total"}
    assert all(p.grad is None for p in trainer.learner.teacher.parameters())
    assert all(p.grad is not None for p in trainer.learner.student.parameters())


def test_settings_and_provenance_are_saved_before_work_starts(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretrain, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        run_pretraining(TINY, tmp_path / "out", SHORT)
    assert json.loads((tmp_path / "out/config.json").read_text())["run"]["n_steps"] == 6
    saved = json.loads((tmp_path / "out/provenance.json").read_text())
    assert saved["git_revisions"] == [git_revision()]


def test_curves_and_indicators_are_left(finished):
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")
    last = log_of(finished)[-1]
    assert 1 <= last["rankme_cls"] <= 16
    assert 0 < last["teacher_std"] < 1.1


def test_progress_tells_losses_indicators_and_speed(tmp_path):
    lines = []
    run_pretraining(TINY, tmp_path / "out", ("run.n_steps=2",), report=lines.append)
    assert len(lines) == 1
    assert all(w in lines[0] for w in ("step 2/2", "cls", "rankme", "teacher_std", "subjects/s"))


class NoWaiting(TorchDispatchMode):
    """Refuses operations that wait for a device to say what a number is."""

    WAITING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")

    def __torch_dispatch__(self, function, _types, arguments=(), options=None):
        assert function.overloadpacket.__name__ not in self.WAITING, function
        return function(*arguments, **(options or {}))


def test_losses_and_gradients_are_computed_without_waiting_for_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(model.encoder, "_waits", lambda _x: True)
    config = load_config(TINY, overrides=("objective.mask_probability=1.0",))
    trainer = Trainer(Learner(config), config, ALONE)
    pieces, log = [draw_batch(config, 0)], Log(tmp_path, lambda _step: [])
    with NoWaiting():
        log.add(0, trainer.backward(pieces, ttr_weight=0.5))
    assert not (tmp_path / "log.jsonl").exists()
    with NoWaiting(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        float(torch.zeros(()))


@pytest.mark.parametrize("bad_step", [0, 3])
def test_a_loss_that_is_not_finite_stops_and_names_the_batch(monkeypatch, tmp_path, bad_step):
    real = Trainer.step

    def broken(self, step, pieces, *, look):
        values = real(self, step, pieces, look=look)
        return values | ({"total": torch.tensor(float("nan"))} if step == bad_step else {})

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.raises(
        TrainingError, match=rf"at step {bad_step}\. .*draw_batch\(config, {bad_step}"
    ):
        run_pretraining(TINY, tmp_path / "out", ("run.n_steps=8", "run.save_every=5"))
    assert len(log_of(tmp_path / "out")) == bad_step
    assert not (tmp_path / "out/state.pt").exists()
    failure = json.loads((tmp_path / "out/failed_batch.json").read_text())
    assert failure["step"] == bad_step


@pytest.mark.parametrize(
    "option",
    [
        "head_layers=2",
        "mask_counts=rounded",
        "ttr_average=projections",
        "ttr_rate=per_network_sum",
        "rate_on=student",
        "rate_centred=true",
        "distance=squared",
        "masked_reduction=sum",
    ],
)
def test_every_variant_of_the_paper_changes_the_loss(option):
    both = ("objective.mask_probability=1.0", "run.seed=3")
    losses = []
    for more in ((), (f"objective.{option}",)):
        config = load_config(TINY, overrides=(*both, *more))
        trainer = Trainer(Learner(config), config, ALONE)
        losses.append(float(trainer.backward([draw_batch(config, 0)], ttr_weight=0.5)["total"]))
    assert losses[0] != losses[1]
    assert all(abs(loss) < 1000 for loss in losses)


def test_bf16_gives_nearly_the_losses_of_fp32():
    losses = []
    for precision in ("fp32", "bf16"):
        config = load_config(TINY, overrides=(f"run.precision={precision}",))
        trainer = Trainer(Learner(config), config, ALONE)
        found = trainer.backward([draw_batch(config, 0)], ttr_weight=0.5)
        assert all(p.grad.dtype == torch.float32 for p in trainer.learner.student.parameters())
        losses.append(float(found["total"]))
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_an_absent_checkpoint_to_start_from_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        load_config(TINY, overrides=(f"run.init={tmp_path / 'nowhere'}",))


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    start = builders.make_checkpoint(tmp_path / "other")
    overrides = (*SHORT, f"run.init={start}", "encoder.dim=32")
    with pytest.raises(ConfigError, match="the checkpoint has dim 16, not 32 as in the settings"):
        run_pretraining(TINY, tmp_path / "out", overrides)


def test_training_goes_on_from_a_checkpoint_and_the_card_names_it(tmp_path, finished):
    start = finished / "checkpoint"
    overrides = ("run.n_steps=1", f"run.init={start}", "optimizer.learning_rate=0.0")
    run_pretraining(TINY, tmp_path / "out", overrides)
    parent = CheckpointCard.load(start / "card.json")
    card = CheckpointCard.load(tmp_path / "out/checkpoint/card.json")
    assert card.training["parent"]["weights_sha256"] == parent.weights_sha256
    assert "semantoks-tiny" in card.source
    # A rate of zero: the weights that it started from are the weights that it ends with.
    for name, value in load_encoder(tmp_path / "out/checkpoint").state_dict().items():
        torch.testing.assert_close(value, load_encoder(start).state_dict()[name])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.epochs=3", "epochs"),
        ("objective.ttr_rate=sum", "ttr_rate"),
        ("simulation.n_samples=60", "less than a window"),
        ("encoder.patch_samples=10", "patches"),
        ("run.readout=['everything']", "readout"),
        ("run.n_steps=-1", "n_steps"),
        ("data.path=x", "unknown keys"),
        ("dataset.path=x", "section.key=value"),
        ("run.micro_batches=3", "cannot be divided"),
        ("run.precision=fp8", "precision"),
        ("objective.mask_ratio=[0.7, 0.75]", "mask_ratio"),
        ("objective.distance=manhattan", "distance"),
        ("n_steps=3", "section.key=value"),
        ("views.pairing=subjects", "pairing 'subjects' .expected one of 'scan', 'sessions'"),
        ("run.n_steps=10.5", "n_steps 10.5 .expected a whole number"),
        ("run.n_steps=true", "n_steps True .expected a whole number"),
        ("run.seed=-1", ".run.: found seed -1 .expected a whole number from 0"),
        ("run.init=5", "init 5 .expected text"),
        ("run.whitening=5", "whitening 5 .expected a finite number from 0 to 1"),
        ("run.readout=['cls', 'cls']", "each once"),
        ("optimizer.learning_rate=fast", "learning_rate 'fast' .expected a finite number"),
        ("optimizer.learning_rate=nan", "learning_rate nan .expected a finite number"),
        ("optimizer.learning_rate=-1", "learning_rate -1 .expected a finite number at least 0"),
        ("optimizer.weight_decay=[0.1]", "weight_decay .*expected a list, 2 of a finite"),
        ("optimizer.clip_norm=0", "clip_norm 0 .expected a finite number above 0"),
        ("objective.head_out=0", "head_out 0 .expected a whole number at least 1"),
        ("objective.rate_centred=1", "rate_centred 1 .expected true or false"),
        ("views.parcels_zeroed=[0.0, 2.0]", "parcels_zeroed .*2 of a finite number from 0 to 1"),
        ("simulation.n_states=0", "n_states 0 .expected a whole number at least 1"),
        ("simulation.dwell_s=0", "dwell_s 0 .expected a finite number above 0"),
        ("input.band_hz=[0.1, 0.01]", "lower and the upper edge"),
    ],
)
def test_a_setting_that_is_unknown_or_impossible_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(TINY, overrides=(override,))


def test_all_settings_of_another_kind_are_told_at_once():
    overrides = ("run.seed=x", "run.n_steps=many")
    with pytest.raises(ConfigError, match=r"seed 'x' .*, n_steps 'many' "):
        load_config(TINY, overrides=overrides)


def test_a_recipe_with_a_value_in_place_of_a_section_is_refused(tmp_path):
    path = tmp_path / "flat.toml"
    path.write_text("run = 3")
    with pytest.raises(ConfigError, match=r"sections .* found \['run'\]"):
        load_config(path)


def test_a_recipe_of_no_such_name_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match="adapt, bundled, published, simulated, tiny"):
        load_config(recipe_path("bundeld"))


def test_a_recipe_with_a_section_missing_is_refused(tmp_path):
    path = tmp_path / "half.toml"
    path.write_text(TINY.read_text().replace("[views]", "[vistas]"))
    with pytest.raises(ConfigError, match=r"missing: \['views'\], unknown: \['vistas'\]"):
        load_config(path)


def test_a_recipe_with_simulation_and_data_is_refused():
    names = ("shards", "train", "validation", "test")
    with pytest.raises(ConfigError, match="found both"):
        load_config(TINY, overrides=tuple(f"data.{name}=x" for name in names))


def test_an_override_that_is_no_toml_is_a_string():
    assert load_config(TINY, overrides=("views.pairing=sessions",)).views.n_sessions == 2


def test_a_folder_with_another_run_is_refused(finished):
    with pytest.raises(ConfigError, match=r"other settings: run\.seed 1, now 9\."):
        run_pretraining(TINY, finished, (*SHORT, "run.seed=9"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("state.pt", b"nonsense", "damaged, or the state of another architecture"),
        ("log.jsonl", b"", "a line for each of 6 steps done, found 0"),
        ("provenance.json", b"[]", "expected a JSON object"),
        ("config.json", b"[]", "not the settings of a run"),
    ],
)
def test_a_damaged_run_is_refused_in_a_few_words(tmp_path, finished, file, content, message):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(content)
    with pytest.raises(SemantoksError, match=message) as error:
        run_pretraining(TINY, tmp_path / "run", SHORT)
    assert len(str(error.value)) < 400


def test_a_disk_that_is_full_is_told(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model.pretraining.run_folder.torch.save", full)
    with pytest.raises(TrainingError, match="No space left"):
        run_pretraining(TINY, tmp_path / "run", SHORT)


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(ConfigError, match="not empty"):
        run_pretraining(TINY, tmp_path, SHORT)
