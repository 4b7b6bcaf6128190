"""Connectivity matrices of scans that are embedded, beside their other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app import __version__
from bids_app.files import json_bytes, table_bytes, write_all
from model.cohort import names
from model.cohort.outputs import denoised_series, model_series
from model.files.faults import FileError
from model.files.read import read_json
from model.files.write import Digest
from model.networks import parcel_names
from model.statistics.connectivity import LARGEST_CORRELATION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model.cohort.outputs import EmbeddedScan
    from model.series import FloatArray

MEASURES = {
    "pearsoncorrelation": "Pearson correlation",
    "fisherz": "Fisher's z",
}
"""What is written, by the label in the name"""


def series_of(scan: EmbeddedScan) -> str:
    """Return the ending of the series that is correlated: the denoised one where there is one."""
    has = any(name.endswith(f"{names.DENOISED}.tsv") for name in scan.record.outputs)
    return names.DENOISED if has else names.MODEL


def files_needed(scan: EmbeddedScan) -> Iterator[str]:
    """Yield the endings of the files that are read."""
    ending = series_of(scan)
    yield from (f"{ending}.tsv", f"{ending}.json")
    if ending == names.DENOISED:
        yield f"{names.OUTLIERS}.tsv"


def has_connectivity(scan: EmbeddedScan, *, fisher_z: bool) -> bool:
    """Tell whether the matrices of a scan are there already, of the same series."""
    made_of = _sha256_of_series(scan)
    return all(_is_of(table, made_of) for table in _tables(scan, fisher_z=fisher_z).values())


def _tables(scan: EmbeddedScan, *, fisher_z: bool) -> dict[str, Path]:
    labels = [*MEASURES] if fisher_z else ["pearsoncorrelation"]
    return {label: scan.file(f"stat-{label}_{names.MATRIX}.tsv") for label in labels}


def _sha256_of_series(scan: EmbeddedScan) -> str:
    return scan.record.outputs[scan.file(f"{series_of(scan)}.tsv").name].sha256


def write_connectivity(scan: EmbeddedScan, *, fisher_z: bool) -> tuple[list[Path], bool]:
    """Write the matrices of a scan, if they are not there already and of the same series.

    Returns
    -------
    Their files, and whether any was written.

    Notes
    -----
    Pearson's correlations of the frames that were measured, (P, P), NaN for missing parcels.
    """
    tables, made_of = _tables(scan, fisher_z=fisher_z), _sha256_of_series(scan)
    if has_connectivity(scan, fisher_z=fisher_z):
        files = [path for table in tables.values() for path in (table, table.with_suffix(".json"))]
        return files, False
    series = denoised_series(scan) if series_of(scan) == names.DENOISED else model_series(scan)
    values = series.values if series.kept is None else series.values[series.kept]
    matrix = correlation_matrix(values)
    contents: dict[Path, bytes] = {}
    for label, table in tables.items():
        content = _tsv(fisher_matrix(matrix) if label == "fisherz" else matrix)
        said = _described(scan, label, made_of, n_frames=len(values), content=content)
        contents |= {table: content, table.with_suffix(".json"): json_bytes(said)}
    return write_all(contents), True


def correlation_matrix(series: FloatArray) -> FloatArray:
    """(P, P) correlations of (T, P) series; NaN where a parcel is missing or constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = np.corrcoef(series.astype(np.float64), rowvar=False)
    return np.asarray(np.clip(matrix, -1, 1))


def fisher_matrix(matrix: FloatArray) -> FloatArray:
    """Transform (P, P) correlations to Fisher's z; the diagonal, which is infinite, is NaN."""
    z = np.arctanh(np.clip(matrix, -LARGEST_CORRELATION, LARGEST_CORRELATION))
    np.fill_diagonal(z, np.nan)
    return np.asarray(z)


def _tsv(matrix: FloatArray) -> bytes:
    import pandas as pd

    lines = table_bytes(pd.DataFrame(matrix, columns=[*parcel_names()])).decode().splitlines()
    first = ("Node", *parcel_names())
    return "".join(f"{a}\t{b}\n" for a, b in zip(first, lines, strict=True)).encode()


def _is_of(table: Path, made_of: str) -> bool:
    """Tell whether a matrix is there as it was written, of a series of this hash."""
    try:
        said = read_json(table.with_suffix(".json"))
        digest = Digest(said["Size"], said["SHA256"])
        return bool(said["SeriesSHA256"] == made_of) and digest.is_of(table)
    except (FileError, KeyError):
        return False


def _described(
    scan: EmbeddedScan, label: str, made_of: str, *, n_frames: int, content: bytes
) -> dict[str, Any]:
    digest, is_z = Digest.of(content), label == "fisherz"
    return {
        "Description": f"{MEASURES[label]} of the parcels' series {series_of(scan)}, over the "
        "frames that were measured. n/a: the parcel is missing.",
        "RelationshipMeasure": MEASURES[label],
        "Weighted": True,
        "Directed": False,
        "ValidDiagonal": not is_z,
        "NonNegative": "False",
        "Axes": ["parcel", "parcel"],
        "Software": f"semantoks {__version__}",
        "NumberOfFrames": n_frames,
        "Sources": [scan.file(f"{series_of(scan)}.tsv").name],
        "SeriesSHA256": made_of,
        "ConfigurationHash": scan.record.configuration,
        "Size": digest.size,
        "SHA256": digest.sha256,
    }
