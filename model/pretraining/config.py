"""What a pretraining run is, read once from TOML and strictly; every field changes something."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

from model.errors import ConfigError
from model.pretraining.losses import RateOn, TtrRate
from model.pretraining.simulate import SimulationConfig
from model.pretraining.views import ViewsConfig
from model.spec import EncoderSpec, InputSpec, ReadoutPart, from_dict

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Name, size and seed of a run."""

    name: str
    """Name of the checkpoint."""
    version: str
    seed: int
    n_steps: int
    batch_size: int
    """Subjects per step; each gives two views."""
    save_every: int
    """Steps between saved states."""
    readout: tuple[ReadoutPart, ...]
    """Parts of the checkpoint's default scan vector, in order."""
    n_subjects: int | None = None
    """Simulated subjects that come round again; None: every step has new ones."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "readout", tuple(self.readout))
        if self.n_subjects is not None and (
            self.n_subjects < 1 or self.n_subjects % self.batch_size
        ):
            raise ConfigError(
                f"run.n_subjects {self.n_subjects} is not a whole number of batches of "
                f"{self.batch_size}."
            )
        if min(self.n_steps, self.batch_size, self.save_every) < 1:
            raise ConfigError("run.n_steps, run.batch_size and run.save_every must be at least 1.")
        wrong = sorted(set(self.readout) - set(get_args(ReadoutPart)))
        if wrong or not self.readout:
            raise ConfigError(f"run.readout {self.readout}: parts are {get_args(ReadoutPart)}.")


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Losses, their weights, masks and the projection head; defaults as published."""

    head_hidden: int = 1024
    head_out: int = 128
    token_weight: float = 0.5
    mask_probability: float = 0.5
    """Share of batches in which the student sees masked tokens."""
    ttr_weight: float = 0.5
    ttr_share: float = 0.05
    """Share of the steps over which the temporal regularizer fades out; over 1: never."""
    ttr_rate: TtrRate = "flattened"
    rate_on: RateOn = "average"

    def __post_init__(self) -> None:
        for name, allowed in (("ttr_rate", get_args(TtrRate)), ("rate_on", get_args(RateOn))):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"objective.{name} {getattr(self, name)!r}: one of {allowed}.")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW on all parameters, and the teacher; defaults as published."""

    learning_rate: float
    """Peak, for the batch size of this run."""
    warmup_share: float = 0.03
    weight_decay: tuple[float, float] = (0.05, 0.3)
    """At the first and at the last step."""
    teacher_momentum: float = 0.99
    """At the first step; 1 at the last."""
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight_decay", tuple(self.weight_decay))


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A whole run."""

    run: RunConfig
    encoder: EncoderSpec
    input: InputSpec
    simulation: SimulationConfig
    views: ViewsConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        sizes = (self.input.patch_samples, self.input.n_patches)
        expected = (self.encoder.patch_samples, self.encoder.n_patches)
        if sizes != expected:
            raise ConfigError(
                f"input has {sizes[1]} patches of {sizes[0]} samples, the encoder "
                f"{expected[1]} of {expected[0]}."
            )
        if self.simulation.n_samples < self.input.window_samples:
            raise ConfigError(
                f"simulation.n_samples {self.simulation.n_samples} is less than a window "
                f"({self.input.window_samples})."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return every setting, resolved, by section."""
        return asdict(self)


_SECTIONS = {
    "run": RunConfig,
    "encoder": EncoderSpec,
    "input": InputSpec,
    "simulation": SimulationConfig,
    "views": ViewsConfig,
    "objective": ObjectiveConfig,
    "optimizer": OptimizerConfig,
}
assert list(_SECTIONS) == [f.name for f in fields(PretrainConfig)]  # noqa: S101 - one list each


def load_config(path: Path, *, overrides: tuple[str, ...] = ()) -> PretrainConfig:
    """Read a run's TOML file; every section must be there, no key unknown.

    Parameters
    ----------
    path
        TOML with one table for each field of `PretrainConfig`.
    overrides
        ``section.key=value`` pairs that replace values of the file; a value that is not TOML
        is taken as a string.

    Raises
    ------
    ConfigError
        Names the keys that are unknown or missing, and values that exclude one another.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigError(f"{path}: not a readable TOML file ({err}).") from err
    if set(tables) != set(_SECTIONS):
        raise ConfigError(
            f"{path}: expected the sections {sorted(_SECTIONS)}, found {sorted(tables)}."
        )
    for override in overrides:
        section, key, value = _parse_override(override)
        tables[section][key] = value
    return PretrainConfig(
        **{
            name: from_dict(kind, tables[name], where=f"{path} [{name}]")
            for name, kind in _SECTIONS.items()
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
    except tomllib.TOMLDecodeError:
        return section, key, text
