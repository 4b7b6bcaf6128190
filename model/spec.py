"""What a checkpoint expects and is: input contract, architecture, card. Standard library only."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from model.errors import CheckpointError, ConfigError
from model.files.fault import faults_as
from model.files.read import read_json
from model.files.strict import from_dict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Normalization = Literal["robust", "zscore"]
ReadoutPart = Literal["mean", "cls", "networks"]

_LARGEST = {"depth": 1000, "sg_scales": 16}
_LARGEST_OTHER = 1 << 14
"""What the sizes of an architecture can be at most; a card with more is damaged."""


def _check_sizes(sizes: Mapping[str, object]) -> None:
    """Refuse counts and lengths that nothing can have, before anything is built of them."""
    wrong = []
    for name, size in sizes.items():
        least, most = int(name != "depth"), _LARGEST.get(name, _LARGEST_OTHER)
        if type(size) is not int or not least <= size <= most:
            wrong.append(f"{name} {size!r} (from {least} to {most})")
    if wrong:
        raise ConfigError(f"expected whole numbers, found {', '.join(wrong)}.")


def _is_positive(number: object) -> bool:
    return type(number) in (int, float) and 0 < number < math.inf  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The series a checkpoint was trained on."""

    tr_s: float = 2.0
    window_samples: int = 100
    patch_samples: int = 20
    stride_samples: int = 50
    """Largest distance between two windows of a scan; half a window, so that each frame
    away from the ends is seen twice, in two contexts."""
    normalization: Normalization = "robust"
    band_hz: tuple[float, float] = (0.01, 0.1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "band_hz", tuple(self.band_hz))
        names = ("window_samples", "patch_samples", "stride_samples")
        _check_sizes({name: getattr(self, name) for name in names})
        if not all(_is_positive(number) for number in (self.tr_s, *self.band_hz)):
            raise ConfigError(
                f"expected positive numbers, found tr_s {self.tr_s!r}, band_hz {self.band_hz!r}."
            )
        if len(self.band_hz) != 2 or self.band_hz[0] >= self.band_hz[1]:
            raise ConfigError(
                f"expected the lower and the upper edge of a band, found band_hz {self.band_hz}."
            )
        if self.window_samples % self.patch_samples:
            raise ConfigError(
                f"a window of {self.window_samples} samples is not a whole number of "
                f"patches of {self.patch_samples}."
            )
        if self.normalization not in get_args(Normalization):
            raise ConfigError(f"unknown normalization {self.normalization!r}.")

    @property
    def n_patches(self) -> int:
        """Patches in a window (K)."""
        return self.window_samples // self.patch_samples

    @property
    def patch_s(self) -> float:
        """Length of a patch in seconds."""
        return self.patch_samples * self.tr_s

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.window_samples * self.tr_s


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The architecture; the defaults are those of the published checkpoint."""

    dim: int = 768
    depth: int = 8
    heads: int = 12
    mlp_ratio: int = 4
    patch_samples: int = 20
    n_patches: int = 5
    dense_kernel: int = 3
    sg_kernel: int = 4
    """Parameters of each of the structured convolution's kernels."""
    sg_scales: int = 3
    layer_scale_init: float = 0.1
    whitened: bool = False
    """Final tokens are centred and whitened, each network by itself (not in the published)."""

    def __post_init__(self) -> None:
        sizes = {f.name: getattr(self, f.name) for f in fields(self)}
        if not _is_positive(sizes.pop("layer_scale_init")):
            raise ConfigError(
                f"expected a positive layer_scale_init, not {self.layer_scale_init!r}."
            )
        if not isinstance(sizes.pop("whitened"), bool):
            raise ConfigError(f"expected whitened to be true or false, not {self.whitened!r}.")
        _check_sizes(sizes)
        if self.dim % 2 or self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} must be even and divisible by heads {self.heads}.")

    @property
    def mlp_dim(self) -> int:
        """Hidden width of a block's MLP."""
        return self.dim * self.mlp_ratio


@dataclass(frozen=True, kw_only=True)
class CheckpointCard:
    """Everything that must travel with weights."""

    name: str
    version: str
    weights_sha256: str
    parcels_sha256: str
    """Hash of the label table (names in order): the atlas the weights belong to."""
    input: InputSpec
    encoder: EncoderSpec
    readout: tuple[ReadoutPart, ...]
    """Parts of the default scan vector, in order."""
    source: str
    licence: str
    training: dict[str, Any]
    """How the weights were made: objective, data, steps, seed, revision, measured quality."""
    dropped_keys: tuple[str, ...] = field(default=())
    """Keys of an imported checkpoint that the forward path never uses."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "readout", tuple(self.readout))
        object.__setattr__(self, "dropped_keys", tuple(self.dropped_keys))
        wrong = [part for part in self.readout if part not in get_args(ReadoutPart)]
        if wrong or not self.readout:
            raise ConfigError(f"readout {self.readout!r}: parts are {get_args(ReadoutPart)}.")
        given = (self.input.n_patches, self.input.patch_samples)
        taken = (self.encoder.n_patches, self.encoder.patch_samples)
        if given != taken:
            raise ConfigError(
                f"input gives {given[0]} patches of {given[1]} samples, encoder takes "
                f"{taken[0]} of {taken[1]}."
            )

    def input_with(self, normalization: Normalization | None) -> InputSpec:
        """Return the input contract with another normalization; None: as trained."""
        return replace(self.input, normalization=normalization or self.input.normalization)

    @classmethod
    def load(cls, path: Path) -> CheckpointCard:
        """Read a card; unknown keys and missing keys are errors."""
        with faults_as(CheckpointError, what="not a readable checkpoint card"):
            values = read_json(path)
        parts: dict[str, type] = {"input": InputSpec, "encoder": EncoderSpec}
        try:
            for name in parts.keys() & values.keys():
                values[name] = from_dict(parts[name], values[name], where=name)
            return from_dict(cls, values, where="card")
        except ConfigError as err:
            raise CheckpointError(f"{path}: {err}") from err

    def to_json(self) -> str:
        """Return the card as JSON, stable to the byte."""
        return json.dumps(asdict(self), indent=2) + "\n"
