"""Weights with a card: load strictly, save atomically, import the published format.

A checkpoint is a folder with ``card.json`` and ``weights.safetensors``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, Unpack

import torch
from safetensors import safe_open

from model.encoder import Encoder, build_encoder, check_sizes, misfits
from model.errors import CheckpointError, ConfigError, some
from model.files.faults import FileError, faults_as, reading
from model.files.home import MOUNTED, checkpoint_place
from model.files.write import file_sha256, new_folder
from model.published import read_published
from model.spec import (
    CARD,
    WEIGHTS,
    CheckpointCard,
    InputSpec,
    bundled_folder,
    check_weights,
    parcels_sha256,
    read_card,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

    from model.spec import EncoderSpec, ReadoutPart

_SHOWN = 8
"""Problems named in a message; the rest are counted."""


class CardFields(TypedDict):
    """What only the caller knows of a checkpoint; `CheckpointCard` describes the fields."""

    name: str
    version: str
    input: InputSpec
    readout: tuple[ReadoutPart, ...]
    source: str
    licence: str
    training: dict[str, Any]
    dropped_keys: NotRequired[tuple[str, ...]]


def load_encoder(
    path: Path | str | None = None,
    *,
    device: torch.device | str = "cpu",
    heads: int | None = None,
    card: CheckpointCard | None = None,
) -> Encoder:
    """Load an encoder ready for inference: eval mode, no gradients, ``card`` set.

    Parameters
    ----------
    path
        A checkpoint's folder; the name of one that ``semantoks assets`` installed; or a
        published ``.pth``, which is converted in memory. None: the one that comes with the
        package.
    device
        Where to put it: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``, a GPU if there is one.
    heads
        Attention heads of a published ``.pth`` whose file does not tell; for nothing else.
    card
        Of a folder whose card was read before, which must vouch for the weights; None: read it.

    Raises
    ------
    CheckpointError
        If the checkpoint is absent or damaged, or made for other parcels.
    ConfigError
        If there is no such device.

    Examples
    --------
    >>> encoder = load_encoder()
    >>> encoder.card.name, encoder.card.readout
    ('semantoks-fitted', ('networks',))
    >>> encoder.training
    False
    """
    chosen = _device(device)
    path = None if path is None else checkpoint_place(Path(path))
    if path is not None and path.suffix in {".pth", ".pt"}:
        encoder = import_published(path, heads=heads)
    elif heads is not None:
        raise CheckpointError(f"{path}: heads are given, but a card says how many there are.")
    else:
        folder = bundled_folder() if path is None else path
        if card is None:
            card = read_card(folder)
        else:
            check_weights(card, folder)
        # Nothing is parsed before its hash fits.
        encoder = _encoder_of_folder(card.encoder, folder / WEIGHTS)
        encoder.card = card
    return encoder.to(chosen)


def _device(name: torch.device | str) -> torch.device:
    n_gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if n_gpus else "cpu"
    try:
        device = torch.device(name)
    except Exception as err:
        raise ConfigError(f"device {name}: expected auto, cpu, cuda or cuda:N.") from err
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise ConfigError(
            f"device {name}: this machine and this torch have {n_gpus} GPUs.",
            hint="Use cpu, or a torch with CUDA where there is a GPU.",
        )
    return device


def save_checkpoint(
    folder: Path, encoder: Encoder, **fields: Unpack[CardFields]
) -> CheckpointCard:
    """Write weights and card; the same encoder gives the same bytes.

    The folder appears complete or not at all. One that holds a checkpoint is replaced, one
    that holds anything else is refused.

    Parameters
    ----------
    folder
        Where to write.
    encoder
        The weights.
    **fields
        The card's fields, but for the hashes and the architecture.

    Returns
    -------
    The card as written.

    Raises
    ------
    CheckpointError
        If a weight is not finite, or the folder holds other things.
    ResultError
        If the folder cannot be written.
    """
    card = _card(encoder, fields)
    _write(folder, {WEIGHTS: _weights_file(encoder), CARD: [card.to_json().encode()]})
    return card


def import_published(path: Path, *, heads: int | None, name: str | None = None) -> Encoder:
    """Convert a checkpoint of the published training code; its teacher is what is used.

    Parameters
    ----------
    path
        A ``.pth`` whose ``model_state_dict`` holds ``teacher_encoder.*``.
    heads
        Attention heads; None: as the file says, or 64 channels a head as published.
    name
        Name on the card; None: the file's.

    Returns
    -------
    The encoder, with the card that `save_checkpoint` would write. Its weights are the mapped
    file's, read from disk as they are used: do not change the file while the encoder is in use.

    Raises
    ------
    CheckpointError
        If the file is no such checkpoint; every key must be used or known to be unused.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.", hint=MOUNTED)
    published = read_published(path, heads=heads)
    encoder = _encoder_of(published.spec, published.tensors, where=path)
    digest = file_sha256(path)
    fields: CardFields = {
        "name": name or path.stem,
        "version": "published",
        "input": InputSpec(
            window_samples=published.spec.n_patches * published.spec.patch_samples,
            patch_samples=published.spec.patch_samples,
            normalization="zscore",
        ),
        "readout": ("mean", "cls"),
        "source": f"{path.name}, sha256 {digest}",
        "licence": "unknown (the published weights carry none)",
        "training": {
            "method": "Brain-Semantoks, arXiv 2512.11582, published training code",
            "part": "teacher_encoder",
            "epoch": published.epoch,
        },
        "dropped_keys": published.dropped_keys,
    }
    encoder.card = _card(encoder, fields)
    return encoder


