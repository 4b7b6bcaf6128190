"""Pretrain from a TOML file: folder, provenance, training, checkpoint."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import save_checkpoint
from model.errors import ConfigError
from model.pretraining.config import PretrainConfig, load_config
from model.pretraining.loop import LOG_FILE, train

CONFIG_FILE = "config.json"
CHECKPOINT_FOLDER = "checkpoint"
FINAL_STEPS = 50
"""The card's final losses are averages over this many last steps."""


def run_pretraining(config_path: Path, out: Path, overrides: tuple[str, ...] = ()) -> Path:
    """Pretrain an encoder and write its checkpoint; continue where a killed run stopped.

    Parameters
    ----------
    config_path
        TOML as `model.pretraining.config.load_config` reads it.
    out
        Gets ``config.json`` (every setting, before work starts), ``log.jsonl``, ``state.pt``
        and in the end ``checkpoint/``.
    overrides
        ``section.key=value`` pairs.

    Returns
    -------
    Folder of the checkpoint.

    Raises
    ------
    ConfigError
        The configuration is wrong, or ``out`` holds a run with another one.
    TrainingError
        A loss is not finite.
    """
    config = load_config(config_path, overrides=overrides)
    _claim(out, config)
    revision = git_revision()
    encoder, seconds = train(config, out)
    folder = out / CHECKPOINT_FOLDER
    save_checkpoint(
        folder,
        encoder,
        name=config.run.name,
        version=config.run.version,
        input=config.input,
        readout=config.run.readout,
        source="trained by semantoks from random weights on simulated series only",
        licence="Apache-2.0",
        training=describe_training(config, out, seconds=seconds, revision=revision),
    )
    return folder


def _claim(out: Path, config: PretrainConfig) -> None:
    """Write the resolved configuration, or check that the folder belongs to this very run."""
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    path = out / CONFIG_FILE
    out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(
                f"{out} holds a run with other settings ({path.name} differs).",
                hint="Name a new folder, or go on with the settings it was started with.",
            )
    elif any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no run.", hint="Name a new folder.")
    else:
        path.write_text(text, encoding="utf-8")


def describe_training(
    config: PretrainConfig, out: Path, *, seconds: float, revision: str | None
) -> dict[str, Any]:
    """Say how the weights were made, for the card."""
    lines = (out / LOG_FILE).read_text(encoding="utf-8").splitlines()
    last = [json.loads(line) for line in lines[-FINAL_STEPS:]]
    names = sorted({name for row in last for name in row} - {"step"})
    final = {n: [row[n] for row in last if n in row] for n in names}
    n_drawn = config.run.n_steps * config.run.batch_size
    n_scans = min(config.run.n_subjects or n_drawn, n_drawn) * config.views.n_sessions
    repeats = n_drawn * config.views.n_sessions / n_scans
    used = "each used once" if repeats == 1 else f"each used {repeats:g} times on average"
    return {
        "objective": "self-distillation of Brain-Semantoks (arXiv 2512.11582), teacher kept",
        "data": f"{n_scans} simulated scans, {used}; no real scan",
        "config": config.to_dict(),
        "seconds": round(seconds, 1),
        "final_losses": {n: round(sum(v) / len(v), 4) for n, v in final.items()},
        "git_revision": revision,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


def git_revision() -> str | None:
    """Return the commit of this source tree, ``-dirty`` if changed; None outside a checkout."""
    git, root = shutil.which("git"), Path(__file__).resolve().parents[2]
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
