"""What is probed: embeddings of a group table, or features of the series of an output folder."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cohort.names import (
    EMBEDDING_COLUMN,
    GROUP_SCANS,
    IDENTIFIERS,
    ONSET,
    SCAN,
    SUBJECT,
    WINDOWS,
    embedding_columns,
    expanded,
    parts_in,
    scan_name,
)
from model.cohort.outputs import harmonization_in
from model.files.faults import faults_as, faults_of
from model.files.read import read_json
from model.files.tables import read_columns
from model.files.write import file_sha256
from model.pretraining.untrained import shrinkage_of, untrained, untrained_whitened
from model.probing.features import (
    correlations,
    covariance,
    crop_extractor,
    drop_missing,
    extract,
    labelled,
    subject_of,
)
from model.probing.methods import RANDOM, WHITENED
from model.probing.options import is_wanted
from model.probing.participants import LabelError
from model.probing.samples import ProbeError, Samples, one_of_each, refuse_copies
from model.probing.splits import LeakError
from model.spec import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from model.cohort.outputs import EmbeddedScan
    from model.encoder import Encoder
    from model.probing.features import Extractor
    from model.probing.options import ProbeConfig
    from model.probing.participants import Labels
    from model.probing.samples import FloatArray
    from model.spec import ReadoutPart


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupTable:
    """Embeddings of a cohort and the model that made them."""

    samples: Samples
    """A row is a scan of its own here: its name says which one it is"""
    model: dict[str, Any]
    readout: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]
    """What else the table says of each row, as text; empty where it says nothing."""

    def owners(self) -> dict[str, str]:
        """Say whose each row is."""
        return dict(zip(self.samples.scans, self.samples.subjects, strict=True))

    def of(self, names: Collection[str]) -> GroupTable:
        """Keep the rows of some names."""
        rows = [i for i, name in enumerate(self.samples.scans) if name in names]
        columns = {key: [values[i] for i in rows] for key, values in self.columns.items()}
        return replace(self, samples=self.samples.rows(rows), columns=columns)

    def column(self, name: str, *, where: Path) -> dict[str, str]:
        """Return a column by row.

        Raises
        ------
        LabelError
            There is none of this name.
        """
        if name not in self.columns:
            raise LabelError(
                f"{where}: no column {name:.60}.",
                hint=f"Rows have: {', '.join(self.columns)}.",
            )
        return dict(zip(self.samples.scans, self.columns[name], strict=True))


def read_group_table(
    path: Path,
    *,
    readout: tuple[ReadoutPart, ...],
    entities: Sequence[str],
    task_ids: Sequence[str] = (),
    one_each: int | None = None,
    splits: Path | None = None,
) -> GroupTable:
    """Read a table of embeddings, ``.parquet`` or ``.tsv``, with the JSON beside it.

    Of scans, of task blocks or conditions, of scans seen from one network: whatever the app writes
    for a cohort.

    Parameters
    ----------
    readout
        Parts of the embedding, in order; empty: the table's default.
    entities
        Only scans with all of these, such as ``ses-1``.
    task_ids
        And one of these tasks; empty: any.
    one_each
        Seed by which one scan of each subject is drawn; None: all are taken.
    splits
        Table of the fixed split that will be scored; None: splits are drawn.

    Raises
    ------
    ProbeError
        The table or its JSON is damaged, columns are absent, or no scan is left.
    LeakError
        The columns were scaled over the table, or harmonised on others than the training
        subjects of ``splits``.
    """
    needs = {"Model": dict, "EmbeddingDimension": Size, "ScanVector": list[str], "Parts": dict}
    with faults_as(
        ProbeError,
        what="not a table of the group level with its JSON beside it",
        hint=f"Name {GROUP_SCANS}.parquet or .tsv, or the output folder.",
    ):
        meta = read_json(path.with_suffix(".json"), needs=needs)
        found = read_columns(path, text=IDENTIFIERS)
    _refuse_harmonized(meta, splits, where=path)
    with faults_as(ProbeError), faults_of(path, "expected numbers and labels"):
        table = {name: c.to_numpy(zero_copy_only=False) for name, c in found.items()}
    parts: tuple[ReadoutPart, ...] = readout or tuple(meta["ScanVector"])
    # The sidecar says which parts there are, the table in which order.
    there = [
        part for part in dict.fromkeys([*parts_in(table), *meta["Parts"]]) if part in meta["Parts"]
    ]
    columns = embedding_columns(meta["EmbeddingDimension"], expanded(parts, there))
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
    rows = [
        i
        for i, name in enumerate(names)
        if is_wanted(name.split("_"), entities=entities, task_ids=task_ids)
    ]
    if not rows:
        asked = " and ".join([*entities, *task_ids]) or "an embedding"
        raise ProbeError(f"{path}: no scan with {asked}.")
    if one_each is not None:
        kept = one_of_each([str(table[SUBJECT][i]) for i in rows], seed=one_each)
        rows = [rows[i] for i in kept]
    with faults_as(ProbeError), faults_of(path, "expected numbers in the embedding"):
        values = np.column_stack([np.asarray(table[c], np.float32) for c in columns])
    samples = Samples(
        values=values[rows],
        subjects=tuple(str(table[SUBJECT][i]) for i in rows),
        scans=_told_apart([names[i] for i in rows]),
    )
    _refuse_scaled(samples.values, where=path)
    others = [name for name in table if EMBEDDING_COLUMN.fullmatch(name) is None]
    return GroupTable(
        samples=samples,
        model=meta["Model"],
        readout=parts,
        columns={name: [_text(table[name][i]) for i in rows] for name in others},
    )


def _told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Tell the rows of a scan that has several apart, by numbers in their order."""
    total, seen = Counter(names), Counter[str]()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if total[name] == 1 else f"{name} row {seen[name]}")
    return tuple(told)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def read_windows(
    runs: Sequence[EmbeddedScan], readout: Sequence[str], *, are_tokens: bool
) -> GroupTable:
    """Read what was written of each window of some scans, in place of encoding them anew.

    Parameters
    ----------
    readout
        Parts of the embedding; empty: the scan's default.
    are_tokens
        All tokens of each window are read, in place of its embedding.

    Raises
    ------
    OutputsError
        A file is absent or damaged.
    """
    values, owners, names, others, meta = [], [], [], [], {}
    for run in runs:
        header, table = run.numbers(f"{WINDOWS}.tsv")
        meta = run.metadata(f"{SCAN}.json", ScanVector=list, EmbeddingDimension=int, Model=dict)
        if are_tokens:
            tokens = run.tokens()
            values.append(tokens.reshape(len(tokens), -1))
        else:
            wanted = expanded(readout or meta["ScanVector"], parts_in(header))
            place = {name: i for i, name in enumerate(header)}
            columns = embedding_columns(meta["EmbeddingDimension"], wanted)
            values.append(table[:, [place[name] for name in columns]].astype(np.float32))
        onsets = table[:, header.index(ONSET)]
        owners += [subject_of(run)] * len(table)
        names += [f"{run.name} at {onset:g} s" for onset in onsets]
        others += [run.columns | {ONSET: f"{onset:g}"} for onset in onsets]
    known = dict.fromkeys(name for row in others for name in row)
    return GroupTable(
        samples=Samples(values=np.concatenate(values), subjects=tuple(owners), scans=tuple(names)),
        model=meta["Model"],
        readout=("tokens",) if are_tokens else tuple(readout or meta["ScanVector"]),
        columns={name: [row.get(name, "") for row in others] for name in known},
    )


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


