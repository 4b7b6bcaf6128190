"""What of a study is left to do, and about what it needs: from names, headers and statuses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bids_app.atlas.volumes import atlas_home, available_spaces
from bids_app.embedder import names_gpu
from bids_app.errors import AtlasError
from bids_app.inputs.locate import locate_derivative, participant_labels
from bids_app.one_scan import earlier_outcome, open_pipeline
from bids_app.outputs.dataset import check_output_folder
from bids_app.participant import discover, installed_atlas, study_space, tell_left_out
from bids_app.workers.resources import (
    REPORT_MB,
    file_size,
    process_memory_mb,
    scan_memory_mb,
    scan_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bids_app.inputs.discovery import Discovery
    from bids_app.inputs.scan import Scan
    from bids_app.one_scan import Pipeline
    from bids_app.options import RunOptions

_AT_ONCE = 500
"""Participants that are looked up together: pybids keeps all their file names in memory."""
_MARGIN = 1.25
"""Requested over estimated memory."""
_START_S = 5.0
"""From the call of the program to its first scan, where its files are in memory."""


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A participant with something left to do."""

    label: str
    n_scans: int
    """Those that are left"""
    seconds: float
    """Estimated work of one process"""
    memory_mb: float
    """Largest estimate among the scans, beside their process"""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The selected participants."""

    n_participants: int
    n_scans: int
    to_do: tuple[Participant, ...]
    """Those with a scan that is not done"""
    process_mb: float
    """What a process needs without a scan"""
    space: str | None
    """The one that was decided on for all; None: the tasks are to look for themselves"""
    atlas: Path | None
    """Folder of the one that told what is done; None: there is none here"""

    def task_memory_mb(self, n_cpus: int, some: Sequence[Participant] | None = None) -> int:
        """Return the memory to ask for: the largest scan in each process, with a margin.

        Parameters
        ----------
        n_cpus
            Processes of the task.
        some
            Its participants; None: any of those with something left to do.
        """
        scan_mb = max(REPORT_MB, *(one.memory_mb for one in some or self.to_do))
        needed_mb = self.process_mb + n_cpus * (self.process_mb + scan_mb)
        return 100 * math.ceil(_MARGIN * needed_mb / 100)

    def lines(self, n_cpus: int) -> Iterator[str]:
        """Yield a line for each participant with something left to do, as a job of its own.

        Parameters
        ----------
        n_cpus
            CPUs of a job; of them no more are used than the participant has scans.

        Yields
        ------
        Label, seconds and the memory to ask for in MB, with tabs between.
        """
        for one in self.to_do:
            n = min(n_cpus, one.n_scans)
            seconds = math.ceil(_START_S + one.seconds / n)
            yield f"{one.label}\t{seconds}\t{self.task_memory_mb(n, [one])}"


def survey(options: RunOptions, *, atlas_needed: bool) -> Survey:
    """Look through the selected participants, some at a time.

    Parameters
    ----------
    atlas_needed
        False where the tasks bring their own atlas: without one here, nothing can be told
        about earlier invocations, and all participants are to do.

    Raises
    ------
    AppError
        As the participant level would.
    """
    derivative = locate_derivative(options.bids_dir, options.derivatives)
    check_output_folder(options.output_dir, bids_dir=options.bids_dir, derivative=derivative)
    if names_gpu(options.device):
        # It is the nodes' GPU: where jobs are submitted there often is none.
        options = replace(options, device="auto")
    pipeline = _pipeline(options, atlas_needed=atlas_needed)
    space = None if pipeline is None else study_space(options, derivative)
    if space is not None:
        options = replace(options, selection=replace(options.selection, space=space.name))
    to_do, n_participants, n_scans = [], 0, 0
    left_out: dict[str, str] = {}
    lost: list[str] = []
    discovery: Discovery | None = None
    for discovery in _discoveries(options, derivative):
        left_out |= discovery.left_out()
        lost += discovery.lost
        by_label: dict[str, list[Scan]] = {}
        for scan in discovery.scans:
            by_label.setdefault(scan.entities.sub, []).append(scan)
        n_participants, n_scans = n_participants + len(by_label), n_scans + len(discovery.scans)
        for label, scans in by_label.items():
            left = [scan for scan in scans if not _is_done(scan, pipeline, options)]
            if left:
                sizes = [
                    (file_size(scan.sources.data), scan_memory_mb(scan.sources.data))
                    for scan in left
                ]
                to_do.append(participant_of(label, sizes))
    if discovery is not None and not n_scans:
        raise discovery.nothing_chosen()
    tell_left_out(left_out, lost)
    return Survey(
        n_participants=n_participants,
        n_scans=n_scans,
        to_do=tuple(to_do),
        process_mb=process_memory_mb(options.checkpoint),
        space=None if space is None else space.name,
        atlas=None if pipeline is None else pipeline.atlas.folder.absolute(),
    )


def _pipeline(options: RunOptions, *, atlas_needed: bool) -> Pipeline | None:
    if atlas_needed:
        return open_pipeline(options, installed_atlas(options))
    try:
        folder = options.atlas or atlas_home()
        return open_pipeline(options, folder) if available_spaces(folder) else None
    except AtlasError:  # there is no home to look in
        return None


def _discoveries(options: RunOptions, derivative: Path) -> Iterator[Discovery]:
    labels = options.selection.participants(participant_labels(derivative))
    for first in range(0, len(labels), _AT_ONCE):
        some = labels[first : first + _AT_ONCE]
        selection = replace(
            options.selection, participant_labels=some, exclude_participant_labels=()
        )
        yield discover(replace(options, selection=selection))[1]


def _is_done(scan: Scan, pipeline: Pipeline | None, options: RunOptions) -> bool:
    if pipeline is None or options.overwrite:
        return False
    return earlier_outcome(scan, pipeline, options.output_dir) is not None


def participant_of(label: str, sizes: Sequence[tuple[int, float]]) -> Participant:
    """Estimate a participant from the file size (bytes) and the memory (MB) of each scan."""
    return Participant(
        label=label,
        n_scans=len(sizes),
        seconds=sum(scan_seconds(n_bytes) for n_bytes, _ in sizes),
        memory_mb=max(memory_mb for _, memory_mb in sizes),
    )
