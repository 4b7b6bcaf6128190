"""What this job may use, and what a process and a scan need of it.

Needs are measured peaks, rounded up, and follow the size of a file: nothing is opened for them
(docs/scale.md has them beside what was measured).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPORT_MB = 150.0
"""A participant's report with the libraries that draw it."""
_PROCESS_MB = 360.0
_SCAN_MB = 150.0
_SHARE_OF_FILE = {".dtseries.nii": 0.25, ".nii": 0.1, ".nii.gz": 0.1}
"""Memory that grows with the image's file: parcel series and one volume at a time"""
_SHARE_OF_SERIES = 4.0
"""The same of a table of parcel series, which is read as a whole"""
_SCAN_S = 1.8
"""Everything but reading the image, with the participant's report"""
_MB_PER_S = 200.0
"""Of a compressed image, one process, the file at hand"""
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


def process_memory_mb(checkpoint: Path | None) -> float:
    """Return what a process needs between scans: its libraries, and the weights twice."""
    from model.spec import WEIGHTS, bundled_folder

    path = bundled_folder() if checkpoint is None else checkpoint
    weights = path / WEIGHTS if path.is_dir() else path
    return _PROCESS_MB + 2 * file_size(weights) / _BYTES_PER_MB


def scan_memory_mb(path: Path) -> float:
    """Return about what a scan needs beside its process, by name and size of its file."""
    shares = (share for ending, share in _SHARE_OF_FILE.items() if path.name.endswith(ending))
    return _SCAN_MB + next(shares, _SHARE_OF_SERIES) * file_size(path) / _BYTES_PER_MB


def scan_seconds(n_bytes: int) -> float:
    """Return about how long one process takes for a scan, from the size of its image file."""
    return _SCAN_S + n_bytes / _BYTES_PER_MB / _MB_PER_S


def file_size(path: Path) -> int:
    """Return the bytes of a file; 0 where it cannot be had, which is told when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
