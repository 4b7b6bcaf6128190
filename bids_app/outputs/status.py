"""What became of each scan: one JSON beside its outputs, written last, read for resuming."""

from __future__ import annotations

import glob
import os
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bids_app import __version__
from bids_app.errors import AppError, InputError, OutputError, ScanError, ScanExcludedError
from bids_app.files import json_bytes, withdraw, write_all, write_bytes
from bids_app.outputs.paths import output_folder, output_path, relative_text
from model.cohort.names import DENOISED, MATRIX, STATUS
from model.cohort.record import ScanRecord, read_record
from model.errors import CheckpointError, SemantoksError, some
from model.files.faults import FileError, faults_as
from model.files.write import Digest, file_sha256, stamp, text_bytes, tsv_bytes
from model.invocation import interrupts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.options import CheckInputs
    from model.cohort.record import Status

_LONGEST = f"{DENOISED}.json"
"""Ending of the output with the longest name"""
_NAME_BYTES = 255
_UNREADABLE = "unreadable"
_CRASH_LETTERS = 200
MOST_CHANGES = 3
"""Files that are named where more have changed"""


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


def input_fingerprint(scan: Scan, check: CheckInputs = "time") -> dict[str, str]:
    """Identify what a scan is made from; never fails, since a file may be what is wrong with it.

    Parameters
    ----------
    check
        Whether the files' content is read, beside size and time of change.

    Returns
    -------
    ``SIZE:TIME[:SHA256]`` by path below the dataset's root: a file that comes or goes, such as a
    sidecar that is inherited, is a change like any other.
    """
    marks = {_place(path, scan.root): _mark(path, check) for path in scan.sources.files()}
    return dict(sorted(marks.items()))