def convert_published(
    path: Path,
    folder: Path,
    *,
    heads: int | None,
    contract: InputSpec | None = None,
    **changes: str,
) -> CheckpointCard:
    """Convert a checkpoint of the published training code into a folder (`save_checkpoint`).

    Parameters
    ----------
    path, heads
        As for `import_published`.
    folder
        Where to write.
    contract
        What the weights must take for input; None: whatever they do.
    **changes
        Texts of the card that are known better than the file can tell, such as ``source``.

    Raises
    ------
    CheckpointError
        If the file is no such checkpoint, takes other input, or the folder holds other things.
    ResultError
        If the folder cannot be written.
    """
    encoder = import_published(path, heads=heads)
    card = encoder.own_card()
    if contract is not None and card.input != contract:
        raise CheckpointError(
            f"{path}: the weights take other input than they should: expected {contract}, found "
            f"{card.input}."
        )
    fields: CardFields = {
        "name": changes.get("name", card.name),
        "version": card.version,
        "input": card.input,
        "readout": card.readout,
        "source": changes.get("source", card.source),
        "licence": changes.get("licence", card.licence),
        "training": card.training,
        "dropped_keys": card.dropped_keys,
    }
    return save_checkpoint(folder, encoder, **fields)


def stored_tensors(weights: Path) -> dict[str, Tensor]:
    """Describe the tensors of a safetensors file, whose header is held against its size.

    Returns
    -------
    By name, in the order of their places in the file: tensors without values (device ``meta``).

    Raises
    ------
    CheckpointError
        The file is absent or damaged.
    """
    with (
        faults_as(CheckpointError),
        reading(weights, "not a safetensors file"),
        safe_open(weights, framework="pt") as file,
    ):
        parts = {key: file.get_slice(key) for key in file.offset_keys()}
        return {
            key: torch.empty(part.get_shape(), dtype=_TYPES[part.get_dtype()], device="meta")
            for key, part in parts.items()
        }


_TYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16,
    "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip


