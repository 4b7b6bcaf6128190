"""Map work over processes: bounded in number and memory, each of them expendable.

`multiprocessing.Pool` waits for ever for a process that was killed, and an executor of
`concurrent.futures` gives up all its work for it. So each process is an executor of its own,
and its death costs what it was at.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import struct
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from bids_app.errors import WorkerError
from bids_app.logs import current_levels, set_up_logging
from model.invocation import interrupts
from model.invocation.progress import listening

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from multiprocessing.connection import Connection

    from bids_app.logs import Levels

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_GRACE_S = 20.0
"""Time that processes have to remove their temporary files when asked to stop."""
_LISTEN_S = 0.2
"""Between two looks whether to stop, where nothing ends"""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_TERMINATED = 128 + signal.SIGTERM
_SHARE = struct.Struct("d")
"""What a process says of how far it is; so short that a pipe takes it whole or not at all"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What all processes together may take."""

    n_processes: int
    """At a time, each with one thread."""
    memory_mb: float
    process_mb: float
    """What each needs without an item"""

    @property
    def room_mb(self) -> float:
        """Return what is left for the item of a single process."""
        return self.memory_mb - self.process_mb


@dataclass(frozen=True, kw_only=True)
class Lost:
    """The answer about an item whose process was killed."""

    reason: str


class Processes:
    """Processes that are started when they are needed and stopped at the end of a ``with``."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._workers: list[_Worker] = []
        self._any_came_up = False

    def map(
        self,
        work: Callable[[Item], Answer],
        items: deque[Item],
        *,
        needed_mb: Callable[[Item], float],
        watch: Callable[[Sequence[tuple[Item, float]]], None] = lambda _: None,
    ) -> Iterator[tuple[Item, Answer | Lost]]:
        """Do some work on each item; yield them with their answers, as they end.

        Parameters
        ----------
        work
            Can be pickled; each process unpacks it once, with what it keeps from item to item.
        items
            Taken from the left as they are begun; cleared, no more are.
        needed_mb
            Memory for an item, beside its process. What never fits runs alone.
        watch
            Gets the items at work, each with the share of it that is done, now and then.

        Raises
        ------
        WorkerError
            Processes cannot be started here.
        Exception
            Whatever the work raises.

        Notes
        -----
        Where one process is enough and none was started, all is done in this one.
        """
        if not self._workers and min(self._limits.n_processes, len(items)) <= 1:
            # One thread, as in a process of its own: the same sums in the same order.
            with threadpool_limits(1):
                while items:
                    interrupts.check()
                    item = items.popleft()
                    with listening(partial(_of_one, watch, item)):
                        answer = work(item)
                    yield item, answer
            return
        packed = pickle.dumps(work)
        begun: dict[Future[Any], tuple[Item, _Worker]] = {}
        while items or begun:
            interrupts.check()
            while items and self._has_room(needed := needed_mb(items[0])):
                worker = self._idle_or_new()
                try:
                    begun[worker.begin(packed, items[0], needed)] = items[0], worker
                except BrokenProcessPool:  # killed this moment, while it was idle
                    self._workers.remove(worker)
                else:
                    items.popleft()
            for future in wait(begun, _LISTEN_S, FIRST_COMPLETED).done:
                item, worker = begun.pop(future)
                yield item, self._answer(future, worker)
            watch([(item, worker.share()) for item, worker in begun.values()])

    def _has_room(self, needed_mb: float) -> bool:
        busy = [worker.busy_mb for worker in self._workers if worker.busy_mb is not None]
        if not busy:
            return True  # whatever it needs, it can only run alone
        n_workers = max(len(self._workers), len(busy) + 1)
        taken_mb = n_workers * self._limits.process_mb + sum(busy)
        return (
            len(busy) < self._limits.n_processes and taken_mb + needed_mb <= self._limits.memory_mb
        )

    def _idle_or_new(self) -> _Worker:
        for worker in [worker for worker in self._workers if worker.busy_mb is None]:
            if worker.process.is_alive():
                return worker
            self._workers.remove(worker)  # killed while it was idle
        self._workers.append(_Worker())
        return self._workers[-1]

    def _answer(self, future: Future[Any], worker: _Worker) -> Any:
        worker.busy_mb = None
        self._any_came_up |= worker.came_up
        try:
            return future.result()
        except BrokenProcessPool:
            self._workers.remove(worker)
        how = worker.end()
        if not self._any_came_up:
            raise _cannot_start(f"the first {how}")
        # Who stops us may signal all our processes: let our own signal come first.
        time.sleep(0.5)
        hint = "--n-cpus or --mem bound how many run at a time"
        return Lost(reason=f"its process {how}; {hint}")

    def __enter__(self) -> Processes:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all processes; they remove their temporary files."""
        for worker in self._workers:
            worker.executor.shutdown(wait=False)
            # At work, it unwinds. Idle, its executor has asked it to end: a signal could meet it
            # while the interpreter is on its way out, and leave a traceback.
            if worker.busy_mb is not None:
                worker.process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.executor.shutdown()


