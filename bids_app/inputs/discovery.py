"""What a derivative holds for a selection: scans to embed, and a reason for every other file."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bids_app.atlas.spaces import SPACES
from bids_app.errors import (
    AppError,
    AtlasError,
    InputError,
    NeverMadeError,
    NothingSelectedError,
)
from bids_app.inputs.copies import one_of_copies
from bids_app.inputs.eligible import BoldFile, bold_entities, one_of_run, scan_of, why_never
from bids_app.inputs.entities import Entities, parse_name, shown_name, why_strange
from bids_app.inputs.index import index_func
from bids_app.inputs.locate import OLD_BOLD, has_confounds, participant_labels
from bids_app.inputs.scan import Reason, Refusal
from model.errors import numbered, some
from model.files.content import real_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.index import Index
    from bids_app.inputs.scan import Scan
    from bids_app.inputs.selection import Selection
    from bids_app.inputs.study_space import StudySpace

log = logging.getLogger(__name__)

_PASSED, _ELSEWHERE = Refusal.PASSED_OVER, Refusal.OTHER_THAN_STUDY


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a derivative holds for a selection."""

    root: Path
    scans: list[Scan]
    """In the order of paths."""
    files: list[BoldFile]
    """Every BOLD file of the selection, in the order of paths; both hemispheres are one."""
    n_outside: int
    """BOLD files of the participants that session, task, run or filter leave out."""
    participants: tuple[str, ...]
    """Labels of the selected participants."""
    unread: Mapping[str, str]
    """Those whose folders cannot be listed, with the cause; nothing is known of their scans."""
    unmatched: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Session, task and run labels asked for that no file has, with those that files have"""
    study: StudySpace | None = None
    """The one space that all runs are taken in; None: each run in one that it has."""

    @property
    def lost(self) -> list[str]:
        """What ends with exit code 1 and has no status, in words: folders, names too long."""
        long = [f for f in self.files if f.reason and f.reason.refusal is Refusal.LONG_NAME]
        return [*self.unread.values(), *(f"{file.path}: {file.why}" for file in long)]

    def left_out(self) -> dict[str, str]:
        """Return why participants that could be read have no scan to process, by label."""
        served = {scan.entities.sub for scan in self.scans} | self.unread.keys()
        reasons: dict[str, set[str]] = {p: set() for p in self.participants if p not in served}
        for file in self.files:
            label = file.path.partition("/")[0].removeprefix("sub-")
            if label in reasons:
                reasons[label].add(file.why)
        return {
            label: "; ".join(sorted(found)) or "no BOLD file matches the selection"
            for label, found in reasons.items()
        }

    def require_usable(self, *, confounds: bool) -> None:
        """Refuse a derivative that holds no scan to process or, if asked, no confounds at all.

        Where only some runs lack their confounds, each of those fails by itself.

        Raises
        ------
        AppError
            Its ``exit_code`` says which.
        """
        if not self.scans:
            raise self.nothing_chosen()
        if confounds and not has_confounds(self.root):
            raise NeverMadeError(
                f"{self.root} holds BOLD series, but for no scan a confounds table "
                "(…_desc-confounds_timeseries.tsv): fMRIPrep ran with --level resampling, or "
                "they were not copied.",
                hint="Rerun fMRIPrep with --level full. Without confounds only "
                "--denoise-strategy none is possible.",
            )

    def nothing_chosen(self) -> AppError:
        """Return the error to raise where ``scans`` is empty: the reasons, each once."""
        if not self.files:
            return self._no_file()
        found = {file.reason.refusal for file in self.files if file.reason}
        if Refusal.NOT_FETCHED in found:
            return InputError(
                f"{self.root}: the content of no BOLD file that could be used was fetched "
                "(git-annex or git-lfs).",
                hint="Run `datalad get` on the files that --dry-run --list-missing FILE writes.",
            )
        if self.study is not None and _ELSEWHERE in found:
            return NothingSelectedError(
                f"{self.root}: found {len(self.files)} BOLD files, but no run in "
                f"space-{self.study.name}, that of this study ({self.study.why}).",
                hint="If OUTPUT_DIR holds another study, name another folder. Otherwise --space "
                "each takes every run in a space that it has.",
            )
        reasons = sorted({file.why for file in self.files})
        if Refusal.NO_ATLAS in found:
            return AtlasError(
                f"{self.root}: no scan is in a space with an atlas ({'; '.join(reasons)}).",
                hint="Install one with semantoks assets atlas, or name one with --atlas.",
            )
        return NothingSelectedError(
            f"{self.root}: found {len(self.files)} BOLD files, none of which can be used "
            f"({'; '.join(reasons)}).",
            hint=f"Needed: desc-preproc volumes or CIFTI series in {' or '.join(SPACES)}; rerun "
            "fMRIPrep or nibabies with --output-spaces MNI152NLin6Asym:res-2 or --cifti-output "
            "91k.",
        )

    def _no_file(self) -> AppError:
        if self.unread:
            return InputError(
                "; ".join(self.unread.values()),
                hint="Make it readable; --exclude-participant-label leaves a participant out.",
            )
        if not self.n_outside:
            return NothingSelectedError(
                f"{self.root}: the selected participants have no BOLD file."
            )
        none = (
            f"none of the {self.n_outside} BOLD files of the selected participants matches"
            if self.n_outside > 1
            else "the one BOLD file of the selected participants does not match"
        )
        there = dict.fromkeys(label for labels in self.unmatched.values() for label in labels)
        return NothingSelectedError(
            f"{self.root}: {none} session, task, run and filter.",
            hint=f"There are {some([*there])}."
            if there
            else "--dry-run without these options shows what is there.",
        )


def find_scans(
    root: Path,
    selection: Selection,
    *,
    preferred_spaces: Mapping[str, int],
    study: StudySpace | None = None,
) -> Discovery:
    """Find the scans to embed and say of every other BOLD file why it is not one.

    Names and sidecars are read; no image is opened.

    Parameters
    ----------
    root
        Folder of the derivative, from `bids_app.inputs.locate.locate_derivative`.
    selection
        What the user asked for.
    preferred_spaces
        Spaces that can be processed, with the number of parcels of their atlas; of a run that
        exists in several, the first is taken.
    study
        The one space that all runs are taken in (`bids_app.inputs.study_space`); None: each run
        in the first that it has.

    Raises
    ------
    OptionsError
        A participant that does not exist, or an entity in the filter file that pybids does
        not know.
    NothingSelectedError
        Every participant is excluded.

    Notes
    -----
    No bad file or folder costs more than its own scan or participant: names that cannot be
    parsed, folders that cannot be listed and sidecars that cannot be read are told as such.
    """
    root = real_path(root)
    participants = selection.participants(participant_labels(root))
    index = index_func(root, participants, selection.bids_filters)
    if odd := index.odd:
        listed = "; ".join(f"{name} ({why})" for name, why in odd.items())
        log.warning("%s without a BIDS label, not read: %s", numbered(len(odd), "folder"), listed)
    candidates, files, n_outside = _candidates(index, root, selection, preferred_spaces)
    runs: dict[str, list[Scan]] = {}
    for path, original in one_of_copies(candidates).items():
        if path == original:
            scan = scan_of(path, candidates[path], index.folders, root=root)
            runs.setdefault(scan.entities.run_stem, []).append(scan)
        else:
            why = Refusal.COPY.of(original.name)
            files.append(_refused(root, path, candidates[path], why))
    unmatched = selection.unmatched([p[0] for path in index.bold if (p := parse_name(path.name))])
    for label, there in unmatched.items():
        log.warning(
            "no BOLD file of the selected participants has %s; there are: %s",
            label, some(there) or "none",
        )  # fmt: skip
    space = None if study is None else study.name
    files += [
        file for run in runs.values() for file in one_of_run(run, preferred_spaces, study=space)
    ]
    elsewhere = {f.run for f in files if f.reason and f.reason.refusal is _ELSEWHERE}
    if elsewhere:
        log.warning(
            "%d of %d runs are not in space-%s, that of this study, and are left out; "
            "--dry-run tells which, --space each takes them",
            len(elsewhere),
            len(runs),
            space,
        )
    if n_passed := sum(f.reason is not None and f.reason.refusal is _PASSED for f in files):
        log.warning(
            "%d series would come first, but were not fetched; others of their runs are taken "
            "(--dry-run tells which)",
            n_passed,
        )
    chosen = [replace(f.scan, problem=f.reason) for f in files if f.scan and f.selected]
    if all(scan.problem == Refusal.NOT_FETCHED.of() for scan in chosen):
        chosen = []  # nothing was fetched at all: one message instead of one failure per run
    return Discovery(
        root=root,
        study=study,
        scans=sorted(chosen, key=lambda scan: scan.sources.data),
        files=_one_per_surface(files),
        n_outside=n_outside,
        participants=participants,
        unread=index.unread,
        unmatched=unmatched,
    )


def _candidates(
    index: Index, root: Path, selection: Selection, spaces: Mapping[str, int]
) -> tuple[dict[Path, Entities], list[BoldFile], int]:
    """Return the BOLD files that may be embedded, those that never are, and how many else."""
    candidates: dict[Path, Entities] = {}
    refused: list[BoldFile] = []
    n_outside = 0
    for path in index.bold:
        entities = bold_entities(path)
        if path not in index.passing or (entities and not selection.wants(entities)):
            n_outside += 1
        elif entities is None:
            old = OLD_BOLD.search(path.name)
            strange = Refusal.STRANGE_NAME.of(why_strange(path.name))
            refused.append(_refused(root, path, None, Refusal.OLD_NAME.of() if old else strange))
        elif never := why_never(path, entities, spaces=spaces, selection=selection):
            refused.append(_refused(root, path, entities, never))
        else:
            candidates[path] = entities
    return candidates, refused, n_outside


def _refused(root: Path, path: Path, entities: Entities | None, reason: Reason) -> BoldFile:
    return BoldFile(
        path=shown_name(path.relative_to(root).as_posix()),
        run=entities.run_stem if entities else shown_name(path.name.rpartition("_")[0]),
        space=(entities.space if entities else None) or "",
        reason=reason,
    )


def _one_per_surface(files: Iterable[BoldFile]) -> list[BoldFile]:
    """Sort by path; of two hemispheres keep the first."""
    unique: dict[str, BoldFile] = {}
    for file in sorted(files, key=lambda file: file.path):
        unique.setdefault(re.sub(r"_hemi-[LR]", "", file.path), file)
    return list(unique.values())
