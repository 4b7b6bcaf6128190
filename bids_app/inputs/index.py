"""The files of the selected participants, and which of them a filter file lets through."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.errors import InputError, OptionsError
from bids_app.inputs.locate import OLD_BOLD, func_folders, names_in
from bids_app.inputs.sidecars import levels
from model.files.read import faults_as, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_BOLD = re.compile(r"_bold\.(nii|nii\.gz|dtseries\.nii|(func\.)?gii|mg[hz])\Z", re.IGNORECASE)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_QUERY = re.compile(r"<?Query\.(NONE|ANY|REQUIRED|OPTIONAL)(: \d+>)?")


@dataclass(frozen=True, kw_only=True)
class Index:
    """The ``func`` files of the selected participants."""

    bold: tuple[Path, ...]
    """Series of any kind (volumes, surfaces, CIFTI) and of any generation, sorted."""
    passing: frozenset[Path]
    """Those that the filter lets through."""
    folders: Mapping[Path, tuple[Path, ...]]
    """All files of the ``func`` folders, and what lies in the folders above them, by folder."""
    unread: Mapping[str, str]
    """Participants whose folders cannot be listed, and why."""


def index_func(root: Path, participants: Iterable[str], filters: Mapping[str, Any]) -> Index:
    """List the files in ``sub-<participant>/[ses-*/]func`` and apply a filter file's ``bold``.

    Nothing is written, no file is opened, and no other folder is entered: 200 participants
    cost what one does. A folder that cannot be listed costs its participant.

    Raises
    ------
    InputError
        The folder itself cannot be listed, or the filter cannot be applied to the dataset.
    OptionsError
        The filter names an entity that pybids does not know.
    """
    folders = {root: _files(root)}
    unread: dict[str, str] = {}
    listed = []
    for label in participants:
        try:
            found = [folder for func in func_folders(root, label) for folder in levels(func, root)]
            folders |= {folder: _files(folder) for folder in found if folder not in folders}
            listed.append(label)
        except InputError as err:
            unread[label] = err.message
    bold = sorted(
        path
        for folder, paths in folders.items()
        if folder.name == "func"
        for path in paths
        if not path.name.startswith(".")
        and (_BOLD.search(path.name) or OLD_BOLD.search(path.name))
    )
    passing = _passing(root, listed, filters) if filters and listed else bold
    return Index(bold=tuple(bold), passing=frozenset(passing), folders=folders, unread=unread)


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(folder / name for name in sorted(names_in(folder)))


def _passing(root: Path, labels: Sequence[str], filters: Mapping[str, Any]) -> list[Path]:
    """Return the files that pybids lets through; it walks the folders of participants itself."""
    with _some_home():
        from bids.layout import BIDSLayout, BIDSLayoutIndexer

    # pybids matches `ignore` against "/sub-01/func/…"; whatever else it would walk
    # (sourcedata, figures, log, anat, dot files, other participants) is cut off here.
    subjects = "|".join(re.escape(label) for label in labels)
    inside = rf"/sub-(?:{subjects})(?:/ses-[^/]+)?(?:/func(?:/[^/.][^/]*)?)?$"
    indexer = BIDSLayoutIndexer(
        validate=False,
        index_metadata=False,
        ignore=[re.compile(f"^(?!{inside})"), _NOT_UTF8],
        config_filename="no-configuration-of-pybids-is-read",
    )
    description = root / "dataset_description.json"
    with faults_as(InputError), reading(description, "pybids cannot open the dataset"):
        layout = BIDSLayout(root, validate=False, config=["bids", "derivatives"], indexer=indexer)
    try:
        names = layout.get(return_type="filename", **_pybids_filters(filters))
    except Exception as err:  # of pybids, sqlalchemy or sqlite
        raise OptionsError(
            f"--bids-filter-file: pybids cannot apply it ({err!s:.200}).",
            hint="Entities have pybids' names: session, task, acquisition, run, space, …",
        ) from err
    return [Path(name) for name in names]


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
