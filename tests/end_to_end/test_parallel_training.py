"""Pieces and processes change nothing but speed; a killed run goes on as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from shard_builders import make_shards

from model.errors import ConfigError
from model.pretraining.batches import Batch, draw_batch, draw_pieces
from model.pretraining.learner import Learner
from model.pretraining.parallel import Processes
from model.pretraining.pretrain import resume_pretraining, run_pretraining
from model.pretraining.recipes import load_config, recipe_path
from model.pretraining.step import Trainer

TINY = recipe_path("tiny")
ALONE = Processes(device=torch.device("cpu"))
# Both losses that couple the subjects of a batch, and the one that does not.
OBJECTIVE = ("objective.mask_probability=1.0", "objective.ttr_share=2.0")
PIECES = ("run.micro_batches=2", *OBJECTIVE)
FINAL_STEP = (
    "import sys, torch\n"
    "from model.pretraining.batches import draw_batch\n"
    "from model.pretraining.recipes import load_config, recipe_path\n"
    "from model.pretraining.learner import Learner\n"
    "from model.pretraining.parallel import assemble\n"
    "from model.pretraining.step import Trainer\n"
    "out, *overrides = sys.argv[1:]\n"
    "config = load_config(recipe_path('tiny'), overrides=tuple(overrides))\n"
    "with assemble('cpu') as processes:\n"
    "    trainer = Trainer(Learner(config), config, processes)\n"
    "    share = processes.pieces(config.run.micro_batches)\n"
    "    pieces = [draw_batch(config, 0, piece=p) for p in share]\n"
    "    losses = trainer.backward(pieces, ttr_weight=0.5, look=True)\n"
    "    found = {k: p.grad for k, p in trainer.learner.student.named_parameters()}\n"
    "    torch.save({'losses': losses, 'gradients': found}, f'{out}/rank{processes.rank}.pt')\n"
)
DYING = (
    "import os, sys\n"
    "from pathlib import Path\n"
    "from model.cli.app import main\n"
    "from model.pretraining.step import Trainer\n"
    "step_of = Trainer.step\n"
    "def step(self, number, pieces, *, look):\n"
    "    if number == 3 and self.processes.rank == 1:\n"
    "        os._exit(9)\n"
    "    return step_of(self, number, pieces, look=look)\n"
    "Trainer.step = step\n"
    "main(sys.argv[1:])\n"
)


def start(words, **more):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | {k: str(v) for k, v in more.items()}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(words):
    """Start two processes as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(words, RANK=rank, LOCAL_RANK=rank, **shared) for rank in (0, 1)]


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def whole_batch(config):
    """The pieces of a batch as one."""
    pieces = [draw_batch(config, 0, piece=p) for p in range(config.run.micro_batches)]
    names = ("views", "absent", "mask")
    return Batch(**{n: torch.cat([getattr(p, n) for p in pieces], dim=1) for n in names})


@pytest.fixture(scope="module")
def undivided():
    """Trainer after the backward pass of the whole batch at once, and its losses."""
    config = load_config(TINY, overrides=PIECES)
    trainer = Trainer(Learner(config), config, ALONE)
    losses = trainer.backward([whole_batch(config)], ttr_weight=0.5, look=True)
    return trainer, losses


def assert_same_gradients(trainer, gradients):
    for name, parameter in trainer.learner.student.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=2e-5)


def test_a_batch_in_pieces_has_the_gradient_of_the_whole(undivided):
    trainer, losses = undivided
    config = load_config(TINY, overrides=PIECES)
    divided = Trainer(Learner(config), config, ALONE)
    pieces = [draw_batch(config, 0, piece=p) for p in (0, 1)]
    found = divided.backward(pieces, ttr_weight=0.5, look=True)
    torch.testing.assert_close(found, losses, rtol=1e-4, atol=1e-5)
    gradients = {k: p.grad for k, p in divided.learner.student.named_parameters()}
    assert_same_gradients(trainer, gradients)


def test_pieces_are_the_same_drawn_together_or_apart():
    config = load_config(TINY, overrides=PIECES)
    together = draw_pieces(config, 0, cohort=None, pieces=(0, 1))
    for piece, drawn in enumerate(together):
        assert torch.equal(drawn.views, draw_batch(config, 0, piece=piece).views)
    assert not torch.equal(together[0].views, together[1].views)


