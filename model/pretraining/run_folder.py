"""What lies in a run's folder: settings and provenance, then log and state, each whole."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from model.errors import ConfigError, SemantoksError
from model.files.faults import faults_as
from model.files.read import parse_json, read_json, read_text
from model.files.settings import from_dict
from model.files.write import json_bytes, write_whole
from model.partition.groups import NETWORK_GROUPS, Group, summary
from model.pretraining.settings import BUNDLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from model.pretraining.settings import PretrainConfig
    from model.pretraining.step import Trainer
    from model.shards.stored import Shards
    from model.shards.subjects import SubjectList
    from model.spec import CheckpointCard


CONFIG_FILE, PROVENANCE_FILE = "config.json", "provenance.json"
SHARDS_FOLDER = "shards"
"""Where an adaptation keeps its data, which it writes before all else."""


LOG_FILE, STATE_FILE, FAILURE_FILE = "log.jsonl", "state.pt", "failed_batch.json"
SHOWN = 5
_GROUPS = "encoder.groups"
"""Members of a batch in a message."""


def describe_data(shards: Shards, lists: Mapping[str, SubjectList]) -> dict[str, Any]:
    """Name the data to the byte: hashes of the index and of the lists of subjects."""
    description = shards.description
    return {
        "made_from": description.made_from,
        "licence": description.licence,
        "index_sha256": description.index_sha256,
        "n_scans": description.n_scans,
        "lists": {
            name: {"n_subjects": len(found.subjects), "sha256": found.sha256}
            for name, found in lists.items()
        },
    }


def describe_parent(card: CheckpointCard, init: str) -> dict[str, str]:
    """Name the checkpoint that a run starts from."""
    return {
        "init": init if init == BUNDLED else Path(init).name,
        "name": card.name,
        "version": card.version,
        "weights_sha256": card.weights_sha256,
        "source": card.source,
    }


def claim(
    out: Path,
    config: PretrainConfig,
    *,
    data: dict[str, Any] | None,
    parent: dict[str, str] | None,
    fit: dict[str, Any] | None,
) -> dict[str, Any]:
    """Write settings and provenance, or check that the folder belongs to this very run.

    Returns
    -------
    The provenance: ``git_revisions`` (one, unless the code changed between kill and resume),
    ``torch``, ``machine``, ``data``, ``parent`` and ``fit``.

    Raises
    ------
    ConfigError
        The folder holds another run, or other things, or data, parent or scans to fit to are not
        those that the run was started with.
    """
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    path = out / CONFIG_FILE
    now = _provenance(data, parent, fit)
    if path.exists():
        _refuse_changes(path, json.loads(text))
        now = _same_run(out / PROVENANCE_FILE, now)
    elif out.exists() and any(p.name != SHARDS_FOLDER for p in out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no run.", hint="Name a new folder.")
    # The settings last: where they are, the provenance is too.
    write_whole({out / PROVENANCE_FILE: (json.dumps(now, indent=2) + "\n").encode()})
    write_whole({path: text.encode()})
    return now


def _refuse_changes(path: Path, now: dict[str, Any]) -> None:
    """Compare with the settings that a run was started with; name those that differ."""
    with faults_as(ConfigError, what="not the settings of a run", hint="Name a new folder."):
        saved = read_json(path, needs=dict.fromkeys(now, dict))
    then, now = (
        {f"{name}.{key}": value for name, table in run.items() for key, value in table.items()}
        for run in (saved, now)
    )
    changed = [
        f"{key} {_said(key, then.get(key))}, now {_said(key, now.get(key))}"
        for key in {**then, **now}
        if key not in then or key not in now or then[key] != now[key]
    ]
    if changed:
        raise ConfigError(
            f"{path.parent} holds a run with other settings: {'; '.join(changed)}.",
            hint="Name a new folder, or go on with the settings it was started with.",
        )


def _said(key: str, value: Any) -> str:
    """Show a setting; groups of parcels by their names."""
    if key != _GROUPS or not isinstance(value, list | None):
        return repr(value)
    groups = tuple(from_dict(Group, each, where=key) for each in value or ())
    return summary(groups or NETWORK_GROUPS)


def _provenance(
    data: dict[str, Any] | None, parent: dict[str, str] | None, fit: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "git_revisions": [git_revision()],
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "data": data,
        "parent": parent,
        "fit": fit,
    }


def _same_run(path: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Return the saved provenance, with the present revision; other data are refused."""
    with faults_as(ConfigError, hint="Name a new folder."):
        then = read_json(path)
    if not now.keys() <= then.keys():
        raise ConfigError(f"{path}: not the provenance of a run.", hint="Name a new folder.")
    for what in ("data", "parent", "fit"):
        if then[what] != now[what]:
            raise ConfigError(
                f"{path.parent}: the {what} of the run have changed: started with {then[what]}, "
                f"found {now[what]}.",
                hint="Put back what it was started with, or start a new run in a new folder.",
            )
    new = [r for r in now["git_revisions"] if r not in then["git_revisions"]]
    return then | {"git_revisions": [*then["git_revisions"], *new]}


