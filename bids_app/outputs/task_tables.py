"""Tables of task blocks and of single networks: their names, columns and sidecars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.files import json_bytes, table_bytes
from bids_app.outputs.embedding import model_metadata, parts_metadata, short_parts, vectors
from model.cohort.names import (
    GROUP_BLOCKS,
    GROUP_BLOCKS_ONLY,
    GROUP_ONLY,
    WHOLE,
    embedding_columns,
)
from model.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from model.series import ScanEmbedding
    from model.spec import CheckpointCard
    from model.tasks.block_windows import Block, Event

_FIRST = ("participant_id", "session_id", "task_id")
_CONDITION, _LAST = "trial_type", "n_samples"
"""The columns of a block up to the last stand before its embedding."""


def identify(columns: Mapping[str, str]) -> dict[str, str]:
    """Put participant, session and task before the other identifying columns of a scan."""
    first = [name for name in _FIRST if name in columns]
    return {name: columns[name] for name in [*first, *sorted(set(columns) - set(first))]}


def event_columns(event: Event) -> dict[str, Any]:
    """Return the columns of an event."""
    return {
        _CONDITION: event.trial_type,
        "onset": event.onset_s,
        "duration": event.duration_s,
    }


def block_table(
    scan: Mapping[str, str],
    blocks: Sequence[Block],
    embedding: ScanEmbedding,
    *,
    parts: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return one row per block of a scan: what it is, then its embedding, or parts of it."""
    import pandas as pd

    keys = pd.DataFrame([dict(scan) | _block_columns(block) for block in blocks])
    table = vectors(embedding)
    if parts is not None:
        table = table[embedding_columns(embedding.cls.shape[1], parts)]
    return pd.concat([keys, table], axis=1)


def _block_columns(block: Block) -> dict[str, Any]:
    return event_columns(block.events[0]) | {
        "duration": sum(event.duration_s for event in block.events),
        "n_events": len(block.events),
        _LAST: len(block.samples),
    }


def condition_means(blocks: pd.DataFrame) -> pd.DataFrame:
    """Average the blocks of each condition within each scan."""
    import pandas as pd

    columns = list(blocks.columns)
    keys, values = columns[: columns.index(_CONDITION) + 1], columns[columns.index(_LAST) + 1 :]
    groups = blocks.groupby(keys, sort=False, dropna=False)
    counts = groups.size().rename("n_blocks")
    return pd.concat([counts, groups[values].mean()], axis=1).reset_index()


def block_files(
    output_dir: Path,
    blocks: pd.DataFrame,
    left_out: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    card: CheckpointCard,
) -> dict[Path, bytes]:
    """Render the tables of blocks, of conditions and of what gave no block, each with its JSON.

    Parameters
    ----------
    blocks
        Rows of `block_table`.
    left_out
        Scans, and events of other scans, with the reason.
    settings
        How events became windows, for the sidecars.
    """
    import pandas as pd

    stem = output_dir / GROUP_BLOCKS
    conditions = output_dir / "group_desc-conditions_embedding"
    status = output_dir / "group_desc-blocks_status.tsv"
    metadata = {
        "Model": model_metadata(card),
        "EmbeddingDimension": card.encoder.dim,
        "Parts": parts_metadata(card, short_parts(map(str, blocks))),
        "ScanVector": list(card.readout),
        "Blocks": {**settings, "PatchDuration": card.input.patch_s},
    }
    lost = pd.DataFrame(left_out, columns=None if left_out else ["reason"])
    return {
        stem.with_suffix(".tsv"): table_bytes(blocks),
        stem.with_suffix(".json"): json_bytes(
            metadata | {"Description": "Embedding of each task block.", **_BLOCK_COLUMNS}
        ),
        conditions.with_suffix(".tsv"): table_bytes(condition_means(blocks)),
        conditions.with_suffix(".json"): json_bytes(
            metadata
            | {
                "Description": "Embedding of each condition: mean over its blocks in a run.",
                "n_blocks": {"Description": "Blocks that were averaged."},
            }
        ),
        status: table_bytes(lost),
        status.with_suffix(".json"): json_bytes(
            {"Description": "Runs, and events of other runs, that gave no block, and why."}
        ),
    }


_BLOCK_COLUMNS = {
    "onset": {"Description": "Of the first event, after the first volume.", "Units": "s"},
    "duration": {"Description": "Of all events of the block together.", "Units": "s"},
    "n_events": {"Description": "Events that the block holds."},
    "n_samples": {"Description": "Samples of the patch that are data; the others are zero."},
}


def network_row(scan: Mapping[str, str], embedding: ScanEmbedding) -> pd.DataFrame:
    """Return one row of a scan embedded from a single group of parcels: mean and CLS."""
    import pandas as pd

    values = np.concatenate([embedding.scan_part("mean"), embedding.scan_part("cls")])
    columns = embedding_columns(embedding.cls.shape[1], WHOLE)
    vector = pd.DataFrame(values[None, :], columns=columns)
    return pd.concat([pd.DataFrame([dict(scan)]), vector], axis=1)


def network_files(
    output_dir: Path, name: str, rows: Sequence[pd.DataFrame], card: CheckpointCard
) -> dict[Path, bytes]:
    """Render the table of scans embedded from a single network or other group, with its JSON."""
    import pandas as pd

    stem = output_dir / f"{GROUP_ONLY}{name}_embedding"
    table = pd.concat(list(rows), ignore_index=True)
    return {
        stem.with_suffix(".tsv"): table_bytes(table),
        stem.with_suffix(".json"): json_bytes(_alone_metadata("scan", name, card)),
    }


def network_block_files(
    output_dir: Path,
    name: str,
    blocks: pd.DataFrame,
    settings: Mapping[str, Any],
    card: CheckpointCard,
) -> dict[Path, bytes]:
    """Render the table of blocks embedded from a single network or other group, with its JSON.

    Parameters
    ----------
    blocks, settings
        As of `block_files`.
    """
    stem = output_dir / f"{GROUP_BLOCKS_ONLY}{name}_embedding"
    metadata = _alone_metadata("task block", name, card) | _BLOCK_COLUMNS
    metadata["Blocks"] = {**settings, "PatchDuration": card.input.patch_s}
    return {
        stem.with_suffix(".tsv"): table_bytes(blocks),
        stem.with_suffix(".json"): json_bytes(metadata),
    }


def _alone_metadata(what: str, name: str, card: CheckpointCard) -> dict[str, Any]:
    kind = "network" if name in NETWORKS else "group"
    return {
        "Description": f"Embedding of each {what} from {kind} {name} alone: the tokens of all "
        f"other {kind}s were replaced by the mask token.",
        kind.capitalize(): name,
        "Parts": {"mean": f"mean over the tokens of {name}", "cls": "summary token"},
        "ScanVector": list(WHOLE),
        "Model": model_metadata(card),
        "EmbeddingDimension": card.encoder.dim,
    }
