"""What each network says by itself: the encoder with all networks masked but one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.embed import embed_windows
from model.networks import NETWORKS, missing_networks, network_columns

if TYPE_CHECKING:
    from model.encoder import Encoder
    from model.series import ScanEmbedding, Windows


def embed_single_networks(
    windows: Windows, encoder: Encoder, *, batch_size: int = 8
) -> dict[str, ScanEmbedding]:
    """Embed the windows of a scan once per network, the tokens of all others masked.

    Returns
    -------
    Embeddings by network; those that the scan lacks are absent. ``mean`` is that of the one
    network's tokens; ``cls`` is what the summary token makes of them.
    """
    absent = missing_networks(windows.missing)
    found = {}
    for name, gone in zip(NETWORKS, absent, strict=True):
        if not gone:
            # A network whose parcels are missing is masked: so are the others here.
            others = np.ones_like(windows.missing)
            others[network_columns(name)] = False
            alone = replace(windows, missing=windows.missing | others)
            found[name] = embed_windows(
                alone, encoder, readout=("mean", "cls"), batch_size=batch_size
            )
    return found
