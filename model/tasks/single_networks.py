"""What each network says by itself: the encoder with all networks masked but one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.embed import embed_windows
from model.partition.groups import missing_rows

if TYPE_CHECKING:
    from model.encoder import Encoder
    from model.series import ScanEmbedding, Windows


def embed_single_networks(
    windows: Windows, encoder: Encoder, *, batch_size: int = 8
) -> dict[str, ScanEmbedding]:
    """Embed the windows of a scan once per network, the tokens of all others masked.

    Returns
    -------
    Embeddings by network, or other group of the encoder's; those that the scan lacks are absent.
    ``mean`` is that of the one group's tokens; ``cls`` is what the summary token makes of them.
    """
    absent = missing_rows(encoder.spec.groups, windows.missing)
    found = {}
    for group in encoder.spec.groups:
        own = np.isin(encoder.spec.rows, group.rows)
        if not absent[own].all():
            found[group.name] = embed_windows(
                windows, encoder, readout=("mean", "cls"), hidden=~own, batch_size=batch_size
            )
    return found
