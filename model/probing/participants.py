"""What is predicted: one label per subject, or per row of a table, and who has none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from model.cohort.names import SUBJECT
from model.errors import SemantoksError, some
from model.files.faults import faults_as
from model.files.tables import read_cells
from model.files.write import text_sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from model.probing.options import Task

MISSING = {"", "n/a", "na", "nan"}
"""Spellings of a value that is not there, in lower case."""


class LabelError(SemantoksError):
    """Labels are missing, or cannot answer the question."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """One value per subject, or per row where a subject has several, such as task blocks."""

    column: str
    task: Task
    classes: tuple[str, ...]
    """In the order of their indices; empty in regression."""
    values: Mapping[str, float]
    """Class index or number of each subject, sorted by subject; or of each row, by its name."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Whose each row is; empty where subjects themselves have the labels."""
    without: tuple[str, ...] = ()
    """Subjects or rows without a label, which were left out."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subjects with a label, sorted."""
        return tuple(sorted(set(self.owners.values()) or self.values))

    def owner(self, key: str) -> str:
        """Return whose label it is."""
        return self.owners.get(key, key)

    def of(self, keys: Sequence[str]) -> npt.NDArray[np.float64]:
        """(S,) value of each of the subjects, or rows."""
        return np.array([self.values[key] for key in keys])

    def held_by(self, subjects: Collection[str]) -> dict[str, float]:
        """Return the labels of some subjects, by key."""
        chosen = set(subjects)
        return {key: value for key, value in self.values.items() if self.owner(key) in chosen}

    def counts(self, subjects: Collection[str]) -> list[int]:
        """(K,) how many of some subjects have a label of each class."""
        found: list[set[str]] = [set() for _ in self.classes]
        for key, value in self.held_by(subjects).items():
            found[int(value)].add(self.owner(key))
        return [len(people) for people in found]

    def permuted(self, groups: Mapping[str, str], rng: np.random.Generator) -> Labels:
        """Deal the labels out anew, within groups.

        Parameters
        ----------
        groups
            Of each subject or row; those that are in none form one.
        """
        members: dict[str, list[str]] = {}
        for key in self.values:
            members.setdefault(groups.get(key, ""), []).append(key)
        values = dict(self.values)
        for group in members.values():
            order = rng.permutation(len(group))
            values |= {key: self.values[group[i]] for key, i in zip(group, order, strict=True)}
        return replace(self, values=values)

    def sha256(self) -> str:
        """Hash subjects or rows, and labels."""
        return sha256_of(f"{key}\t{value!r}" for key, value in self.values.items())


def sha256_of(lines: Iterable[str]) -> str:
    """Hash lines of text."""
    return text_sha256("\n".join(lines))


