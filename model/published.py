"""Read the published training checkpoint: weights only, every key used or dropped by name.

The file holds a whole training model: student and teacher encoders, each with three copies of
the tokenizers of which one is live, and projection heads. What we want is a fifth of it. The
layout is that of https://huggingface.co/SamGijsen/Brain-Semantoks; no code of that project is
used.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model.encoder import sincos
from model.errors import CheckpointError, ConfigError, some
from model.files.faults import FileError, check_claim, faults_as, reading
from model.networks import NETWORKS, network_columns
from model.series import shown
from model.spec import EncoderSpec

if TYPE_CHECKING:
    from pathlib import Path

_TEACHER = "teacher_encoder."
_OTHER_PARTS = (
    "student_encoder.",
    "student_predictor.",
    "teacher_predictor.",
    "student_mask_predictor.",
    "teacher_mask_predictor.",
)
_DEAD = re.compile(
    r"network_tokenizers\.(tian3|buckner7)\.\d+\..+"
    r"|inter_network_transformer\.norm\.(weight|bias)"
)
_MULTIPLIER = 2.0
"""Ratio of the structured convolution's scale weights; our forward path has it built in."""

PATCH_SAMPLES = 20
"""Of the published model"""

_DEEPEST = 20
"""Levels of a configuration in which the number of heads is looked for"""
_TOKENIZER = "network_tokenizers.schaefer400."
_TOKENIZER_KEY = re.compile(r"network_tokenizers\.([^.]{1,40})\.(\d{1,4})\.(.+)")
_ATLAS_HINT = "Only Schaefer-400 (7 networks) + Tian S3 + Buckner-7 is supported."
_TRANSFORMER = "inter_network_transformer."
_RENAMED = {
    r"network_tokenizers\.schaefer400\.": "tokenizers.",
    r"\.branches\.0\.": ".dense.",
    r"\.branches\.1\.slconv\.D$": ".structured.skip",
    r"\.branches\.1\.slconv\.kernel_list\.": ".structured.kernels.",
    r"\.branches\.1\.slconv\.kernel_norm$": ".structured.kernel_norm",
    r"\.branches\.1\.projection\.": ".structured.projection.",
    r"^inter_network_transformer\.mask_embedding$": "mask_token",
    r"^inter_network_transformer\.cls_token$": "cls_token",
    r"^inter_network_transformer\.network_learnable_pos_embedding\.weight$": "network_embedding",
    r"^inter_network_transformer\.transformer_blocks\.": "blocks.",
    r"\.attn\.": ".attention.",
    r"\.mlp\.3\.": ".mlp.2.",
    r"\.ls([12])\.": r".scale\1.",
}


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """The live part of a published checkpoint, in our names."""

    spec: EncoderSpec
    tensors: dict[str, Tensor]
    """Mapped from the file, so that what is not used is never read."""
    dropped_keys: tuple[str, ...]
    """The teacher's dead tensors by name; the other parts of the file as ``part.*``."""
    epoch: int | None

    __repr__ = shown


