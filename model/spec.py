"""What a checkpoint expects and is: input contract, architecture, card. Needs no torch."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from model.errors import CheckpointError, ConfigError, some
from model.files.faults import faults_as, reading
from model.files.home import MOUNTED, installed_checkpoints, semantoks_home
from model.files.read import read_json
from model.files.settings import Limits, Positive, Strict, from_dict
from model.files.shared_options import TR_LIMITS_S
from model.files.shared_options import Normalization as Normalization
from model.files.write import file_sha256, text_sha256
from model.partition.groups import NETWORK_GROUPS, Group, check_groups, row_names, summary

ReadoutPart = Literal["mean", "cls", "networks", "short"]

Convolution = Literal["dense", "structured", "depthwise", "linear"]
Pooling = Literal["mean", "max", "attention"]
PUBLISHED_BRANCHES: tuple[Convolution, ...] = ("dense", "structured")

Size = Annotated[int, Limits(1, 1 << 14, "from 1 to 16384")]
"""Of a part of an architecture; a card that holds more is damaged."""
Depth = Annotated[int, Limits(0, 1000, "from 0 to 1000")]
Scales = Annotated[int, Limits(1, 16, "from 1 to 16")]


CARD = "card.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class InputSpec(Strict):
    """The series a checkpoint was trained on."""

    tr_s: Annotated[float, Limits(*TR_LIMITS_S, "from 0.1 to 20 (seconds)")] = 2.0
    window_samples: Size = 100
    patch_samples: Size = 20
    stride_samples: Size = 50
    """Largest distance between two windows of a scan; half a window, so that each frame
    away from the ends is seen twice, in two contexts."""
    normalization: Normalization = "robust"
    band_hz: tuple[Positive, Positive] = (0.01, 0.1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.band_hz[0] >= self.band_hz[1]:
            raise ConfigError(
                f"expected the lower and the upper edge of a band, found band_hz {self.band_hz}."
            )
        if self.window_samples % self.patch_samples:
            raise ConfigError(
                f"a window of {self.window_samples} samples is not a whole number of "
                f"patches of {self.patch_samples}."
            )

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
class EncoderSpec(Strict):
    """The architecture; the defaults are those of the published checkpoint."""

    dim: Size = 768
    depth: Depth = 8
    heads: Size = 12
    mlp_ratio: Size = 4
    patch_samples: Size = 20
    n_patches: Size = 5
    dense_kernel: Size = 3
    sg_kernel: Size = 4
    """Parameters of each of the structured convolution's kernels."""
    sg_scales: Scales = 3
    layer_scale_init: Positive = 0.1
    whitened: bool = False
    """Final tokens are centred and whitened, each row by itself (not in the published)."""
    groups: tuple[Group, ...] = NETWORK_GROUPS
    """Which parcels become tokens together; they may overlap."""
    branches: tuple[Convolution, ...] = PUBLISHED_BRANCHES
    """What makes a token of a group's patch, each an equal part of it. ``depthwise``: kernels of
    free taps in place of structured ones; ``linear``, alone: no convolution, but one projection
    of single parcels for all of them."""
    pooling: Pooling = "mean"
    """Over the samples of a patch."""
    short: Annotated[int, Limits(0, 64, "from 0 to 64")] = 0
    """Length of a short form of the rows' means, in dimensions of a token; 0: there is none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_groups(self.groups)
        if self.dim % 2 or self.dim % self.heads:
            raise ConfigError(f"dim {self.dim} must be even and divisible by heads {self.heads}.")
        self._check_branches()

    def _check_branches(self) -> None:
        branches = self.branches
        if not branches or len(set(branches)) < len(branches) or self.dim % len(branches):
            raise ConfigError(
                f"branches {', '.join(branches) or '()'}: expected one or more, each once, which "
                f"divide dim {self.dim}."
            )
        if "linear" not in branches:
            return
        several = [group.name for group in self.groups if len(group.parcels) > 1]
        if len(branches) > 1 or several or self.pooling != "mean":
            raise ConfigError(
                "branches linear: expected it alone, without pooling, and groups of one parcel "
                f"each, found {', '.join(branches)}, {self.pooling}, groups such as "
                f"{(several or ['of one parcel'])[0]}.",
                hint='encoder.groups = ["parcels"]',
            )

    @property
    def structured_length(self) -> int:
        """Samples of a structured kernel: pieces stretched x1, x1, x2, x4, ..."""
        return self.sg_kernel << (self.sg_scales - 1)

    @property
    def mlp_dim(self) -> int:
        """Hidden width of a block's MLP."""
        return self.dim * self.mlp_ratio

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the token grid's rows (N): the groups', numbered where a group has several."""
        return row_names(self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Return what a card holds; what is as published and came later goes without saying."""
        held = super().to_dict()
        for name in ("groups", "branches", "pooling", "short"):
            if getattr(self, name) == type(self).__dataclass_fields__[name].default:
                del held[name]
        return held


