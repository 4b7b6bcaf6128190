"""What a job may use; what a scan needs, above what was measured, by names and sizes alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bids_app.workers import resources
from bids_app.workers.resources import (
    available_memory_mb,
    process_memory_mb,
    scan_memory_mb,
    scan_seconds,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resources, "_CGROUPS", tmp_path)
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(resources, "_free_mb", lambda: 64_000.0)
    return tmp_path


def member(root: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    path = root / "membership"
    path.write_text(line)
    monkeypatch.setattr(resources, "_MEMBERSHIP", path)


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
    monkeypatch.setattr(resources, "available_cpus", lambda: 2)
    monkeypatch.setenv(name, value)
    assert available_memory_mb() == expected


def file_of(folder: Path, name: str, size_mb: int) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size_mb << 20)  # takes no space
    return path


@pytest.mark.parametrize(
    ("name", "size_mb", "measured_mb"),
    [
        ("150_bold.nii.gz", 181, 104),
        ("300_bold.nii.gz", 361, 115),
        ("1200_bold.nii.gz", 1444, 184),
        ("float_bold.nii.gz", 1060, 114),
        ("1mm_bold.nii.gz", 900, 148),
        ("300_bold.dtseries.nii", 107, 132),
        ("1200_bold.dtseries.nii", 421, 192),
    ],
)
def test_estimates_lie_above_what_was_measured(tmp_path, name, size_mb, measured_mb) -> None:
    assert measured_mb < scan_memory_mb(file_of(tmp_path, name, size_mb)) < 2.5 * measured_mb


def test_larger_files_and_weights_cost_more(tmp_path: Path) -> None:
    for ending in ("bold.nii.gz", "bold.dtseries.nii", "timeseries.tsv"):
        small, large = (file_of(tmp_path, f"{size}_{ending}", size) for size in (10, 20))
        assert scan_memory_mb(small) < scan_memory_mb(large)
    assert process_memory_mb(file_of(tmp_path, "large.pth", 50)) > process_memory_mb(None)
    assert scan_seconds(10**9) > scan_seconds(10**8)


def test_a_file_that_is_gone_has_an_estimate_all_the_same(tmp_path: Path) -> None:
    assert scan_memory_mb(tmp_path / "gone_bold.nii.gz") > 0