def read_published(path: Path, *, heads: int | None) -> PublishedWeights:
    """Read a published ``.pth``.

    Parameters
    ----------
    path
        The file. Nothing in it is executed: only tensors and plain values are read.
    heads
        Attention heads; None: as the file's configuration says, or 64 channels a head.

    Raises
    ------
    CheckpointError
        If the file is not such a checkpoint or does not fit our 457 parcels.
    """
    content = _load(path)
    state = _model_state(content, path=path)
    dropped = [f"{part}*" for part in _OTHER_PARTS if any(k.startswith(part) for k in state)]
    dropped += sorted(k for k in state if _is_dead(k))
    live = {
        key.removeprefix(_TEACHER): tensor
        for key, tensor in state.items()
        if key.startswith(_TEACHER) and not _is_dead(key)
    }
    unknown = [key for key in state if not key.startswith((_TEACHER, *_OTHER_PARTS))]
    if not live or unknown:
        raise CheckpointError(
            f"{path}: expected the parts {_TEACHER}* and {', '.join(_OTHER_PARTS)}, found "
            f"{len(live)} live keys of the teacher and unknown keys "
            f"{[key[:80] for key in unknown[:10]]}.",
            hint="The teacher is the part that is used; a student alone cannot be imported.",
        )
    _check_variant(live, path=path)
    configured = _configured_heads(content.get("config"))
    if None not in (heads, configured) and heads != configured:
        raise CheckpointError(
            f"{path}: its configuration has {configured} attention heads, not {heads}.",
            hint="Heads are given where a file does not tell them.",
        )
    heads = configured if heads is None else heads
    spec = _spec(live, heads=heads, patch_samples=_configured_patch(content), path=path)
    _check_window(content, spec, path=path)
    _take_constants(live, spec=spec, path=path)
    epoch = content.get("epoch")
    return PublishedWeights(
        spec=spec,
        tensors={_our_name(key): _our_shape(key, tensor) for key, tensor in live.items()},
        dropped_keys=tuple(dropped),
        epoch=epoch if isinstance(epoch, int) else None,
    )


def _load(path: Path) -> dict[str, Any]:
    """Read tensors and plain values, nothing else."""
    with faults_as(CheckpointError), reading(path, "not a readable PyTorch checkpoint"):
        is_mapped = zipfile.is_zipfile(path)
        if is_mapped:
            _check_archive(path)
        try:
            # Mapped where the format allows it: what is not used stays on disk.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
        except pickle.UnpicklingError as err:
            refused = re.search(r"GLOBAL ([\w.]+)", str(err))
            what = (
                f"it holds a pickled {refused[1]:.80}" if refused else "it is not made of tensors"
            )
            raise CheckpointError(
                f"{path}: refused, {what}.",
                hint="Only tensors and plain values are read, because unpickling runs code: "
                "save the state dict anew with a program that you trust.",
            ) from err
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a dictionary, found {type(content).__name__}.")
    return content


def _check_archive(path: Path) -> None:
    """Refuse an archive that is packed, as torch writes none, and might be a bomb, or damaged.

    Torch never compares the check sums that it writes: a flipped bit is another weight.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        packed = [m.filename for m in members if m.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise FileError(
                path, f"expected an archive of torch, found {packed[0]!r:.60} compressed"
            )
        check_claim(path, sum(m.file_size for m in members), "the checkpoint")
        if damaged := archive.testzip():
            raise FileError(
                path, f"{damaged!r:.60} is not as it was written: its check sum differs"
            )


def _model_state(content: dict[str, Any], *, path: Path) -> dict[str, Tensor]:
    """Return the state dict without the prefix that distributed training adds."""
    state = content.get("model_state_dict")
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and _is_plain(value) for key, value in state.items()
    ):
        raise CheckpointError(
            f"{path}: expected tensors under 'model_state_dict', found the keys "
            f"{sorted(key[:40] for key in content if isinstance(key, str))[:10]}.",
            hint="This reads checkpoints of the published Brain-Semantoks training only.",
        )
    # One storage may stand for many tensors, or for one of any size.
    with faults_as(CheckpointError):
        check_claim(path, sum(t.numel() * t.itemsize for t in state.values()), "the checkpoint")
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def _is_plain(value: object) -> bool:
    """Tell whether this is a tensor whose numbers are there: not sparse, quantized or on meta."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        return False
    return value.device.type == "cpu" and not value.is_complex()


def _is_dead(key: str) -> bool:
    return key.startswith(_TEACHER) and bool(_DEAD.fullmatch(key.removeprefix(_TEACHER)))


