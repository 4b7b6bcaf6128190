"""Render the embedding of a scan, wherever its series came from: tables, tokens, sidecars."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bids_app.files import json_bytes, table_bytes
from model.cohort import names
from model.cohort.names import embedding_columns, parts_of
from model.partition.groups import NETWORK_GROUPS, is_short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from model.series import ScanEmbedding
    from model.spec import CheckpointCard, ReadoutPart


class Embedded(Protocol):
    """An embedding with the checkpoint that made it."""

    @property
    def embedding(self) -> ScanEmbedding:
        """What the encoder said."""

    @property
    def card(self) -> CheckpointCard:
        """Which encoder."""

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""


def embedding_files(
    result: Embedded, common: dict[str, Any], *, settings: dict[str, Any]
) -> dict[str, bytes]:
    """Render scan, windows and tokens, each with its sidecar.

    Parameters
    ----------
    settings
        Of which the configuration is a hash; beside the scan's row they stand in full.

    Returns
    -------
    Content by ending, in the order of docs/outputs.md.
    """
    embedding = result.embedding
    return {
        f"{names.SCAN}.tsv": table_bytes(scan_table(embedding)),
        f"{names.SCAN}.json": json_bytes(common | {"Settings": settings} | _scan_metadata(result)),
        f"{names.WINDOWS}.tsv": table_bytes(windows_table(embedding, result.window_s)),
        f"{names.WINDOWS}.json": json_bytes(common | _windows_metadata(result)),
        f"{names.TOKENS}.npy": tokens_npy(embedding),
        f"{names.TOKENS}.json": json_bytes(common | _tokens_metadata(result)),
    }


def model_metadata(card: CheckpointCard) -> dict[str, Any]:
    """Name the encoder and its weights for a sidecar."""
    return {
        "Name": card.name,
        "Version": card.version,
        "WeightsSHA256": card.weights_sha256,
        "Source": card.source,
        "License": card.licence,
    }


def parts_metadata(card: CheckpointCard, short: Sequence[str]) -> dict[str, str]:
    """Say what each part of an embedding is, for a sidecar; the short form's pieces by name."""
    return {
        "mean": "mean over the valid tokens",
        "cls": "summary token",
        **{row: f"mean over the valid tokens of {what}" for row, what in _rows(card)},
        **dict.fromkeys(short, "of the short form"),
    }


def scan_table(embedding: ScanEmbedding) -> pd.DataFrame:
    """Return one row: every part averaged over the windows by their share of data."""
    import pandas as pd

    wanted: list[ReadoutPart] = ["mean", "cls", "networks"]
    if embedding.short is not None:
        wanted.append("short")
    values = np.concatenate([embedding.scan_part(part).ravel() for part in wanted])
    return pd.DataFrame(values[None, :], columns=_columns(embedding))


def _columns(embedding: ScanEmbedding) -> list[str]:
    """Name the columns of an embedding: the short form is there if the readout asks for it."""
    parts = (*parts_of(embedding.rows), *_short(embedding))
    return embedding_columns(embedding.cls.shape[1], parts)


def vectors(embedding: ScanEmbedding) -> pd.DataFrame:
    """Return one row per window: every part of its embedding."""
    import pandas as pd

    n_windows = len(embedding.cls)
    parts = [embedding.mean, embedding.cls, embedding.networks.reshape(n_windows, -1)]
    if embedding.short is not None:
        parts.append(embedding.short)
    return pd.DataFrame(np.concatenate(parts, axis=1), columns=_columns(embedding))


def windows_table(embedding: ScanEmbedding, window_s: float) -> pd.DataFrame:
    """Return one row per window: onset and duration (s), valid fraction, then the parts."""
    import pandas as pd

    onsets = pd.DataFrame(
        {
            names.ONSET: embedding.start_s,
            names.DURATION: window_s * embedding.valid_fraction,
            "valid_fraction": embedding.valid_fraction,
        }
    )
    return pd.concat([onsets, vectors(embedding)], axis=1)


def tokens_npy(embedding: ScanEmbedding) -> bytes:
    """Return the (W, N, K, D) tokens as an ``.npy`` file; NaN where a token saw no data."""
    tokens = np.where(embedding.valid[..., None], embedding.tokens, np.float32(np.nan))
    buffer = io.BytesIO()
    np.save(buffer, tokens, allow_pickle=False)
    return buffer.getvalue()


def _embedding_metadata(result: Embedded) -> dict[str, Any]:
    card, embedding = result.card, result.embedding
    return {
        "Model": model_metadata(card),
        "EmbeddingDimension": int(embedding.cls.shape[1]),
        "Parts": parts_metadata(card, _short(embedding)),
        "ScanVector": list(embedding.readout),
        "MissingNetworks": list(embedding.missing_networks),
        "Groups": card.encoder.to_dict().get("groups"),
        "Windows": {
            "Number": int(embedding.cls.shape[0]),
            "Length": result.window_s,
            "Onsets": [float(start) for start in embedding.start_s],
            "ValidFraction": [float(share) for share in embedding.valid_fraction],
        },
    }


def short_parts(columns: Iterable[str]) -> list[str]:
    """Name the pieces of the short form among the columns of a table."""
    return [part for part in names.parts_in(columns) if is_short(part)]


def _short(embedding: ScanEmbedding) -> list[str]:
    """Name the pieces of the short form, if the readout asks for it."""
    n_short = 0 if embedding.short is None else embedding.short.shape[1] // embedding.cls.shape[1]
    return [part for part in parts_of((), n_short=n_short) if is_short(part)]


def _rows(card: CheckpointCard) -> Iterator[tuple[str, str]]:
    """Yield the name of each row and what it is of."""
    for group in card.encoder.groups:
        what = f"network {group.name}" if group in NETWORK_GROUPS else f"group {group.name}"
        for number, row in enumerate(group.rows, start=1):
            yield row, what if group.tokens == 1 else f"{what}, token {number}"


def _scan_metadata(result: Embedded) -> dict[str, Any]:
    return _embedding_metadata(result) | {
        "Description": "Embedding of the whole scan: parts averaged over windows, weighted by "
        "their share of data. n/a: the network has no signal in this scan."
    }


def _windows_metadata(result: Embedded) -> dict[str, Any]:
    return _embedding_metadata(result) | {
        "Description": "Embedding of each window of the scan.",
        names.ONSET: {"Description": "Start after the first volume of the scan.", "Units": "s"},
        names.DURATION: {"Description": "Length of the data in the window.", "Units": "s"},
        "valid_fraction": {"Description": "Share of the window that is data, not padding."},
    }


def _tokens_metadata(result: Embedded) -> dict[str, Any]:
    return _embedding_metadata(result) | {
        "Description": "Tokens of each window: one per network and patch of 40 s. NaN: the "
        "token was masked, as its network is missing or its patch is padding.",
        "Shape": list(result.embedding.tokens.shape),
        "DataType": "float32",
        "Axes": ["window", "network", "patch", "dimension"],
        "Networks": list(result.embedding.rows),
    }
