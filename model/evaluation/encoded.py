"""Vectors of scans from an encoder: every readout, of whole scans and of single windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.embed import embed_windows
from model.evaluation.vectors import ByLevel, Vectors
from model.invocation.progress import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.encoder import Encoder
    from model.evaluation.vectors import Array
    from model.series import ScanEmbedding, Windows
    from model.statistics.pairing import Key

READOUTS = ("networks", "mean + cls", "cls")


def encode(keys: list[Key], scans: Sequence[Windows], encoder: Encoder) -> ByLevel:
    """Embed the windows of scans.

    Parameters
    ----------
    keys
        One per scan, of its first window.

    Returns
    -------
    Vectors by readout. A network that any scan lacks is left out of ``networks`` for all.
    """
    embeddings = [
        embed_windows(w, encoder, readout=("networks",)) for w in counted(scans, "encoding scans")
    ]
    absent = {name for e in embeddings for name in e.missing_networks}
    present = np.array([name not in absent for name in encoder.spec.rows])
    of_windows = [_readouts(e, present) for e in embeddings]
    window_keys = [
        replace(key, window=i)
        for key, e in zip(keys, embeddings, strict=True)
        for i in range(len(e.cls))
    ]
    shares = [e.valid_fraction for e in embeddings]
    return {
        "scan": Vectors(
            keys=keys,
            sets={
                name: np.stack(
                    [
                        np.average(rows[name], axis=0, weights=share)
                        for rows, share in zip(of_windows, shares, strict=True)
                    ]
                )
                for name in READOUTS
            },
        ),
        "window": Vectors(
            keys=window_keys,
            sets={name: np.concatenate([rows[name] for rows in of_windows]) for name in READOUTS},
        ),
    }


def _readouts(
    embedding: ScanEmbedding, present: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> dict[str, Array]:
    """(W, D') per readout."""
    networks = embedding.networks[:, present]
    return {
        "networks": networks.reshape(len(networks), -1),
        "mean + cls": np.concatenate([embedding.mean, embedding.cls], axis=1),
        "cls": np.asarray(embedding.cls),
    }