def _check_variant(live: dict[str, Tensor], *, path: Path) -> None:
    """Refuse the other tokenizers of the published code: each is told by what it is."""
    found: dict[str, dict[int, dict[str, Tensor]]] = {}
    for key, tensor in live.items():
        if part := _TOKENIZER_KEY.fullmatch(key):
            found.setdefault(part[1], {}).setdefault(int(part[2]), {})[part[3]] = tensor
    atlas = _TOKENIZER.split(".")[1]
    if atlas not in found:
        raise CheckpointError(
            f"{path}: expected the tokenizers of {atlas}, found those of "
            f"{some(sorted(found)) or 'no atlas'}.",
            hint=_ATLAS_HINT,
        )
    sizes = {i: _n_parcels(parts) for i, parts in sorted(found[atlas].items())}
    if set(sizes) != set(range(len(NETWORKS))):
        shown = some([str(n or "?") for n in sizes.values()])
        raise CheckpointError(
            f"{path}: the weights are for another partition of the parcels: expected "
            f"{len(NETWORKS)} networks ({', '.join(NETWORKS)}), found {len(sizes)} group(s), of "
            f"{shown} parcels.",
            hint="The file does not say which parcels these are. Such a partition is trained here "
            "with a recipe whose encoder has groups (docs/partitions.md).",
        )
    _check_branches(found[atlas], path=path)
    expected = {network: len(network_columns(network)) for network in NETWORKS}
    wrong = [
        f"{network} {sizes[i]} (expected {expected[network]})"
        for i, network in enumerate(NETWORKS)
        if sizes[i] != expected[network]
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: the weights are for other parcels: {', '.join(wrong)}.", hint=_ATLAS_HINT
        )


def _n_parcels(parts: dict[str, Tensor]) -> int | None:
    """Return the parcels of a tokenizer, which either of its branches tells."""
    for name, n_axes in (("branches.0.weight", 3), ("branches.1.slconv.D", 2)):
        if name in parts and parts[name].ndim == n_axes:
            return parts[name].shape[1]
    return None


def _check_branches(tokenizers: dict[int, dict[str, Tensor]], *, path: Path) -> None:
    """Refuse tokenizers without the two branches that the published model has."""
    names = {name for parts in tokenizers.values() for name in parts}
    has_dense = "branches.0.weight" in names
    is_structured = any(".slconv." in name for name in names)
    if has_dense and any(name.startswith("branches.1.slconv.") for name in names):
        return
    if has_dense != is_structured:  # a structured branch that stands alone is the first
        shown = f"the {'dense' if has_dense else 'structured'} convolution alone"
    else:
        shown = f"others ({some(sorted(names)) or 'nothing'})"
    raise CheckpointError(
        f"{path}: the tokenizers are of another kind: expected two branches, dense convolution "
        f"and structured convolution, found {shown}.",
        hint="Only the published tokenizer can be imported; its variants are trained here.",
    )


def _configured_heads(config: object, *, depth: int = 0) -> int | None:
    """Find the attention heads in a nested configuration; None where it does not tell.

    A key called just ``heads`` is passed over: the published training never reads it.
    """
    if not isinstance(config, dict) or depth > _DEEPEST:  # one that holds itself never ends
        return None
    for key, value in config.items():
        is_it = key in ("num_heads", "n_heads")
        found = value if is_it else _configured_heads(value, depth=depth + 1)
        if isinstance(found, int):
            return found
    return None


def _configured_patch(content: dict[str, Any]) -> int:
    """Return the samples of a patch, which leave no trace in shapes; as published, if not told."""
    found = _of_data(content, "patch_size")
    return PATCH_SAMPLES if found is None else found


def _check_window(content: dict[str, Any], spec: EncoderSpec, *, path: Path) -> None:
    """Refuse a file whose configuration trained on windows of another number of patches."""
    window = _of_data(content, "target_signal_length")
    if window is not None and window // spec.patch_samples != spec.n_patches:
        raise CheckpointError(
            f"{path}: its configuration has windows of {window} samples in patches of "
            f"{spec.patch_samples}, its weights are for {spec.n_patches} patches."
        )


