"""Read a run's settings from TOML, strictly, or back from where a run saved them."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.checkpoint import load_encoder
from model.errors import ConfigError
from model.files.content import real_path
from model.files.faults import faults_as
from model.files.home import checkpoint_place
from model.files.read import read_json, read_toml
from model.files.settings import from_dict
from model.fitting.settings import FitConfig
from model.partition.named import partition
from model.pretraining.settings import (
    BUNDLED,
    RANDOM,
    UNTRAINED,
    DataConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PretrainConfig,
    RunConfig,
)
from model.simulation.simulate import SimulationConfig
from model.spec import EncoderSpec, InputSpec
from model.views.corruption import ViewsConfig

if TYPE_CHECKING:
    from model.encoder import Encoder

_SECTIONS = {
    "run": RunConfig,
    "encoder": EncoderSpec,
    "input": InputSpec,
    "views": ViewsConfig,
    "objective": ObjectiveConfig,
    "optimizer": OptimizerConfig,
    "simulation": SimulationConfig,
    "data": DataConfig,
    "fit": FitConfig,
}
_OF_CHECKPOINT = {"encoder", "input"}
_OPTIONAL = {"simulation", "data", "fit"}
assert list(_SECTIONS) == [f.name for f in fields(PretrainConfig)]  # noqa: S101 - one list each


def recipe_path(name: str) -> Path:
    """Return the TOML file of a recipe that comes with the package, or a file's own path."""
    return shipped_recipes().get(name, Path(name))


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    folder = Path(str(files("model").joinpath("data/pretraining")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_config(path: Path, *, overrides: tuple[str, ...] = ()) -> PretrainConfig:
    """Read a run's TOML file; no section or key may be missing or unknown.

    Parameters
    ----------
    path
        TOML with one table for each field of `PretrainConfig`. ``[encoder]`` and ``[input]``
        may be left out where ``run.init`` names a checkpoint: they are on its card.
        ``encoder.groups`` lists partitions by name or table (`model.partition.named`).
    overrides
        ``section.key=value`` pairs that replace values of the file; a value that is not TOML
        is taken as a string.

    Raises
    ------
    ConfigError
        Names the keys that are unknown or missing, and values that exclude one another.
    CheckpointError
        ``run.init`` names no checkpoint that can be loaded.
    """
    hint = f"Recipes that come with the package: {', '.join(shipped_recipes())}."
    with faults_as(ConfigError, what="not a readable TOML file", hint=hint):
        tables = read_toml(path)
    wrong = [name for name, table in tables.items() if not isinstance(table, dict)]
    if wrong:
        raise ConfigError(f"{path}: expected sections of keys with values, found {wrong}.")
    for override in overrides:
        section, key, value = _parse_override(override)
        tables.setdefault(section, {})[key] = value
    init = tables.get("run", {}).get("init", RANDOM)
    if isinstance(init, str) and init not in UNTRAINED:
        card = load_parent(init).own_card()
        tables = {"encoder": card.encoder.to_dict(), "input": card.input.to_dict()} | tables
        tables["run"] = {"readout": card.readout} | tables["run"]
        _resolve(tables["run"], "init", unless=(BUNDLED,))
    for key in ("shards", "more_shards"):
        _resolve(tables.get("data", {}), key)
    _resolve(tables.get("fit", {}), "shards")
    encoder = tables.get("encoder", {})
    words = encoder.get("groups")
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        encoder["groups"] = partition(words)
    return _from_tables(tables, where=path)


def load_saved(path: Path) -> PretrainConfig:
    """Read the settings that a run has saved (``config.json``).

    Raises
    ------
    ConfigError
        The file is absent, damaged, or of a version with other settings.
    """
    hint = "Name the folder that semantoks-model pretrain wrote to."
    with faults_as(ConfigError, what="not the settings of a run", hint=hint):
        tables = read_json(path)
    return _from_tables(tables, where=path)


def load_parent(init: str) -> Encoder:
    """Load the checkpoint that ``run.init`` names."""
    return load_encoder(None if init == BUNDLED else Path(init))


def _resolve(table: dict[str, Any], key: str, *, unless: tuple[str, ...] = ()) -> None:
    """Make paths absolute, so that a run can be resumed from any folder."""
    found = table.get(key)
    if isinstance(found, list) and all(isinstance(path, str) for path in found):
        table[key] = [str(real_path(Path(path))) for path in found]
    elif isinstance(found, str) and found not in unless:
        table[key] = str(real_path(checkpoint_place(Path(found))))


def _from_tables(tables: dict[str, Any], *, where: Path) -> PretrainConfig:
    missing = sorted(set(_SECTIONS) - set(tables) - _OPTIONAL)
    unknown = sorted(set(tables) - set(_SECTIONS))
    if missing or unknown:
        raise ConfigError(
            f"{where}: sections missing: {missing}, unknown: {unknown}.",
            hint=f"A run has the sections {', '.join(_SECTIONS)}; of simulation and data one, "
            f"fit if wanted; {' and '.join(sorted(_OF_CHECKPOINT))} may be left to the "
            "checkpoint in run.init.",
        )
    return PretrainConfig(
        **{
            name: from_dict(_SECTIONS[name], table, where=f"{where} [{name}]")
            for name, table in tables.items()
        }
    )


def _parse_override(override: str) -> tuple[str, str, Any]:
    """Split ``section.key=value``."""
    path, equals, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot) or section not in _SECTIONS:
        raise ConfigError(
            f"expected section.key=value, found {override!r}.",
            hint=f"Sections: {', '.join(_SECTIONS)}; for example run.n_steps=100.",
        )
    try:
        return section, key, tomllib.loads(f"value = {text}")["value"]
    except Exception:  # noqa: BLE001 no TOML, however nested or long: text
        return section, key, text
