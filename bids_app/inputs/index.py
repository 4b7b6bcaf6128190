"""The files of the selected participants, and which of them a filter file lets through."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.errors import InputError, OptionsError
from bids_app.inputs.locate import OLD_BOLD, func_folders, names_in, odd_folders
from model.files.faults import faults_as, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_BOLD = re.compile(
    r"_bold\.(nii|nii\.gz|dtseries\.nii(\.gz)?|(func\.)?gii|mg[hz])\Z", re.IGNORECASE
)
_SIDECARS = ("bold.json", "bold.dtseries.json")
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
    """All files of the ``func`` folders, and the sidecars in the folders above, by folder."""
    unread: Mapping[str, str]
    """Participants whose folders cannot be listed, and why."""
    odd: Mapping[str, str]
    """Folders that seem to be of a participant or session, and are none, and why."""


def index_func(root: Path, participants: Sequence[str], filters: Mapping[str, Any]) -> Index:
    """List the files in ``sub-<participant>/[ses-*/]func`` and apply a filter file's ``bold``.

    Nothing is written, no file is opened, and no other folder is entered: 200 participants
    cost what one does, and each folder is listed once. One that cannot be costs its participant.

    Raises
    ------
    InputError
        The folder itself cannot be listed, or the filter cannot be applied to the dataset.
    OptionsError
        The filter names an entity that pybids does not know.
    """
    names = names_in(root)
    above = {root: _files(root, names, _SIDECARS)}
    odd = odd_folders(root, names, "sub", root=root)
    func: dict[Path, tuple[Path, ...]] = {}
    unread: dict[str, str] = {}
    for label in participants:
        try:
            subject = root / f"sub-{label}"
            names = names_in(subject)
            own = {path: _files(path, names_in(path)) for path in func_folders(subject, names)}
            above[subject] = _files(subject, names, _SIDECARS)
            for session in {folder.parent for folder in own} - {subject}:
                above[session] = _files(session, names_in(session), _SIDECARS)
            func |= own
            odd |= odd_folders(subject, names, "ses", root=root)
        except InputError as err:
            unread[label] = err.message
    listed = [label for label in participants if label not in unread]
    bold = sorted(path for paths in func.values() for path in paths if _is_bold(path.name))
    passing = _passing(root, listed, filters) if filters and listed else bold
    return Index(
        bold=tuple(bold),
        passing=frozenset(passing),
        folders=above | func,
        unread=unread,
        odd=odd,
    )


def _is_bold(name: str) -> bool:
    return not name.startswith(".") and bool(_BOLD.search(name) or OLD_BOLD.search(name))


def _files(
    folder: Path, names: Iterable[str], endings: str | tuple[str, ...] = ""
) -> tuple[Path, ...]:
    return tuple(folder / name for name in sorted(names) if name.endswith(endings))


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
