"""What a derivative holds for a selection: scans to embed, and a reason for every other file."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.atlas.spaces import SPACES
from bids_app.errors import (
    AppError,
    AtlasError,
    InputError,
    NeverMadeError,
    NothingSelectedError,
    OptionsError,
)
from bids_app.inputs.copies import one_of_copies
from bids_app.inputs.eligible import BoldFile, one_of_run, scan_of, why_never
from bids_app.inputs.entities import Entities, parse_name
from bids_app.inputs.locate import (
    OLD_BOLD,
    func_names,
    has_confounds,
    names_in,
    participant_labels,
    unreadable_labels,
)
from bids_app.inputs.scan import Reason, Refusal
from bids_app.inputs.sidecars import levels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from bids_app.inputs.scan import Scan
    from bids_app.inputs.selection import Selection

log = logging.getLogger(__name__)

_BOLD_EXTENSIONS = [".nii", ".nii.gz", ".dtseries.nii", ".func.gii"]
_PASSED = Refusal.PASSED_OVER
_QUERY = re.compile(r"<?Query\.(NONE|ANY|REQUIRED|OPTIONAL)(: \d+>)?")


@dataclass(frozen=True, kw_only=True)
class Index:
    """The ``func`` files of the selected participants."""

    bold: tuple[Path, ...]
    """Series of any kind (volumes, surfaces, CIFTI), sorted."""
    old: tuple[Path, ...]
    """Volumes named as fMRIPrep to 1.1 did, which pybids does not know for BOLD."""
    passing: frozenset[Path]
    """Files that the filter lets through."""
    folders: Mapping[Path, tuple[Path, ...]]
    """All files of the ``func`` folders, and what lies in the folders above them, by folder."""


def index_func(root: Path, participants: Sequence[str], filters: Mapping[str, Any]) -> Index:
    """List the files in ``sub-<participant>/[ses-*/]func`` and apply a filter file's ``bold``.

    Nothing is written, no file is opened, and no other folder is entered: 200 participants
    cost what one does.

    Raises
    ------
    InputError
        The dataset's description is damaged, or a participant's folder cannot be listed.
    OptionsError
        The filter names an entity that pybids does not know.
    """
    for label in participants:  # pybids would skip what it cannot list, or stop without a word
        list(func_names(root, label))
    with _some_home():
        from bids.layout import BIDSLayout, BIDSLayoutIndexer

    # pybids matches `ignore` against "/sub-01/func/…"; whatever else it would walk
    # (sourcedata, figures, log, anat, dot files, other participants) is cut off here.
    subjects = "|".join(re.escape(label) for label in participants)
    inside = rf"/sub-(?:{subjects})(?:/ses-[^/]+)?(?:/func(?:/[^/.][^/]*)?)?$"
    indexer = BIDSLayoutIndexer(
        validate=False, index_metadata=False, ignore=[re.compile(f"^(?!{inside})")]
    )
    try:
        layout = BIDSLayout(root, validate=False, config=["bids", "derivatives"], indexer=indexer)
    except (AttributeError, TypeError, ValueError, OSError) as err:
        raise InputError(
            f"{root}: pybids cannot open the dataset ({err}).",
            hint="Is its dataset_description.json a JSON object?",
        ) from err
    try:
        passing = layout.get(return_type="filename", **_pybids_filters(filters))
    except (ValueError, TypeError, AttributeError, re.error) as err:
        raise OptionsError(
            f"--bids-filter-file: pybids cannot apply it ({err}).",
            hint="Entities have pybids' names: session, task, acquisition, run, space, …",
        ) from err
    bold = layout.get(return_type="filename", suffix="bold", extension=_BOLD_EXTENSIONS)
    folders: dict[Path, list[Path]] = {}
    for name in layout.files:
        folders.setdefault(Path(name).parent, []).append(Path(name))
    for above in {folder for func in folders for folder in levels(func, root)[:-1]}:
        folders[above] = [above / name for name in names_in(above)]  # sidecars are inherited
    return Index(
        old=tuple(Path(name) for name in layout.files if OLD_BOLD.search(name)),
        bold=tuple(sorted(Path(name) for name in bold)),
        passing=frozenset(Path(name) for name in passing),
        folders={folder: tuple(sorted(paths)) for folder, paths in folders.items()},
    )


@contextlib.contextmanager
def _some_home() -> Iterator[None]:
    """Let pybids be imported by a user without a home folder, as containers have them.

    It looks for a configuration file there and gives up where there is no ``there``.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = os.devnull
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


