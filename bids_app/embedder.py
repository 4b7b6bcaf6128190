"""The only door to the torch side: one encoder, loaded once, on one device."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.errors import OptionsError

if TYPE_CHECKING:
    from pathlib import Path

    from model.encoder import Encoder
    from model.series import ScanEmbedding, Windows
    from model.spec import CheckpointCard

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedder:
    """A loaded checkpoint, ready for the windows of any scan."""

    encoder: Encoder
    card: CheckpointCard
    device: str
    batch_size: int

    def __call__(self, windows: Windows) -> ScanEmbedding:
        """Embed the windows of one scan."""
        from model.embed import embed_windows

        return embed_windows(windows, self.encoder, batch_size=self.batch_size)


def load_embedder(
    checkpoint: Path | None, *, device: str, batch_size: int, n_threads: int
) -> Embedder:
    """Load a checkpoint (None: the bundled one) onto a device.

    Raises
    ------
    OptionsError
        A GPU was asked for by name and is not there.
    CheckpointError
        The checkpoint is absent, damaged, or for another atlas.
    """
    import torch

    from model.checkpoint import load_encoder

    torch.set_num_threads(n_threads)
    resolved = _resolve_device(device)
    encoder = load_encoder(checkpoint, device=resolved)
    card = encoder.card
    if card is None:  # pragma: unreachable, load_encoder always sets the card
        raise AssertionError
    log.info("checkpoint %s %s on %s", card.name, card.version, resolved)
    return Embedder(encoder=encoder, card=card, device=resolved, batch_size=batch_size)


def _resolve_device(device: str) -> str:
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise OptionsError(f"--device {device}: expected auto, cpu, cuda or cuda:N.")
    if device == "auto":
        chosen = "cuda" if torch.cuda.is_available() else "cpu"
        log.info("--device auto: using %s", chosen)
        return chosen
    if device.startswith("cuda"):
        wanted = int(device.partition(":")[2] or 0)
        if wanted >= torch.cuda.device_count():
            raise OptionsError(
                f"--device {device}: expected CUDA device {wanted}, "
                f"found {torch.cuda.device_count()} device(s).",
                hint="Use --device cpu, or start the container with --gpus all (Apptainer: --nv).",
            )
    return device
