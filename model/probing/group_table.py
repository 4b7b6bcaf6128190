"""Read the group level's table of embeddings: one row per scan, no series needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cohort.names import (
    GROUP_SCANS,
    IDENTIFIERS,
    SUBJECT,
    embedding_columns,
    expanded,
    scan_name,
)
from model.files.fault import faults_as
from model.files.read import read_json
from model.files.tables import read_columns
from model.probing.samples import ProbeError, Samples
from model.probing.splits import LeakError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.probing.samples import FloatArray
    from model.spec import ReadoutPart


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupTable:
    """Embeddings of a cohort and the model that made them."""

    samples: Samples
    model: dict[str, Any]
    readout: tuple[ReadoutPart, ...]


def read_group_table(
    path: Path, *, readout: tuple[ReadoutPart, ...], entities: Sequence[str]
) -> GroupTable:
    """Read ``group_desc-scan_embedding.parquet`` or ``.tsv``, with the JSON beside it.

    Parameters
    ----------
    readout
        Parts of the embedding, in order; empty: the table's default.
    entities
        Only scans with all of these, such as ``task-rest``.

    Raises
    ------
    ProbeError
        The table or its JSON is damaged, columns are absent, or no scan is left.
    LeakError
        The columns were scaled over the table.
    """
    needs = {"Model": dict, "EmbeddingDimension": int, "ScanVector": list}
    with faults_as(
        ProbeError,
        what="not a table of the group level with its JSON beside it",
        hint=f"Name {GROUP_SCANS}.parquet or .tsv, or the output folder.",
    ):
        meta = read_json(path.with_suffix(".json"), needs=needs)
        found = read_columns(path, text=IDENTIFIERS)
    table = {name: c.to_numpy(zero_copy_only=False) for name, c in found.items()}
    parts: tuple[ReadoutPart, ...] = readout or tuple(meta["ScanVector"])
    columns = embedding_columns(meta["EmbeddingDimension"], expanded(parts))
    absent = [name for name in (SUBJECT, *columns) if name not in table]
    if absent:
        raise ProbeError(
            f"{path}: {len(absent)} columns are absent, such as {absent[0]}.",
            hint="Whole embeddings are expected: choosing columns by looking at all subjects "
            "lets the test subjects in.",
        )
    labels = {name: table[name] for name in table if name in IDENTIFIERS}
    names = [
        scan_name(dict(zip(labels, row, strict=True)))
        for row in zip(*labels.values(), strict=True)
    ]
    rows = [i for i, name in enumerate(names) if set(entities) <= set(name.split("_"))]
    if not rows:
        raise ProbeError(f"{path}: no scan with {' and '.join(entities) or 'an embedding'}.")
    samples = Samples(
        values=np.column_stack([np.asarray(table[c], np.float32) for c in columns])[rows],
        subjects=tuple(str(table[SUBJECT][i]) for i in rows),
        scans=tuple(names[i] for i in rows),
    )
    _refuse_scaled(samples.values, where=path)
    return GroupTable(samples=samples, model=meta["Model"], readout=parts)


def _refuse_scaled(values: FloatArray, *, where: Path) -> None:
    """Refuse columns that all have mean 0 and spread 1 over the table: no encoder does that."""
    mean, spread = np.abs(values.mean(axis=0)), values.std(axis=0, ddof=0)
    sample_spread = values.std(axis=0, ddof=1) if len(values) > 1 else spread
    unit = np.minimum(np.abs(spread - 1), np.abs(sample_spread - 1)) < 1e-3
    known = np.isfinite(mean)
    if known.any() and (mean[known] < 1e-3).all() and unit[known].all():
        raise LeakError(
            f"{where}: every column has mean 0 and standard deviation 1 over all scans: the "
            "table was scaled with the test subjects in it.",
            hint="Give the table as the group level wrote it; scaling is learned in each split.",
        )
