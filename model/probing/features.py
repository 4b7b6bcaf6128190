"""From series to features: crops through an encoder, connectivity, covariance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from model.cohort.names import SUBJECT
from model.cohort.outputs import OutputsError, embedded_scans, model_series
from model.embed import embed_windows
from model.invocation.progress import counted
from model.preprocess import window
from model.probing.options import is_wanted
from model.probing.samples import (
    FloatArray,
    ProbeError,
    Samples,
    one_of_each,
    refuse_copies,
)
from model.statistics import connectivity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from model.cohort.outputs import EmbeddedScan
    from model.encoder import Encoder
    from model.probing.options import ProtocolConfig
    from model.probing.participants import Labels
    from model.series import ParcelSeries, ScanEmbedding, Windows
    from model.spec import InputSpec, ReadoutPart

    Extractor = Callable[[ParcelSeries], FloatArray]


def find_runs(
    folder: Path, *, entities: Sequence[str], task_ids: Sequence[str] = ()
) -> list[EmbeddedScan]:
    """List the embedded runs of an output folder that have all of some entities.

    Parameters
    ----------
    entities
        Such as ``ses-1``.
    task_ids
        And one of these tasks; empty: any.

    Raises
    ------
    OutputsError
        There is none, or runs were made with different settings.
    """
    runs = [
        run
        for run in embedded_scans(folder)
        if is_wanted(
            (f"{key}-{value}" for key, value in run.record.entities.items()),
            entities=entities,
            task_ids=task_ids,
        )
    ]
    if not runs:
        asked = " and ".join([*entities, *task_ids])
        raise OutputsError(f"{folder}: no embedded run with {asked}.")
    return runs


def one_each(runs: Sequence[EmbeddedScan], config: ProtocolConfig) -> list[EmbeddedScan]:
    """Keep one scan of each subject, drawn at random, if that is what is asked for."""
    if config.scans == "all":
        return list(runs)
    kept = one_of_each([subject_of(run) for run in runs], seed=config.seed)
    return [runs[i] for i in kept]


def labelled(runs: Sequence[EmbeddedScan], labels: Labels) -> list[EmbeddedScan]:
    """Keep the scans that have a label, themselves or by their subject."""
    return [
        run for run in runs if (run.name if labels.owners else subject_of(run)) in labels.values
    ]


def subject_of(run: EmbeddedScan) -> str:
    """Name the subject as in the participants table."""
    return run.columns[SUBJECT]


def extract(
    runs: Sequence[EmbeddedScan], extractors: Mapping[str, Extractor]
) -> tuple[dict[str, Samples], str]:
    """Read every run once and compute each kind of features.

    Parameters
    ----------
    extractors
        Map a series to (n, ...) rows, NaN where a parcel or network is missing.

    Returns
    -------
    Samples by kind, and a hash of all series.

    Raises
    ------
    OutputsError, SeriesError
        A series is damaged or not what the encoder expects.
    LeakError
        Two subjects share a series.
    """
    rows: dict[str, list[FloatArray]] = {kind: [] for kind in extractors}

    def contents() -> Iterator[tuple[str, str, bytes]]:
        for run in counted(runs, "reading and encoding scans"):
            series = model_series(run)
            for kind, extractor in extractors.items():
                rows[kind].append(extractor(series))
            yield subject_of(run), run.name, series.values.tobytes()

    digest = refuse_copies(contents())
    return {kind: _joined(runs, values) for kind, values in rows.items()}, digest


def _joined(runs: Sequence[EmbeddedScan], rows: list[FloatArray]) -> Samples:
    owners = [run for run, values in zip(runs, rows, strict=True) for _ in values]
    return Samples(
        values=np.concatenate(rows),
        subjects=tuple(subject_of(run) for run in owners),
        scans=tuple(run.name for run in owners),
    )


def crops(series: ParcelSeries, spec: InputSpec, *, n_crops: int) -> Windows:
    """Cut equally spaced windows, the first at the start and the last at the end of the scan.

    A scan that holds fewer different windows than asked for gives those; one shorter than a
    window gives a single padded one.

    Raises
    ------
    SeriesError
        As `model.preprocess.window`.
    """
    if series.n_frames <= spec.window_samples:
        return window(series, spec)
    spare = series.n_frames - spec.window_samples
    starts = np.unique(np.linspace(0, spare, n_crops).astype(int))
    return window(series, spec, starts=starts)


def crop_extractor(
    encoder: Encoder, spec: InputSpec, *, readout: tuple[ReadoutPart, ...], n_crops: int
) -> Extractor:
    """Make the extractor of (n_crops, F) embeddings."""

    def embed(series: ParcelSeries) -> FloatArray:
        windows = crops(series, spec, n_crops=n_crops)
        return window_vectors(embed_windows(windows, encoder, readout=readout))

    return embed


def window_vectors(embedding: ScanEmbedding) -> FloatArray:
    """(W, F) parts of the readout, joined; NaN where a network is missing."""
    n_windows = len(embedding.cls)
    parts = {
        "mean": embedding.mean,
        "cls": embedding.cls,
        "networks": embedding.networks.reshape(n_windows, -1),
    }
    if embedding.short is not None:
        parts["short"] = embedding.short
    return np.concatenate([parts[part] for part in embedding.readout], axis=1)


def correlations(series: ParcelSeries) -> FloatArray:
    """(1, P (P - 1) / 2) Pearson correlations of a whole scan, upper triangle by rows."""
    return connectivity.correlations(series.values)[None]


def covariance(series: ParcelSeries) -> FloatArray:
    """(1, P, P) covariance of a whole scan with Ledoit-Wolf shrinkage."""
    present = ~series.missing
    matrix = np.full((present.size, present.size), np.nan, np.float32)
    matrix[np.ix_(present, present)] = connectivity.shrunk_covariance(series.values[:, present])
    return matrix[None]


def drop_missing(samples: Samples) -> tuple[Samples, int]:
    """Leave out features that any sample lacks, so that all samples have the same.

    Returns
    -------
    The samples, and how many features (of a matrix: rows) were left out.

    Raises
    ------
    ProbeError
        None are left.
    """
    axes = tuple(i for i in range(samples.values.ndim) if i != 1)
    # A parcel's row of a matrix is missing where all of it is, not where a column is.
    nan = np.isnan(samples.values)
    absent = nan.all(axis=2).any(axis=0) if len(axes) == 2 else nan.any(axis=0)
    if absent.all():
        raise ProbeError(
            "no feature is present in all scans.",
            hint="Leave out the scans in which most networks or parcels are missing.",
        )
    kept = samples.values[:, ~absent]
    if len(axes) == 2:
        kept = kept[:, :, ~absent]
    return replace(samples, values=kept), int(absent.sum())