def _of_one(
    watch: Callable[[Sequence[tuple[Item, float]]], None], item: Item, share: float
) -> None:
    watch([(item, share)])


class _Worker:
    """An executor of one process."""

    def __init__(self) -> None:
        others = set(multiprocessing.active_children())
        try:
            context = multiprocessing.get_context("spawn")
            self._shares, tells = context.Pipe(duplex=False)
            os.set_blocking(self._shares.fileno(), False)
            self.executor = ProcessPoolExecutor(
                1, mp_context=context, initializer=_take_pipe, initargs=(tells,)
            )
            with _inherited_by_children():
                # Not as its initializer: stopped in there, it would print a traceback.
                self._up = self.executor.submit(_come_up, current_levels())
        except (OSError, NotImplementedError) as err:
            raise _cannot_start(str(err)) from err
        (self.process,) = set(multiprocessing.active_children()) - others
        self.busy_mb: float | None = None
        """What its item needs; None: it is idle"""
        self._share = 0.0

    @property
    def came_up(self) -> bool:
        """False: it ended before it could work."""
        return self._up.done() and not self._up.exception()

    def begin(self, packed: bytes, item: Any, needed_mb: float) -> Future[Any]:
        """Give the process an item."""
        self.share()  # what was still said of the item before
        self.busy_mb, self._share = needed_mb, 0.0
        return self.executor.submit(_call, packed, item)

    def share(self) -> float:
        """Return what share of its item is done, as far as it has said."""
        with contextlib.suppress(BlockingIOError):
            while told := os.read(self._shares.fileno(), _SHARE.size):
                (self._share,) = _SHARE.unpack(told)
        return self._share

    def end(self) -> str:
        """Tell how the process ended."""
        self.executor.shutdown()
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        memory = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
        return f"was killed by {signal.Signals(-code).name}{memory}"


def _cannot_start(why: str) -> WorkerError:
    return WorkerError(
        f"processes cannot be started: {why}.",
        hint="A script that calls this needs `if __name__ == '__main__':`; --n-cpus 1 works in "
        "one process.",
    )


@contextlib.contextmanager
def _inherited_by_children() -> Iterator[None]:
    """One thread each, and no Ctrl-C: this process hears it and stops them."""
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


def _leave_with_parent() -> None:
    """Leave when the parent is gone, were it killed: nobody is left to work for."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_S)
        os._exit(_TERMINATED)


class _Pipe:
    """Of this process, to the one that started it."""

    tells: Connection | None = None
    told_s = 0.0


def _take_pipe(tells: Connection) -> None:
    """Keep the end that was inherited; all else waits for `_come_up`."""
    os.set_blocking(tells.fileno(), False)
    _Pipe.tells = tells


def _pass_on(share: float) -> None:
    """Tell the parent how far the item is, now and then; one who does not listen misses it."""
    if _Pipe.tells is None or time.monotonic() - _Pipe.told_s < _LISTEN_S:
        return
    _Pipe.told_s = time.monotonic()
    with contextlib.suppress(OSError):
        os.write(_Pipe.tells.fileno(), _SHARE.pack(share))


def _come_up(levels: Levels) -> None:
    """Begin the life of a process."""
    set_up_logging(levels)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    interrupts.hear(tells=False)


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    work: Callable[[Any], Any] = pickle.loads(packed)  # noqa: S301 our own parent's
    return work


def _call(packed: bytes, item: Any) -> Any:
    try:
        with interrupts.shielded(), listening(_pass_on):
            return _unpacked(packed)(item)
    except SystemExit:
        # Asked to leave, and all is cleaned up: the executor would take it for an answer.
        os._exit(_TERMINATED)
