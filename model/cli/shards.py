"""The commands `semantoks-model shards ...`: store parcel series for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.cli.program import Group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.shards.store import NewScan
    from model.spec import InputSpec, Normalization

_NORMALIZATION = click.option(
    "--normalization",
    type=click.Choice(["robust", "zscore"]),
    default="robust",
    show_default=True,
    help="Per parcel and scan. The published training has zscore.",
)
_SOURCE = click.Path(path_type=Path, exists=True)
_SHARDS = click.argument("shards", type=click.Path(path_type=Path, file_okay=False))


@click.group("shards", cls=Group)
def shards_group() -> None:
    """Parcel series for training: stored, hashed, divided by subject."""


@shards_group.command("outputs")
@click.argument("output_dir", type=_SOURCE)
@_SHARDS
@click.option(
    "--desc",
    type=click.Choice(["model", "denoised"]),
    default="model",
    show_default=True,
    help="model: what the encoder saw. denoised: resample and normalize anew.",
)
@_NORMALIZATION
def from_outputs(output_dir: Path, shards: Path, desc: str, normalization: Normalization) -> None:
    """Store the series in OUTPUT_DIR of the participant level as the new folder SHARDS."""
    from model.shards.incoming import scans_of_outputs

    spec = _spec(normalization)
    scans = scans_of_outputs(output_dir, spec, description=desc)  # type: ignore[arg-type]
    _write(shards, scans, spec, made_from=f"participant outputs {output_dir.resolve().name}")


@shards_group.command("hdf5")
@click.argument("file", type=_SOURCE)
@_SHARDS
@click.option("--tr", "tr_s", type=float, required=True, help="Repetition time in seconds.")
@_NORMALIZATION
def from_hdf5(file: Path, shards: Path, tr_s: float, normalization: Normalization) -> None:
    """Store the series of FILE, in the HDF5 layout of the published training."""
    from model.shards.incoming import scans_of_hdf5

    spec = _spec(normalization)
    _write(shards, scans_of_hdf5(file, spec, tr_s=tr_s), spec, made_from=f"HDF5 {file.name}")


@shards_group.command("simulate")
@_SHARDS
@click.option("--subjects", "n_subjects", type=click.IntRange(min=3), required=True)
@click.option("--sessions", "n_sessions", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), required=True)
@click.option(
    "--population",
    type=click.IntRange(min=2),
    default=64,
    show_default=True,
    help="Subjects drawn from one population; a batch that mixes populations learns those.",
)
@_NORMALIZATION
def from_simulator(
    shards: Path,
    n_subjects: int,
    n_sessions: int,
    seed: int,
    population: int,
    normalization: Normalization,
) -> None:
    """Store simulated series."""
    from model.shards.incoming import scans_of_simulator
    from model.simulation.simulate import SimulationConfig

    spec = _spec(normalization)
    scans = scans_of_simulator(
        SimulationConfig(),
        spec,
        n_subjects=n_subjects,
        n_sessions=n_sessions,
        population=population,
        seed=seed,
    )
    _write(shards, scans, spec, made_from=f"simulator, seed {seed}")


@shards_group.command("split")
@_SHARDS
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share.")
@click.option("--test", type=float, default=0.2, show_default=True, help="Share.")
@click.option("--seed", type=click.IntRange(min=0), required=True)
def split(shards: Path, validation: float, test: float, seed: int) -> None:
    """Divide the subjects of SHARDS at random: train.txt, validation.txt, test.txt in it."""
    from model.shards.shards import Shards
    from model.shards.subjects import split_subjects, write_lists

    subjects = list(Shards(shards).by_subject)
    parts = split_subjects(subjects, validation=validation, test=test, seed=seed)
    for name, path in write_lists(shards, parts).items():
        click.echo(f"{path}\t{len(parts[name])} subjects")


@shards_group.command("check")
@_SHARDS
def check(shards: Path) -> None:
    """Read all of SHARDS and compare it with its hashes."""
    from model.shards.shards import Shards

    opened = Shards(shards)
    opened.verify(opened.scans)
    description = opened.description
    click.echo(
        f"{description.n_scans} scans of {description.n_subjects} subjects are as they were "
        f"written; index sha256 {description.index_sha256}"
    )


def _spec(normalization: Normalization) -> InputSpec:
    from model.spec import InputSpec

    return InputSpec(normalization=normalization)


def _write(shards: Path, scans: Iterable[NewScan], spec: InputSpec, *, made_from: str) -> None:
    from model.shards.store import write_shards

    made = write_shards(shards, scans, spec, made_from=made_from)
    for scan, reason in made.excluded.items():
        click.echo(f"left out {scan}: {reason}", err=True)
    click.echo(
        f"{shards}\t{made.n_scans} scans of {made.n_subjects} subjects, "
        f"{len(made.excluded)} left out"
    )
