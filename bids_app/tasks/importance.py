"""One table per network: every run of an output folder with all other networks masked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bids_app.files import json_bytes, table_bytes, write_all
from bids_app.outputs.embedding import model_metadata
from model.cohort.names import embedding_columns
from model.cohort.outputs import embedded_runs, model_series
from model.networks import NETWORKS
from model.preprocess import window
from model.tasks.single_networks import embed_single_networks

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.embedder import Embedder
    from model.series import ScanEmbedding


def embed_networks(output_dir: Path, embedder: Embedder) -> list[Path]:
    """Write ``group_desc-only<Network>_embedding.{tsv,json}`` for every network.

    A run that lacks a network has no row in its table. A network that every run lacks has no
    table.

    Raises
    ------
    OutputsError
        There is no embedded run, or one is damaged.
    """
    rows: dict[str, list[pd.DataFrame]] = {name: [] for name in NETWORKS}
    for run in embedded_runs(output_dir):
        series = model_series(run)
        # The unit is one of the two normalizations: window() refuses any other.
        spec = replace(embedder.card.input, normalization=series.unit)  # type: ignore[arg-type]
        found = embed_single_networks(
            window(series, spec), embedder.encoder, batch_size=embedder.batch_size
        )
        keys = pd.DataFrame([run.columns])
        for name, embedding in found.items():
            rows[name].append(pd.concat([keys, _vector(embedding)], axis=1))
    contents = {}
    for name, tables in rows.items():
        if tables:
            stem = output_dir / f"group_desc-only{name}_embedding"
            contents[stem.with_suffix(".tsv")] = table_bytes(pd.concat(tables, ignore_index=True))
            contents[stem.with_suffix(".json")] = json_bytes(_metadata(name, embedder))
    return write_all(contents)


def _vector(embedding: ScanEmbedding) -> pd.DataFrame:
    values = np.concatenate([embedding.scan_part("mean"), embedding.scan_part("cls")])
    columns = embedding_columns(embedding.cls.shape[1], ("mean", "cls"))
    return pd.DataFrame(values[None, :], columns=columns)


def _metadata(network: str, embedder: Embedder) -> dict[str, object]:
    card = embedder.card
    return {
        "Description": f"Embedding of each scan from network {network} alone: the tokens of all "
        "other networks were replaced by the mask token.",
        "Network": network,
        "Parts": {"mean": f"mean over the tokens of {network}", "cls": "summary token"},
        "Model": model_metadata(card),
        "EmbeddingDimension": card.encoder.dim,
    }
