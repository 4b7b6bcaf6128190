"""Find the fMRIPrep derivative that a user means, or say what the folder is instead."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Literal

from bids_app.errors import AppError, InputError, NeverMadeError
from bids_app.inputs.eligible import confounds_entities
from bids_app.inputs.entities import shown_name, split_name, why_no_label
from bids_app.inputs.scan import SURFACE_ENDINGS
from model.files.content import real_path
from model.files.faults import FileError
from model.files.home import MOUNTED
from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

Kind = Literal["preprocessed", "old", "minimal", "raw", "none"]

OLD_BOLD = re.compile(r"_bold(_space-[0-9A-Za-z]+)?_preproc\.nii(\.gz)?$")
"""Ends the names of fMRIPrep to 1.1: ``sub-1_task-x_bold_space-T1w_preproc.nii.gz``."""
_DESCRIPTION = "dataset_description.json"
_SUBJECT = re.compile(r"sub-([0-9A-Za-z+]+)")
_OF_MINIMAL = ("_boldref.nii.gz", "_xfm.txt", "_xfm.h5")
_POSTPROCESSORS = ("xcp_d", "giga_connectome")
# Names of output folders, as globs; people write fmriprep, fMRIPrep and fMRIprep.
_OUTPUTS = ("[fF][mM][rR][iI][pP]rep", "nibabies")


def participant_labels(root: Path) -> list[str]:
    """Return the labels of the ``sub-*`` folders, sorted.

    Only the folder's list of names is read: a participant's own entry is never opened.
    """
    names = (_SUBJECT.fullmatch(name) for name in names_in(root))
    return sorted(name[1] for name in names if name)


def odd_folders(
    folder: Path, names: Iterable[str], key: Literal["sub", "ses"], *, root: Path
) -> dict[str, str]:
    """Return the folders that seem to be meant for a participant or session, and are none.

    Such as ``sub-CC_01``, ``sub-01.1``, ``Sub-01`` or ``sub-01/ses-a.b``: their names, which can
    be shown, with what is wrong.

    Parameters
    ----------
    names
        What the folder holds.
    root
        Of the derivative.
    """
    meant = re.compile(rf"s?{key}[-_].*|{key}\d.*", re.IGNORECASE | re.DOTALL)
    odd = {}
    for name in sorted(filter(meant.fullmatch, names)):
        why = _why_odd(name, key)
        if why and _is_folder(folder / name):  # sub-01.html is a file
            odd[shown_name((folder / name).relative_to(root).as_posix())] = why
    return odd


def _why_odd(name: str, key: str) -> str:
    prefix, label = name[: len(key) + 1], name[len(key) + 1 :]
    return why_no_label(label) if prefix == f"{key}-" else f"it does not begin with {key}-"


def has_confounds(root: Path) -> bool:
    """Tell whether a derivative holds any confounds table; reads names only, up to the first."""
    return any(confounds_entities(name) for folder in _all_func_names(root) for name in folder)


def locate_derivative(bids_dir: Path, derivatives: Path | None = None) -> Path:
    """Return the folder that holds ``sub-*`` folders written by fMRIPrep.

    Parameters
    ----------
    bids_dir
        An fMRIPrep output folder (also of the legacy layout ``out/fmriprep/sub-*``), or a
        BIDS dataset with one in ``derivatives/``.
    derivatives
        Where to look instead, if the derivative lies elsewhere.

    Raises
    ------
    InputError
        No such folder, several of them, or fMRIPrep of a generation that is not read.
    NeverMadeError
        fMRIPrep wrote no preprocessed BOLD series there.
    """
    start = bids_dir if derivatives is None else derivatives
    try:
        is_folder = stat.S_ISDIR(start.stat().st_mode)
    except (OSError, ValueError) as err:
        cause = getattr(err, "strerror", None) or err
        raise InputError(
            f"{shown_name(str(start))}: no such folder ({cause}).", hint=MOUNTED
        ) from err
    if not is_folder:
        raise InputError(f"{start}: not a folder.")
    _refuse_results(start)
    kind = _kind(start)
    if kind == "preprocessed":
        return start
    candidates = _candidates(start)
    if len(candidates) > 1:
        raise InputError(
            f"{start} holds several fMRIPrep derivatives: {', '.join(map(str, candidates))}.",
            hint="Give the one to use, in place of the dataset or with --derivatives.",
        )
    root = candidates[0] if candidates else start
    kind = _kind(root)
    if kind != "preprocessed":
        raise _refusal(root, kind)
    return root


def _candidates(start: Path) -> list[Path]:
    """List folders below `start` that are named like fMRIPrep outputs and hold participants.

    A link to another candidate is not a second one.
    """
    different = {real_path(path): path for path in sorted(_named_so(start), reverse=True)}
    return sorted(path for path in different.values() if participant_labels(path))


def _named_so(start: Path) -> set[Path]:
    patterns = [p for name in _OUTPUTS for p in (f"{name}*", f"derivatives/{name}*")]
    patterns += [f"derivatives/*/{name}" for name in _OUTPUTS]
    if start.name == "derivatives":
        patterns += [f"*/{name}" for name in _OUTPUTS]
    return {path for pattern in patterns for path in start.glob(pattern) if _is_folder(path)}


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # not permitted
        return False


def _kind(root: Path) -> Kind:
    """Judge a dataset by the names in its ``func`` folders; the first telling folder decides.

    Names of fMRIPrep 1.1 do not: other participants may have been preprocessed again since.
    """
    if not participant_labels(root):
        return "none"
    seen: set[Kind | None] = set()
    for folder in _all_func_names(root):
        kinds = {_kind_of_name(name) for name in folder}
        for kind in ("preprocessed", "raw"):
            if kind in kinds:
                return kind
        seen |= kinds
    if seen <= {None}:  # nothing tells: because nothing can be read?
        for label in participant_labels(root):
            list(func_names(root, label))
    if "old" in seen:
        return "old"
    return "minimal" if "minimal" in seen or _is_derivative(root) else "raw"


def _kind_of_name(name: str) -> Kind | None:
    """Say what kind of dataset a file name in ``func`` belongs to; None: it does not tell."""
    if OLD_BOLD.search(name) or name.endswith("_bold_confounds.tsv"):
        return "old"
    parts = split_name(name)
    if parts is None:
        return None
    derived = not {"desc", "space", "from"}.isdisjoint(parts[0])
    if parts[1] == "bold":
        return "preprocessed" if derived else "raw"
    return "minimal" if derived else None


def _all_func_names(root: Path) -> Iterator[list[str]]:
    for label in participant_labels(root):
        with contextlib.suppress(InputError):  # another participant's, not to be read
            yield from func_names(root, label)


def func_names(root: Path, label: str) -> Iterator[list[str]]:
    """Yield the names in each ``func`` folder of a participant, without touching the files.

    Raises
    ------
    InputError
        A folder cannot be listed.
    """
    subject = root / f"sub-{label}"
    for folder in func_folders(subject, names_in(subject)):
        yield names_in(folder)


def func_folders(subject: Path, names: Iterable[str]) -> list[Path]:
    """Return where the ``func`` folders of a participant would be: its own, and of sessions.

    Parameters
    ----------
    names
        What the participant's folder holds.
    """
    sessions = sorted(name for name in names if name.startswith("ses-"))
    return [folder / "func" for folder in (subject, *(subject / name for name in sessions))]


def names_in(folder: Path) -> list[str]:
    """List a folder; empty where there is none.

    Raises
    ------
    InputError
        It cannot be listed.
    """
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as err:
        raise InputError(
            f"{shown_name(str(folder))}: cannot be listed ({err.strerror}).",
            hint="Make it readable; --exclude-participant-label leaves a participant out.",
        ) from err


def _is_derivative(root: Path) -> bool:
    """Tell by its description whether a dataset without telling names is a derivative."""
    content = _description(root)
    keys = ("GeneratedBy", "PipelineDescription")
    return content.get("DatasetType") == "derivative" or any(key in content for key in keys)


def _description(root: Path) -> dict[str, Any]:
    """Read a dataset's description; empty where there is no good one."""
    try:
        return read_json(root / _DESCRIPTION)
    except FileError:
        return {}


