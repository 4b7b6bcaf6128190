from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bids_app.workers import machine
from bids_app.workers.machine import available_memory_mb
from bids_app.workers.progress import Progress, duration_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "_free_mb", lambda: 64_000.0)
    return tmp_path


def member(root: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    path = root / "membership"
    path.write_text(line)
    monkeypatch.setattr(machine, "_MEMBERSHIP", path)


def test_the_smallest_limit_of_the_group_and_its_parents_counts(cgroups, monkeypatch) -> None:
    member(cgroups, monkeypatch, "0::/job/step\n")
    (cgroups / "job/step").mkdir(parents=True)
    (cgroups / "job/step/memory.max").write_text("max\n")
    (cgroups / "job/memory.max").write_text(f"{3 << 30}\n")
    assert available_memory_mb() == 3072


def test_version_1_groups_count_too(cgroups, monkeypatch) -> None:
    member(cgroups, monkeypatch, "5:cpu:/x\n4:memory:/job\n0::/\n")
    (cgroups / "memory").mkdir()
    (cgroups / "memory/memory.limit_in_bytes").write_text(f"{1 << 30}\n")
    assert available_memory_mb() == 1024


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SLURM_MEM_PER_NODE", "4000", 4000.0),
        ("SLURM_MEM_PER_CPU", "500", 1000.0),
        ("SLURM_MEM_PER_NODE", "0", 64_000.0),
    ],
)
def test_the_schedulers_grant_counts(cgroups, monkeypatch, name, value, expected) -> None:
    member(cgroups, monkeypatch, "")
    monkeypatch.setattr(machine, "available_cpus", lambda: 2)
    monkeypatch.setenv(name, value)
    assert available_memory_mb() == expected


def test_time_left_follows_the_bytes_and_what_was_done_earlier_says_nothing(monkeypatch) -> None:
    progress = Progress(n_runs=4, n_bytes=100, begun_s=0.0)
    monkeypatch.setattr("bids_app.workers.progress.time.monotonic", lambda: 30.0)
    progress.count(20, fresh=False)
    assert progress.text() == "1/4"
    progress.count(20, fresh=True)
    assert progress.text() == "2/4, 2 min left"  # 60 bytes at 20 per 30 s
    progress.count(50, fresh=True)
    progress.count(10, fresh=True)
    assert progress.text() == "4/4"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (150, "2 min"), (12_000, "3 h 20 min"), (260_000, "3 d 0 h")],
)
def test_durations_have_two_units_at_most(seconds, text) -> None:
    assert duration_text(seconds) == text
