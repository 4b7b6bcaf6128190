"""Where everything that is written lies, and what it is called."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.atlas.volumes import ATLAS_LABEL
from bids_app.errors import OutputError
from model.cohort import names
from model.files.content import real_path
from model.files.faults import FileError, faults_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bids_app.inputs.entities import Entities

_SPACE = re.compile(r"_space-([0-9A-Za-z]+)_")
_ENOUGH = 100
"""Participants that tell which space an output folder holds"""

_ELSEWHERE = re.compile(r"(?<![\w.:/-])/(?:[^\s/:;,'\"()\[\]]+/)+(?=[^\s/])")
"""Folders of an absolute path"""


def logs(output_dir: Path) -> Path:
    """Return the folder of what is no result, the only one where absolute paths may stand."""
    return output_dir / "logs"


def new_log_folder(output_dir: Path, *, kind: str = "") -> Path:
    """Name a folder of an invocation's own for what is no result: settings, tracebacks, scripts.

    Parameters
    ----------
    kind
        Begins its name.
    """
    return logs(output_dir) / f"{kind}{uuid.uuid4().hex[:12]}"


def output_folder(output_dir: Path, scan: Entities) -> Path:
    """Return the ``func`` folder of a scan's outputs."""
    return output_dir / names.folder_of(scan.present())


def output_path(output_dir: Path, scan: Entities, ending: str) -> Path:
    """Name one output: all source entities, then ``atlas`` and the ending."""
    stem = scan.stem(atlas=ATLAS_LABEL, desc=None)
    return output_folder(output_dir, scan) / f"{stem}_{ending}"


def report_path(output_dir: Path, participant: str) -> Path:
    """Name the report of a participant."""
    return output_dir / f"sub-{participant}.html"


def figures_folder(output_dir: Path, participant: str) -> Path:
    """Name the folder of the figures of a participant's report."""
    return output_dir / f"sub-{participant}" / "figures"


def find_statuses(folder: Path) -> Iterator[Path]:
    """Yield every status below an output folder, in the order of paths.

    Raises
    ------
    FileError
        A folder cannot be listed: scans would be missing without a word.
    """
    for subject in _subjects(folder):
        yield from statuses_below(subject)


def _subjects(folder: Path) -> list[Path]:
    with faults_of(folder):
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith("sub-")]
    return [folder / name for name in sorted(names)]


def spaces_in(folder: Path) -> dict[str, int]:
    """Count the scans of an output folder by space, from the names of their statuses.

    Every job of an array asks. So of many participants some are looked at, spread over all; only
    where these differ, or have no scan, all are.
    """
    with contextlib.suppress(FileError):  # it is not there yet; or told where it is written to
        subjects = _subjects(folder)
        count = _spaces_below(subjects[:: 1 + len(subjects) // _ENOUGH])
        return count if len(count) == 1 else _spaces_below(subjects)
    return {}


def _spaces_below(subjects: Iterable[Path]) -> dict[str, int]:
    paths = (path for subject in subjects for path in statuses_below(subject))
    spaces = (_SPACE.search(path.name) for path in paths)
    return dict(Counter(space[1] for space in spaces if space))


def statuses_below(folder: Path) -> list[Path]:
    """Return the statuses below a participant's folder, in the order of paths.

    Links to folders, such as a session kept elsewhere, are followed as those to participants are.

    Raises
    ------
    FileError
        A folder is there and cannot be listed.
    """
    found: list[Path] = []
    followed: set[str] = set()
    with faults_of(folder):
        for inner, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
            folders[:] = [name for name in folders if _is_new(Path(inner, name), folder, followed)]
            # A folder of that name is no status, which is for its reader to say.
            called = [name for name in (*folders, *files) if name.endswith(f"_{names.STATUS}")]
            found += [Path(inner, name) for name in called]
    return sorted(found)


def _is_new(found: Path, top: Path, followed: set[str]) -> bool:
    """Tell whether a folder is to be read: no link to one that is read anyway; note the link."""
    if not found.is_symlink():
        return True
    target, root = os.path.realpath(found), os.path.realpath(top)
    if target in followed or os.path.commonpath([target, root]) in (target, root):
        return False
    followed.add(target)
    return True


def _refuse(err: OSError) -> None:
    if not isinstance(err, FileNotFoundError | NotADirectoryError):
        raise err


def refuse_links_out(output_dir: Path, folders: Iterable[Path]) -> None:
    """Refuse folders of outputs that links lead to another place, which may be the input.

    The output folder itself may be a link.

    Raises
    ------
    OutputError
        Names the folder and where it leads.
    """
    root = os.path.realpath(output_dir)
    for folder in dict.fromkeys(folders):
        real = os.path.realpath(folder)
        if os.path.commonpath([root, real]) != root:
            raise OutputError(
                f"{folder} leads to {real}, outside the output folder; nothing is written there.",
                hint="Replace the link by a folder, or name another output folder.",
            )


def relative_text(text: str, *roots: Path) -> str:
    """Name the files in a text by where they lie below some folders, and others by their names.

    Examples
    --------
    >>> relative_text("/in/sub-01/x.json: damaged (see /home/me/y)", Path("/in"))
    'sub-01/x.json: damaged (see y)'
    """
    forms = {str(form) for root in roots for form in (root, root.absolute(), real_path(root))}
    for form in sorted(forms, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./-]){re.escape(form.rstrip('/'))}/", "", text)
    return _ELSEWHERE.sub("", text)