def _of_data(content: dict[str, Any], key: str) -> int | None:
    """Return a number of samples in the part ``data`` of the configuration."""
    config = content.get("config")
    data = config.get("data") if isinstance(config, dict) else None
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, int) and found > 0 else None


def _spec(
    live: dict[str, Tensor], *, heads: int | None, patch_samples: int, path: Path
) -> EncoderSpec:
    """Tell the architecture from shapes; heads and length of a patch leave no trace in them."""
    kernels = [k for k in live if k.startswith(f"{_TOKENIZER}0.branches.1.slconv.kernel_list.")]

    def size(key: str, axis: int) -> int:
        if key not in live or live[key].ndim <= max(axis, -axis - 1):
            raise CheckpointError(f"{path}: the teacher lacks {key}, or it is of another shape.")
        return live[key].shape[axis]

    dim = size(f"{_TRANSFORMER}cls_token", -1)
    if not kernels or not dim:
        raise CheckpointError(f"{path}: the teacher lacks kernels or channels.")
    sizes: dict[str, Any] = {
        "dim": dim,
        "patch_samples": patch_samples,
        "depth": len({k.split(".")[2] for k in live if ".transformer_blocks." in k}),
        "mlp_ratio": size(f"{_TRANSFORMER}transformer_blocks.0.mlp.0.weight", 0) // dim,
        "n_patches": size(f"{_TRANSFORMER}temporal_pos_embedding", 0),
        "dense_kernel": size(f"{_TOKENIZER}0.branches.0.weight", -1),
        "sg_kernel": size(kernels[0], -1),
        "sg_scales": len(kernels),
    }
    if heads is None and dim % 64:
        raise CheckpointError(
            f"{path}: the file does not say how many attention heads it has, and {dim} channels "
            "are not a multiple of 64, the width of a head in the published model.",
            hint="Convert it, telling them: semantoks-model import-checkpoint "
            f"{path} FOLDER --heads N; then --checkpoint FOLDER. In Python: "
            "load_encoder(path, heads=N).",
        )
    try:
        return EncoderSpec(heads=dim // 64 if heads is None else heads, **sizes)
    except ConfigError as err:
        raise CheckpointError(f"{path}: {err}") from err


def _take_constants(live: dict[str, Tensor], *, spec: EncoderSpec, path: Path) -> None:
    """Check and remove what our forward path has built in: scale weights, positions."""
    problems = []
    for i in range(len(NETWORKS)):
        slconv = f"{_TOKENIZER}{i}.branches.1.slconv."
        ready = live.pop(f"{slconv}kernel_norm_initialized", None)
        if ready is None or not bool(ready.all()):
            problems.append(f"{slconv}kernel_norm was never initialized")
        multiplier = live.pop(f"{slconv}multiplier", None)
        if multiplier is None or not bool((multiplier == _MULTIPLIER).all()):
            problems.append(f"{slconv}multiplier is not {_MULTIPLIER}")
    positions = live.pop(f"{_TRANSFORMER}temporal_pos_embedding")
    expected = sincos(spec.n_patches, spec.dim)
    if positions.shape != expected.shape or not torch.allclose(
        positions.float(), expected, atol=max(1e-5, torch.finfo(positions.dtype).eps)
    ):
        problems.append(f"{_TRANSFORMER}temporal_pos_embedding is not the sine-cosine embedding")
    if problems:
        raise CheckpointError(
            f"{path}: {'; '.join(problems)}.",
            hint="A model that was saved before its first forward pass holds no usable weights.",
        )


def _our_name(key: str) -> str:
    for published, ours in _RENAMED.items():
        key = re.sub(published, ours, key)
    return key


def _our_shape(key: str, tensor: Tensor) -> Tensor:
    """Drop the published leading axes of length one."""
    if key in {f"{_TRANSFORMER}mask_embedding", f"{_TRANSFORMER}cls_token"}:
        tensor = tensor.flatten()
    return tensor
