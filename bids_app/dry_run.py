"""What an invocation would do: all that it checks before a voxel is read; nothing is written."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from bids_app.errors import AppError, NothingSelectedError
from bids_app.invocation import process_limits, reports_due
from bids_app.one_scan import check_scan, judge_earlier, open_scan
from bids_app.outputs.dataset import check_output_folder
from bids_app.outputs.status import ScanOutcome, bare_reason, fault, recorded
from bids_app.participant import discover, prepare
from bids_app.workers.processes import Lost, Processes
from model.errors import CheckpointError
from model.files.content import not_fetched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.discovery import Discovery
    from bids_app.inputs.eligible import BoldFile
    from bids_app.inputs.scan import Scan
    from bids_app.inputs.study_space import StudySpace
    from bids_app.one_scan import CheckedScan, Pipeline
    from bids_app.options import RunOptions
    from bids_app.signal.confounds import Confounds
    from model.cohort.record import ScanRecord

log = logging.getLogger(__name__)

Expected = Literal["ready", "done", "excluded", "failed"]
"""To be embedded, as far as can be known; done earlier; and what the real run will call it"""

_SCANS_PER_PROCESS = 200
"""A process takes two seconds to come up, in which one checks about as many."""
_CHECK_MB = 50.0


@dataclass(frozen=True, kw_only=True)
class Frames:
    """What is known of the frames of a scan before their voxels are read."""

    n_frames: int
    tr_s: float
    tr_source: str
    n_kept: int
    """Neither dropped nor an outlier"""
    n_dropped: int
    """Leading ones"""
    n_regressors: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What would become of one scan."""

    scan: Scan
    status: Expected
    reason: str = ""
    """Why it would be excluded or fail; why it is done again"""
    frames: Frames | None = None
    """None: they were not looked at"""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What an invocation would do."""

    discovery: Discovery
    forecasts: tuple[Forecast, ...] = ()
    """One per scan, in their order; empty where the invocation would stop before them"""
    reports: tuple[str, ...] | None = None
    """Participants whose reports would be written, where that is all that is asked for"""
    stopped_by: AppError | CheckpointError | None = None
    """What would end it as a whole"""

    @property
    def exit_code(self) -> int:
        """The code that the invocation would end with, as far as can be known."""
        if self.stopped_by is not None:
            return self.stopped_by.exit_code
        failed = any(forecast.status == "failed" for forecast in self.forecasts)
        return int(failed or bool(self.discovery.lost))


def dry_run(options: RunOptions) -> DryRun:
    """Do all that an invocation does before it reads a voxel, by the same functions.

    Raises
    ------
    AppError
        The input cannot be used: there is nothing to tell of.
    """
    derivative, discovery = discover(options)
    found = DryRun(discovery=discovery)
    try:
        if options.reports == "only":
            check_output_folder(
                options.output_dir, bids_dir=options.bids_dir, derivative=derivative
            )
            due = reports_due(discovery.scans, options.output_dir, options)
            return replace(found, reports=tuple(due))
        pipeline = prepare(options, derivative, discovery)
        forecasts = _foresee_all(discovery.scans, pipeline, options)
        if any(forecast.status == "ready" for forecast in forecasts):
            pipeline.embedder.encoder  # noqa: B018 - weights that cannot be loaded end all
    except (AppError, CheckpointError) as err:
        return replace(found, stopped_by=err)
    return replace(found, forecasts=tuple(forecasts))


def _foresee_all(scans: Sequence[Scan], pipeline: Pipeline, options: RunOptions) -> list[Forecast]:
    n_processes = min(options.n_cpus, 1 + len(scans) // _SCANS_PER_PROCESS)
    limits = replace(process_limits(options), n_processes=n_processes)
    work = partial(foresee, pipeline=pipeline, options=options)
    found: dict[str, Forecast] = {}
    with Processes(limits) as processes:
        for scan, answer in processes.map(work, deque(scans), needed_mb=lambda _: _CHECK_MB):
            if isinstance(answer, Lost):
                answer = Forecast(scan=scan, status="failed", reason=answer.reason)
            found[scan.name] = answer
    return [found[scan.name] for scan in scans]


def foresee(scan: Scan, pipeline: Pipeline, options: RunOptions) -> Forecast:
    """Tell what would become of a scan; a bad scan ends as a forecast.

    Raises
    ------
    AppError, CheckpointError
        As the real run would.
    """
    again = ""
    try:
        if options.overwrite:
            again = "--overwrite" if recorded(options.output_dir, scan) else ""
        else:
            earlier = judge_earlier(scan, pipeline, options.output_dir)
            if isinstance(earlier, ScanOutcome):
                reason = ": ".join(filter(None, [f"{earlier.status} earlier", earlier.reason]))
                return Forecast(scan=scan, status="done", reason=reason)
            again = earlier
        checked, n_frames = _checked(scan, pipeline, options.output_dir)
    except Exception as err:  # noqa: BLE001 as in the real run, it costs this scan alone
        status, reason = fault(err)
        reason = bare_reason(reason, scan, options.output_dir)
        return Forecast(scan=scan, status=status, reason=reason)
    return Forecast(
        scan=scan,
        status="ready",
        reason=f"again: {again}" if again else "",
        frames=_frames(checked, n_frames=n_frames),
    )


def _checked(scan: Scan, pipeline: Pipeline, output_dir: Path) -> tuple[CheckedScan, int]:
    with open_scan(scan, pipeline, output_dir) as image:
        return check_scan(scan, image, pipeline), image.n_frames


def _frames(checked: CheckedScan, *, n_frames: int) -> Frames:
    confounds: Confounds = checked.confounds
    return Frames(
        n_frames=n_frames,
        tr_s=checked.tr_s,
        tr_source=checked.tr_source,
        n_kept=int(confounds.kept[confounds.n_dummy :].sum()),
        n_dropped=confounds.n_dummy,
        n_regressors=len(confounds.names),
    )


def missing_files(discovery: Discovery) -> list[str]:
    """Return the files that the chosen scans need and whose content is not here.

    Relative to the derivative, in the order of scans: for ``xargs datalad get``.
    """
    scans = [file.scan for file in discovery.files if file.selected and file.scan is not None]
    missing = (path for scan in scans for path in scan.sources.files() if not_fetched(path))
    return list(dict.fromkeys(path.relative_to(discovery.root).as_posix() for path in missing))


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything about the files of one run."""

    run: str
    files: tuple[BoldFile, ...]
    """All of its BOLD files, in the order of paths"""
    forecast: Forecast | None
    """None: none of them stands for the run, or the invocation would stop before"""
    frames: Frames | None
    """Looked at even where it is done"""
    record: ScanRecord | None
    """What an earlier invocation left about it"""
    study: StudySpace | None
    """The space that all runs are taken in"""

    @property
    def chosen(self) -> BoldFile | None:
        """The file that stands for the run."""
        return next((file for file in self.files if file.selected), None)


