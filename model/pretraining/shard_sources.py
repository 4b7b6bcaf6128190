"""Where stored series come from: our participant outputs, the published HDF5, the simulator."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from model.errors import SemantoksError
from model.networks import parcel_names
from model.preprocess import normalize, resample
from model.pretraining.layout import layout
from model.pretraining.shard_writer import NewScan
from model.pretraining.shards import SHOWN, ShardError
from model.pretraining.simulate import simulate
from model.series import ParcelSeries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from model.pretraining.simulate import SimulationConfig
    from model.series import BoolArray
    from model.spec import InputSpec

Description = Literal["model", "denoised"]

NO_SESSION = "n/a"
HDF5_PARTS = {"schaefer400": 400, "tian3": 50, "buckner7": 7}
"""Groups of the published layout in the model's order, and their parcels."""


def scans_of_outputs(
    output_dir: Path, spec: InputSpec, *, description: Description = "model"
) -> Iterator[NewScan]:
    """Read the parcel series that the participant level wrote (docs/outputs.md).

    Parameters
    ----------
    output_dir
        OUTPUT_DIR of ``semantoks`` or ``semantoks-series``.
    spec
        TR and normalization of the result.
    description
        ``model``: what the encoder saw, taken as it is. ``denoised``: the series before
        resampling and normalization, which are done here.

    Raises
    ------
    ShardError
        No series there, runs of several configurations, or a file that is not as documented.
    """
    ending = f"_desc-{description}_timeseries.tsv"
    tables = sorted(output_dir.glob(f"sub-*/**/*{ending}"))
    if not tables:
        raise ShardError(
            f"{output_dir}: expected sub-*/**/*{ending}, found none.",
            hint="Name the OUTPUT_DIR of the participant level.",
        )
    _check_one_configuration([path.with_suffix(".json") for path in tables])
    read = {"model": _model_series, "denoised": _denoised_series}[description]
    for path in tables:
        stem = path.name.removesuffix(ending)
        session = re.search(r"_(ses-[A-Za-z0-9+]+)_", path.name)
        status = _json(path.with_name(f"{stem}_status.json"))
        yield NewScan(
            subject=path.name.split("_")[0],
            session=session[1] if session else NO_SESSION,
            scan=stem,
            source=path.relative_to(output_dir).as_posix(),
            series=read(path, spec)
            if status.get("Status") == "embedded"
            else f"status is {status.get('Status')}: {status.get('Reason', '')}",
        )


def _check_one_configuration(sidecars: list[Path]) -> None:
    by_hash: dict[str, Path] = {}
    for path in sidecars:
        by_hash.setdefault(str(_json(path).get("ConfigurationHash")), path)
    if len(by_hash) > 1:
        examples = "; ".join(f"{key}: {path.name}" for key, path in list(by_hash.items())[:SHOWN])
        raise ShardError(
            f"the outputs were made with {len(by_hash)} configurations ({examples}).",
            hint="Another pipeline is an identity cue: run them again with one configuration.",
        )


def _model_series(path: Path, spec: InputSpec) -> ParcelSeries:
    meta = _json(path.with_suffix(".json"))
    found = (meta.get("RepetitionTime"), meta.get("Normalization"))
    if found != (spec.tr_s, spec.normalization):
        raise ShardError(
            f"{path}: expected TR {spec.tr_s} s and normalization {spec.normalization}, found "
            f"{found[0]} and {found[1]}.",
            hint="Take the denoised series instead: --desc denoised.",
        )
    return ParcelSeries(values=_table(path), tr_s=spec.tr_s, unit=spec.normalization)


def _denoised_series(path: Path, spec: InputSpec) -> ParcelSeries | str:
    tr_s = float(_json(path.with_suffix(".json"))["RepetitionTime"])
    values = _table(path)
    return _prepared(values, spec, tr_s, kept=_kept(path, len(values)))


def _kept(path: Path, n_frames: int) -> BoolArray:
    """(T,) false where ``outliers.tsv`` says that a volume was interpolated."""
    stem = path.name.removesuffix("_desc-denoised_timeseries.tsv")
    outliers = path.with_name(f"{stem}_outliers.tsv")
    try:
        with outliers.open(encoding="utf-8", newline="") as file:
            rows = [r for r in csv.DictReader(file, delimiter="\t") if r["dropped"] == "0"]
    except (OSError, KeyError) as err:
        raise ShardError(f"{outliers}: not as docs/outputs.md says ({err}).") from err
    if len(rows) != n_frames:
        raise ShardError(f"{outliers}: {len(rows)} volumes used, {path.name} has {n_frames}.")
    return np.array([row["interpolated"] == "0" for row in rows])


