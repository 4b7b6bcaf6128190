from __future__ import annotations

from pathlib import Path

import pytest

from bids_app.errors import SchedulerError
from bids_app.slurm.script import (
    Request,
    array_script,
    cut,
    group_request,
    group_script,
    task_minutes,
)
from bids_app.survey import Participant


def people(n: int, *, seconds: float = 60.0) -> list[Participant]:
    return [
        Participant(label=f"{i:03d}", n_scans=1, seconds=seconds, memory_mb=100.0)
        for i in range(n)
    ]


def test_every_participant_is_in_one_task_in_order() -> None:
    tasks = cut(people(101), per_task=10, n_cpus=1, at_most=1000)
    assert [one.label for task in tasks for one in task] == [f"{i:03d}" for i in range(101)]
    assert [len(task) for task in tasks] == [10] * 10 + [1]


def test_tasks_are_half_an_hour_of_work_for_their_cpus() -> None:
    assert len(cut(people(300), per_task=None, n_cpus=1, at_most=1000)[0]) == 30
    assert len(cut(people(300), per_task=None, n_cpus=4, at_most=1000)[0]) == 120
    assert len(cut(people(3, seconds=9e9), per_task=None, n_cpus=1, at_most=1000)) == 3


def test_an_array_is_never_larger_than_the_scheduler_takes() -> None:
    assert len(cut(people(1000), per_task=1, n_cpus=1, at_most=100)) == 100


def test_the_longest_task_sets_the_time_and_it_is_generous() -> None:
    tasks = cut(people(45), per_task=30, n_cpus=2, at_most=100)
    assert task_minutes(tasks, n_cpus=2) == 70  # 10 + 4 * 15


def test_a_percent_sign_in_a_path_is_no_pattern_of_a_log() -> None:
    request = Request(n_cpus=1, memory_mb=900, minutes=5, sbatch_args="")
    script = group_script(["x"], request, folder=Path("/data/50%j"))
    assert "#SBATCH --output=/data/50%%j/group_%j.log\n" in script


def test_what_would_begin_a_line_of_its_own_in_a_script_does_not() -> None:
    request = Request(n_cpus=1, memory_mb=900, minutes=5, sbatch_args="--account=a\n--qos=b\n")
    script = group_script(["x"], request, folder=Path("/data"))
    assert "#SBATCH --account=a --qos=b\n" in script
    with pytest.raises(SchedulerError, match="line break"):
        group_script(["x"], request, folder=Path("/data\n/x"))


def test_hours_are_written_as_the_scheduler_reads_them() -> None:
    request = Request(n_cpus=2, memory_mb=900, minutes=1505, sbatch_args="")
    script = array_script(["x"], request, n_tasks=3, at_a_time=None, folder=Path("/a b"))
    assert "#SBATCH --time=25:05:00\n" in script
    assert "'/a b/participants.txt'" in script
    assert "#SBATCH '--output=/a b/%A_%a.log'\n" in script
    assert group_request(100_000, sbatch_args="").minutes == 50
