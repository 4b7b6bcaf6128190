"""The grid: data sizes by seeds, read once from TOML and strictly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from model.errors import ConfigError
from model.files.faults import faults_as
from model.files.read import read_toml
from model.files.settings import Count, Limits, Seed, Strict, from_dict
from model.pretraining.recipes import load_config

if TYPE_CHECKING:
    from pathlib import Path

    from model.pretraining.settings import PretrainConfig

UNTRAINED = 0
"""Size of a row without training: the random weights that a run of that seed starts from."""


@dataclass(frozen=True, kw_only=True)
class HeldOut(Strict):
    """Simulated subjects that no run trains on, with two scans each."""

    n_subjects: Annotated[int, Limits(2, math.inf, "at least 2")]
    n_samples: Count
    """Length of a scan at the model's sampling."""
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All rows of a scaling analysis, and what each is trained and measured on."""

    recipe_path: Path
    recipe: PretrainConfig
    sizes: tuple[int, ...]
    """Numbers of pretraining subjects, ascending."""
    seeds: tuple[int, ...]
    held_out: HeldOut
    outputs: Path | None
    """Output folder of semantoks with repeated scans, measured too; None: simulation only."""

    def rows(self) -> list[tuple[int, int]]:
        """Return (size, seed) of every row; untrained weights first."""
        return [(size, seed) for size in (UNTRAINED, *self.sizes) for seed in self.seeds]

    def to_dict(self) -> dict[str, Any]:
        """Return every setting, resolved."""
        return {
            "recipe": self.recipe.to_dict(),
            "sizes": list(self.sizes),
            "seeds": list(self.seeds),
            "held_out": asdict(self.held_out),
            "outputs": None if self.outputs is None else str(self.outputs),
        }


@dataclass(frozen=True, kw_only=True)
class _File(Strict):
    """The TOML file's top level."""

    recipe: str
    sizes: list[int]
    seeds: list[int]
    held_out: dict[str, Any]
    outputs: str | None = None


def load_plan(path: Path) -> Plan:
    """Read a plan; ``recipe`` and ``outputs`` are paths relative to the file.

    Raises
    ------
    ConfigError
        Unknown or missing keys, sizes or seeds that repeat or are no whole numbers, a size that
        is not a whole number of the recipe's batches, or held-out scans shorter than a window.
    """
    with faults_as(ConfigError, what="not a readable TOML file"):
        values = read_toml(path)
    file = from_dict(_File, values, where=str(path))
    sizes = _distinct(file.sizes, f"{path}: sizes", least=1)
    seeds = _distinct(file.seeds, f"{path}: seeds", least=0)
    if len(sizes) < 2:
        raise ConfigError(f"{path}: sizes: expected two or more, found {file.sizes}.")
    recipe_path = path.parent / file.recipe
    for size in sizes:
        load_config(recipe_path, overrides=row_settings(size, seeds[0]))
    recipe = load_config(recipe_path)
    held_out = from_dict(HeldOut, file.held_out, where=f"{path} [held_out]")
    if held_out.n_samples < recipe.input.window_samples:
        raise ConfigError(
            f"{path} [held_out]: n_samples {held_out.n_samples}: at least a window of "
            f"{recipe.input.window_samples}."
        )
    return Plan(
        recipe_path=recipe_path,
        recipe=recipe,
        sizes=sizes,
        seeds=seeds,
        held_out=held_out,
        outputs=None if file.outputs is None else (path.parent / file.outputs).resolve(),
    )


def row_settings(size: int, seed: int) -> tuple[str, ...]:
    """Return what a row changes in the recipe. Steps stay: more data is not more training."""
    return (f"run.n_subjects={size}", f"run.seed={seed}")


def row_name(size: int, seed: int) -> str:
    """Name a row's file and the folder of its run."""
    return f"size-{size:06d}_seed-{seed}"


def _distinct(numbers: list[int], where: str, *, least: int) -> tuple[int, ...]:
    if not numbers or min(numbers) < least or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"{where}: expected whole numbers that differ, from {least} on, found {numbers!r}."
        )
    return tuple(sorted(numbers))
