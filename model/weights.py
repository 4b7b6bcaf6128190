"""An encoder's weights as the bytes of a safetensors file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import torch

from model.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.encoder import Encoder


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
