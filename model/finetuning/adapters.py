"""LoRA through the library peft: small matrices beside frozen weights, merged at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from model.errors import ConfigError

if TYPE_CHECKING:
    from model.encoder import Encoder

TARGETS = r"blocks\.\d+\.(attention\.(qkv|proj)|mlp\.[02])"
"""The transformer's linear layers; tokenizers and norms stay as they are."""
SCALE = 2
"""Alpha over rank."""


def require_library() -> None:
    """Raise `ConfigError` if peft cannot be imported."""
    try:
        import peft  # noqa: F401
    except ImportError as err:
        raise ConfigError(
            f"adapters need the library peft ({err}).",
            hint="In the checkout: pip install '.[lora]'",
        ) from err


def add_adapters(encoder: Encoder, *, rank: int, seed: int) -> Any:
    """Put adapters into an encoder, in place; nothing else of it learns any more.

    Returns
    -------
    peft's handle, for `merge_adapters`.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=TARGETS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return get_peft_model(encoder, config)


def merge_adapters(handle: Any) -> Encoder:
    """Add the adapters to the weights they stand beside: an ordinary encoder again."""
    encoder: Encoder = handle.merge_and_unload(safe_merge=True)
    return encoder
