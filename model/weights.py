"""An encoder's weights: do they fit an architecture, and what are the bytes of their file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from model.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from model.encoder import Encoder
    from model.spec import EncoderSpec


def check_sizes(tensors: Mapping[str, Tensor], spec: EncoderSpec, *, where: Path) -> None:
    """Compare the sizes that weights tell with a specification, before it is built.

    Raises
    ------
    CheckpointError
        If any differs; what is built of a wrong one may not fit into memory.
    """
    kernels = [key for key in tensors if key.startswith("tokenizers.0.structured.kernels.")]
    found = {
        "dim": _length(tensors, "cls_token", axis=0),
        "depth": len({key.split(".")[1] for key in tensors if key.startswith("blocks.")}),
        "mlp_dim": _length(tensors, "blocks.0.mlp.0.weight", axis=0),
        "dense_kernel": _length(tensors, "tokenizers.0.dense.weight", axis=2),
        "sg_kernel": _length(tensors, "tokenizers.0.structured.kernels.0", axis=2),
        "sg_scales": len(kernels),
    }
    wrong = [
        f"{name} {getattr(spec, name)} (the weights have {size})"
        for name, size in found.items()
        if size is not None and size != getattr(spec, name)
    ]
    if wrong:
        raise CheckpointError(f"{where}: the weights are of another encoder: {', '.join(wrong)}.")


def _length(tensors: Mapping[str, Tensor], key: str, *, axis: int) -> int | None:
    """Return an axis' length; None where `misfits` will name the tensor."""
    tensor = tensors.get(key)
    return None if tensor is None or tensor.ndim <= axis else tensor.shape[axis]


def misfits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Name every tensor that is missing, unexpected, or of another shape or type."""
    problems = [f"missing {key}" for key in expected if key not in found]
    problems += [f"unexpected {key}" for key in found if key not in expected]
    for key in sorted(expected.keys() & found.keys()):
        want, have = expected[key], found[key]
        if want.shape != have.shape or want.dtype != have.dtype:
            problems.append(
                f"{key} is {tuple(have.shape)} {have.dtype}, "
                f"expected {tuple(want.shape)} {want.dtype}"
            )
    return problems


def weights_file(encoder: Encoder) -> Iterator[bytes]:
    """Yield the file in pieces: the header, then one tensor after the other.

    The bytes are those of `safetensors.torch.save`, which holds all weights a second time.

    Raises
    ------
    CheckpointError
        If a weight is not finite, or not float32.
    """
    tensors = dict(sorted(encoder.state_dict().items()))
    broken = [
        key
        for key, value in tensors.items()
        if value.dtype != torch.float32 or not value.isfinite().all()
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
