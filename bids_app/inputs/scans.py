"""Find the BOLD series to process: paths and entities, no voxels yet."""

from __future__ import annotations

import logging
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bids_app.images.cifti import ENDING as CIFTI
from bids_app.images.cifti import count_volumes
from bids_app.inputs.choice import Candidate, choose, why_never_taken
from bids_app.inputs.companions import NOT_FETCHED, find_companions
from bids_app.inputs.discovery import Discovery, RunRow
from bids_app.inputs.entities import Entities, parse_name
from bids_app.inputs.index import index_func
from bids_app.inputs.locate import participant_labels, unreadable_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bids_app.inputs.selection import Selection

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One preprocessed BOLD series with the files that belong to it."""

    entities: Entities
    bold_path: Path
    mask_path: Path | None
    confounds_path: Path | None
    confounds_meta_path: Path | None
    sidecar_path: Path | None
    sidecar: Mapping[str, Any]
    tr_s: float | None
    """From the sidecar; None if it does not say."""
    root: Path
    """Folder of the derivative."""
    problem: str | None = None
    """Why the scan cannot be processed although it was selected."""

    @property
    def name(self) -> str:
        """Name of the BOLD file without suffix and extension."""
        return self.bold_path.name.rpartition("_")[0]

    @property
    def is_cifti(self) -> bool:
        """True for a series over grayordinates, false for volumes."""
        return self.bold_path.name.endswith(CIFTI)

    @property
    def space(self) -> str:
        """Template space of the series."""
        if self.entities.space is None:
            raise ValueError(f"{self.name}: not in a template space")
        return self.entities.space

    def source_uris(self) -> list[str]:
        """Return BIDS URIs of BOLD, mask and confounds, for ``Sources``."""
        paths = (self.bold_path, self.mask_path, self.confounds_path)
        return [
            f"bids:preprocessed:{path.relative_to(self.root).as_posix()}"
            for path in paths
            if path is not None
        ]


def find_scans(
    root: Path, selection: Selection, *, preferred_spaces: Mapping[str, int]
) -> Discovery:
    """Find the runs to process and say of every other BOLD file why it is not one.

    Parameters
    ----------
    root
        Folder of the derivative, from `bids_app.inputs.locate.locate_derivative`.
    selection
        What the user asked for.
    preferred_spaces
        Spaces that can be processed, with the number of parcels of their atlas; of a run that
        exists in several, the first is taken.

    Raises
    ------
    OptionsError
        A participant that does not exist, or an entity in the filter file that pybids does
        not know.
    NothingSelectedError
        Every participant is excluded.

    Notes
    -----
    pybids walks and applies the filter file. Labels are compared as strings of our own
    strict parsing: pybids reads ``desc-preproc-smooth_bold`` as ``desc-preproc`` and run
    labels as numbers.
    """
    root = root.resolve()  # pybids gives absolute paths
    participants = selection.participants(participant_labels(root))
    if wrong := unreadable_labels(root):
        log.warning("%d folders have no BIDS label and are not read: %s", len(wrong), wrong[0])
    index = index_func(root, participants, selection.bids_filters)
    rows: list[RunRow] = []
    runs: dict[str, list[Candidate]] = {}
    n_outside = 0
    for path in sorted({*index.bold, *index.old}):
        parsed = parse_name(path.name)
        entities = parsed[0] if parsed else None
        if path not in index.passing or (entities and not selection.wants(entities)):
            n_outside += 1
            continue
        reason = (
            why_never_taken(path, entities, spaces=preferred_spaces, selection=selection)
            if entities
            else "written by fMRIPrep 1.1 or older, which is not read"
            if path in index.old
            else "name not understood: a label with a hyphen, or an entity that BOLD does not have"
        )
        if entities is None or reason:
            rows.append(_plain_row(root, path, entities, reason))
        else:
            found = find_companions(path, entities, index.folders[path.parent])
            candidate = Candidate(path=path, entities=entities, companions=found)
            runs.setdefault(entities.run_stem, []).append(candidate)
    for label in selection.unmatched(
        [parsed[0] for p in index.bold if (parsed := parse_name(p.name))]
    ):
        log.warning("no BOLD file of the selected participants has %s", label)
    judged = [one for run in runs.values() for one in choose(run, preferred_spaces)]
    rows += [_row(root, one) for one in judged]
    scans = [_scan(root, one) for one in judged if one.selected]
    if all(scan.problem == NOT_FETCHED for scan in scans):
        scans = []  # nothing was fetched at all: one message instead of one failure per run
    return Discovery(
        root=root,
        scans=sorted(scans, key=lambda scan: scan.bold_path),
        rows=_one_row_per_surface(rows),
        n_outside=n_outside,
        participants=participants,
    )


def _plain_row(root: Path, path: Path, entities: Entities | None, reason: str) -> RunRow:
    return RunRow(
        path=path.relative_to(root).as_posix(),
        entities=entities.run_stem if entities else path.name.rpartition("_")[0],
        space=(entities.space if entities else None) or "",
        status="refused",
        reason=reason,
    )


def _row(root: Path, one: Candidate) -> RunRow:
    confounds = one.companions.confounds_path
    return RunRow(
        path=one.path.relative_to(root).as_posix(),
        entities=one.entities.run_stem,
        space=one.entities.space or "",
        status="refused" if one.reason else "chosen",
        reason=one.reason,
        tr_s=one.companions.tr_s,
        n_volumes=None if one.reason else _n_volumes(one.path),
        confounds="no" if confounds is None else "yes" if confounds.exists() else "not fetched",
    )


def _n_volumes(path: Path) -> int | None:
    """Read the number of volumes from the header; None where there is no good header."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        if path.name.endswith(CIFTI):
            return count_volumes(path)
        shape = nib.load(path).shape
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error):
        return None  # told, with the cause, when the scan is read
    return int(shape[3]) if len(shape) == 4 else None


def _scan(root: Path, one: Candidate) -> Scan:
    found = one.companions
    return Scan(
        entities=one.entities,
        bold_path=one.path,
        mask_path=found.mask_path,
        confounds_path=found.confounds_path,
        confounds_meta_path=found.confounds_meta_path,
        sidecar_path=found.sidecar_path,
        sidecar=found.sidecar,
        tr_s=found.tr_s,
        root=root,
        problem=one.reason or None,
    )


def _one_row_per_surface(rows: Iterable[RunRow]) -> list[RunRow]:
    """Sort by path; of two hemispheres keep the first."""
    unique: dict[str, RunRow] = {}
    for row in sorted(rows, key=lambda row: row.path):
        unique.setdefault(re.sub(r"_hemi-[LR]", "", row.path), row)
    return list(unique.values())
