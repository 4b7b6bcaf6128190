"""Tables of a cohort: their names, columns and sidecars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bids_app.files import json_bytes
from model.cohort import names
from model.files.read import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from model.cohort.record import ScanRecord

GROUP_STATUS = "group_status"
"""Name of the table of all scans, whatever their status, without suffix."""
CONFIGURATION = "configuration_hash"
"""Column between what identifies a scan and its embedding."""
# Echo, part and density follow: where they stand is as old as they are.
FIRST = (*names.IDENTIFIERS[:10], "status", "reason")
"""Columns that come first, whatever the first scan happened to have."""
_SHARED = ("Model", "EmbeddingDimension", "Parts", "ScanVector", "Atlas", "SoftwareVersion")
"""Keys that a group table takes from the sidecars of its scans."""


class CohortScan(NamedTuple):
    """One scan: its status file, relative to the outputs, and what it says."""

    path: str
    record: ScanRecord

    @property
    def embedded(self) -> bool:
        """True if the scan has an embedding."""
        return self.record.status == "embedded"


def status_row(record: ScanRecord) -> dict[str, Any]:
    """Flatten a status to one row of the group tables; None where there is nothing to say."""
    row: dict[str, Any] = {**names.identifiers(record.entities)}
    row |= {"status": record.status, "reason": record.reason or None}
    for key, value in record.qc.items():
        text = ",".join(value) if isinstance(value, list | dict) else value
        row[key] = None if text == "" else text
    return row | {"source": record.source}


def describe_status_table() -> bytes:
    """Return the sidecar of the table of all scans."""
    return json_bytes(_COLUMNS)


def describe_scan_table(sidecar: Path, *, n_scans: int) -> bytes:
    """Return the sidecar of the table of embeddings.

    Parameters
    ----------
    sidecar
        Of the scan embedding of one of its scans: model and parts are the same for all.

    Raises
    ------
    FileError
        It is absent or damaged.
    """
    content = read_json(sidecar, needs=dict.fromkeys(_SHARED, object))
    return json_bytes(
        {
            "Description": "One row per embedded run: identifiers, quality numbers, then the scan "
            "embedding (columns as in the runs' own tables). n/a: no signal in that network.",
            "NumberOfRuns": n_scans,
            **{key: content[key] for key in _SHARED},
            **_COLUMNS,
        }
    )


_COLUMNS = {
    "status": {
        "Levels": {
            "embedded": "all outputs are there",
            "excluded": "deliberately left out, see reason",
            "failed": "could not be processed, see reason",
        }
    },
    "n_volumes": {"Description": "Volumes of the BOLD image."},
    "tr": {"Description": "Repetition time.", "Units": "s"},
    "tr_source": {"Description": "Where the repetition time was found."},
    "duration": {"Description": "Length of the series, without dropped volumes.", "Units": "s"},
    "n_dropped": {"Description": "Leading non-steady-state volumes left out."},
    "n_interpolated": {
        "Description": "Motion outliers and frames without signal: their neighbours stand there."
    },
    "n_without_signal": {
        "Description": "Those of them that hold no signal: blank, constant, repeated or dim."
    },
    "interpolated_fraction": {"Description": "Their share of the series."},
    "despiked_fraction": {"Description": "Share of values bridged as spikes of single parcels."},
    "usable_seconds": {"Description": "Time neither dropped nor interpolated.", "Units": "s"},
    "degrees_of_freedom": {"Description": "Left after filter and confound regression."},
    "mean_fd": {"Description": "Mean framewise displacement.", "Units": "mm"},
    "max_fd": {"Description": "Largest framewise displacement.", "Units": "mm"},
    "mean_std_dvars": {"Description": "Mean standardized DVARS."},
    "n_missing_parcels": {"Description": "Parcels without signal, of 457."},
    "n_low_coverage_parcels": {"Description": "Parcels with less than 80 % of their voxels."},
    "coverage_mean": {"Description": "Mean share of voxels used, over parcels with signal."},
    "coverage_min": {"Description": "Smallest such share."},
    "tsnr": {"Description": "Median over parcels of mean by std over time, before denoising."},
    "n_constant_parcels": {"Description": "Parcels that do not vary beyond rounding."},
    "n_implausible_parcels": {"Description": "Parcels of odd mean, or repeating another."},
    "homotopic_correlation": {
        "Description": "Mean correlation of parcels with mirrored names, mean signal removed."
    },
    "network_contrast": {
        "Description": "Mean correlation within networks minus between, mean signal removed."
    },
    "order_margin": {
        "Description": "network_contrast minus the largest that another known order would have."
    },
    "mirror_margin": {
        "Description": "Share of the atlas inside the brain mask minus that of its mirror image."
    },
    "best_order": {"Description": "Order with the largest network_contrast."},
    "missing_networks": {"Description": "Networks whose tokens were masked."},
    "n_windows": {"Description": "Windows of 200 s that were embedded."},
    "mask": {
        "Description": "Brain mask: file, derived from the data, or grayordinates (no mask)."
    },
    "flags": {"Description": "What to look at before using the run; docs/quality.md."},
}