def _refuse_results(root: Path) -> None:
    """Refuse, by its description, what was made of fMRIPrep's output: ours, or of others.

    A damaged one costs no scan: names tell the rest.
    """
    path = root / _DESCRIPTION
    try:
        maker = _maker(read_json(path))
    except FileError as fault:
        if os.path.lexists(path):
            log.warning("%s So it does not tell who wrote the dataset.", fault)
        return
    if maker == "semantoks":
        raise InputError(
            f"{root} was written by semantoks itself; expected the output folder of fMRIPrep.",
            hint="For one table of its scans use the level group; for its series as input: "
            "semantoks series FOLDER OUTPUT_DIR.",
        )
    if maker.lower().replace("-", "_") in _POSTPROCESSORS:
        raise InputError(
            f"{root} was written by {maker}, which extracts parcel series itself; expected "
            "the output folder of fMRIPrep.",
            hint="For its series use: semantoks series FOLDER OUTPUT_DIR (docs/series.md).",
        )


def _maker(description: Mapping[str, Any]) -> str:
    """Return the first name in ``GeneratedBy`` of a dataset's description; empty: none."""
    try:
        return str(description["GeneratedBy"][0]["Name"])
    except (LookupError, TypeError):
        return ""


def _refusal(root: Path, kind: Kind) -> AppError:
    if kind == "old":
        return InputError(
            f"{root} was written by fMRIPrep 1.1 or older (…_bold_space-…_preproc.nii.gz), "
            "whose names and confounds differ from today's.",
            hint="Run fMRIPrep 20.2 or newer on the raw dataset.",
        )
    if kind == "minimal":
        return _without_bold(root)
    if kind == "raw":
        return InputError(
            f"{root} is a raw BIDS dataset, and holds no fMRIPrep derivative in "
            "derivatives/fmriprep*, derivatives/*/fmriprep or fmriprep*.",
            hint=_not_installed(_named_so(root))
            + "Give fMRIPrep's output folder, in place of the dataset or with --derivatives."
            + _better_path(root),
        )
    hint = "Give the folder that holds sub-<label>; a label has letters and digits only."
    wrong = [
        f"{name}: {why}"
        for name, why in odd_folders(root, names_in(root), "sub", root=root).items()
    ]
    if wrong:
        named = "; ".join(wrong[:5])
        found = f"holds {len(wrong)} sub-* folders, but none with a BIDS label ({named})"
    elif names_in(root):
        found = "holds no sub-* folder"
    else:
        found = "is empty"
        hint = MOUNTED
    return InputError(
        f"{root} {found}: expected the output folder of fMRIPrep.",
        hint=_not_installed({root, *_named_so(root)}) + hint + _better_path(root),
    )


