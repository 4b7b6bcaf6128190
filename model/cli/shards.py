"""The commands `semantoks-model shards ...`: store parcel series for training."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from model.cli.program import Group, build, options_of
from model.files.content import real_path
from model.files.settings import Count, Limits, Option, Positive, Share, Strict
from model.files.shared_options import NormalizationOption, RepetitionTime, SeedOption
from model.spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.shards.store import NewScan

_SOURCE = click.Path(path_type=Path, exists=True)
_SHARDS = click.argument("shards", type=click.Path(path_type=Path, file_okay=False))


@dataclass(frozen=True, kw_only=True)
class StoreOptions(Strict):
    """How series are stored."""

    normalization: NormalizationOption = None
    licence: Annotated[
        str,
        Option(
            "--licence",
            "Of the series; goes into the card of every checkpoint that learns from them.",
            metavar="WORDS",
        ),
    ] = "not stated"

    sampling_s: Annotated[
        Positive,
        Option(
            "--sampling",
            "Seconds between stored samples: input.tr_s of a recipe that learns from them.",
            metavar="SECONDS",
        ),
    ] = 2.0

    @property
    def spec(self) -> InputSpec:
        """What stored series are like; by default as the bundled checkpoint takes them."""
        spec = InputSpec(tr_s=self.sampling_s)
        return replace(spec, normalization=self.normalization or spec.normalization)


@dataclass(frozen=True, kw_only=True)
class OutputsOptions(StoreOptions):
    """Which series of an output folder are stored."""

    from_denoised: Annotated[
        bool,
        Option(
            "--from-denoised",
            "Resample and normalize the denoised series anew. Default: store what the encoder "
            "saw.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class Hdf5Options(StoreOptions):
    """What a file of the published training does not tell."""

    tr_s: RepetitionTime = None


@dataclass(frozen=True, kw_only=True)
class SimulatorOptions(StoreOptions):
    """How much is simulated."""

    n_subjects: Annotated[
        int,
        Limits(3, 10**9, "at least 3"),
        Option("--subjects", "How many are simulated.", metavar="COUNT", required=True),
    ]
    n_sessions: Annotated[Count, Option("--sessions", "Of each subject.", metavar="COUNT")] = 2
    population: Annotated[
        int,
        Limits(2, 10**9, "at least 2"),
        Option(
            "--population",
            "Subjects drawn from one population; a batch that mixes populations learns those.",
            metavar="COUNT",
        ),
    ] = 64
    seed: SeedOption = 0


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Strict):
    """How subjects are divided."""

    validation: Annotated[
        Share, Option("--validation", "Share of the subjects for validation.", metavar="SHARE")
    ] = 0.1
    test: Annotated[
        Share, Option("--test", "Share of the subjects for the test.", metavar="SHARE")
    ] = 0.2
    seed: SeedOption = 0


@click.group("shards", cls=Group)
def shards_group() -> None:
    """Parcel series for training: stored, hashed, divided by subject."""


@shards_group.command("outputs")
@click.argument("semantoks_dir", type=_SOURCE)
@_SHARDS
@options_of(OutputsOptions)
def from_outputs(semantoks_dir: Path, shards: Path, **arguments: Any) -> None:
    """Store the series in SEMANTOKS_DIR, of the participant level, as the new folder SHARDS."""
    from model.shards.incoming import scans_of_outputs

    options = build(OutputsOptions, arguments)
    scans = scans_of_outputs(
        semantoks_dir, options.spec, description="denoised" if options.from_denoised else "model"
    )
    made_from = f"participant outputs {real_path(semantoks_dir).name}"
    _write(shards, scans, options, made_from=made_from)


@shards_group.command("hdf5")
@click.argument("file", type=_SOURCE)
@_SHARDS
@options_of(Hdf5Options)
def from_hdf5(file: Path, shards: Path, **arguments: Any) -> None:
    """Store the series of FILE, in the HDF5 layout of the published training (--tr is needed)."""
    from model.shards.incoming import scans_of_hdf5

    options = build(Hdf5Options, arguments)
    if options.tr_s is None:
        raise click.UsageError("--tr is needed: such a file does not tell its repetition time.")
    scans = scans_of_hdf5(file, options.spec, tr_s=options.tr_s)
    _write(shards, scans, options, made_from=f"HDF5 {file.name}")


@shards_group.command("simulate")
@_SHARDS
@options_of(SimulatorOptions)
def from_simulator(shards: Path, **arguments: Any) -> None:
    """Store simulated series."""
    from model.shards.incoming import scans_of_simulator
    from model.simulation.simulate import SimulationConfig

    options = build(SimulatorOptions, arguments)
    scans = scans_of_simulator(
        SimulationConfig(),
        options.spec,
        n_subjects=options.n_subjects,
        n_sessions=options.n_sessions,
        population=options.population,
        seed=options.seed,
    )
    _write(shards, scans, options, made_from=f"simulator, seed {options.seed}")


@shards_group.command("split")
@_SHARDS
@options_of(SplitOptions)
def split(shards: Path, **arguments: Any) -> None:
    """Divide the subjects of SHARDS at random: train.txt, validation.txt, test.txt in it."""
    from model.shards.stored import Shards
    from model.shards.subjects import split_subjects, write_lists

    subjects = list(Shards(shards).by_subject)
    parts = split_subjects(subjects, **vars(build(SplitOptions, arguments)))
    for name, path in write_lists(shards, parts).items():
        click.echo(f"{path}\t{len(parts[name])} subjects")


@shards_group.command("check")
@_SHARDS
def check(shards: Path) -> None:
    """Read all of SHARDS and compare it with its hashes, and its lists of subjects with it."""
    from model.shards.stored import Shards
    from model.shards.subjects import LISTS, read_lists

    opened = Shards(shards)
    opened.verify(opened.scans)
    lists = {name: shards / f"{name}.txt" for name in LISTS}
    there = {name: path for name, path in lists.items() if os.path.lexists(path)}
    read_lists(there, {scan.subject for scan in opened.scans})
    description = opened.description
    click.echo(
        f"{description.n_scans} scans of {description.n_subjects} subjects are as they were "
        f"written; index sha256 {description.index_sha256}"
    )


def _write(
    shards: Path, scans: Iterable[NewScan], options: StoreOptions, *, made_from: str
) -> None:
    from model.shards.store import write_shards

    made = write_shards(shards, scans, options.spec, made_from=made_from, licence=options.licence)
    for scan, reason in made.excluded.items():
        click.echo(f"left out {scan}: {reason}", err=True)
    click.echo(
        f"{shards}\t{made.n_scans} scans of {made.n_subjects} subjects, "
        f"{len(made.excluded)} left out"
    )