def _place(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _mark(path: Path, check: CheckInputs) -> str:
    try:
        return f"{stamp(path)}:{file_sha256(path)}" if check == "content" else str(stamp(path))
    except FileError:
        return _UNREADABLE


def _changes(then: Mapping[str, str], now: Mapping[str, str], check: CheckInputs) -> list[str]:
    """Name the inputs that differ, and how; where content is asked for, time says nothing."""
    words = {name: _change(then.get(name), now.get(name), check) for name in sorted({*then, *now})}
    return [f"{name} ({word})" for name, word in words.items() if word]


def _change(then: str | None, now: str | None, check: CheckInputs) -> str:
    if then is None or now is None:
        return "new" if then is None else "gone"
    (size, *before), (size_now, *after) = then.split(":"), now.split(":")
    if size != size_now:
        return now if now == _UNREADABLE else "size"
    if check == "time":
        return "time of change" if before[:1] != after[:1] else ""
    if before[1:] == after[1:]:
        return ""
    return "content" if before[1:] else "content not hashed then"


def recorded(output_dir: Path, scan: Scan) -> ScanRecord | None:
    """Return what an earlier invocation left about a scan; None: nothing that can be read."""
    try:
        return read_record(status_path(output_dir, scan))
    except FileError:
        return None


def finished(output_dir: Path, scan: Scan) -> ScanRecord | None:
    """Return how an earlier invocation ended a scan; None: it did not, or the scan failed."""
    record = recorded(output_dir, scan)
    return None if record is None or record.status == "failed" else record


def unchanged(
    output_dir: Path, scan: Scan, record: ScanRecord, *, check: CheckInputs
) -> ScanOutcome | str:
    """Return an earlier end of a scan if its files are still the same, else name what changed.

    Those that it was made from, and those that were made of it, byte for byte. Whether it would
    be done in the same way is told by `ScanRecord.configuration`.
    """
    found = changes(scan, record, check=check)
    found += [
        f"{name} (not as written)"
        for name in record.differing(output_folder(output_dir, scan.entities))
    ]
    # By hand alone can what is embedded have lost the list of its files.
    if not record.outputs and record.status == "embedded":
        found.append("the list of its outputs in its status (gone)")
    if found:
        return some(found, most=MOST_CHANGES)
    return ScanOutcome(scan=scan, record=record, fresh=False)


def changes(scan: Scan, record: ScanRecord, *, check: CheckInputs) -> list[str]:
    """Name the files of a scan that are not as they were when its status was written."""
    return _changes(record.inputs, input_fingerprint(scan, check), check)


def refuse_long_name(output_dir: Path, scan: Scan) -> None:
    """Refuse a scan whose outputs would have longer names than files can have.

    Raises
    ------
    ScanError
        Says how long they would be.
    """
    n_bytes = len(os.fsencode(output_path(output_dir, scan.entities, _LONGEST).name))
    if n_bytes > _NAME_BYTES:
        raise ScanError(
            f"{scan.name}: its name is too long: those of its outputs would have {n_bytes} "
            f"bytes, a file's can have {_NAME_BYTES}.",
            hint="Shorten its labels, such as acq- or rec-.",
        )


def write_outcome(
    output_dir: Path,
    scan: Scan,
    status: Status,
    *,
    reason: str = "",
    configuration: str = "",
    inputs: Mapping[str, str] | None = None,
    files: Mapping[Path, bytes] | None = None,
    qc: Mapping[str, Any] | None = None,
) -> ScanOutcome:
    """Write what was made of a scan, and its status; its presence says that these are whole.

    Parameters
    ----------
    inputs
        `input_fingerprint`, from before the scan was read: what changed since is then noticed.
    files
        Content of all outputs by path; the status that says what they were is gone before any
        is replaced.

    Raises
    ------
    ScanError
        Something else has the name of a file.
    OutputError
        Something cannot be written.
    """
    files = files or {}
    path = status_path(output_dir, scan)
    if files:
        _refuse_taken([path, *files], scan)
    record = ScanRecord(
        status=status,
        reason=bare_reason(reason, scan, output_dir),
        entities=scan.entities.present(),
        source=scan.source_uris()[0],
        configuration=configuration,
        software=f"semantoks {__version__}",
        inputs=inputs or {},
        outputs={path.name: Digest.of(content) for path, content in files.items()},
        qc=qc or {},
    )
    content = json_bytes(record.as_json())
    if files:
        interrupts.check()  # for the last time: from here on they and their status are one
        withdraw(path)
        scan_name = glob.escape(path.name.removesuffix(STATUS))
        for matrix in path.parent.glob(f"{scan_name}stat-*_{MATRIX}.*"):
            withdraw(matrix)  # of the series that was: the group level makes another
        write_all(files)
    # Where it cannot stand beside the outputs, the log and the exit code tell alone.
    if len(os.fsencode(path.name)) <= _NAME_BYTES and not path.is_dir():
        write_bytes(path, content)
    return ScanOutcome(scan=scan, record=record)


def _refuse_taken(paths: Iterable[Path], scan: Scan) -> None:
    folders = [path.name for path in paths if path.is_dir()]
    if folders:
        raise ScanError(
            f"{scan.name}: folders have the names of its outputs: {some(folders)}.",
            hint="Move them elsewhere; files belong there.",
        )


def fault(err: Exception) -> tuple[Literal["excluded", "failed"], str]:
    """Say what an error makes of a scan, and why.

    Raises
    ------
    AppError, CheckpointError
        It is one of these: no other scan would fare better.
    """
    if isinstance(err, AppError | CheckpointError):
        raise err
    reason = " ".join(str(err).split())
    if isinstance(err, MemoryError):
        reason = "needs more memory than there is. Give the job more, or use fewer processes."
    elif not isinstance(err, SemantoksError):
        reason = f"unexpected {type(err).__name__}: {reason}"
    return "excluded" if isinstance(err, ScanExcludedError) else "failed", reason


def bare_reason(reason: str, scan: Scan, output_dir: Path) -> str:
    """Return a reason without where its files lie, and without the scan that it is told of."""
    return relative_text(reason, output_dir, scan.root).removeprefix(f"{scan.name}: ")


def write_fault(
    output_dir: Path,
    scan: Scan,
    err: Exception,
    *,
    configuration: str,
    inputs: Mapping[str, str],
    log_dir: Path,
) -> ScanOutcome:
    """Write the status of a scan that something stopped.

    What no scan foresees leaves its traceback in the log folder.

    Raises
    ------
    AppError, CheckpointError
        The fault is one of these: no other scan would fare better.
    """
    status, reason = fault(err)
    if not isinstance(err, SemantoksError):
        crash = write_crash(log_dir, f"crash-{scan.name}", err)
        reason = f"{reason} (traceback in {crash})"
    return write_outcome(
        output_dir, scan, status, reason=reason, configuration=configuration, inputs=inputs
    )


def write_crash(log_dir: Path, name: str, err: Exception) -> Path:
    """Write the traceback of what nobody foresaw; return the file."""
    text = "".join(traceback.format_exception(err))
    path = log_dir / f"{name[:_CRASH_LETTERS]}.txt"
    # Not beside it, where no later invocation would look for what a killed one left.
    return write_bytes(path, text_bytes(text), scratch=log_dir.parent)


def require_written(outcomes: Iterable[ScanOutcome], output_dir: Path) -> None:
    """Refuse to call done what was taken away meanwhile.

    Raises
    ------
    OutputError
        Names a scan of this invocation whose status or outputs are gone.
    """
    for outcome in outcomes:
        path = status_path(output_dir, outcome.scan)
        written = [path, *(path.with_name(name) for name in outcome.record.outputs)]
        for gone in (one for one in written if outcome.fresh and not one.exists()):
            if len(os.fsencode(gone.name)) <= _NAME_BYTES:
                raise OutputError(
                    f"{gone} was written and is gone: something else removes files there.",
                    hint="Call again when it has ended; what is whole is kept.",
                )


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
