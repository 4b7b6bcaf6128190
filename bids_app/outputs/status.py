"""What became of each scan: one JSON beside its outputs, written last, read for resuming."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bids_app import __version__
from bids_app.errors import InputError
from bids_app.files import json_bytes, write_bytes
from bids_app.outputs.paths import output_path
from model.cohort.names import STATUS
from model.files.fault import FileError, faults_as
from model.files.fingerprint import stamp
from model.files.read import read_json
from model.files.write import tsv_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bids_app.inputs.scan import Scan

Status = Literal["embedded", "excluded", "failed"]
RECORD_KEYS: dict[str, type] = {
    "Status": str,
    "Reason": str,
    "Entities": dict,
    "Source": str,
    "ConfigurationHash": str,
    "QC": dict,
}
"""What later levels need of a status, and of what kind."""


@dataclass(frozen=True, kw_only=True)
class ScanOutcome:
    """How one scan ended in this invocation."""

    scan: Scan
    status: Status
    reason: str = ""
    fresh: bool = True
    """False: an earlier invocation did it, and nothing has changed since."""
    qc: dict[str, Any] = field(default_factory=dict)


def status_path(output_dir: Path, scan: Scan) -> Path:
    """Name the status file of a scan."""
    return output_path(output_dir, scan, STATUS)


def input_fingerprint(scan: Scan) -> dict[str, str]:
    """Identify the files of a scan by size and modification time, without reading them."""
    stamps = {path.name: str(stamp(path)) for path in scan.sources.files() if path.exists()}
    return dict(sorted(stamps.items()))


def already_done(output_dir: Path, scan: Scan, *configurations: str) -> ScanOutcome | None:
    """Return the outcome of an earlier invocation if it still holds, else None.

    It holds when its configuration is one of these, input files are the same and every output
    is there. Failures are always tried again.
    """
    path = status_path(output_dir, scan)
    try:
        record = read_json(path, needs=RECORD_KEYS | {"Inputs": dict, "Outputs": list})
    except FileError:
        return None
    if not (
        record["Status"] != "failed"
        and record["ConfigurationHash"] in configurations
        and record["Inputs"] == input_fingerprint(scan)
        and all((path.parent / str(name)).is_file() for name in record["Outputs"])
    ):
        return None
    return ScanOutcome(
        scan=scan,
        status=record["Status"],
        reason=record["Reason"],
        fresh=False,
        qc=record["QC"],
    )


def write_outcome(
    output_dir: Path, outcome: ScanOutcome, *, configuration: str, outputs: Sequence[Path]
) -> Path:
    """Write the status of a scan; its presence says that the listed outputs are whole."""
    path = status_path(output_dir, outcome.scan)
    record = {
        "Status": outcome.status,
        "Reason": outcome.reason,
        "Entities": outcome.scan.entities.present(),
        "Source": outcome.scan.source_uris()[0],
        "ConfigurationHash": configuration,
        "SoftwareVersion": f"semantoks {__version__}",
        "Inputs": input_fingerprint(outcome.scan),
        "Outputs": [output.name for output in outputs],
        "QC": outcome.qc,
    }
    return write_bytes(path, json_bytes(record))


def read_status(path: Path) -> dict[str, Any]:
    """Read the status of a run.

    Raises
    ------
    InputError
        The file is damaged.
    """
    with faults_as(
        InputError,
        what="the status of this scan is damaged",
        hint="Delete it and run the participant level again; it redoes only this scan.",
    ):
        return read_json(path, needs=RECORD_KEYS)


def outcome_table(outcomes: Iterable[ScanOutcome]) -> bytes:
    """Encode one row per scan: name, status, whether it was done before, reason."""
    header = ("scan", "status", "done", "reason")
    rows = [
        (o.scan.name, o.status, "now" if o.fresh else "earlier", o.reason or None)
        for o in outcomes
    ]
    return tsv_bytes(header, rows)