def read_table(path: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read columns of a tab-separated table with one row per ``participant_id``.

    Returns
    -------
    Text by column by subject; a missing value (`MISSING`) is an empty string.

    Raises
    ------
    LabelError
        The file cannot be read, a column is absent, a row is longer than the header or names
        nobody, or a subject has two rows.
    """
    hint = "Columns are separated by tabs, one row per subject."
    with faults_as(LabelError, hint=hint):
        found, rows = read_cells(path)
    absent = [column for column in (SUBJECT, *columns) if column not in found]
    if absent:
        raise LabelError(
            f"{path}: no column {', '.join(absent)}; found {', '.join(found) or 'nothing'}.",
            hint="Columns are separated by tabs.",
        )
    table: dict[str, dict[str, str]] = {}
    for number, cells in enumerate(rows, start=2):
        row = dict(zip(found, map(str.strip, cells), strict=True))
        subject = row[SUBJECT]
        if not subject:
            raise LabelError(f"{path}: line {number} names no {SUBJECT}.", hint=hint)
        values = {column: row[column] for column in columns}
        present = {c: "" if text.lower() in MISSING else text for c, text in values.items()}
        if table.setdefault(subject, present) is not present:
            raise LabelError(
                f"{path}: {subject} has two rows.",
                hint="One row per subject is expected: all sessions of a subject have one value.",
            )
    return table


def read_labels(
    path: Path, column: str, *, task: Task, subjects: Iterable[str], allow_missing: bool
) -> Labels:
    """Read the label of every subject that has scans.

    Raises
    ------
    LabelError
        The table names nobody with scans, subjects have no label (unless ``allow_missing``), a
        number is expected and text found, or all labels are the same.
    """
    table = read_table(path, [column])
    wanted = sorted(set(subjects))
    if table.keys().isdisjoint(wanted):
        raise LabelError(
            f"{path}: none of the {len(wanted)} subjects with scans is in it: expected names such "
            f"as {wanted[0]}, found {next(iter(table), 'none')}.",
            hint=f"Write {SUBJECT} as in the outputs, with sub-.",
        )
    text = {subject: table.get(subject, {}).get(column, "") for subject in wanted}
    without = tuple(subject for subject in wanted if not text[subject])
    if without and (not allow_missing or len(without) == len(wanted)):
        raise LabelError(
            f"{path}: {len(without)} of {len(wanted)} subjects with scans have no {column}: "
            f"{some(without)}.",
            hint="--allow-missing leaves them out.",
        )
    labels = _labels(text, column, task=task, where=f"{path} column {column}")
    if len(set(labels.values.values())) < 2:
        raise LabelError(
            f"{path}: all {len(labels.values)} subjects with scans have {column} "
            f"{next(text[key] for key in labels.values)}: there is nothing to tell apart."
        )
    return replace(labels, without=without)


def row_labels(
    found: Mapping[str, str],
    owners: Mapping[str, str],
    column: str,
    *,
    task: Task,
    allow_missing: bool,
    where: str,
) -> Labels:
    """Take the label of every row from a column beside the features, such as ``trial_type``.

    Parameters
    ----------
    found, owners
        Text and subject of each row, by its name.
    where
        What the rows are of, for messages.

    Raises
    ------
    LabelError
        Rows have none (unless ``allow_missing``), a number is expected and text found, or every
        subject has one and the same in all rows: that is a label of people.
    """
    text = {key: "" if value.strip().lower() in MISSING else value.strip()
            for key, value in found.items()}  # fmt: skip
    without = tuple(key for key, value in text.items() if not value)
    if without and (not allow_missing or len(without) == len(text)):
        raise LabelError(
            f"{where}: {len(without)} of {len(text)} rows have no {column}: {some(without)}.",
            hint="--allow-missing leaves them out.",
        )
    labels = _labels(text, column, task=task, where=f"{where} column {column}")
    values: dict[str, set[float]] = {}
    for key, value in labels.values.items():
        values.setdefault(owners[key], set()).add(value)
    if all(len(one) == 1 for one in values.values()):
        raise LabelError(
            f"{where}: {column} is the same in all rows of each subject.",
            hint="Then it is people who have it: put it into the participants table, and leave "
            "out --target-of rows.",
        )
    return replace(labels, owners={key: owners[key] for key in labels.values}, without=without)


def _labels(text: Mapping[str, str], column: str, *, task: Task, where: str) -> Labels:
    """Turn the text that is there into class indices or numbers."""
    present = {key: value for key, value in text.items() if value}
    classes = tuple(sorted(set(present.values()))) if task == "classification" else ()
    values: dict[str, float] = (
        {key: classes.index(value) for key, value in present.items()}
        if classes
        else _numbers(present, where=where)
    )
    return Labels(column=column, task=task, classes=classes, values=values)


def read_covariates(
    path: Path, columns: Sequence[str], subjects: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Read covariates: numbers as they are, anything else as one 0/1 for each value but one.

    Returns
    -------
    (C,) by subject.

    Raises
    ------
    LabelError
        Subjects have none, or all the same.
    """
    table = read_table(path, columns)
    parts: list[list[list[float]]] = []
    for column in columns:
        text = {subject: table.get(subject, {}).get(column, "") for subject in subjects}
        without = [subject for subject, value in text.items() if not value]
        if without:
            raise LabelError(
                f"{path}: {len(without)} subjects have no {column}: {some(without)}.",
                hint="--allow-missing leaves them out.",
            )
        values = sorted(set(text.values()))
        if len(values) < 2:
            raise LabelError(f"{path}: all subjects have {column} {values[0]}.")
        parts.append([_coded(text[subject], values) for subject in subjects])
    return {
        subject: np.array([number for part in parts for number in part[i]])
        for i, subject in enumerate(subjects)
    }


def _coded(value: str, values: Sequence[str]) -> list[float]:
    try:
        numbers = [float(one) for one in values]
    except ValueError:
        return [float(value == one) for one in values[1:]]
    return [numbers[values.index(value)]]


def _numbers(text: Mapping[str, str], *, where: str) -> dict[str, float]:
    numbers, wrong = {}, []
    for subject, value in text.items():
        try:
            numbers[subject] = float(value)
        except ValueError:
            numbers[subject] = math.nan
        if not math.isfinite(numbers[subject]):
            wrong.append(f"{subject} {value!r}")
    if wrong:
        raise LabelError(
            f"{where}: expected numbers, found {some(wrong)}.",
            hint="For groups use --kind classification.",
        )
    return numbers