def _not_installed(folders: Iterable[Path]) -> str:
    """Tell of the first empty one: DataLad leaves such where a subdataset would be."""
    empty = next((path for path in sorted(folders) if not names_in(path)), None)
    if empty is None:
        return ""
    return (
        f"{empty} is empty: a subdataset of DataLad? It is installed by: datalad get -n {empty} "
    )


def _without_bold(root: Path) -> AppError:
    """Say what the func folders of a derivative hold in place of BOLD series, and why."""
    names = [name for folder in _all_func_names(root) for name in folder]
    n_confounds = sum(confounds_entities(name) is not None for name in names)
    on_surfaces = [name for name in names if name.endswith(SURFACE_ENDINGS)]
    again = (
        "Rerun fMRIPrep with --level full and "
        "--output-spaces MNI152NLin2009cAsym:res-2 (or MNI152NLin6Asym:res-2)."
    )
    if on_surfaces:
        found = f"only series on surfaces (such as {shown_name(on_surfaces[0])}), no volumes"
    elif n_confounds:
        found = f"{n_confounds} confounds tables without their images, which were not copied"
        again = f"Copy …_desc-preproc_bold.nii.gz beside them, with their masks. Or: {again}"
    elif not names:
        found = "no file in any func folder: fMRIPrep ran with --anat-only, or it was not copied"
    elif any(name.endswith(_OF_MINIMAL) for name in names):
        found = "references and transforms only: fMRIPrep ran with --level minimal"
    else:
        found = f"{len(names)} other files, such as {shown_name(names[0])}"
    return NeverMadeError(
        f"{root} holds no preprocessed BOLD series; its func folders hold {found}.", hint=again
    )


def _better_path(root: Path) -> str:
    """Name a folder near `root` that would work, for the error message."""
    start = root.absolute()
    near = [*list(start.parents)[:3]]
    for pattern in ("*/fmriprep", "*/derivatives/fmriprep*", "../fmriprep*"):
        near += sorted(start.glob(pattern))
    good = [real_path(path) for path in near if _is_folder(path) and _kind(path) == "preprocessed"]
    return f" This one would work: {good[0]}" if good else ""