def _table(path: Path) -> npt.NDArray[np.float32]:
    """(T, P) values of a table with the 457 names as header; ``n/a`` is NaN."""
    with path.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split("\t")
        if tuple(names) != parcel_names():
            raise ShardError(f"{path}: expected the {len(parcel_names())} parcels as columns.")
        rows = (line.replace("n/a", "nan") for line in file)
        return np.loadtxt(rows, delimiter="\t", dtype=np.float32, ndmin=2)


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ShardError(f"{path}: not a readable JSON file ({err}).") from err
    return content


def scans_of_hdf5(path: Path, spec: InputSpec, *, tr_s: float) -> Iterator[NewScan]:
    """Read the layout that the published training reads: ``timeseries/<part>`` (n, parcels, T).

    Rows with one ``long_subject_id`` are sessions of one subject. Parts that the file lacks are
    missing parcels; NaN at the end of time is padding.

    Raises
    ------
    ShardError
        h5py is not installed, or the file has another layout.
    """
    try:
        import h5py
    except ModuleNotFoundError as err:
        raise ShardError(
            "reading HDF5 needs the package h5py, which is not installed.",
            hint="Install it with: pip install 'semantoks[hdf5]'",
        ) from err
    try:
        with h5py.File(path, "r") as store:
            parts = {n: store[f"timeseries/{n}"] for n in HDF5_PARTS if n in store["timeseries"]}
            subjects = [_text(label) for label in store["long_subject_id"][:]]
            lengths = store["ts_len"][:] if "ts_len" in store else None
            seen: dict[str, int] = {}
            for row, subject in enumerate(subjects):
                seen[subject] = seen.get(subject, 0) + 1
                values = _joined({name: part[row] for name, part in parts.items()})
                yield NewScan(
                    subject=subject,
                    session=f"ses-{seen[subject]}",
                    scan=f"{subject}_ses-{seen[subject]}",
                    source=f"{path.name} row {row}",
                    series=_prepared(
                        values if lengths is None else values[: lengths[row]], spec, tr_s
                    ),
                )
    except (OSError, KeyError, ValueError) as err:
        raise ShardError(f"{path}: not the published HDF5 layout ({err}).") from err


def _joined(blocks: dict[str, Any]) -> npt.NDArray[np.float32]:
    """(T, P) frames up to the last that is not padding, NaN where a part is absent."""
    for name, block in blocks.items():
        if block.shape[0] != HDF5_PARTS[name]:
            msg = f"timeseries/{name}: expected {HDF5_PARTS[name]} parcels, found {block.shape[0]}"
            raise ValueError(msg)
    n_frames = max(block.shape[1] for block in blocks.values())
    values = np.concatenate(
        [
            np.asarray(blocks.get(name, np.full((n, n_frames), np.nan)), dtype=np.float32)
            for name, n in HDF5_PARTS.items()
        ]
    ).T
    seen = np.flatnonzero(~np.isnan(values).all(axis=1))
    return values[: seen[-1] + 1 if seen.size else 0]


def _prepared(
    values: npt.NDArray[np.float32], spec: InputSpec, tr_s: float, *, kept: BoolArray | None = None
) -> ParcelSeries | str:
    """Resample and normalize, or say why that cannot be done."""
    if not len(values):
        return "holds no data, only NaN"
    try:
        series = ParcelSeries(values=values, tr_s=tr_s, unit="residual", kept=kept)
        return normalize(resample(series, tr_s=spec.tr_s), spec.normalization)
    except SemantoksError as err:
        return err.message


def _text(label: Any) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)


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
    missing_parcel = layout().network
    for first in range(0, n_subjects, population):
        number = np.random.SeedSequence([seed, first]).generate_state(1, np.uint64)[0]
        scans = simulate(
            config,
            spec,
            n_subjects=min(population, n_subjects - first),
            n_sessions=n_sessions,
            generator=torch.Generator().manual_seed(int(number) >> 1),
        )
        values = scans.values.masked_fill(
            scans.missing_networks[missing_parcel][:, None], float("nan")
        )
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
