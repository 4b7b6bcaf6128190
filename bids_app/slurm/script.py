"""Batch scripts for SLURM: an array of tasks over participants, and the group step after it."""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.errors import SchedulerError
from bids_app.files import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bids_app.survey import Participant

TASK_S = 1800.0
"""Estimated work of a task: neither starting it nor losing it should matter."""
_START_S = 600.0
"""Until the first scan: libraries and image come from a busy file system."""
_MARGIN = 4.0
"""Requested over estimated time: shared file systems are slower than a page cache."""
_GROUP_S_PER_SCAN = 0.02
_GROUP_MB = 1000
_DEFAULT_MAX_ARRAY = 1001


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a task asks of the scheduler."""

    n_cpus: int
    memory_mb: int
    minutes: int
    sbatch_args: str
    """Further options in one string, such as ``--partition=long``"""

    def lines(self, *, name: str, folder: Path, log: str) -> list[str]:
        """Return the directives of a script; `log` is a file's name with SLURM's patterns.

        Raises
        ------
        SchedulerError
            The folder's name has a line break.
        """
        if "\n" in str(folder):
            raise SchedulerError(
                f"{str(folder)!r}: sbatch cannot be told a folder with a line break in its name."
            )
        # sbatch reads quotes as a shell does, and % in a path as the begin of a pattern.
        output = shlex.quote(f"--output={str(folder).replace('%', '%%')}/{log}")
        options = [
            f"--job-name={name}",
            output,
            "--open-mode=append",
            f"--cpus-per-task={self.n_cpus}",
            f"--mem={self.memory_mb}M",
            f"--time={self.minutes // 60:02d}:{self.minutes % 60:02d}:00",
            " ".join(self.sbatch_args.splitlines()),  # a second line would be one of the script
        ]
        return [f"#SBATCH {option}" for option in options if option]


def cut(
    participants: Sequence[Participant], *, per_task: int | None, n_cpus: int, at_most: int
) -> list[list[Participant]]:
    """Cut participants into tasks of about equal number.

    Parameters
    ----------
    per_task
        How many in each; None: about `TASK_S` of work.
    at_most
        Tasks that the scheduler accepts in one array.
    """
    if per_task is None:
        work_s = sum(one.seconds for one in participants)
        per_task = max(1, math.floor(len(participants) * TASK_S * n_cpus / work_s))
    per_task = max(per_task, math.ceil(len(participants) / at_most))
    return [list(participants[i : i + per_task]) for i in range(0, len(participants), per_task)]


def task_minutes(tasks: Sequence[Sequence[Participant]], *, n_cpus: int) -> int:
    """Return the time to ask for: the longest task, with a margin, in steps of 5 minutes."""
    longest_s = max(sum(one.seconds for one in task) for task in tasks) / n_cpus
    return 5 * math.ceil((_START_S + _MARGIN * longest_s) / 300)


def array_script(
    command: Sequence[str], request: Request, *, n_tasks: int, at_a_time: int | None, folder: Path
) -> str:
    """Write the script of the array; line N of ``participants.txt`` belongs to task N."""
    limit = f"%{at_a_time}" if at_a_time else ""
    list_path = shlex.quote(str(folder / "participants.txt"))
    return "\n".join(
        [
            "#!/bin/bash",
            f"#SBATCH --array=1-{n_tasks}{limit}",
            *request.lines(name="semantoks", folder=folder, log="%A_%a.log"),
            # A task that a lost node or a preemption cut off begins again: what is done stays.
            "#SBATCH --requeue",
            "#SBATCH --signal=B:TERM@120",
            "",
            f'labels=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {list_path})',
            f"{shlex.join(command)} --participant-label $labels &",
            "child=$!",
            "trap 'kill -TERM $child' TERM",
            "wait $child; code=$?",
            "while kill -0 $child 2>/dev/null; do wait $child; code=$?; done",
            "# 1: scans failed and their status says why; the table of the cohort can be made.",
            "[ $code -eq 1 ] && exit 0",
            "exit $code",
            "",
        ]
    )


def group_script(command: Sequence[str], request: Request, *, folder: Path) -> str:
    """Write the script of the group step."""
    directives = request.lines(name="semantoks-group", folder=folder, log="group_%j.log")
    return "\n".join(
        ["#!/bin/bash", *directives, "#SBATCH --requeue", "", shlex.join(command), ""]
    )


def task_list(tasks: Sequence[Sequence[Participant]]) -> str:
    """Write one line of labels per task."""
    return "".join(" ".join(one.label for one in task) + "\n" for task in tasks)


def group_request(n_scans: int, *, sbatch_args: str) -> Request:
    """Return what the group step needs: its memory does not depend on the number of scans."""
    minutes = 10 * math.ceil((_START_S + n_scans * _GROUP_S_PER_SCAN) / 600)
    return Request(n_cpus=1, memory_mb=_GROUP_MB, minutes=minutes, sbatch_args=sbatch_args)


def submit_all(scripts: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Write scripts into a folder, submit the array and then the group step.

    Yields
    ------
    One line about each job.

    Raises
    ------
    SchedulerError
        There is no ``sbatch`` here, or it refuses a script.
    """
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise SchedulerError(
            "no sbatch on this machine.",
            hint="Run semantoks slurm where jobs are submitted, or add --dry-run to see the "
            "scripts.",
        )
    # The bytes of a path that is no UTF-8 are the shell's.
    write_all({folder / name: os.fsencode(text) for name, text in scripts.items()})
    dependency: list[str] = []
    for name in ("array.sh", "group.sh"):
        if name in scripts:
            job = _submit([sbatch, "--parsable", *dependency, str(folder / name)])
            yield f"submitted {folder / name} as job {job}"
            dependency = [f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes"]


def _submit(command: list[str]) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SchedulerError(
            f"sbatch refused {command[-1]}: {answer.stderr.strip()}",
            hint="--sbatch-args passes what this cluster demands, such as an account.",
        )
    return answer.stdout.strip().partition(";")[0]


def largest_array() -> int:
    """Return how many tasks an array may have here; SLURM's default where it does not tell."""
    found = None
    if scontrol := shutil.which("scontrol"):
        answer = subprocess.run(
            [scontrol, "show", "config"], capture_output=True, text=True, check=False
        )
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", answer.stdout)
    # The largest index, counted from 0, is one less.
    return (int(found[1]) if found else _DEFAULT_MAX_ARRAY) - 1
