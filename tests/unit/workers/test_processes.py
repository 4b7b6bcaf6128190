"""Work in several processes. Each test starts some, which takes a second or two."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jobs
import pytest

from bids_app.errors import OutputError, WorkerError
from bids_app.workers.processes import Limits, Lost, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TESTS = Path(__file__).resolve().parents[2]


def limits(n: int = 2, *, memory_mb: float = 100.0) -> Limits:
    return Limits(n_processes=n, memory_mb=memory_mb, process_mb=10.0)


def answers(
    work: Callable[[int], Any],
    numbers: Iterable[int],
    bounds: Limits | None = None,
    needed_mb: Callable[[int], float] = lambda _: 1.0,
) -> dict[int, Any]:
    with Processes(bounds or limits()) as processes:
        return dict(processes.map(work, deque(numbers), needed_mb=needed_mb))


def intervals(folder: Path) -> list[tuple[float, float, str]]:
    rows = [path.read_text().split() for path in folder.iterdir()]
    return sorted((float(begun), float(ended), process) for begun, ended, process in rows)


def test_answers_are_those_of_one_process_and_each_has_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert answers(jobs.double, range(4)) == {n: (2 * n, "1") for n in range(4)}
    assert answers(jobs.double, range(4), limits(1)) == {n: (2 * n, "7") for n in range(4)}


@pytest.mark.parametrize("n_processes", [1, 2])
def test_it_is_told_how_far_each_item_is(n_processes) -> None:
    seen: dict[int, list[float]] = {0: [], 1: []}

    def watch(at_work) -> None:
        for item, share in at_work:
            seen[item].append(share)

    with Processes(limits(n_processes)) as processes:
        found = processes.map(jobs.say, deque(seen), needed_mb=lambda _: 1.0, watch=watch)
        assert {answer for _, answer in found} == {0, 1}
    for shares in seen.values():
        assert shares == sorted(shares)
        assert {0.25, 0.5, 0.75} <= set(shares)


def test_a_single_item_needs_no_other_process() -> None:
    assert answers(jobs.Counter(), [5], limits(4)) == {5: (os.getpid(), 1)}


def test_a_process_keeps_what_the_work_holds_and_serves_the_next_map() -> None:
    with Processes(limits()) as processes:
        first, second = (
            [answer for _, answer in processes.map(work, deque(range(8)), needed_mb=lambda _: 1.0)]
            for work in (jobs.Counter(), jobs.die_if_odd)
        )
    by_process = {pid: sorted(n for p, n in first if p == pid) for pid, _ in first}
    assert os.getpid() not in by_process
    assert len(by_process) <= 2
    assert all(counts == list(range(1, len(counts) + 1)) for counts in by_process.values())
    assert sum(isinstance(answer, Lost) for answer in second) == 4


@pytest.mark.parametrize(
    ("work", "reason"), [(jobs.die_if_odd, "SIGKILL"), (jobs.leave_if_odd, "exit code 143")]
)
def test_a_process_that_is_killed_costs_its_item_only(work, reason) -> None:
    found = answers(work, range(6))
    assert {n: answer for n, answer in found.items() if n % 2 == 0} == {0: 0, 2: 2, 4: 4}
    lost = [found[n] for n in (1, 3, 5)]
    assert all(isinstance(answer, Lost) and reason in answer.reason for answer in lost)


def test_a_process_that_is_killed_while_it_is_idle_costs_nothing() -> None:
    with Processes(limits()) as processes:
        first = dict(processes.map(jobs.Counter(), deque(range(4)), needed_mb=lambda _: 1.0))
        for pid, _ in first.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not multiprocessing.active_children())
        second = dict(processes.map(jobs.double, deque(range(4)), needed_mb=lambda _: 1.0))
    assert second == {n: (2 * n, "1") for n in range(4)}


def test_memory_bounds_how_many_run_at_a_time(tmp_path: Path) -> None:
    bounds = limits(3, memory_mb=60.0)
    answers(partial(jobs.stay, tmp_path), range(3), bounds, lambda _: 40.0)
    rows = intervals(tmp_path)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(rows))


def test_what_needs_more_than_there_is_runs_alone(tmp_path: Path) -> None:
    answers(partial(jobs.stay, tmp_path), range(3), None, {0: 1.0, 1: 1.0, 2: 1e6}.__getitem__)
    rows = intervals(tmp_path)
    assert rows[-1][0] >= max(rows[0][1], rows[1][1])


def test_items_that_are_taken_away_are_not_begun() -> None:
    numbers = deque(range(100))
    with Processes(limits()) as processes:
        seen = []
        for number, _ in processes.map(jobs.double, numbers, needed_mb=lambda _: 1.0):
            seen.append(number)
            numbers.clear()
    assert set(seen) <= {0, 1, 2, 3}


def test_an_error_is_raised_with_its_hint_and_stops_the_others() -> None:
    with pytest.raises(OutputError, match="is full") as caught:
        answers(jobs.complain, range(4))
    assert caught.value.hint == "Buy another."


SCRIPT = """
from collections import deque
from functools import partial
from pathlib import Path
import jobs
from bids_app.workers.processes import Limits, Processes
def main(work):
    with Processes(Limits(n_processes=2, memory_mb=9.0, process_mb=1.0)) as processes:
        list(processes.map(work, deque(range(2)), needed_mb=lambda _: 1.0))
"""


def test_processes_that_cannot_start_are_told_with_the_way_out(tmp_path: Path) -> None:
    script = python(tmp_path, SCRIPT + "main(jobs.double)")
    _, errors = script.communicate(timeout=60)
    # Python's resource tracker may still have a word to say after the error.
    raised = f"bids_app.errors.{WorkerError.__name__}: "
    (error,) = (line for line in errors.splitlines() if line.startswith(raised))
    assert "the first ended with exit code 1" in error


def test_processes_end_with_their_parent_although_it_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "pids"
    folder.mkdir()
    begin = f"main(partial(jobs.tell_and_wait, Path({str(folder)!r})))"
    script = python(tmp_path, f"{SCRIPT}if __name__ == '__main__':\n    {begin}")
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    script.kill()
    wait_until(lambda: not any(Path("/proc", path.name).exists() for path in folder.iterdir()))
    script.communicate(timeout=60)


def python(folder: Path, script: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(script)
    path = os.pathsep.join([str(TESTS.parent), str(TESTS / "support")])
    return subprocess.Popen(
        [sys.executable, folder / "script.py"],
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
