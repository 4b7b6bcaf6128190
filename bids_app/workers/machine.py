"""What this job may use: processors and memory, by scheduler, container and machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_BYTES_PER_MB = 1 << 20


def available_cpus() -> int:
    """Count the CPUs this process may use: the scheduler's grant, at most its affinity."""
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    allowed = len(affinity) if affinity else os.cpu_count() or 1
    return max(1, min(int(granted), allowed)) if granted.isdigit() else allowed


def available_memory_mb() -> float:
    """Return the smallest of the scheduler's grant, the container's limit and what is free."""
    return min(
        [
            *_granted_by_slurm(os.environ, n_cpus=available_cpus()),
            *_limits_of_cgroups(_CGROUPS, _MEMBERSHIP),
            _free_mb(),
        ]
    )


def _granted_by_slurm(environment: Mapping[str, str], *, n_cpus: int) -> Iterator[float]:
    per_node = environment.get("SLURM_MEM_PER_NODE", "")
    per_cpu = environment.get("SLURM_MEM_PER_CPU", "")
    # 0 means all the memory of the node.
    if per_node.isdigit() and int(per_node):
        yield float(per_node)
    if per_cpu.isdigit() and int(per_cpu):
        yield float(per_cpu) * n_cpus


def _limits_of_cgroups(root: Path, membership: Path) -> Iterator[float]:
    """Yield the limits of this process' control groups, of version 2 and 1, and their parents."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(base):
                with contextlib.suppress(OSError, ValueError):  # "max": no limit
                    yield int((folder / name).read_text(encoding="ascii")) / _BYTES_PER_MB


def _free_mb() -> float:
    """Return what can be had without swapping; where the system does not tell, all there is."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) / 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _BYTES_PER_MB
