"""The JSON sidecars of an image: which apply by inheritance, and what they say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_app.inputs.entities import split_labels
from model.files.faults import FileError
from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.entities import Entities

# fMRIPrep 20-22 wrote a second file beside CIFTI series: …_bold.dtseries.json.
_ENDINGS = (".json", ".dtseries.json")
_TIMES = {"RepetitionTime", "StartTime"}


def sidecars_of(
    entities: Entities, folder: Path, root: Path, files: Mapping[Path, Sequence[Path]]
) -> list[Path]:
    """Return the JSON files that apply to a BOLD image by inheritance, most general first.

    Those of its folder and of every folder above it within the dataset whose names hold no
    entity that the image does not have: ``task-rest_bold.json`` beside ``sub-01`` too.

    Parameters
    ----------
    entities, folder
        Of the image.
    root
        Folder of the derivative.
    files
        Files by folder.
    """
    own = entities.present().items()
    found: list[tuple[int, int, Path]] = []
    for depth, level in enumerate(levels(folder, root)):
        for path in files.get(level, ()):
            parts = split_labels(path.name)
            if parts and parts[1] == "bold" and parts[2] in _ENDINGS and parts[0].items() <= own:
                found.append((depth, len(parts[0]), path))
    return [path for *_, path in sorted(found)]


def levels(folder: Path, root: Path) -> list[Path]:
    """Return the folders whose sidecars are inherited, from the derivative's down to `folder`."""
    above = [parent for parent in folder.parents if parent.is_relative_to(root)]
    return [*reversed(above), folder]


def merged(sidecars: Iterable[Path]) -> tuple[dict[str, Any], str | None]:
    """Read sidecars, the later ones leading; name the first that is no JSON object.

    Of two that are equally near and differ in a time, neither leads: both values are returned as
    a list, which is no time.
    """
    content: dict[str, Any] = {}
    nearest: dict[str, Any] = {}
    rank: tuple[Path, int] | None = None
    for path in sidecars:
        try:
            found = read_json(path)
        except FileError as fault:
            return content, fault.sentence(where=path.name).removesuffix(".")
        own_rank = path.parent, path.name.count("_")
        nearest = nearest if own_rank == rank else {}
        rank = own_rank
        unsure = {k for k in _TIMES & found.keys() & nearest.keys() if found[k] != nearest[k]}
        content |= found | {key: [nearest[key], found[key]] for key in unsure}
        nearest |= found
    return content, None
