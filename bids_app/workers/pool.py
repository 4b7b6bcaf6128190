"""Work off jobs in processes, bounded in number and memory, each of them expendable.

`multiprocessing.Pool` waits for ever for a process that was killed, and
`concurrent.futures` gives up all jobs for it; here it costs the job it was at.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from bids_app.errors import WorkerError
from bids_app.logs import current_levels, set_up_logging
from model.files.write import process_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from bids_app.logs import Levels

_GRACE_S = 20.0
"""Time that processes have to remove their temporary files when asked to stop."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """``run(shared, argument)``; all of it can be sent to another process."""

    run: Callable[[Any, Any], Any]
    argument: Any
    memory_mb: float
    """What the job needs, beyond what every process needs"""


NextJob: TypeAlias = "Callable[[float], Job | None]"
"""Gives a job that needs at most so many MB; None: there is none, or none yet"""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The answer to a job whose process was killed."""

    reason: str
    tag: str
    """Of the process, as in the names of its temporary files"""


def run_here(next_job: NextJob, shared: Any) -> Generator[tuple[Job, Any]]:
    """Work off jobs one after the other in this process; yield each with its answer."""
    while (job := next_job(math.inf)) is not None:
        yield job, job.run(shared, job.argument)


def run_in_processes(
    next_job: NextJob,
    shared: Any,
    *,
    n_processes: int,
    base_mb: float,
    memory_mb: float,
) -> Generator[tuple[Job, Any]]:
    """Work off jobs in several processes; yield each with its answer, as they end.

    Parameters
    ----------
    next_job
        Called whenever a job can be begun.
    shared
        First argument of all jobs; sent to each process once.
    n_processes
        How many may run at a time; they are started when they are needed.
    base_mb, memory_mb
        What a process needs without a job, and what all may need together. A job that never
        fits waits until it can run alone.

    Raises
    ------
    WorkerError
        Processes cannot be started here.
    Exception
        Whatever a job raises; the other processes are stopped.
    """
    crew = _Crew(shared=shared, n_processes=n_processes, base_mb=base_mb, memory_mb=memory_mb)
    try:
        while True:
            while (room_mb := crew.room_mb()) > 0 and (job := next_job(room_mb)) is not None:
                crew.begin(job)
            if not crew.busy():
                return
            yield from crew.answers()
    finally:
        crew.dismiss()


class _Worker:
    """A process, the parent's end of its pipe, and the job it is at."""

    def __init__(self, shared: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, shared, current_levels()), daemon=True
        )
        with _inherited_by_children():
            self.process.start()
        # Or the end of the process would not be the end of its pipe.
        theirs.close()
        self.job: Job | None = None
        self.tag = ""

    def loss(self) -> Lost:
        """Tell how the process ended."""
        self.process.join(_GRACE_S)
        code = self.process.exitcode
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += ", as the system does when memory runs out"
        hint = "--n-cpus or --mem-mb bound how many run at a time"
        return Lost(reason=f"its process {how}; {hint}", tag=self.tag)


class _Crew:
    """The processes of a pool."""

    def __init__(self, *, shared: Any, n_processes: int, base_mb: float, memory_mb: float) -> None:
        self._shared, self._n_processes = shared, n_processes
        self._base_mb, self._memory_mb = base_mb, memory_mb
        self._workers: list[_Worker] = []
        self._any_came_up = False

    def busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]

    def room_mb(self) -> float:
        """Return the memory that is left for a job; 0 while all processes are busy."""
        busy = self.busy()
        if not busy:
            return math.inf  # whatever it needs, it can only run alone
        if len(busy) == self._n_processes:
            return 0
        n_workers = max(len(self._workers), len(busy) + 1)
        jobs_mb = sum(worker.job.memory_mb for worker in busy if worker.job)
        return self._memory_mb - n_workers * self._base_mb - jobs_mb

    def begin(self, job: Job) -> None:
        """Give a job to an idle process, or to a new one."""
        idle = next((worker for worker in self._workers if worker.job is None), None)
        if idle is None:
            idle = _Worker(self._shared)
            self._workers.append(idle)
        idle.job = job
        with contextlib.suppress(OSError):  # it has just died: its pipe tells
            idle.pipe.send((job.run, job.argument))

    def answers(self) -> Iterator[tuple[Job, Any]]:
        """Wait for messages; yield the jobs that have ended."""
        by_pipe = {worker.pipe: worker for worker in self.busy()}
        for pipe in wait(list(by_pipe)):
            worker = by_pipe[pipe]  # type: ignore[index]  # wait() gives back what it was given
            job = worker.job
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                kind, content = "lost", self._lose(worker)
            if kind == "up":
                worker.tag, self._any_came_up = content, True
            elif kind == "raised":
                raise content
            elif job is not None:
                worker.job = None
                yield job, content

    def _lose(self, worker: _Worker) -> Lost:
        lost = worker.loss()
        self._workers.remove(worker)
        worker.pipe.close()
        if not self._any_came_up:
            raise WorkerError(
                f"processes cannot be started: the first {lost.reason.partition(';')[0]}.",
                hint="A script that calls this needs `if __name__ == '__main__':`; --n-cpus 1 "
                "works in one process.",
            )
        # Who stops a job may signal all its processes: let our own signal come first.
        time.sleep(0.5)
        return lost

    def dismiss(self) -> None:
        """Stop all processes; they remove their temporary files."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()


@contextlib.contextmanager
def _inherited_by_children() -> Iterator[None]:
    """One thread each, and no Ctrl-C: this process hears it and stops them."""
    # It is started with the first process otherwise, and lets Ctrl-C through again behind itself.
    resource_tracker.ensure_running()
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _leave(*_: object) -> NoReturn:
    """Unwind once: a second signal, of the parent's own, must not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _serve(pipe: Connection, shared: Any, levels: Levels) -> None:
    """Take jobs from the pipe until it is closed; the life of a process of the pool."""
    signal.signal(signal.SIGTERM, _leave)
    set_up_logging(levels)
    # The pipe breaks where the parent was killed: nobody is left to work for.
    with contextlib.suppress(EOFError, OSError):
        pipe.send(("up", process_tag()))
        while True:
            run, argument = pipe.recv()
            try:
                message = ("done", run(shared, argument))
            except Exception as err:  # noqa: BLE001 raised again where the job came from
                err.add_note(traceback.format_exc())
                message = ("raised", err)
            pipe.send(message)
