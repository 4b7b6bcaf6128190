"""One table per network or other group: every scan of an output folder from it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_app.files import write_all
from bids_app.outputs.task_tables import network_files, network_row
from model.cohort.outputs import embedded_scans, model_series
from model.invocation.progress import counted
from model.preprocess import window
from model.tasks.single_networks import embed_single_networks

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from bids_app.embedder import Embedder


def embed_networks(output_dir: Path, embedder: Embedder) -> list[Path]:
    """Write ``group_desc-only<Network>_embedding.{tsv,json}`` for every network.

    A scan that lacks a network has no row in its table. A network that every scan lacks has no
    table. Of a checkpoint with another partition, so for each of its groups.

    Raises
    ------
    OutputsError
        There is no embedded scan, or one is damaged.
    """
    rows: dict[str, list[pd.DataFrame]] = {
        group.name: [] for group in embedder.card.encoder.groups
    }
    for scan in counted(embedded_scans(output_dir), "embedding single networks of scans"):
        series = model_series(scan)
        spec = embedder.card.input_with(series.unit)
        found = embed_single_networks(
            window(series, spec), embedder.encoder, batch_size=embedder.batch_size
        )
        for name, embedding in found.items():
            rows[name].append(network_row(scan.columns, embedding))
    contents: dict[Path, bytes] = {}
    for name, tables in rows.items():
        if tables:
            contents |= network_files(output_dir, name, tables, embedder.card)
    return write_all(contents)
