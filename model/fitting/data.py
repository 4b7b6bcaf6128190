"""The scans that something is fitted to: stored cohorts, named to the byte, and simulated ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.errors import ConfigError, SemantoksError, some
from model.files.content import real_path
from model.files.write import text_sha256
from model.shards.stored import Shards
from model.shards.subjects import read_lists
from model.simulation.draws import generator_of
from model.simulation.simulate import SimulationConfig, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from model.fitting.settings import FitConfig
    from model.shards.stored import StoredScan
    from model.spec import InputSpec

N_POPULATIONS, N_SUBJECTS, N_SESSIONS = 60, 12, 2
"""Simulated scans to fit to; two windows of each."""
WINDOWS_PER_SCAN = 2


class FitDataError(SemantoksError):
    """The scans that something was fitted to are not at hand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FitCohort:
    """Stored scans of one study that are fitted to together."""

    name: str
    """Of its folder"""
    shards: Shards
    scans: tuple[StoredScan, ...]

    def verify(self) -> None:
        """Compare the scans with their hashes."""
        self.shards.verify(self.scans)

    def describe(self) -> dict[str, Any]:
        """Name the scans to the byte."""
        kind = self.shards.description
        return {
            "made_from": kind.made_from,
            "licence": kind.licence,
            "index_sha256": kind.index_sha256,
            "scans_sha256": text_sha256("\n".join(sorted(scan.sha256 for scan in self.scans))),
            "n_scans": len(self.scans),
            "n_subjects": len({scan.subject for scan in self.scans}),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class FitData:
    """All that is fitted to, opened."""

    config: FitConfig
    cohorts: tuple[FitCohort, ...]
    spec: InputSpec
    """What the encoder takes"""
    simulation: SimulationConfig
    seed: int
    """Of the simulation"""

    def verify(self) -> None:
        """Compare all stored scans with their hashes."""
        for cohort in self.cohorts:
            cohort.verify()

    def describe(self) -> dict[str, Any]:
        """Tell all that a fit to these scans follows from, for a card; no path."""
        settings = json.loads(json.dumps(self.config.to_dict()))  # as a card reads it back
        del settings["shards"]
        return {
            "settings": settings,
            "seed": self.seed,
            "simulation": asdict(self.simulation),
            "cohorts": {cohort.name: cohort.describe() for cohort in self.cohorts},
        }

    def populations(self) -> Iterator[Tensor]:
        """Simulate populations (scans, P, T), all parcels present; the same ones each time.

        Drawn anew by each caller, in three seconds: together they would take 0.5 GB.
        """
        scans = replace(
            self.simulation,
            n_samples=WINDOWS_PER_SCAN * self.spec.window_samples,
            cut_probability=0.0,
        )
        for population in range(N_POPULATIONS):
            drawn = simulate(
                scans,
                self.spec,
                n_subjects=N_SUBJECTS,
                n_sessions=N_SESSIONS,
                generator=generator_of([self.seed, population]),
            )
            yield drawn.values.flatten(0, 1)


def open_data(
    config: FitConfig, spec: InputSpec, *, simulation: SimulationConfig | None, seed: int
) -> FitData:
    """Open the cohorts that a section ``[fit]`` names.

    Parameters
    ----------
    config
        The section.
    spec
        TR and normalization that the stored series must have; length and distance of windows.
    simulation
        Strengths of the simulator; None: the defaults.
    seed
        Of the simulation.

    Raises
    ------
    ConfigError
        Two folders have one name.
    ShardError
        A folder is not one of shards, or its series are not what the encoder takes.
    SubjectsError
        A list is missing, empty, or names somebody without data.
    """
    cohorts = tuple(_open(Path(folder), config.subjects, spec) for folder in config.shards)
    names = [cohort.name for cohort in cohorts]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"fit.shards: two folders are called {some(sorted(names))}.",
            hint="A cohort is named after its folder; rename one.",
        )
    return FitData(
        config=config,
        cohorts=cohorts,
        spec=spec,
        simulation=simulation or SimulationConfig(),
        seed=seed,
    )


def _open(folder: Path, subjects: str, spec: InputSpec) -> FitCohort:
    shards = Shards(folder)
    shards.refuse_unlike(spec)
    scans = shards.scans
    if subjects:
        listed = read_lists({subjects: folder / subjects}, shards.by_subject)[subjects].subjects
        scans = tuple(scan for scan in scans if scan.subject in listed)
    return FitCohort(name=real_path(folder).name, shards=shards, scans=scans)


def reopen(
    described: dict[str, Any], folders: Sequence[Path], subjects: str, spec: InputSpec
) -> tuple[FitCohort, ...]:
    """Find the cohorts that a card tells of among folders, by what they hold.

    Parameters
    ----------
    described
        ``cohorts`` of `FitData.describe`.
    folders
        Where they may be, whatever they are called here.
    subjects
        As in `FitConfig`.
    spec
        What the encoder takes.

    Raises
    ------
    FitDataError
        One of them is in none of the folders; says which.
    """
    by_index = {Shards(folder).description.index_sha256: folder for folder in folders}
    absent = [name for name, told in described.items() if told["index_sha256"] not in by_index]
    if absent:
        raise FitDataError(
            f"the weights were fitted to scans that are not at hand: {some(absent)}.",
            hint="Name their folders of shards: --fit-shards FOLDER.",
        )
    found = []
    for name, told in described.items():
        folder = by_index[told["index_sha256"]]
        opened = replace(_open(folder, subjects, spec), name=name)
        if opened.describe() != told:
            raise FitDataError(
                f"{folder}: other scans of {name} were fitted to than {subjects or 'all'}."
            )
        found.append(opened)
    return tuple(found)
