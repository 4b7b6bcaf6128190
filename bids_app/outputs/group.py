"""Tables of a cohort: their names, columns and sidecars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bids_app.files import json_bytes
from model.cohort import names
from model.files.faults import FileError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from model.cohort.record import ScanRecord

DAMAGED = "damaged"
"""Status, in the table of all scans, of those whose files cannot be believed."""
OF_GROUP = re.compile(
    r"group_(space-(?P<space>[A-Za-z0-9]+)_)?"
    rf"({'|'.join((names.SCAN, names.WINDOWS, names.TOKENS, names.HARMONIZED))})"
    r"\.(parquet|tsv|npz|h5ad)"
)
"""Names of the tables of a cohort in all their forms"""
CONFIGURATION = "configuration_hash"
"""Column between what identifies a scan and its embedding."""
# Echo, part and density follow: where they stand is as old as they are.
FIRST = (*names.IDENTIFIERS[:10], "status", "reason")
"""Columns that come first, whatever the first scan happened to have."""
ALWAYS: Mapping[str, type] = {"task_id": str, "mean_fd": float, "usable_seconds": float}
"""Columns that every table has, with their kind, whether or not anything is known"""
OF_WINDOW = ("window", "window_onset", "window_duration", "valid_fraction")
"""Columns of a table of windows that say which window of its scan a row is of"""
OF_TOKEN = ("network", "patch", "patch_onset")
"""Columns of a table of tokens that say which token of its window a row is of"""
_SHARED = ("Model", "EmbeddingDimension", "Parts", "ScanVector", "Atlas", "SoftwareVersion")
"""Keys that a group table takes from the sidecars of its scans."""


class CohortScan(NamedTuple):
    """One scan: what its status says, and why it is nevertheless in no table."""

    record: ScanRecord
    problem: str = ""
    """Why its status or embedding cannot be believed; empty: they can."""
    excluded: str = ""
    """Why the user leaves it out; empty: it is not"""
    known: Mapping[str, Any] = {}
    """What tables of participants and sessions say, by column; None: nothing"""

    @property
    def status(self) -> str:
        """How it ended, that this cannot be believed, or that it is left out."""
        if self.excluded:
            return "excluded"
        return DAMAGED if self.problem else self.record.status

    @property
    def reason(self) -> str:
        """Why it is in no table; empty where it is."""
        return self.excluded or self.problem or self.record.reason

    @property
    def embedded(self) -> bool:
        """True if the scan has an embedding."""
        return self.record.status == "embedded" and not (self.problem or self.excluded)


def table_name(space: str | None, ending: str = names.SCAN) -> str:
    """Name a table of all embedded scans, or of those in one space, without suffix."""
    return f"group_{ending}" if space is None else f"group_space-{space}_{ending}"


def status_row(scan: CohortScan) -> dict[str, Any]:
    """Flatten a status to one row of the group tables; None where there is nothing to say."""
    record, problem = scan.record, scan.problem
    row: dict[str, Any] = {**names.identifiers(record.entities)}
    row["status"] = scan.status
    row["reason"] = scan.reason or None
    # Numbers of files that are not there any more would be taken for those of the files that are.
    for key, value in {} if problem else record.qc.items():
        text = ",".join(value) if isinstance(value, list | dict) else value
        row[key] = None if text == "" else text
    row["source"] = record.source or None
    return {**row, **scan.known, CONFIGURATION: record.configuration or None}


def refuse_other_columns(path: Path, record: ScanRecord) -> None:
    """Refuse quality numbers that would stand in columns of something else.

    Raises
    ------
    FileError
        Names one.
    """
    taken = {*names.identifiers(record.entities), *_NO_MEASURES}
    for key in record.qc:
        if key in taken or names.EMBEDDING_COLUMN.fullmatch(key):
            raise FileError(path, "is the name of another column", place=f"key QC, {key:.60}")


def shared(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the sidecars of all scans of a table say alike."""
    return {key: sidecar.get(key) for key in _SHARED}


def describe_status_table(known: Mapping[str, Any], columns: Container[str]) -> bytes:
    """Return the sidecar of the table of all scans, given what is said of joined columns."""
    return json_bytes({**known, **_described(columns)})


def _described(columns: Container[str]) -> dict[str, Any]:
    return {name: about for name, about in _COLUMNS.items() if name in columns}


def describe_scan_table(
    alike: Mapping[str, Any],
    *,
    n_scans: int,
    n_damaged: int,
    listing: str,
    statuses: str,
    known: Mapping[str, Any],
    columns: Container[str],
) -> bytes:
    """Return the sidecar of a table of embeddings.

    Parameters
    ----------
    alike
        `shared` of any of its scans, and what is said of this table alone.
    n_damaged
        Scans of the output folder that are left out since their files cannot be believed.
    listing
        Hash of the names of all statuses that were read.
    statuses
        Hash of what they say.
    known
        What is said of joined columns.
    columns
        Those that the table has.
    """
    return json_bytes(
        {
            **known,
            "Description": "One row per embedded run: identifiers, quality numbers, then the scan "
            "embedding (columns as in the runs' own tables). n/a: no signal in that network.",
            "NumberOfRuns": n_scans,
            "NumberOfDamagedRuns": n_damaged,
            "StatusNamesSHA256": listing,
            "StatusesSHA256": statuses,
            **alike,
            **_described(columns),
        }
    )


_COLUMNS = {
    CONFIGURATION: {
        "Description": "Hash of the settings and weights that made the scan's numbers, then of "
        "the voxels of the atlas."
    },
    "source": {"Description": "BIDS URI of the image or series that the scan was made from."},
    "status": {
        "Levels": {
            "embedded": "all outputs are there",
            "excluded": "deliberately left out, see reason",
            "failed": "could not be processed, see reason",
            DAMAGED: "status or outputs are not as they were written, see reason",
        }
    },
    "window": {"Description": "Number of the window in its scan."},
    "window_onset": {"Description": "Start after the first volume of the scan.", "Units": "s"},
    "window_duration": {"Description": "Length of the data in the window.", "Units": "s"},
    "valid_fraction": {"Description": "Share of the window that is data, not padding."},
    "patch": {"Description": "Number of the patch in its window."},
    "patch_onset": {"Description": "Start of the patch, as of the window.", "Units": "s"},
    "n_volumes": {"Description": "Volumes of the BOLD image."},
    "tr": {"Description": "Repetition time.", "Units": "s"},
    "tr_source": {"Description": "Where the repetition time was found; option: --tr, --tr-for."},
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
    "mean_fd": {
        "Description": "Mean framewise displacement; n/a: not known, as of series.",
        "Units": "mm",
    },
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
    "missing_networks": {"Description": "Rows whose tokens were masked; n/a: none."},
    "n_windows": {"Description": "Windows of 200 s that were embedded."},
    "mask": {
        "Description": "Brain mask: file, derived from the data, or grayordinates (no mask)."
    },
    "flags": {"Description": "What to look at before using the run; docs/quality.md. n/a: none."},
    "network": {
        "Description": "Row of the token: a network, or Brain1, Brain2, … for the tokens of "
        "the whole brain."
    },
}
_NO_MEASURES = frozenset({*FIRST, CONFIGURATION, "source", *OF_WINDOW, *OF_TOKEN})
RESERVED = frozenset(
    {*names.IDENTIFIERS, *_NO_MEASURES, *_COLUMNS, "values", "columns", "networks", "_index"}
)
"""Names that are ours, in whichever table, NPZ or AnnData file"""
