"""A checkpoint's card, vouched for without its weights being loaded: needs no torch."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from model.errors import CheckpointError
from model.files.fault import faults_as
from model.files.fingerprint import file_sha256
from model.spec import CheckpointCard

CARD = "card.json"
WEIGHTS = "weights.safetensors"


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
    absent = [str(p) for p in (folder / CARD, weights) if not p.is_file()]
    if absent:
        raise CheckpointError(
            f"{folder}: not a checkpoint, without {' and '.join(absent)}.",
            hint=f"A checkpoint is a folder with {CARD} and {WEIGHTS}, or a published .pth.",
        )
    card = CheckpointCard.load(folder / CARD)
    if card.parcels_sha256 != parcels_sha256():
        raise CheckpointError(
            f"{folder}: the weights are for other parcels or another order of them: "
            f"label table {card.parcels_sha256}, ours is {parcels_sha256()}.",
            hint="Use the version of semantoks that the checkpoint was made with.",
        )
    with faults_as(CheckpointError):
        found = file_sha256(weights)
    if found != card.weights_sha256:
        raise CheckpointError(
            f"{weights}: expected sha256 {card.weights_sha256}, found {found}.",
            hint="The file is damaged or belongs to another card: copy the folder again.",
        )
    return card