@pytest.mark.gpu
def test_a_step_on_a_gpu_does_not_wait_for_it():
    processes = Processes(device=torch.device("cuda"))
    config = load_config(TINY, overrides=OBJECTIVE)
    trainer = Trainer(Learner(config), config, processes)
    pieces = draw_pieces(config, 0, cohort=None, pieces=(0,), device=processes.device)
    trainer.step(0, pieces, look=False)  # libraries are set up in the first
    torch.cuda.set_sync_debug_mode("error")
    values = trainer.step(1, pieces, look=False)
    torch.cuda.set_sync_debug_mode("default")
    assert values["total"].isfinite()


def test_gradients_of_pieces_on_their_own_do_not_add_up(undivided):
    # The coding rate couples the batch: this is why pieces need two passes.
    trainer, _ = undivided
    config = load_config(TINY, overrides=PIECES)
    apart = Trainer(Learner(config), config, ALONE)
    for piece in (0, 1):
        apart.backward([draw_batch(config, 0, piece=piece)], ttr_weight=0.5)
    mean = apart.learner.student.head.mlp[0].weight.grad / 2
    whole = trainer.learner.student.head.mlp[0].weight.grad
    assert (mean - whole).norm() > 0.05 * whole.norm()


@pytest.mark.parametrize("n_pieces", [2, 4])
def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(
    undivided, tmp_path, n_pieces
):
    overrides = (*PIECES, f"run.micro_batches={n_pieces}")
    processes = start_two(["-c", FINAL_STEP, tmp_path, *overrides])
    messages = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], messages
    config = load_config(TINY, overrides=overrides)
    trainer, losses = undivided
    if n_pieces != 2:
        trainer = Trainer(Learner(config), config, ALONE)
        losses = trainer.backward([whole_batch(config)], ttr_weight=0.5, look=True)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"rank{rank}.pt")
        torch.testing.assert_close(found["losses"], losses, rtol=1e-4, atol=1e-5)
        assert_same_gradients(trainer, found["gradients"])


def test_pieces_that_cannot_be_shared_are_refused():
    with pytest.raises(ConfigError, match="cannot be shared by 2 processes"):
        Processes(device=torch.device("cpu"), size=2).pieces(3)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("data") / "shards", 16)


def settings(shards, n_steps):
    text = TINY.read_text().replace("[simulation]\n", "")
    path = shards.parent / "recipe.toml"
    lists = "".join(f'{n} = "{n}.txt"\n' for n in ("train", "validation", "test"))
    path.write_text(f'{text}\n[data]\nshards = "{shards}"\n{lists}')
    steps = (f"run.n_steps={n_steps}", "run.save_every=3", "run.batch_size=4")
    return path, (*steps, "run.micro_batches=2")


def flags(overrides):
    return [word for override in overrides for word in ("--set", override)]


def test_a_run_killed_without_warning_goes_on_with_the_same_losses(shards, tmp_path):
    recipe, overrides = settings(shards, 24)
    run_pretraining(recipe, tmp_path / "whole", overrides)
    words = [
        "-c",
        "from model.cli.app import main; main()",
        "pretrain",
        recipe,
        tmp_path / "killed",
    ]
    process = start([*words, "--device", "cpu", *flags(overrides)])
    while not (tmp_path / "killed/state.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed/checkpoint").exists()
    before = (tmp_path / "killed/state.pt").read_bytes()
    resume_pretraining(tmp_path / "killed")
    assert (tmp_path / "killed/state.pt").read_bytes() != before
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    weights = [tmp_path / run / "checkpoint/weights.safetensors" for run in ("killed", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_that_is_told_to_end_says_how_to_go_on(shards, tmp_path):
    recipe, overrides = settings(shards, 10_000)
    words = ["-c", "from model.cli.app import main; main()", "pretrain", recipe, tmp_path / "out"]
    process = start([*words, "--device", "cpu", *flags(overrides)])
    while not (tmp_path / "out/state.pt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert message.endswith(f"resume {tmp_path / 'out'} goes on from the last saved state.\n")
    assert "Traceback" not in message


def test_two_processes_train_as_one_and_a_dead_one_stops_the_other(shards, tmp_path):
    recipe, overrides = settings(shards, 6)
    run_pretraining(recipe, tmp_path / "one", overrides)
    words = ["pretrain", recipe, tmp_path / "two", "--device", "cpu", *flags(overrides)]
    processes = start_two(["-c", DYING, *words])
    messages = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 9]
    assert "another is gone" in messages[0]
    assert "Traceback" not in messages[0]
    assert len(log_of(tmp_path / "two")) == 3
    resume_pretraining(tmp_path / "two")
    for found, expected in zip(log_of(tmp_path / "two"), log_of(tmp_path / "one"), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
