"""What a process and a scan cost, estimated before anything is read but a header.

The numbers are measured peaks, rounded up (docs/scale.md has them beside the estimates).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.networks import parcel_names
from model.spec import WEIGHTS, bundled_folder

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.scan import Scan

REPORT_MB = 110.0
"""A participant's report with the libraries that draw it."""
_PROCESS_MB = 360.0
_SCAN_MB = 95.0
_VOXEL_BYTES = 8
"""Label, mask and flags of a voxel, beside its value in one volume"""
_GRAYORDINATE_BYTES = 300
"""With its line of the header"""
_SERIES_BYTES = 24 * 8
"""Copies of a parcel's value at a time, with its text"""
_UNREADABLE_MB = 300.0
_SCAN_S = 1.0
"""Everything but reading the image, with the participant's report"""
_MB_PER_S = 200.0
"""Of a compressed image, one process, the file at hand"""
_BYTES_PER_MB = 1 << 20


def process_memory_mb(checkpoint: Path | None) -> float:
    """Return what a process needs between scans: its libraries, and the weights twice."""
    path = bundled_folder() if checkpoint is None else checkpoint
    weights = path / WEIGHTS if path.is_dir() else path
    return _PROCESS_MB + 2 * weights.stat().st_size / _BYTES_PER_MB


def scan_memory_mb(scan: Scan) -> float:
    """Return about what a scan needs, beside its process, from the header of its image."""
    try:
        shape, itemsize = _header(scan)
    except Exception:  # noqa: BLE001 whatever is wrong with it is told when it is read
        return _UNREADABLE_MB
    return image_memory_mb(shape, itemsize=itemsize, is_cifti=scan.is_cifti)


def series_memory_mb(file: Path) -> float:
    """Return about what a series needs, beside its process: a text file grows when it is read."""
    return _SCAN_MB + 4 * file.stat().st_size / _BYTES_PER_MB


def image_memory_mb(shape: tuple[int, ...], *, itemsize: int, is_cifti: bool) -> float:
    """Return about what a scan needs in MB.

    Parameters
    ----------
    shape
        (X, Y, Z, T), or (grayordinates, T).
    itemsize
        Bytes of a stored value.
    is_cifti
        False for volumes.
    """
    *space, n_volumes = shape
    n_places = int(np.prod(space))
    at_once = _GRAYORDINATE_BYTES if is_cifti else itemsize + _VOXEL_BYTES
    series = n_volumes * len(parcel_names()) * _SERIES_BYTES
    return _SCAN_MB + (n_places * at_once + series) / _BYTES_PER_MB


def _header(scan: Scan) -> tuple[tuple[int, ...], int]:
    """Return the shape, time last, and the bytes of a stored value."""
    import nibabel as nib

    if not scan.is_cifti:
        image = nib.load(scan.sources.data)
        return image.shape, image.dataobj.dtype.itemsize
    with scan.sources.data.open("rb") as file:
        header = nib.Nifti2Header(file.read(nib.Nifti2Header.sizeof_hdr), check=False)
    n_volumes, n_places = header.get_data_shape()[4:6]
    return (n_places, n_volumes), header.get_data_dtype().itemsize


def scan_seconds(n_bytes: int) -> float:
    """Return about how long one process takes for a scan, from the size of its image file."""
    return _SCAN_S + n_bytes / _BYTES_PER_MB / _MB_PER_S
