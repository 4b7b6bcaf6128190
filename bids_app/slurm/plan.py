"""The scripts of a study: an array over its participants, and the group step after it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.embedder import names_gpu
from bids_app.slurm.script import (
    Request,
    array_script,
    cut,
    group_request,
    group_script,
    largest_array,
    task_list,
    task_minutes,
)
from bids_app.survey import survey
from model.files.content import real_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bids_app.options import RunOptions
    from bids_app.slurm.options import JobOptions
    from bids_app.survey import Survey

TASK_CPUS = 4
"""CPUs of a task, where the user's words do not say."""

_OF_EVERY_CONTAINER = {Path(path) for path in ("/", "/tmp", "/var/tmp")}  # noqa: S108
"""Where a container has its own, and needs it"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of semantoks at participant level, in the user's words."""

    options: RunOptions
    """What the words mean"""
    words: Sequence[str]
    """As they were given, without the participants: each task has its own; and without those of
    the group step"""
    positionals: tuple[str, str]
    """Input and output folder, as they were given"""
    group_words: Sequence[str]
    """Options of the group step"""
    named: tuple[str, ...]
    """What may be the place of a file, in the words or in a file of options"""
    n_cpus: int | None
    memory_mb: float | None
    """As the words say; None: they do not"""


def plan_jobs(call: Call, job: JobOptions, folder: Path) -> tuple[Survey, dict[str, str]]:
    """Survey the participants that a call selects, and write the scripts that process them.

    Parameters
    ----------
    folder
        Where the scripts will be, and their logs.

    Returns
    -------
    What is left to do, and text by name of the file; no ``array.sh`` where nothing is.

    Raises
    ------
    AppError
        As the participant level would.
    """
    n_cpus = call.n_cpus or TASK_CPUS
    found = survey(replace(call.options, n_cpus=n_cpus), atlas_needed=job.image is None)
    program = _program(call, job, found.atlas)
    scripts: dict[str, str] = {}
    if found.to_do:
        tasks = cut(
            found.to_do,
            per_task=job.participants_per_task,
            n_cpus=n_cpus,
            at_most=largest_array(),
        )
        request = Request(
            n_cpus=n_cpus,
            memory_mb=round(call.memory_mb or found.task_memory_mb(n_cpus)),
            minutes=job.minutes or task_minutes(tasks, n_cpus=n_cpus),
            sbatch_args=job.sbatch_args,
        )
        space = ["--space", found.space] if found.space else []
        # The survey's, also where the image holds another one.
        own = job.image is None or call.options.atlas is not None or found.atlas is None
        atlas = [] if own else ["--atlas", str(found.atlas)]
        words = [*program, *call.words, *atlas, *space, *_limits(call, request)]
        scripts["array.sh"] = array_script(
            words, request, n_tasks=len(tasks), at_a_time=job.at_a_time, folder=folder
        )
        scripts["participants.txt"] = task_list(tasks)
    if job.group:
        words = [*program, *call.positionals, "group", *call.group_words]
        request = group_request(found.n_scans, sbatch_args=job.sbatch_args)
        scripts["group.sh"] = group_script(words, request, folder=folder)
    return found, scripts


def _program(call: Call, job: JobOptions, atlas: Path | None) -> list[str]:
    """Return the words that start semantoks on a node.

    A container sees nothing of its host but the files that are named, at the same places.
    """
    if job.image is None:
        # -P: nothing in the folder where a job is submitted is taken for a module.
        return [sys.executable, "-P", "-m", "bids_app"]
    isolated = ["--cleanenv", "--containall"]
    if names_gpu(call.options.device):
        isolated.append("--nv")
    here = Path.cwd()
    found = [Path(name) for name in call.named if os.path.lexists(here / name)]
    named = {here / path for path in found}
    if atlas is not None:
        named.add(atlas)
    # What is named from here is looked for there too.
    if not all(path.is_absolute() for path in (*found, Path(call.positionals[1]))):
        named.add(here)
        isolated += ["--pwd", str(here)]
    mounts = [word for one in _mounts(named, call.options.output_dir) for word in ("--mount", one)]
    return ["apptainer", "run", *isolated, *mounts, str(real_path(job.image))]


def _mounts(named: Iterable[Path], output: Path) -> Iterator[str]:
    """Write what is mounted: folders before those in them; the output alone can be written."""
    # A link leads on in the container too.
    writable = {output.absolute(), real_path(output)}
    readable = {path for one in named for path in (one, real_path(one))}
    for path in sorted((readable | writable) - _OF_EVERY_CONTAINER):
        # Quoted as in a CSV file: -B has no way to name a folder with a comma or a colon.
        text = str(path).replace('"', '""')
        mode = "" if path in writable else ",ro"
        yield f'type=bind,"source={text}","destination={text}"{mode}'


def _limits(call: Call, request: Request) -> list[str]:
    """Return what a task may use, where the user's words do not say."""
    words = [] if call.n_cpus else ["--n-cpus", str(request.n_cpus)]
    return words if call.memory_mb else [*words, "--mem", f"{request.memory_mb}M"]
