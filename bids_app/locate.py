"""Find the fMRIPrep derivative that a user means, or say what the folder is instead."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Literal

from bids_app.entities import parse_name
from bids_app.errors import AppError, InputError, NeverMadeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["preprocessed", "old", "minimal", "raw", "none"]

# fMRIPrep to 1.1: sub-1_task-x_bold_space-T1w_preproc.nii.gz, …_bold_confounds.tsv.
_OLD_NAME = re.compile(r"_bold_(space-[0-9A-Za-z]+_)?(preproc\.nii(\.gz)?|confounds\.tsv)$")
_SUBJECT = re.compile(r"sub-([0-9A-Za-z+]+)")


def participant_labels(root: Path) -> list[str]:
    """Return the labels of the ``sub-*`` folders, sorted.

    Only the folder's list of names is read: a participant's own entry is never opened.
    """
    names = (_SUBJECT.fullmatch(name) for name in _names(root))
    return sorted(name[1] for name in names if name)


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
    if not start.is_dir():
        raise InputError(f"{start}: no such folder.")
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
    """List folders below `start` that are named like fMRIPrep outputs and hold participants."""
    patterns = ["fmriprep*", "derivatives/fmriprep*", "derivatives/*/fmriprep"]
    if start.name == "derivatives":
        patterns.append("*/fmriprep")
    folders = {path for pattern in patterns for path in start.glob(pattern) if path.is_dir()}
    return sorted(path for path in folders if participant_labels(path))


def _kind(root: Path) -> Kind:
    """Judge a dataset by the names in its ``func`` folders; the first telling name decides."""
    if not participant_labels(root):
        return "none"
    for name in _func_names(root):
        parsed = parse_name(name)
        if parsed is not None and parsed[1] == "bold":
            entities = parsed[0]
            return "preprocessed" if entities.desc or entities.space else "raw"
        if _OLD_NAME.search(name):
            return "old"
    return "minimal" if _is_derivative(root) else "raw"


def _func_names(root: Path) -> Iterator[str]:
    """Yield the names of all files in ``sub-*/[ses-*/]func``, without touching the files."""
    for label in participant_labels(root):
        subject = root / f"sub-{label}"
        try:
            sessions = [name for name in _names(subject) if name.startswith("ses-")]
        except InputError:
            continue
        for folder in (subject, *(subject / name for name in sorted(sessions))):
            with contextlib.suppress(InputError):  # another participant's, not to be read
                yield from sorted(_names(folder / "func"))


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as err:
        raise InputError(f"{folder}: cannot be listed ({err.strerror}).") from err


def _is_derivative(root: Path) -> bool:
    """Tell whether a dataset without BOLD names is a derivative by its description or anat."""
    try:
        content = json.loads((root / "dataset_description.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    keys = ("GeneratedBy", "PipelineDescription")
    if not isinstance(content, dict):
        return False
    return content.get("DatasetType") == "derivative" or any(key in content for key in keys)


def _refusal(root: Path, kind: Kind) -> AppError:
    if kind == "old":
        return InputError(
            f"{root} was written by fMRIPrep 1.1 or older (…_bold_space-…_preproc.nii.gz), "
            "whose names and confounds differ from today's.",
            hint="Run fMRIPrep 20.2 or newer on the raw dataset.",
        )
    if kind == "minimal":
        return NeverMadeError(
            f"{root} holds no preprocessed BOLD series: fMRIPrep ran with --level minimal, or "
            "with --anat-only.",
            hint="Rerun fMRIPrep with --level full and "
            "--output-spaces MNI152NLin2009cAsym:res-2 (or MNI152NLin6Asym:res-2).",
        )
    if kind == "raw":
        return InputError(
            f"{root} is a raw BIDS dataset, and holds no fMRIPrep derivative in "
            "derivatives/fmriprep*, derivatives/*/fmriprep or fmriprep*.",
            hint="Give fMRIPrep's output folder, in place of the dataset or with --derivatives."
            + _better_path(root),
        )
    found = "is empty" if not _names(root) else "holds no sub-* folder"
    return InputError(
        f"{root} {found}: expected the output folder of fMRIPrep.",
        hint="Give the folder that holds sub-*." + _better_path(root),
    )


def _better_path(root: Path) -> str:
    """Name a folder near `root` that would work, for the error message."""
    start = root.absolute()
    near = [*list(start.parents)[:3]]
    for pattern in ("*/fmriprep", "*/derivatives/fmriprep*", "../fmriprep*"):
        near += sorted(start.glob(pattern))
    good = [path.resolve() for path in near if path.is_dir() and _kind(path) == "preprocessed"]
    return f" This one would work: {good[0]}" if good else ""
