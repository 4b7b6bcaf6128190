"""What a run is made of, saved before work starts and compared when it goes on."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from model.errors import ConfigError
from model.files.write import write_whole
from model.pretraining.settings import BUNDLED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.pretraining.settings import PretrainConfig
    from model.shards.shards import Shards
    from model.shards.subjects import SubjectList
    from model.spec import CheckpointCard

CONFIG_FILE, PROVENANCE_FILE = "config.json", "provenance.json"
SHARDS_FOLDER = "shards"
"""Where an adaptation keeps its data, which it writes before all else."""


def describe_data(shards: Shards, lists: Mapping[str, SubjectList]) -> dict[str, Any]:
    """Name the data to the byte: hashes of the index and of the lists of subjects."""
    description = shards.description
    return {
        "made_from": description.made_from,
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
    }


def claim(
    out: Path,
    config: PretrainConfig,
    *,
    data: dict[str, Any] | None,
    parent: dict[str, str] | None,
) -> dict[str, Any]:
    """Write settings and provenance, or check that the folder belongs to this very run.

    Returns
    -------
    The provenance: ``git_revisions`` (one, unless the code changed between kill and resume),
    ``torch``, ``machine``, ``data`` and ``parent``.

    Raises
    ------
    ConfigError
        The folder holds another run, or other things, or data or parent are not those that the
        run was started with.
    """
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    path = out / CONFIG_FILE
    now = _provenance(data, parent)
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
    try:
        then, now = (
            {f"{name}.{key}": value for name, table in run.items() for key, value in table.items()}
            for run in (json.loads(path.read_text(encoding="utf-8")), now)
        )
    except (OSError, ValueError, AttributeError) as err:
        raise ConfigError(
            f"{path}: not the settings of a run.", hint="Name a new folder."
        ) from err
    changed = [
        f"{key} {then.get(key)!r}, now {now.get(key)!r}"
        for key in {**then, **now}
        if key not in then or key not in now or then[key] != now[key]
    ]
    if changed:
        raise ConfigError(
            f"{path.parent} holds a run with other settings: {'; '.join(changed)}.",
            hint="Name a new folder, or go on with the settings it was started with.",
        )


def _provenance(data: dict[str, Any] | None, parent: dict[str, str] | None) -> dict[str, Any]:
    return {
        "git_revisions": [git_revision()],
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "data": data,
        "parent": parent,
    }


def _same_run(path: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Return the saved provenance, with the present revision; other data are refused."""
    try:
        then: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path}: not readable ({err}).", hint="Name a new folder.") from err
    if not isinstance(then, dict) or not now.keys() <= then.keys():
        raise ConfigError(f"{path}: not the provenance of a run.", hint="Name a new folder.")
    for what in ("data", "parent"):
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
