"""The same content twice in a folder, compressed and unzipped: which of the two is read."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from model.files.content import not_fetched
from model.files.faults import FileError, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_COMPARED_BYTES = 4 << 20
"""From the beginning: header and first volume of a series, the whole of a mask or a table"""


def one_of_copies(paths: Iterable[Path]) -> dict[Path, Path]:
    """Choose among files whose names differ in ``.gz`` only, as SPM and CONN need them unzipped.

    The one that was fetched is taken; of two, the compressed one, which is what fMRIPrep wrote,
    if both begin with the same bytes. If they do not, either may be the one that was meant, and
    both stay.

    Returns
    -------
    Each path, with the one that stands for it.
    """
    named: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        named.setdefault(path.with_name(path.name.removesuffix(".gz")), []).append(path)
    chosen: dict[Path, Path] = {}
    for copies in named.values():
        here = [path for path in copies if not not_fetched(path)]
        original = (here or copies)[-1]  # .nii sorts before .nii.gz
        differ = len(here) > 1 and not _begin_alike(here)
        chosen |= {path: path if differ else original for path in copies}
    return chosen


def without_copies(paths: Iterable[Path]) -> list[Path]:
    """Return the files that stand for those given, each once."""
    return sorted(set(one_of_copies(paths).values()))


def _begin_alike(paths: Sequence[Path]) -> bool:
    try:
        return len({_beginning(path) for path in paths}) == 1
    except FileError:  # damaged: not known to be the same
        return False


def _beginning(path: Path) -> bytes:
    with reading(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return bytes(file.read(_COMPARED_BYTES))
