"""Processes that work off jobs. Each test starts some, which takes a second or two."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import jobs
import pytest

from bids_app.errors import OutputError
from bids_app.workers.pool import Job, Lost, run_here, run_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def queue(run: Callable[[Any, Any], Any], numbers: range, *, memory_mb: float = 1.0):
    waiting = [Job(run=run, argument=n, memory_mb=memory_mb) for n in numbers]

    def next_job(room_mb: float) -> Job | None:
        return waiting.pop(0) if waiting and waiting[0].memory_mb <= room_mb else None

    return next_job


def pooled(next_job, shared: Any, *, n: int = 2, memory_mb: float = 100.0) -> Iterator:
    return run_in_processes(next_job, shared, n_processes=n, base_mb=10.0, memory_mb=memory_mb)


def intervals(folder: Path) -> list[tuple[float, float, str]]:
    rows = [path.read_text().split() for path in folder.iterdir()]
    return sorted((float(begun), float(ended), process) for begun, ended, process in rows)


def test_answers_are_those_of_one_process_and_each_has_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    answers = {job.argument: answer for job, answer in pooled(queue(jobs.double, range(4)), 3)}
    assert answers == {n: (3 * n, "1") for n in range(4)}
    alone = {job.argument: answer for job, answer in run_here(queue(jobs.double, range(4)), 3)}
    assert alone == {n: (3 * n, "7") for n in range(4)}


def test_a_killed_process_costs_its_job_only() -> None:
    answers = {job.argument: a for job, a in pooled(queue(jobs.die_if_odd, range(6)), None)}
    assert [n for n, answer in answers.items() if answer == n] == [0, 2, 4]
    lost = [answer for answer in answers.values() if isinstance(answer, Lost)]
    assert len(lost) == 3
    assert "SIGKILL" in lost[0].reason
    assert lost[0].tag


def test_memory_bounds_how_many_run_at_a_time(tmp_path: Path) -> None:
    list(pooled(queue(jobs.stay, range(3), memory_mb=40.0), tmp_path, n=3, memory_mb=60.0))
    rows = intervals(tmp_path)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(rows))


def test_a_job_too_large_for_the_memory_runs_alone(tmp_path: Path) -> None:
    small = queue(jobs.stay, range(2), memory_mb=1.0)
    large = queue(jobs.stay, range(2, 3), memory_mb=1e6)
    list(pooled(lambda room_mb: small(room_mb) or large(room_mb), tmp_path))
    rows = intervals(tmp_path)
    assert rows[-1][0] >= max(rows[0][1], rows[1][1])


def test_an_error_of_a_job_is_raised_with_its_hint_and_stops_the_others() -> None:
    with pytest.raises(OutputError, match="is full") as caught:
        list(pooled(queue(jobs.complain, range(4)), None))
    assert caught.value.hint == "Buy another."
