"""The grid: data sizes by seeds, read once from TOML and strictly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from model.errors import ConfigError
from model.files.content import real_path
from model.files.faults import faults_as
from model.files.read import read_toml
from model.files.settings import Count, Limits, Seed, Strict, from_dict
from model.pretraining.recipes import load_config
from model.probing.options import TABLE_METHODS, ProbeConfig

if TYPE_CHECKING:
    from model.pretraining.settings import PretrainConfig

Where = Literal["held out", "outputs"]
_UNREAD = ("target_of", "read", "scans", "permutations", "covariates", "harmonize")
"""Settings of a probe that mean nothing here"""


@dataclass(frozen=True, kw_only=True)
class HeldOut(Strict):
    """Simulated subjects that no run trains on, with two scans each."""

    n_subjects: Annotated[int, Limits(2, math.inf, "at least 2")]
    n_samples: Count
    """Length of a scan at the model's sampling."""
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class Target(Strict):
    """A column of a table of people that a linear probe is asked for."""

    of: Where
    """Whose: the subjects on the list ``data.test`` of a recipe that learns from stored series,
    or those of the output folder."""
    participants: Path
    probe: ProbeConfig

    @property
    def name(self) -> str:
        """Such as ``held out, sex``."""
        return f"{self.of}, {self.probe.target}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All rows of a scaling analysis, and what each is trained and measured on."""

    recipe_path: Path
    recipe: PretrainConfig
    sizes: tuple[int, ...]
    """Numbers of pretraining subjects, ascending."""
    seeds: tuple[int, ...]
    held_out: HeldOut | None
    """Of a recipe that simulates; None: the subjects on the recipe's list ``data.test``."""
    outputs: Path | None
    """Output folder of semantoks with repeated scans, measured too; None: none."""
    targets: tuple[Target, ...]

    def rows(self) -> list[tuple[int, int]]:
        """Return (size, seed) of every row."""
        return [(size, seed) for size in self.sizes for seed in self.seeds]

    def to_dict(self) -> dict[str, Any]:
        """Return every setting, resolved."""
        return {
            "recipe": self.recipe.to_dict(),
            "sizes": list(self.sizes),
            "seeds": list(self.seeds),
            "held_out": None if self.held_out is None else asdict(self.held_out),
            "outputs": None if self.outputs is None else str(self.outputs),
            "probe": [
                {"of": t.of, "participants": str(t.participants)} | asdict(t.probe)
                for t in self.targets
            ],
        }


@dataclass(frozen=True, kw_only=True)
class _File(Strict):
    """The TOML file's top level."""

    recipe: str
    sizes: list[int]
    seeds: list[int]
    held_out: dict[str, Any] | None = None
    outputs: str | None = None
    probe: list[dict[str, Any]] | None = None


def load_plan(path: Path) -> Plan:
    """Read a plan; ``recipe``, ``outputs`` and ``participants`` are paths relative to the file.

    Raises
    ------
    ConfigError
        Unknown or missing keys, sizes or seeds that repeat or are no whole numbers, a size that
        the recipe cannot use, held-out scans shorter than a window or of a recipe that has its
        own, or a probe of people whom the plan does not name.
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
    plan = Plan(
        recipe_path=recipe_path,
        recipe=recipe,
        sizes=sizes,
        seeds=seeds,
        held_out=_held_out(file, recipe, path),
        outputs=None if file.outputs is None else real_path(path.parent / file.outputs),
        targets=tuple(
            _target(table, path, f"{path} [[probe]] {number}")
            for number, table in enumerate(file.probe or [], start=1)
        ),
    )
    _check_targets(plan, path)
    return plan


def _held_out(file: _File, recipe: PretrainConfig, path: Path) -> HeldOut | None:
    if (file.held_out is None) != (recipe.simulation is None):
        raise ConfigError(
            f"{path}: expected the section [held_out] with a recipe that simulates its subjects, "
            "and none with one that learns from stored series.",
            hint="Those on its list data.test are held out.",
        )
    if file.held_out is None:
        return None
    held_out = from_dict(HeldOut, file.held_out, where=f"{path} [held_out]")
    if held_out.n_samples < recipe.input.window_samples:
        raise ConfigError(
            f"{path} [held_out]: n_samples {held_out.n_samples}: at least a window of "
            f"{recipe.input.window_samples}."
        )
    return held_out


def _target(table: dict[str, Any], path: Path, where: str) -> Target:
    words = {"of": table.get("of"), "participants": table.get("participants")}
    absent = [key for key, value in words.items() if not isinstance(value, str)]
    if absent:
        raise ConfigError(f"{where}: expected text for {' and '.join(absent)}.")
    settings = {"methods": ["probe"]} | {k: v for k, v in table.items() if k not in words}
    if "splits" in settings:
        raise ConfigError(f"{where}: splits are drawn here, and no table of them is read.")
    probe = from_dict(ProbeConfig, settings, where=where)
    wrong = sorted(set(probe.methods) - set(TABLE_METHODS))
    if wrong or not probe.methods:
        raise ConfigError(
            f"{where}: methods: expected some of {', '.join(TABLE_METHODS)}, found {wrong}.",
            hint="Each run is compared with its own start; the other controls belong to "
            "semantoks-model probe.",
        )
    plain = ProbeConfig(target=probe.target, task=probe.task)
    unread = [name for name in _UNREAD if getattr(probe, name) != getattr(plain, name)]
    if unread:
        raise ConfigError(
            f"{where}: {', '.join(unread)}: a scaling study has people for targets, all their "
            "scans, no covariates and no permutations.",
        )
    participants = real_path(path.parent / str(words["participants"]))
    return Target(of=table["of"], participants=participants, probe=probe)


def _check_targets(plan: Plan, path: Path) -> None:
    names = [target.name for target in plan.targets]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: a target is probed twice: {', '.join(names)}.")
    there = {"held out": plan.held_out is None, "outputs": plan.outputs is not None}
    absent = [target.name for target in plan.targets if not there[target.of]]
    if absent:
        raise ConfigError(
            f"{path} [[probe]]: nobody to probe for {', '.join(absent)}.",
            hint="'held out' needs a recipe with the section [data], for simulated subjects have "
            "no labels; 'outputs' needs the plan's key of that name.",
        )


def row_settings(size: int, seed: int) -> tuple[str, ...]:
    """Return what a row changes in the recipe. Steps stay: more data is not more training."""
    return (f"run.n_subjects={size}", f"run.seed={seed}")


def start_settings(seed: int) -> tuple[str, ...]:
    """Return what a seed's start changes: all is drawn and fitted, and nothing trained.

    It is the same for every size: a fit has its own list of people.
    """
    return (f"run.seed={seed}", "run.n_steps=0")


def start_name(seed: int) -> str:
    """Name the folder of a seed's start."""
    return f"start_seed-{seed}"


def row_name(size: int, seed: int) -> str:
    """Name a row's file and the folder of its run."""
    return f"size-{size:06d}_seed-{seed}"


def _distinct(numbers: list[int], where: str, *, least: int) -> tuple[int, ...]:
    if not numbers or min(numbers) < least or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"{where}: expected whole numbers that differ, from {least} on, found {numbers!r}."
        )
    return tuple(sorted(numbers))
