"""The dry run in words: a line for each scan, kinds of files folded, reasons counted."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from bids_app.inputs.scan import Refusal
from model.errors import numbered
from model.files.cells import aligned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_app.dry_run import DryRun, Explanation, Forecast, Frames
    from bids_app.inputs.eligible import BoldFile
    from bids_app.inputs.scan import Reason, Scan
    from model.cohort.record import ScanRecord

_SURFACE, _NATIVE = "surface series of single hemispheres", "in a space of the participant's own"
"""Kinds that are of no use here; fMRIPrep writes them beside those that are"""
_OWN_SPACES = ("T1w", "T2w", "func")
_ALIKE = 3
"""Of more files that are refused for the same reason only their number is told."""
_REASONS = 12
"""Reasons that are counted; the others only together"""

Row = tuple[str, str, str, str, str, str, str]
_HEADER: Row = ("status", "space", "TR", "frames", "kept", "path", "reason")


def dry_run_lines(found: DryRun, *, verbose: bool) -> list[str]:
    """Return a line for each scan and each refused file, then how many and why.

    Parameters
    ----------
    verbose
        A line for every file. Otherwise those that are refused for one reason are one line:
        files of native spaces and surfaces, and any other reason that more than a few share.
    """
    if found.reports is not None:
        return [f"{numbered(len(found.reports), 'report')} would be written", *found.reports]
    forecasts = {one.scan.name: one for one in found.forecasts}
    rows: list[Row] = []
    refused: dict[str, list[Row]] = {}
    for file in found.discovery.files:
        forecast = forecasts.get(file.scan.name) if file.selected and file.scan else None
        if forecast is not None:
            rows.append(_row(file, forecast.status, forecast.reason, forecast.frames))
        elif file.reason is None:
            rows.append(_row_of_header(file))
        else:
            row = _row(file, file.status, file.why, None)
            refused.setdefault(_kind(file.reason), []).append(row)
    folded = [
        why
        for why, alike in refused.items()
        if not verbose and (why in (_SURFACE, _NATIVE) or len(alike) > _ALIKE)
    ]
    rows += [row for why, alike in refused.items() if why not in folded for row in alike]
    lines = aligned([_HEADER, *sorted(rows, key=lambda row: row[5])]) if rows else []
    lines += [f"refused  {len(refused[why])} files: {why} (-v lists them)" for why in folded]
    return [*lines, *_sums(found)] if found.discovery.files else []


def _kind(reason: Reason) -> str:
    if reason.refusal is Refusal.SURFACE:
        return _SURFACE
    of_template = reason.refusal is not Refusal.OWN_SPACE
    if of_template and reason not in [Refusal.OTHER_SPACE.of(space) for space in _OWN_SPACES]:
        return str(reason)
    return _NATIVE


def _row(file: BoldFile, status: str, reason: str, frames: Frames | None) -> Row:
    tr_s, n_frames, n_kept = "", "", ""
    if frames is not None:
        tr_s, n_frames, n_kept = f"{frames.tr_s:g}", f"{frames.n_frames}", f"{frames.n_kept}"
    return (status, file.space, tr_s, n_frames, n_kept, file.path, reason)


def _row_of_header(file: BoldFile) -> Row:
    """Return what names, sidecar and header tell where no more is looked at."""
    from bids_app.images.stream import count_frames

    tr_s = n_frames = None
    if file.scan is not None:
        tr_s, n_frames = file.scan.tr_s, count_frames(file.scan.sources.data)
    words = ("" if tr_s is None else f"{tr_s:g}", "" if n_frames is None else f"{n_frames}")
    return (file.status, file.space, *words, "", file.path, f"confounds: {file.confounds}")


def _sums(found: DryRun) -> list[str]:
    files = found.discovery.files
    # What would stand for its run is refused where all ends before it, as where nothing is here.
    chosen = [file for file in files if file.selected and (found.forecasts or not file.reason)]
    lines = [f"{len(chosen)} chosen, {len(files) - len(chosen)} refused"]
    if found.forecasts:
        lines[0] += f": {counts(forecast.status for forecast in found.forecasts)}"
    for status in ("failed", "excluded", "ready"):
        lines += _reasons(status, [f for f in found.forecasts if f.status == status])
    return lines


def _reasons(status: str, forecasts: Sequence[Forecast]) -> list[str]:
    """Count reasons, each told as the first scan that has it tells it."""
    kinds: Counter[str] = Counter()
    first: dict[str, str] = {}
    for forecast in forecasts:
        if forecast.reason:
            kind = re.sub(r"\S*sub-[^\s:;,]*", "…", forecast.reason)
            kind = re.sub(r"\d[\d.]*", "#", kind)
            kinds[kind] += 1
            first.setdefault(kind, forecast.reason)
    lines = []
    for kind, n in kinds.most_common(_REASONS):
        alike = "" if n == 1 or first[kind] == kind else " (and the like)"
        lines.append(f"  {n} {status}: {first[kind]}{alike}")
    if left := sum(n for _, n in kinds.most_common()[_REASONS:]):
        lines.append(f"  {left} {status}: for other reasons")
    return lines


def explained_lines(explanation: Explanation) -> list[str]:
    """Return in a few lines why a run is used or not."""
    chosen, forecast = explanation.chosen, explanation.forecast
    if forecast is not None:
        verdict = _verdict(forecast, explanation.record)
    elif chosen is not None and chosen.reason is not None:
        verdict = f"would fail: {chosen.why}"
    else:
        verdict = "chosen" if chosen else "not used"
    lines = [f"{explanation.run}: {verdict}"]
    if chosen is not None and chosen.scan is not None:
        lines += [f"  files      {_files(chosen.scan)}", *_frame_lines(explanation.frames)]
    return [*lines, f"  space      {_spaces(explanation)}", f"  status     {_status(explanation)}"]


def _verdict(forecast: Forecast, record: ScanRecord | None) -> str:
    if forecast.status == "ready" and record is not None and record.status == "failed":
        return f"would be tried {forecast.reason}"  # what failed in its voxels may fail again
    return ": ".join(filter(None, [_VERDICTS[forecast.status], forecast.reason]))


_VERDICTS = {
    "ready": "would be embedded",
    "done": "nothing to do",
    "excluded": "would be excluded",
    "failed": "would fail",
}


def _files(scan: Scan) -> str:
    sources = scan.sources
    image = sources.data.relative_to(scan.root).as_posix()
    sidecars = ", ".join(path.name for path in sources.sidecars) or "none"
    mask = sources.mask.name if sources.mask else "none, derived from the image"
    confounds = sources.confounds.name if sources.confounds else "none"
    return f"{image}; mask {mask}; confounds {confounds}; sidecars {sidecars}"


def _frame_lines(frames: Frames | None) -> list[str]:
    if frames is None:
        return []
    minutes = frames.n_frames * frames.tr_s / 60
    return [
        f"  TR         {frames.tr_s:g} s ({frames.tr_source}); {frames.n_frames} frames, "
        f"{minutes:.1f} min",
        f"  confounds  {frames.n_regressors} regressors; {frames.n_kept} frames kept, "
        f"{frames.n_dropped} dropped at the beginning, "
        f"{frames.n_frames - frames.n_dropped - frames.n_kept} outliers",
    ]


def _spaces(explanation: Explanation) -> str:
    chosen = explanation.chosen
    told: dict[str, list[str]] = {}
    for file in explanation.files:
        if file is not chosen:
            told.setdefault(file.why, []).append(file.path.rpartition("/")[2])
    others = [
        f"{names[0] if len(names) == 1 else f'{len(names)} files'} ({why})"
        for why, names in told.items()
    ]
    study = explanation.study
    first = [f"{chosen.space} taken"] if chosen else ["none taken"]
    first += [f"{study.name} is that of the study ({study.why})"] if study else []
    return "; ".join([*first, *others])


def _status(explanation: Explanation) -> str:
    record = explanation.record
    if record is None:
        return "none yet"
    return ": ".join(filter(None, [f"{record.status} by {record.software}", record.reason]))


def counts(words: Iterable[str]) -> str:
    """Return how often each word occurs: ``3 ready, 1 failed``."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())