def read_tensors(weights: Path, into: Mapping[str, Tensor]) -> None:
    """Read the values of a safetensors file into tensors that `stored_tensors` describes.

    They are in memory once: a mapped file would stay there beside its copy, and without a copy
    the encoder would change with the file.

    Raises
    ------
    CheckpointError
        The file is absent or damaged.
    """
    order = stored_tensors(weights)
    with (
        faults_as(CheckpointError),
        reading(weights, "not a safetensors file"),
        weights.open("rb") as file,
    ):
        # The tensors follow each other without a gap, or the header would have been refused.
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        for key in order:
            place = into[key].detach().reshape(-1).view(torch.uint8).numpy()
            if file.readinto(place.data) != place.nbytes:
                raise FileError(weights, "it was cut while it was read")


def _encoder_of_folder(spec: EncoderSpec, weights: Path) -> Encoder:
    tensors = stored_tensors(weights)
    check_sizes(tensors, spec, where=weights)
    encoder = build_encoder(spec, seed=0)
    state = encoder.state_dict()
    problems = misfits(tensors, state)
    if not problems:
        read_tensors(weights, state)
    return _frozen(encoder, problems, where=weights)


def _encoder_of(spec: EncoderSpec, tensors: Mapping[str, Tensor], *, where: Path) -> Encoder:
    """Make a frozen encoder of mapped tensors; tell all that does not fit at once."""
    check_sizes(tensors, spec, where=where)
    encoder = build_encoder(spec, seed=0)
    problems = misfits(tensors, encoder.state_dict())
    if not problems:
        # Before the file's values are read, so that no weights are in memory beside them.
        encoder.load_state_dict(tensors, assign=True)
    return _frozen(encoder, problems, where=where)


def _frozen(encoder: Encoder, problems: list[str], *, where: Path) -> Encoder:
    if not problems:
        state = sorted(encoder.state_dict().items())
        problems = [f"{key} is not finite" for key, value in state if not _is_finite(value)]
    if problems:
        raise CheckpointError(
            f"{where}: {len(problems)} tensors do not fit the encoder: "
            f"{some(problems, most=_SHOWN, separator='; ')}.",
            hint="Nothing was loaded.",
        )
    return encoder.requires_grad_(requires_grad=False).eval()


def _is_finite(tensor: Tensor) -> bool:
    # Asked of each value, it takes more memory than the tensor itself; the ends tell as much.
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def _card(encoder: Encoder, fields: CardFields) -> CheckpointCard:
    digest = hashlib.sha256()
    for piece in _weights_file(encoder):
        digest.update(piece)
    return CheckpointCard(
        weights_sha256=digest.hexdigest(),
        parcels_sha256=parcels_sha256(),
        encoder=encoder.spec,
        **fields,
    )


def _weights_file(encoder: Encoder) -> Iterator[bytes]:
    """Yield the file in pieces: the header, then one tensor after the other.

    The bytes are those of `safetensors.torch.save_file`, which cannot tell the hash of a file that
    is not written: an imported checkpoint's card has it.

    Raises
    ------
    CheckpointError
        If a weight is not finite, or not float32.
    """
    tensors = dict(sorted(encoder.state_dict().items()))
    broken = [
        key
        for key, value in tensors.items()
        if value.dtype != torch.float32 or not _is_finite(value)
    ]
    if broken:
        raise CheckpointError(f"refused to save weights that are not finite float32: {broken}.")
    header, end = {}, 0
    for key, value in tensors.items():
        start, end = end, end + value.nbytes
        offsets = [start, end]
        header[key] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for value in tensors.values():
        yield value.detach().cpu().numpy().tobytes()


def _write(folder: Path, contents: Mapping[str, Iterable[bytes]]) -> None:
    """Write files to a temporary folder beside, then put that in place."""
    with faults_as(CheckpointError), reading(folder):
        foreign = {p.name for p in folder.iterdir()} - {CARD, WEIGHTS} if folder.exists() else ()
    if foreign:
        raise CheckpointError(
            f"{folder} holds other things than a checkpoint: {sorted(foreign)[:5]}.",
            hint="Name a new folder; an existing one is replaced as a whole.",
        )
    with new_folder(folder, replace=True) as new:
        for name, pieces in contents.items():
            with (new / name).open("wb") as file:
                file.writelines(pieces)
