"""Estimates of memory and time: from headers alone, and in the right order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import builders
import grayordinate_builders as gray
import numpy as np
import pytest

from bids_app.inputs.discovery import find_scans
from bids_app.inputs.selection import Selection
from bids_app.workers.cost import image_memory_mb, process_memory_mb, scan_memory_mb, scan_seconds

if TYPE_CHECKING:
    from pathlib import Path

VOLUMES = (97, 115, 97, 300)


def test_memory_grows_with_grid_length_and_type() -> None:
    smallest = image_memory_mb(VOLUMES, itemsize=2, is_cifti=False)
    for shape, itemsize in (((97, 115, 97, 600), 2), ((182, 218, 182, 300), 2), (VOLUMES, 4)):
        assert image_memory_mb(shape, itemsize=itemsize, is_cifti=False) > smallest


@pytest.mark.parametrize(
    ("shape", "itemsize", "is_cifti", "measured_mb"),
    [
        ((97, 115, 97, 150), 2, False, 104),
        ((97, 115, 97, 300), 2, False, 115),
        ((97, 115, 97, 1200), 2, False, 184),
        ((97, 115, 97, 300), 4, False, 114),
        ((182, 218, 182, 100), 2, False, 148),
        ((91282, 300), 4, True, 132),
        ((91282, 1200), 4, True, 192),
    ],
)
def test_estimates_lie_above_what_was_measured_by_a_quarter_at_most(
    shape, itemsize, is_cifti, measured_mb
) -> None:
    expected_mb = image_memory_mb(shape, itemsize=itemsize, is_cifti=is_cifti)
    assert measured_mb < expected_mb < 1.25 * measured_mb


def test_the_header_tells_shape_and_type_of_volumes(tmp_path: Path) -> None:
    data = builders.make_dataset(tmp_path, n_volumes=120)
    (scan,) = find_scans(data.root, Selection(), preferred_spaces={builders.SPACE: 450}).scans
    expected = image_memory_mb((12, 14, 12, 120), itemsize=2, is_cifti=False)
    assert scan_memory_mb(scan) == expected


def test_the_header_of_cifti_is_read_without_its_lines_of_grayordinates(tmp_path: Path) -> None:
    data = builders.make_dataset(tmp_path)
    axis = gray.make_axis()
    name = "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii"
    gray.write_series(data.scans[0].bold.with_name(name), np.ones((50, len(axis))), axis)
    (scan,) = find_scans(data.root, Selection(), preferred_spaces={"fsLR": 457}).scans
    assert scan_memory_mb(scan) == image_memory_mb((len(axis), 50), itemsize=4, is_cifti=True)


def test_a_file_without_a_header_has_an_estimate_all_the_same(tmp_path: Path) -> None:
    data = builders.make_dataset(tmp_path)
    data.scans[0].bold.write_bytes(b"no image")
    (scan,) = find_scans(data.root, Selection(), preferred_spaces={builders.SPACE: 450}).scans
    assert scan_memory_mb(scan) > 0


def test_larger_weights_and_files_cost_more(tmp_path: Path) -> None:
    weights = tmp_path / "large.pth"
    weights.write_bytes(bytes(50 << 20))
    assert process_memory_mb(weights) > process_memory_mb(None)
    assert scan_seconds(10**9) > scan_seconds(10**8)
