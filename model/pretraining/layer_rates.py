"""Learning rates that fall from layer to layer, for training and for fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_FIRST = (
    "encoder.tokenizers.",
    "encoder.mask_token",
    "encoder.cls_token",
    "encoder.network_embedding",
)
_LAST = ("encoder.norm.", "encoder.whitening.", "head.")


def parameter_groups(
    model: nn.Module, *, depth: int, learning_rate: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Group the parameters that learn by their layer, for an optimizer.

    Parameters
    ----------
    model
        With children ``encoder`` and ``head``.
    depth
        Blocks of the encoder.
    learning_rate
        Of the last layer: final norm, whitening and head.
    layer_decay
        Factor from each layer to the one below: blocks, then tokenizers and embeddings.

    Raises
    ------
    ValueError
        A parameter belongs to no known layer.
    """
    layers: dict[int, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layers.setdefault(_layer_of(name, depth=depth), []).append(parameter)
    return [
        {"params": layers[layer], "lr": learning_rate * layer_decay ** (depth + 1 - layer)}
        for layer in sorted(layers)
    ]


def _layer_of(name: str, *, depth: int) -> int:
    if name.startswith(_FIRST):
        return 0
    if name.startswith("encoder.blocks."):
        return int(name.split(".")[2]) + 1
    if name.startswith(_LAST):
        return depth + 1
    msg = f"parameter {name} belongs to no layer"
    raise ValueError(msg)
