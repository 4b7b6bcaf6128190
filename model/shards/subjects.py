"""Which subjects may be used for what: explicit lists, one subject a line, checked and hashed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from model.errors import SemantoksError, some
from model.files.faults import faults_as
from model.files.read import read_text
from model.files.write import file_sha256, write_whole
from model.simulation.draws import SUBSET

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

LISTS = ("train", "validation", "test")
SHOWN = 5
"""Examples in a message."""


class SubjectsError(SemantoksError):
    """Lists of subjects are absent, overlap, or do not fit the data."""


@dataclass(frozen=True, kw_only=True)
class SubjectList:
    """The subjects of one list, in its order."""

    subjects: tuple[str, ...]
    sha256: str
    """Of the file"""


def read_lists(paths: Mapping[str, Path], with_data: Collection[str]) -> dict[str, SubjectList]:
    """Read the lists of a run.

    Parameters
    ----------
    paths
        File by name of the list.
    with_data
        Subjects of the data. Those on no list are used for nothing.

    Raises
    ------
    SubjectsError
        Says all that is wrong: a list is absent, empty or names a subject twice, two lists
        share a subject, or a subject has no data.
    """
    absent = [f"{name}: {path}" for name, path in paths.items() if not path.is_file()]
    if absent:
        raise SubjectsError(
            f"lists of subjects are missing: {'; '.join(absent)}.",
            hint="One subject a line; semantoks-model shards split writes all three.",
        )
    lists = {name: _read(path) for name, path in paths.items()}
    problems = [p for name, found in lists.items() for p in _problems(name, found, with_data)]
    for (first, a), (second, b) in combinations(lists.items(), 2):
        shared = set(a.subjects) & set(b.subjects)
        if shared:
            problems.append(f"{first} and {second} share {_some(shared)}")
    if problems:
        raise SubjectsError(
            f"the lists of subjects cannot be used: {'; '.join(problems)}.",
            hint="Every subject with data stands on one list at most; nothing was trained.",
        )
    return lists


def _read(path: Path) -> SubjectList:
    with faults_as(SubjectsError):
        lines = read_text(path).splitlines()
        digest = file_sha256(path)
    return SubjectList(
        subjects=tuple(line.strip() for line in lines if line.strip()), sha256=digest
    )


def _problems(name: str, found: SubjectList, with_data: Collection[str]) -> list[str]:
    twice = {s for s, n in Counter(found.subjects).items() if n > 1}
    unknown = set(found.subjects) - set(with_data)
    return [
        *([] if found.subjects else [f"{name} is empty"]),
        *([f"{name} names twice {_some(twice)}"] if twice else []),
        *([f"{name} names without data {_some(unknown)}"] if unknown else []),
    ]


def _some(subjects: Collection[str]) -> str:
    return f"{some(sorted(subjects), most=SHOWN)} ({len(subjects)})"


def first_subjects(subjects: Sequence[str], n: int, *, seed: int) -> tuple[str, ...]:
    """Return the first ``n`` of a random order, in the order given: more hold the fewer.

    Raises
    ------
    SubjectsError
        There are not so many.
    """
    if n > len(subjects):
        raise SubjectsError(
            f"expected at least {n} subjects to choose from, found {len(subjects)}."
        )
    draws = np.random.default_rng(np.random.SeedSequence([seed], spawn_key=(SUBSET,)))
    chosen = draws.permutation(len(subjects))[:n]
    return tuple(subjects[i] for i in sorted(chosen))


def split_subjects(
    subjects: Sequence[str], *, validation: float, test: float, seed: int
) -> dict[str, tuple[str, ...]]:
    """Divide subjects at random, all scans of one together.

    Parameters
    ----------
    subjects
        All of them, each once.
    validation, test
        Shares, rounded, at least one subject each; the rest is for training.
    seed
        Of the division.

    Raises
    ------
    SubjectsError
        The shares leave nobody to train on.
    """
    order = np.random.default_rng(seed).permutation(sorted(subjects)).tolist()
    possible = 0 < validation < 1 and 0 < test < 1
    n_validation, n_test = (
        max(1, round(share * len(order))) if possible else 0 for share in (validation, test)
    )
    if not possible or n_validation + n_test >= len(order):
        raise SubjectsError(
            f"{len(order)} subjects cannot be divided into {validation:g} for validation, "
            f"{test:g} for test and a rest for training.",
            hint="Shares lie between 0 and 1 and leave a rest.",
        )
    parts = {
        "train": order[n_validation + n_test :],
        "validation": order[:n_validation],
        "test": order[n_validation : n_validation + n_test],
    }
    return {name: tuple(sorted(parts[name])) for name in LISTS}


def write_lists(folder: Path, lists: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Write ``train.txt``, ``validation.txt`` and ``test.txt``.

    Raises
    ------
    SubjectsError
        One of them exists: who was held out must not change.
    """
    paths = {name: folder / f"{name}.txt" for name in lists}
    there = [str(path) for path in paths.values() if path.exists()]
    if there:
        raise SubjectsError(
            f"lists of subjects exist: {', '.join(there)}.",
            hint="Who is held out stays held out; name another folder.",
        )
    write_whole(
        {path: "".join(f"{s}\n" for s in lists[name]).encode() for name, path in paths.items()}
    )
    return paths
