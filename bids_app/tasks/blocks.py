"""Embed the task blocks of an output folder's scans: a table of blocks, one of conditions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bids_app.errors import NothingSelectedError, ScanError
from bids_app.files import write_all
from bids_app.outputs.task_tables import (
    block_files,
    block_table,
    event_columns,
    identify,
    network_block_files,
)
from bids_app.tasks.events import events_of, find_events, read_events
from model.cohort.names import WHOLE
from model.cohort.outputs import embedded_scans, model_series
from model.errors import SeriesError
from model.invocation.progress import counted
from model.tasks.block_windows import block_windows, find_blocks, merge_events
from model.tasks.single_networks import embed_single_networks

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.embedder import Embedder
    from bids_app.tasks.options import BlockOptions
    from model.cohort.outputs import EmbeddedScan


WHOLE_BRAIN = ""
"""Among the tables of single networks, which have names"""


@dataclass(frozen=True, kw_only=True)
class BlocksSummary:
    """What was written, and how much of what was found."""

    paths: list[Path]
    n_blocks: int
    n_scans: int
    """With at least one block"""
    n_left_out: int
    """Scans and events that gave no block; the status table has the reasons"""


def embed_blocks(
    output_dir: Path, bids_dir: Path, options: BlockOptions, embedder: Embedder
) -> BlocksSummary:
    """Embed the blocks of all scans of an output folder that have events.

    Parameters
    ----------
    output_dir
        Folder that the participant level wrote; the three tables are written there too.
    bids_dir
        Dataset with the ``events.tsv``.

    Raises
    ------
    InputError, OutputsError
        No events or no embedded scans.
    NothingSelectedError
        No event gave a block; the message has the first reason.
    """
    files = find_events(bids_dir)
    tables: list[dict[str, pd.DataFrame]] = []
    left_out: list[dict[str, Any]] = []
    for scan in counted(embedded_scans(output_dir), "embedding blocks of scans"):
        keys = identify(scan.columns)
        try:
            found, lost = _embed_scan(scan, files, options, embedder)
        except (ScanError, SeriesError) as err:
            left_out.append(keys | {"reason": str(err)})
            continue
        left_out += [keys | row for row in lost]
        if found:
            tables.append(found)
    if not tables:
        raise NothingSelectedError(
            f"{output_dir}: no event gave a block: {left_out[0]['reason']} (and "
            f"{len(left_out) - 1} more).",
            hint="Are these the events of these scans, and --condition a trial_type of theirs?",
        )
    kinds = dict.fromkeys(kind for found in tables for kind in found)
    by_kind = {
        kind: pd.concat([found[kind] for found in tables if kind in found], ignore_index=True)
        for kind in kinds
    }
    blocks = by_kind.pop(WHOLE_BRAIN)
    settings = _settings(options)
    contents = block_files(output_dir, blocks, left_out, settings, embedder.card)
    for name, table in by_kind.items():
        contents |= network_block_files(output_dir, name, table, settings, embedder.card)
    paths = write_all(contents)
    return BlocksSummary(
        paths=paths, n_blocks=len(blocks), n_scans=len(tables), n_left_out=len(left_out)
    )


def _embed_scan(
    scan: EmbeddedScan, files: list[Path], options: BlockOptions, embedder: Embedder
) -> tuple[dict[str, pd.DataFrame], list[dict[str, Any]]]:
    """Return a row per block, of the whole brain and by network; a row per event without one."""
    path = events_of(scan.record.entities, files)
    if path is None:
        raise ScanError("no events file")
    events = read_events(path)
    if options.conditions:
        events = [event for event in events if event.trial_type in options.conditions]
    if not events:
        raise ScanError(f"{path.name}: no event of the conditions")
    if options.merge_gap_s is not None:
        events = merge_events(events, gap_s=options.merge_gap_s)
    series = model_series(scan)
    spec = embedder.card.input_with(series.unit)
    blocks, lost = find_blocks(
        series, events, response=options.response, construction=options.construction, spec=spec
    )
    reasons = [event_columns(one.event) | {"reason": one.reason} for one in lost]
    if not blocks:
        return {}, reasons
    windows = block_windows(series, blocks, place=options.place, spec=spec)
    keys = identify(scan.columns)
    tables = {WHOLE_BRAIN: block_table(keys, blocks, embedder.embed_windows(windows))}
    if options.networks:
        alone = embed_single_networks(windows, embedder.encoder, batch_size=embedder.batch_size)
        tables |= {
            name: block_table(keys, blocks, embedding, parts=WHOLE)
            for name, embedding in alone.items()
        }
    return tables, reasons


def _settings(options: BlockOptions) -> dict[str, Any]:
    return {
        "Construction": options.construction,
        "Place": options.place,
        "Response": asdict(options.response),
        "MergeGap": options.merge_gap_s,
        "Conditions": list(options.conditions) or None,
    }
