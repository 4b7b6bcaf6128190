"""Found and imported by the registry of brainmarks; see `model.brainmarks.scan_encoder`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brainmarks.models.registry import register_model

from model.brainmarks.scan_encoder import MAX_WINDOWS, ScanEncoder, ScanTransform
from model.checkpoint import load_encoder

if TYPE_CHECKING:
    from pathlib import Path


@register_model
def semantoks(
    checkpoint: Path | str | None = None, *, max_windows: int = MAX_WINDOWS
) -> tuple[ScanTransform, ScanEncoder]:
    """Load a checkpoint: a folder, a published ``.pth``, or None for the bundled one."""
    encoder = load_encoder(checkpoint)
    spec = encoder.own_card().input
    return ScanTransform(spec, max_windows=max_windows), ScanEncoder(encoder, spec)