def _pybids_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Translate JSON values as fMRIPrep does: null, ``*`` and ``Query.…`` strings."""
    return {
        key: [_pybids_value(item) for item in value]
        if isinstance(value, list)
        else _pybids_value(value)
        for key, value in filters.items()
    }


def _pybids_value(value: Any) -> Any:
    from bids.layout import Query

    if value is None:
        return Query.NONE
    if value == "*":
        return Query.ANY
    named = _QUERY.fullmatch(value) if isinstance(value, str) else None
    return Query[named[1]] if named else value


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

    def left_out(self) -> dict[str, str]:
        """Return why participants have no scan to process: label to reasons."""
        served = {scan.entities.sub for scan in self.scans}
        reasons: dict[str, set[str]] = {p: set() for p in self.participants if p not in served}
        for file in self.files:
            label = file.run.split("_")[0].removeprefix("sub-")
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
        if not self.files and not self.n_outside:
            return NothingSelectedError(
                f"{self.root}: the selected participants have no BOLD file."
            )
        if not self.files:
            return NothingSelectedError(
                f"{self.root}: none of the {self.n_outside} BOLD files of the selected "
                "participants matches session, task, run and filter.",
                hint="--dry-run without these options shows what is there.",
            )
        found = {file.reason.refusal for file in self.files if file.reason}
        if Refusal.NOT_FETCHED in found:
            return InputError(
                f"{self.root}: the BOLD files are links into a git-annex that was not fetched.",
                hint="Run `datalad get` on the files that --dry-run lists.",
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


def find_scans(
    root: Path, selection: Selection, *, preferred_spaces: Mapping[str, int]
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
    candidates, files, n_outside = _candidates(index, root, selection, preferred_spaces)
    runs: dict[str, list[Scan]] = {}
    for path, original in one_of_copies(candidates).items():
        if path == original:
            scan = scan_of(path, candidates[path], index.folders, root=root)
            runs.setdefault(scan.entities.run_stem, []).append(scan)
        else:
            why = Refusal.COPY.of(original.name)
            files.append(_refused(root, path, candidates[path], why))
    for label in selection.unmatched(
        [p[0] for path in index.bold if (p := parse_name(path.name))]
    ):
        log.warning("no BOLD file of the selected participants has %s", label)
    files += [file for run in runs.values() for file in one_of_run(run, preferred_spaces)]
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
        scans=sorted(chosen, key=lambda scan: scan.sources.data),
        files=_one_per_surface(files),
        n_outside=n_outside,
        participants=participants,
    )


def _candidates(
    index: Index, root: Path, selection: Selection, spaces: Mapping[str, int]
) -> tuple[dict[Path, Entities], list[BoldFile], int]:
    """Return the BOLD files that may be embedded, those that never are, and how many else."""
    candidates: dict[Path, Entities] = {}
    refused: list[BoldFile] = []
    n_outside = 0
    for path in sorted({*index.bold, *index.old}):
        parsed = parse_name(path.name)
        if path not in index.passing or (parsed and not selection.wants(parsed[0])):
            n_outside += 1
        elif parsed is None:
            strange = Refusal.OLD_NAME if path in index.old else Refusal.STRANGE_NAME
            refused.append(_refused(root, path, None, strange.of()))
        elif never := why_never(path, parsed[0], spaces=spaces, selection=selection):
            refused.append(_refused(root, path, parsed[0], never))
        else:
            candidates[path] = parsed[0]
    return candidates, refused, n_outside


def _refused(root: Path, path: Path, entities: Entities | None, reason: Reason) -> BoldFile:
    return BoldFile(
        path=path.relative_to(root).as_posix(),
        run=entities.run_stem if entities else path.name.rpartition("_")[0],
        space=(entities.space if entities else None) or "",
        reason=reason,
    )


def _one_per_surface(files: Iterable[BoldFile]) -> list[BoldFile]:
    """Sort by path; of two hemispheres keep the first."""
    unique: dict[str, BoldFile] = {}
    for file in sorted(files, key=lambda file: file.path):
        unique.setdefault(re.sub(r"_hemi-[LR]", "", file.path), file)
    return list(unique.values())