def explain(options: RunOptions, name: str) -> tuple[DryRun, list[Explanation]]:
    """Say why runs are used or not.

    Parameters
    ----------
    name
        Of a run or a file, some of its entities (``sub-01_task-rest``), or a part of it.

    Raises
    ------
    NothingSelectedError
        No run is called so.
    AppError
        The input cannot be used.
    """
    derivative, discovery = discover(options)
    found = DryRun(discovery=discovery)
    runs: dict[str, list[BoldFile]] = {}
    for file in discovery.files:
        runs.setdefault(file.run, []).append(file)
    asked = asked_runs(name, runs)
    if not asked:
        raise NothingSelectedError(
            f"--explain {name}: none of the {len(runs)} runs of the selection is called so.",
            hint=f"There are, for example, {', '.join([*runs][:3])}." if runs else "",
        )
    pipeline = None
    try:
        pipeline = prepare(options, derivative, discovery)
    except (AppError, CheckpointError) as err:
        found = replace(found, stopped_by=err)
    explained = [
        _explained(run, files, discovery, pipeline, options) for run, files in asked.items()
    ]
    return found, explained


def asked_runs(name: str, runs: Mapping[str, list[BoldFile]]) -> dict[str, list[BoldFile]]:
    """Return the runs with all entities of a name; if there is none, those with its letters."""
    words = {*name.split("_")}
    whole = {
        run: files
        for run, files in runs.items()
        if any(words <= {*file.path.rpartition("/")[2].split("_")} for file in files)
    }
    return whole or {
        run: files
        for run, files in runs.items()
        if name in run or any(name in file.path for file in files)
    }


def _explained(
    run: str,
    files: Sequence[BoldFile],
    discovery: Discovery,
    pipeline: Pipeline | None,
    options: RunOptions,
) -> Explanation:
    selected = next((file.scan for file in files if file.selected and file.scan), None)
    scan = next((s for s in discovery.scans if selected and s.name == selected.name), None)
    forecast = frames = None
    if scan is not None and pipeline is not None:
        forecast = foresee(scan, pipeline, options)
        if forecast.status == "done":
            frames = foresee(scan, pipeline, replace(options, overwrite=True)).frames
        else:
            frames = forecast.frames
    return Explanation(
        run=run,
        files=tuple(files),
        forecast=forecast,
        frames=frames,
        record=recorded(options.output_dir, scan) if scan is not None else None,
        study=discovery.study,
    )
