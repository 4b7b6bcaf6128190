"""Index a derivative with pybids: only the selected participants, in memory, names only."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.errors import InputError, OptionsError
from bids_app.inputs.locate import OLD_BOLD, func_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BOLD_EXTENSIONS = [".nii", ".nii.gz", ".dtseries.nii", ".func.gii"]
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
    """All files by folder."""


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
