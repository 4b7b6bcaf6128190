"""What became of each scan: one JSON beside its outputs, written last, read for resuming."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_app import __version__
from bids_app.errors import AppError, InputError, ScanExcludedError
from bids_app.files import json_bytes, withdraw, write_all, write_bytes
from bids_app.outputs.paths import output_path
from model.cohort.names import STATUS
from model.cohort.record import ScanRecord, read_record
from model.errors import CheckpointError, SemantoksError
from model.files.read import FileError, faults_as
from model.files.write import Digest, stamp, tsv_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from model.cohort.record import Status


@dataclass(frozen=True, kw_only=True)
class ScanOutcome:
    """How one scan ended."""

    scan: Scan
    record: ScanRecord
    fresh: bool = True
    """False: an earlier invocation did it, and nothing has changed since."""

    @property
    def status(self) -> Status:
        """``embedded``, ``excluded`` or ``failed``."""
        return self.record.status

    @property
    def reason(self) -> str:
        """Why it is not embedded; empty where it is."""
        return self.record.reason


def status_path(output_dir: Path, scan: Scan) -> Path:
    """Name the status file of a scan."""
    return output_path(output_dir, scan.entities, STATUS)


def input_fingerprint(scan: Scan) -> dict[str, str]:
    """Identify the files of a scan by size and modification time, without reading them."""
    stamps = {path.name: str(stamp(path)) for path in scan.sources.files() if path.exists()}
    return dict(sorted(stamps.items()))


def unchanged(output_dir: Path, scan: Scan) -> ScanOutcome | None:
    """Return how an earlier invocation ended a scan if its files are still the same, else None.

    Those that it was made from, and those that were made of it. Whether it would be done in the
    same way is told by `ScanRecord.configuration`. Failures are always tried again.
    """
    path = status_path(output_dir, scan)
    try:
        record = read_record(path)
    except FileError:
        return None
    holds = (
        record.status != "failed"
        and record.inputs == input_fingerprint(scan)
        and not record.differing(path.parent)
    )
    return ScanOutcome(scan=scan, record=record, fresh=False) if holds else None


def write_outcome(
    output_dir: Path,
    scan: Scan,
    status: Status,
    *,
    reason: str = "",
    configuration: str = "",
    files: Mapping[Path, bytes] | None = None,
    qc: Mapping[str, Any] | None = None,
) -> ScanOutcome:
    """Write what was made of a scan, and its status; its presence says that these are whole.

    Parameters
    ----------
    files
        Content of all outputs by path; the status that says what they were is gone before any
        is replaced.

    Raises
    ------
    OutputError
        Something cannot be written.
    """
    files = files or {}
    path = status_path(output_dir, scan)
    if files:
        withdraw(path)
        write_all(files)
    record = ScanRecord(
        status=status,
        reason=reason,
        entities=scan.entities.present(),
        source=scan.source_uris()[0],
        configuration=configuration,
        software=f"semantoks {__version__}",
        inputs=input_fingerprint(scan),
        outputs={path.name: Digest.of(content) for path, content in files.items()},
        qc=qc or {},
    )
    write_bytes(path, json_bytes(record.as_json()))
    return ScanOutcome(scan=scan, record=record)


def write_fault(
    output_dir: Path, scan: Scan, err: Exception, *, configuration: str, log_dir: Path
) -> ScanOutcome:
    """Write the status of a scan that something stopped.

    What no scan foresees leaves its traceback in the log folder.

    Raises
    ------
    AppError, CheckpointError
        The fault is one of these: no other scan would fare better.
    """
    if isinstance(err, AppError | CheckpointError):
        raise err
    status: Status = "excluded" if isinstance(err, ScanExcludedError) else "failed"
    reason = " ".join(str(err).split())
    if not isinstance(err, SemantoksError):
        crash = log_dir / f"crash-{scan.name}.txt"
        write_bytes(crash, "".join(traceback.format_exception(err)).encode())
        reason = f"unexpected {type(err).__name__}: {reason} (traceback in {crash})"
    return write_outcome(output_dir, scan, status, reason=reason, configuration=configuration)


def read_status(path: Path) -> ScanRecord:
    """Read the status of a scan.

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
        return read_record(path)


def outcome_table(outcomes: Iterable[ScanOutcome]) -> bytes:
    """Encode one row per scan: name, status, whether it was done before, reason."""
    header = ("scan", "status", "done", "reason")
    rows = [
        (o.scan.name, o.status, "now" if o.fresh else "earlier", o.reason or None)
        for o in outcomes
    ]
    return tsv_bytes(header, rows)
