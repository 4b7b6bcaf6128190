"""What a cluster is asked for."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from model.files.settings import Count, Option, Strict


@dataclass(frozen=True, kw_only=True)
class JobOptions(Strict):
    """How participants become tasks of an array, and what runs them."""

    minutes: Annotated[
        Count | None, Option("--time", "Minutes per task. Default: estimated.", metavar="MINUTES")
    ] = None
    participants_per_task: Annotated[
        Count | None,
        Option("--participants-per-task", "Default: about half an hour of work.", metavar="COUNT"),
    ] = None
    at_a_time: Annotated[
        Count | None,
        Option("--at-a-time", "Tasks that may run at once. Default: all.", metavar="COUNT"),
    ] = None
    image: Annotated[
        Path | None,
        Option(
            "--image",
            "Apptainer image to run. Default: this installation, which the nodes must see.",
            path="any",
        ),
    ] = None
    sbatch_args: Annotated[
        str,
        Option(
            "--sbatch-args",
            "Further options of sbatch in one string, such as '--partition=long --account=x'.",
            metavar="TEXT",
        ),
    ] = ""
    group: Annotated[
        bool, Option("--no-group", "Leave out the group step after the array.", value=False)
    ] = True