@dataclass(frozen=True, kw_only=True)
class CheckpointCard(Strict):
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
        super().__post_init__()
        if not self.readout:
            raise ConfigError(f"readout (): expected one or more of {get_args(ReadoutPart)}.")
        if "short" in self.readout and not self.encoder.short:
            raise ConfigError("readout: the encoder has no short form.")
        given = (self.input.n_patches, self.input.patch_samples)
        taken = (self.encoder.n_patches, self.encoder.patch_samples)
        if given != taken:
            raise ConfigError(
                f"input gives {given[0]} patches of {given[1]} samples, encoder takes "
                f"{taken[0]} of {taken[1]}."
            )

    def identity(self) -> dict[str, str]:
        """Return what tells the checkpoint from others; the last is a hash of all of the card.

        ``groups`` is there where they are not the nine networks.
        """
        text = json.dumps(self.to_dict(), sort_keys=True)
        groups = self.encoder.groups
        return {
            "name": self.name,
            "version": self.version,
            **({} if groups == NETWORK_GROUPS else {"groups": summary(groups)}),
            "weights": self.weights_sha256,
            "card": text_sha256(text)[:16],
        }

    def input_with(self, normalization: str | None) -> InputSpec:
        """Return the input contract with another normalization; None: as trained.

        A series that is normalized has its normalization for a unit: ``series.unit`` will do.

        Raises
        ------
        ConfigError
            That is no normalization.
        """
        chosen: Any = normalization or self.input.normalization
        return replace(self.input, normalization=chosen)

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
        return json.dumps(self.to_dict(), indent=2) + "\n"


def parcels_sha256() -> str:
    """Hash the label table: the atlas, and the order of parcels, that weights belong to."""
    return file_sha256(Path(str(files("model").joinpath("data/parcels.tsv"))))


def bundled_folder() -> Path:
    """Return the folder of the checkpoint that comes with the package.

    Raises
    ------
    CheckpointError
        This installation has none.
    """
    folder = Path(str(files("model").joinpath("data/checkpoint")))
    if not folder.is_dir():
        raise CheckpointError(
            f"this installation comes without a checkpoint ({folder} is absent).",
            hint="Name one: a folder with card.json and weights.safetensors, or a published .pth.",
        )
    return folder


def read_card(folder: Path) -> CheckpointCard:
    """Read the card of a checkpoint's folder and check that it vouches for the weights.

    Raises
    ------
    CheckpointError
        Card or weights are absent or damaged, or made for other parcels.
    """
    weights = folder / WEIGHTS
    with faults_as(CheckpointError), reading(folder):
        absent = [str(p) for p in (folder / CARD, weights) if not p.is_file()]
    if absent:
        raise _no_checkpoint(folder, absent)
    card = CheckpointCard.load(folder / CARD)
    if card.parcels_sha256 != parcels_sha256():
        raise CheckpointError(
            f"{folder}: the weights are for other parcels or another order of them: "
            f"label table {card.parcels_sha256}, ours is {parcels_sha256()}.",
            hint="Use the version of semantoks that the checkpoint was made with.",
        )
    check_weights(card, folder)
    return card


def _no_checkpoint(folder: Path, absent: list[str]) -> CheckpointError:
    hint = (
        f"A checkpoint is a folder with {CARD} and {WEIGHTS}, a published .pth, or the name of "
        "one that is installed (the paper's: 'semantoks assets checkpoint --download published')."
    )
    if os.path.lexists(folder):
        return CheckpointError(
            f"{folder}: not a checkpoint, without {' and '.join(absent)}.", hint=hint
        )
    if len(folder.parts) > 1:
        return CheckpointError(f"{folder}: no such folder.", hint=f"{MOUNTED} {hint}")
    home = semantoks_home()
    names = [place.name for place in installed_checkpoints(home)] if home else []
    return CheckpointError(
        f"{folder}: no such folder, and no checkpoint of that name is installed"
        f"{f' in {home}' if home else ''} (installed: {some(names) or 'none'}).",
        hint=hint,
    )


def check_weights(card: CheckpointCard, folder: Path) -> None:
    """Refuse weights that a card does not vouch for.

    Raises
    ------
    CheckpointError
        They are absent, damaged, or those of another card.
    """
    weights = folder / WEIGHTS
    with faults_as(CheckpointError):
        found = file_sha256(weights)
    if found != card.weights_sha256:
        raise CheckpointError(
            f"{weights}: expected sha256 {card.weights_sha256}, found {found}.",
            hint="The file is damaged or belongs to another card: copy the folder again.",
        )