def _refuse_harmonized(meta: Mapping[str, Any], splits: Path | None, *, where: Path) -> None:
    """Refuse a table without effects of sites, unless learned in this split's training part."""
    said = harmonization_in(meta)
    if said is None:
        return
    with faults_as(LabelError):
        if splits is not None and said.split_sha256 == file_sha256(splits):
            return
    whom = "train of another split" if said.split_sha256 else "everybody"
    raise LeakError(
        f"{where}: the effects of {said.column} were taken out as learned from {whom}: subjects "
        "that are tested had a part in it.",
        hint="Name the table of raw embeddings with --harmonize, which learns in each split; or "
        "write this one anew by `semantoks X OUTPUT_DIR group --harmonize … --splits FILE`, and "
        "give that FILE as --splits here.",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Samples of the labelled subjects, without what some of them lack."""

    samples: dict[str, Samples]
    """By kind, as `model.probing.methods.features_of` names them."""
    source: dict[str, Any]
    """Checkpoint, hash of the data, sizes: for the results."""


def table_features(table: GroupTable, labels: Labels) -> Features:
    """Take the embeddings of a table, one sample per row that has a label."""
    samples = table.samples
    keys = samples.keys(labels)
    samples = samples.rows([i for i, key in enumerate(keys) if key in labels.values])
    contents = [row.tobytes() for row in samples.values]
    digest = refuse_copies(zip(samples.subjects, samples.scans, contents, strict=True))
    return _features({"crops": samples}, digest, readout=table.readout, checkpoint=table.model)


def series_features(
    runs: Sequence[EmbeddedScan],
    labels: Labels,
    encoder: Encoder,
    config: ProbeConfig,
    *,
    kinds: Collection[str],
) -> Features:
    """Read the series of the labelled subjects and compute features.

    Parameters
    ----------
    encoder
        With its card; its weights drawn anew make ``random-crops``.
    kinds
        Which of ``crops``, ``random-crops``, ``random-whitened-crops``, ``fc`` and
        ``covariance``.
    """
    card = encoder.own_card()
    readout = config.readout or card.readout

    def through(network: Encoder) -> Extractor:
        return crop_extractor(network, card.input, readout=readout, n_crops=config.n_crops)

    extractors: Mapping[str, Callable[[], Extractor]] = {
        "crops": lambda: through(encoder),
        RANDOM: lambda: through(untrained(encoder, seed=config.seed)),
        WHITENED: lambda: through(
            untrained_whitened(encoder, seed=config.seed, folders=config.fit_shards)
        ),
        "fc": lambda: correlations,
        "covariance": lambda: covariance,
    }
    chosen = labelled(runs, labels)
    samples, digest = extract(chosen, {k: make() for k, make in extractors.items() if k in kinds})
    checkpoint: dict[str, Any] = {
        "Name": card.name,
        "Version": card.version,
        "WeightsSHA256": card.weights_sha256,
    }
    if WHITENED in kinds:
        checkpoint["RandomWhiteningShrinkage"] = shrinkage_of(encoder)
    return _features(samples, digest, readout=readout, checkpoint=checkpoint)


def _features(
    raw: Mapping[str, Samples], digest: str, *, readout: Sequence[str], checkpoint: dict[str, Any]
) -> Features:
    samples, sizes = {}, {}
    for kind, values in raw.items():
        samples[kind], n_missing = drop_missing(values)
        sizes[kind] = {
            "n_scans": len(set(values.scans)),
            "n_samples": len(values.scans),
            "n_features": samples[kind].values.shape[1],
            "n_left_out": n_missing,
        }
        if n_missing:
            _LOG.warning(
                "%s: %d of %d features (of a covariance: parcels) are missing in some scan and "
                "left out for all.",
                kind,
                n_missing,
                values.values.shape[1],
            )
    source = {
        "data_sha256": digest,
        "checkpoint": checkpoint,
        "readout": list(readout),
        "features": sizes,
    }
    return Features(samples=samples, source=source)
