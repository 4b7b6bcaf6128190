"""Where stored series come from: our participant outputs, the published HDF5, the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from model.cohort.names import SERIES
from model.cohort.outputs import denoised_series, embedded_scans, model_series
from model.errors import SemantoksError
from model.files.faults import faults_as
from model.preprocess import prepare
from model.series import ParcelSeries
from model.shards.published_series import open_store, read_row, read_subjects
from model.shards.store import NewScan
from model.shards.stored import ShardError
from model.simulation.draws import generator_of
from model.simulation.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from model.cohort.outputs import EmbeddedScan
    from model.series import BoolArray
    from model.simulation.simulate import SimulationConfig
    from model.spec import InputSpec

Description = Literal["model", "denoised"]

NO_SESSION = "n/a"


def scans_of_outputs(
    output_dir: Path, spec: InputSpec, *, description: Description = "model"
) -> Iterator[NewScan]:
    """Read the parcel series that the participant level wrote (docs/outputs.md).

    Parameters
    ----------
    output_dir
        OUTPUT_DIR of ``semantoks`` or ``semantoks series``.
    spec
        TR and normalization of the result.
    description
        ``model``: what the encoder saw, taken as it is. ``denoised``: the series before
        resampling and normalization, which are done here.

    Raises
    ------
    OutputsError
        No embedded run there, runs of several configurations, or a file that is damaged.
    ShardError
        The series are of another TR or normalization.
    """
    read = {"model": _model_series, "denoised": _denoised_series}[description]
    for run in embedded_scans(output_dir):
        session = run.record.entities.get("ses")
        source = run.file(f"{SERIES[description]}.tsv")
        yield NewScan(
            subject=f"sub-{run.record.entities['sub']}",
            session=NO_SESSION if session is None else f"ses-{session}",
            scan=run.name,
            source=source.relative_to(output_dir).as_posix(),
            series=read(run, spec),
        )


def _model_series(run: EmbeddedScan, spec: InputSpec) -> ParcelSeries:
    series = model_series(run)
    if (series.tr_s, series.unit) != (spec.tr_s, spec.normalization):
        raise ShardError(
            f"{run.name}: expected TR {spec.tr_s} s and normalization {spec.normalization}, found "
            f"{series.tr_s} s and {series.unit}.",
            hint="Store the denoised series instead: --from-denoised.",
        )
    return series


def _denoised_series(run: EmbeddedScan, spec: InputSpec) -> ParcelSeries | str:
    series = denoised_series(run)
    return _prepared(series.values, spec, series.tr_s, kept=series.kept)


def scans_of_hdf5(path: Path, spec: InputSpec, *, tr_s: float) -> Iterator[NewScan]:
    """Read the layout of the published training (`model.shards.published_series`).

    Rows with one ``long_subject_id`` are sessions of one subject. Parts that the file lacks are
    missing parcels.

    Raises
    ------
    ShardError
        The file has another layout.
    """
    with faults_as(ShardError), open_store(path) as store:
        seen: dict[str, int] = {}
        for row, subject in enumerate(read_subjects(store)):
            seen[subject] = seen.get(subject, 0) + 1
            found = read_row(store, row)
            yield NewScan(
                subject=subject,
                session=f"ses-{seen[subject]}",
                scan=f"{subject}_ses-{seen[subject]}",
                source=f"{path.name} row {row}",
                series=_prepared(found.values[: found.declared_frames], spec, tr_s),
            )


def _prepared(
    values: npt.NDArray[np.floating],
    spec: InputSpec,
    tr_s: float,
    *,
    kept: BoolArray | None = None,
) -> ParcelSeries | str:
    """Despike, resample and normalize, or say why that cannot be done."""
    if not len(values):
        return "holds no data, only NaN"
    try:
        series = ParcelSeries(
            values=values.astype(np.float32), tr_s=tr_s, unit="residual", kept=kept
        )
        return prepare(series, spec)
    except SemantoksError as err:
        return err.message


def scans_of_simulator(
    config: SimulationConfig,
    spec: InputSpec,
    *,
    n_subjects: int,
    n_sessions: int,
    population: int,
    seed: int,
) -> Iterator[NewScan]:
    """Simulate scans, ``population`` subjects at a time from one population and pipeline.

    A batch of training that mixes populations can tell subjects apart by theirs: let
    ``population`` be all, or large.
    """
    for first in range(0, n_subjects, population):
        scans = simulate(
            config,
            spec,
            n_subjects=min(population, n_subjects - first),
            n_sessions=n_sessions,
            generator=generator_of([seed, first]),
        )
        values = scans.values.masked_fill(scans.missing_parcels[:, None], float("nan"))
        for i, sessions in enumerate(values, start=first):
            for session, series in enumerate(sessions, start=1):
                yield NewScan(
                    subject=f"sub-{i + 1:06d}",
                    session=f"ses-{session}",
                    scan=f"sub-{i + 1:06d}_ses-{session}",
                    source=f"simulator seed {seed} population {first // population}",
                    series=ParcelSeries(
                        values=series.T.numpy(), tr_s=spec.tr_s, unit=spec.normalization
                    ),
                )