def git_revision() -> str | None:
    """Return the commit of this source tree, ``-dirty`` if changed; None outside a checkout."""
    git, root = shutil.which("git"), Path(__file__).resolve().parents[2]
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


class TrainingError(SemantoksError):
    """Training cannot go on."""


class Log:
    """Losses by step; kept on the device until they are fetched together.

    Parameters
    ----------
    folder
        Of the run.
    describe
        Names the members of a step's batch.
    """

    def __init__(self, folder: Path, describe: Callable[[int], list[str]]) -> None:
        self.folder, self.describe = folder, describe
        self._pending: list[tuple[int, dict[str, Tensor]]] = []

    def add(self, step: int, values: dict[str, Tensor]) -> None:
        """Keep the numbers of a step; nothing waits for them."""
        self._pending.append((step, values))

    def fetch(self) -> dict[str, float]:
        """Wait for all numbers kept, write one line per step, return the last step's.

        Raises
        ------
        TrainingError
            A loss or gradient is not finite; names the first such batch. The saved state is older.
        """
        if not self._pending:
            return {}
        numbers = torch.stack([v.float() for _, row in self._pending for v in row.values()])
        fetched = iter(numbers.tolist())
        rows = [
            {"step": step, **{name: next(fetched) for name in values}}
            for step, values in self._pending
        ]
        self._pending = []
        n_good = _n_until_failure(rows)
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.writelines(json.dumps(row) + "\n" for row in rows[:n_good])
            log.flush()
            os.fsync(log.fileno())
        if n_good < len(rows):
            self._stop(rows[n_good])
        return rows[-1]

    def _stop(self, row: dict[str, Any]) -> None:
        step = row["step"]
        members = self.describe(step)
        content = {"step": step, "values": {k: str(v) for k, v in row.items()}, "batch": members}
        path = self.folder / FAILURE_FILE
        write_whole({path: json_bytes(content)})
        more = f" … ({len(members)})" if len(members) > SHOWN else ""
        raise TrainingError(
            f"expected finite losses, found {row} at step {step}. The batch: "
            f"{'; '.join(members[:SHOWN])}{more}.",
            hint=f"{path} lists it all. The saved state is older; a lower learning rate may help.",
        )


def _n_until_failure(rows: list[dict[str, Any]]) -> int:
    finite = [math.isfinite(row["total"] + row["gradient_norm"]) for row in rows]
    return finite.index(False) if False in finite else len(rows)


def save_state(trainer: Trainer, folder: Path, *, step: int, seconds: float) -> None:
    """Write everything that the next step depends on; a state that exists is complete."""
    scratch = folder / f".{STATE_FILE}.part"
    state = {
        "step": step,
        "seconds": seconds,
        "learner": trainer.learner.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
    }
    with scratch.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / STATE_FILE)


def restore_state(trainer: Trainer, folder: Path) -> tuple[int, float]:
    """Fill learner and optimiser from a saved state; return the next step and seconds so far.

    Raises
    ------
    TrainingError
        The state cannot be read, or is of another architecture.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return 0, 0.0
    try:
        state = torch.load(path, weights_only=True, map_location=trainer.processes.device)
        trainer.learner.load_state_dict(state["learner"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["seconds"])
    except Exception as err:
        # Not torch's own words: they are hundreds of lines, or advise to unpickle at any risk.
        raise TrainingError(
            f"{path}: damaged, or the state of another architecture ({type(err).__name__}).",
            hint="Start again in a new folder.",
        ) from err


def truncate_log(folder: Path, *, step: int) -> None:
    """Drop what was logged after a state: those steps are done, and logged, again.

    Raises
    ------
    TrainingError
        Steps before the state are not in the log.
    """
    path = folder / LOG_FILE
    with faults_as(TrainingError):
        lines = read_text(path).splitlines(keepends=True) if path.exists() else []
    if len(lines) < step:
        raise TrainingError(
            f"{path}: expected a line for each of {step} steps done, found {len(lines)}.",
            hint="Put the log back, or start again in a new folder.",
        )
    write_whole({path: "".join(lines[:step]).encode()})


def read_log(folder: Path) -> list[dict[str, float]]:
    """Return one row per step so far.

    Raises
    ------
    TrainingError
        There is no log, or a line of it is damaged.
    """
    path = folder / LOG_FILE
    with faults_as(TrainingError, what="not the log of a run"):
        return [parse_json(path, line) for line in read_text(path).splitlines()]
