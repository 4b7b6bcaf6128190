"""Embed the task blocks of an output folder's runs: a table of blocks, one of conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bids_app.errors import NothingSelectedError, ScanError
from bids_app.files import json_bytes, table_bytes, write_all
from bids_app.outputs.embedding import model_metadata
from bids_app.tasks.events import events_of, find_events, read_events
from model.cohort.names import embedding_columns
from model.cohort.outputs import embedded_runs, model_series
from model.errors import SeriesError
from model.tasks.block_windows import block_windows, find_blocks, merge_events

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.embedder import Embedder
    from model.cohort.outputs import Run
    from model.series import ScanEmbedding
    from model.tasks.block_windows import Block, Construction, Event, Place, Response


_FIRST = ("participant_id", "session_id", "task_id")


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """How events become windows."""

    response: Response
    construction: Construction
    place: Place
    merge_gap_s: float | None
    """Join events of one condition that follow within this time; None: each row is a block"""
    conditions: tuple[str, ...]
    """Trial types that are used; empty: all"""


@dataclass(frozen=True, kw_only=True)
class BlocksSummary:
    """What was written, and how much of what was found."""

    paths: list[Path]
    n_blocks: int
    n_runs: int
    """With at least one block"""
    n_left_out: int
    """Runs and events that gave no block; the status table has the reasons"""


def embed_blocks(
    output_dir: Path, bids_dir: Path, options: BlockOptions, embedder: Embedder
) -> BlocksSummary:
    """Embed the blocks of all runs of an output folder that have events.

    Parameters
    ----------
    output_dir
        Folder that the participant level wrote; the three tables are written there too.
    bids_dir
        Dataset with the ``events.tsv``.

    Raises
    ------
    InputError, OutputsError
        No events or no embedded runs.
    NothingSelectedError
        No event gave a block; the message has the first reason.
    """
    files = find_events(bids_dir)
    tables: list[pd.DataFrame] = []
    left_out: list[dict[str, Any]] = []
    for run in embedded_runs(output_dir):
        keys = _keys(run)
        try:
            table, lost = _embed_run(run, files, options, embedder)
        except (ScanError, SeriesError) as err:
            left_out.append(keys | {"reason": str(err)})
            continue
        left_out += [keys | row for row in lost]
        if not table.empty:
            tables.append(table)
    if not tables:
        raise NothingSelectedError(
            f"{output_dir}: no event gave a block: {left_out[0]['reason']} (and "
            f"{len(left_out) - 1} more).",
            hint="Are these the events of these runs, and --condition a trial_type of theirs?",
        )
    blocks = pd.concat(tables, ignore_index=True)
    paths = _write(output_dir, blocks, left_out, options, embedder)
    return BlocksSummary(
        paths=paths, n_blocks=len(blocks), n_runs=len(tables), n_left_out=len(left_out)
    )


def _embed_run(
    run: Run, files: list[Path], options: BlockOptions, embedder: Embedder
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return a row per block, and a row per event without one."""
    path = events_of(run.entities, files)
    if path is None:
        raise ScanError("no events file")
    events = read_events(path)
    if options.conditions:
        events = [event for event in events if event.trial_type in options.conditions]
    if not events:
        raise ScanError(f"{path.name}: no event of the conditions")
    if options.merge_gap_s is not None:
        events = merge_events(events, gap_s=options.merge_gap_s)
    series = model_series(run)
    # The unit is one of the two normalizations: block_windows refuses any other.
    spec = replace(embedder.card.input, normalization=series.unit)  # type: ignore[arg-type]
    blocks, lost = find_blocks(
        series, events, response=options.response, construction=options.construction, spec=spec
    )
    reasons = [_event(one.event) | {"reason": one.reason} for one in lost]
    if not blocks:
        return pd.DataFrame(), reasons
    embedding = embedder.embed_windows(
        block_windows(series, blocks, place=options.place, spec=spec)
    )
    return _block_table(run, blocks, embedding), reasons


def _block_table(run: Run, blocks: list[Block], embedding: ScanEmbedding) -> pd.DataFrame:
    keys = pd.DataFrame([_keys(run) | _described(block) for block in blocks])
    parts = [embedding.mean, embedding.cls, embedding.networks.reshape(len(blocks), -1)]
    columns = embedding_columns(embedding.cls.shape[1])
    return pd.concat([keys, pd.DataFrame(np.concatenate(parts, axis=1), columns=columns)], axis=1)


def _keys(run: Run) -> dict[str, str]:
    first = [name for name in _FIRST if name in run.columns]
    return {name: run.columns[name] for name in [*first, *sorted(set(run.columns) - set(first))]}


def _event(event: Event) -> dict[str, Any]:
    return {
        "trial_type": event.trial_type,
        "onset": event.onset_s,
        "duration": event.duration_s,
    }


def _described(block: Block) -> dict[str, Any]:
    return _event(block.events[0]) | {
        "duration": sum(event.duration_s for event in block.events),
        "n_events": len(block.events),
        "n_samples": len(block.samples),
    }


def _write(
    output_dir: Path,
    blocks: pd.DataFrame,
    left_out: list[dict[str, Any]],
    options: BlockOptions,
    embedder: Embedder,
) -> list[Path]:
    stem = output_dir / "group_desc-blocks_embedding"
    conditions = output_dir / "group_desc-conditions_embedding"
    status = output_dir / "group_desc-blocks_status.tsv"
    metadata = _metadata(options, embedder)
    lost = pd.DataFrame(left_out, columns=None if left_out else ["reason"])
    return write_all(
        {
            stem.with_suffix(".tsv"): table_bytes(blocks),
            stem.with_suffix(".json"): json_bytes(
                metadata | {"Description": "Embedding of each task block.", **_COLUMNS}
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
    )


def condition_means(blocks: pd.DataFrame) -> pd.DataFrame:
    """Average the blocks of each condition within each run."""
    last_key = list(blocks.columns).index("trial_type")
    keys = list(blocks.columns[: last_key + 1])
    values = list(blocks.columns[list(blocks.columns).index("n_samples") + 1 :])
    groups = blocks.groupby(keys, sort=False, dropna=False)
    counts = groups.size().rename("n_blocks")
    return pd.concat([counts, groups[values].mean()], axis=1).reset_index()


def _metadata(options: BlockOptions, embedder: Embedder) -> dict[str, Any]:
    card = embedder.card
    return {
        "Model": model_metadata(card),
        "EmbeddingDimension": card.encoder.dim,
        "Blocks": {
            "Construction": options.construction,
            "Place": options.place,
            "Response": asdict(options.response),
            "MergeGap": options.merge_gap_s,
            "Conditions": list(options.conditions) or None,
            "PatchDuration": card.input.patch_s,
        },
    }


_COLUMNS = {
    "onset": {"Description": "Of the first event, after the first volume.", "Units": "s"},
    "duration": {"Description": "Of all events of the block together.", "Units": "s"},
    "n_events": {"Description": "Events that the block holds."},
    "n_samples": {"Description": "Samples of the patch that are data; the others are zero."},
}
