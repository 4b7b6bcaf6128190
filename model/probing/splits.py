"""Who is trained on, who chooses the settings, who is scored: by subject, never by scan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from model.errors import SemantoksError, some
from model.probing.participants import read_table, sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.probing.options import ProbeConfig, ProtocolConfig
    from model.probing.participants import Labels

PARTS = ("train", "validation", "test")
ATTEMPTS = 100
"""Draws of subjects, of whom each has rows of some classes, until every part has all"""


class SplitError(SemantoksError):
    """The subjects cannot be split as asked."""


class LeakError(SemantoksError):
    """Something of a test subject would enter what he is scored by."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Subjects of the three parts; nobody is in two."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for first, second in combinations(PARTS, 2):
            both = sorted(set(getattr(self, first)) & set(getattr(self, second)))
            if both:
                raise LeakError(
                    f"{self.name}: {len(both)} subjects are in {first} and in {second}: "
                    f"{some(both)}.",
                    hint="A subject with all sessions belongs to one part.",
                )
        empty = [part for part in PARTS if not getattr(self, part)]
        if empty:
            raise SplitError(f"{self.name}: no subjects for {' and '.join(empty)}.")

    def sha256(self) -> str:
        """Hash who is in which part."""
        return sha256_of(f"{part}\t{s}" for part in PARTS for s in getattr(self, part))


def draw_split(labels: Labels, shares: tuple[float, float, float], *, seed: int) -> Split:
    """Draw one split, in classification with the same shares of every class.

    Raises
    ------
    SplitError
        A class, or in regression the cohort, has too few subjects for a part.
    """
    strata = _strata(labels)
    sizes_of = {name: _sizes(len(members), shares) for name, members in strata.items()}
    # A correlation needs two test subjects, a class one; stratification does the rest.
    least = 1 if labels.classes or labels.owners else 2
    few = [f"{name} ({len(strata[name])})" for name, s in sizes_of.items() if min(s) < least]
    if few:
        raise SplitError(
            f"too few subjects: expected at least {least} each for training, validation and test "
            f"with shares {shares}, found fewer of {some(few)}.",
            hint="Merge or leave out rare classes, or take other shares. Numbers are no classes.",
        )
    rng = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        parts: list[list[str]] = [[], [], []]
        for name, members in strata.items():
            sizes = sizes_of[name]
            order = [members[i] for i in rng.permutation(len(members))]
            for part, end, size in zip(parts, np.cumsum(sizes), sizes, strict=True):
                part += order[end - size : end]
        train, validation, test = (tuple(sorted(part)) for part in parts)
        split = Split(name=f"seed {seed}", train=train, validation=validation, test=test)
        if not _lacking(split, labels):
            return split
    raise SplitError(
        f"{split.name}: in {ATTEMPTS} draws no split had every class in every part: "
        f"{some(_lacking(split, labels))}.",
        hint="Take other shares, or merge or leave out rare classes.",
    )


def _lacking(split: Split, labels: Labels) -> list[str]:
    """Say which parts have none of which class."""
    if not labels.classes:
        return []
    return [
        f"{part} none of class {name}"
        for part in PARTS
        for name, n in zip(labels.classes, labels.counts(getattr(split, part)), strict=True)
        if not n
    ]


def _strata(labels: Labels) -> dict[str, list[str]]:
    """Subjects by class; all in one in regression, and where a subject has rows of several."""
    if not labels.classes or labels.owners:
        return {"the cohort": list(labels.subjects)}
    strata: dict[str, list[str]] = {f"class {name}": [] for name in labels.classes}
    names = list(strata)
    for subject, value in labels.values.items():
        strata[names[int(value)]].append(subject)
    return strata


def _sizes(n: int, shares: tuple[float, float, float]) -> tuple[int, int, int]:
    """Round shares of n subjects to sizes; what rounding leaves over is trained on."""
    validation, test = (int(np.floor(n * share + 0.5)) for share in shares[1:])
    return (n - validation - test, validation, test)


def leave_sites_out(
    labels: Labels, sites: dict[str, str], shares: tuple[float, float, float], *, seed: int
) -> list[Split]:
    """Make one split per site, which is its test set; the others train and validate.

    Parameters
    ----------
    sites
        Site of every subject with a label.
    shares
        Training and validation of the other sites are in the ratio of the first two.

    Raises
    ------
    SplitError
        There is one site only, or the other sites cannot be split.
    """
    names = sorted(set(sites.values()))
    if len(names) < 2:
        raise SplitError(f"expected at least two sites, found {', '.join(names)} only.")
    train, validation, _ = shares
    inner = (train / (train + validation), validation / (train + validation))
    return [_leave_out(labels, sites, site, inner, seed=seed) for site in names]


def _leave_out(
    labels: Labels, sites: dict[str, str], site: str, inner: tuple[float, float], *, seed: int
) -> Split:
    parts: list[list[str]] = [[], []]
    rng = np.random.default_rng(seed)
    for name, members in _strata(labels).items():
        others = [subject for subject in members if sites[subject] != site]
        n_validation = int(np.floor(len(others) * inner[1] + 0.5))
        if min(n_validation, len(others) - n_validation) < 1:
            raise SplitError(
                f"{name} has {len(others)} subjects outside site {site}: too few to train and "
                "validate.",
                hint="What is predicted and the site are confounded: merge sites, or leave some "
                "out of the table (--allow-missing).",
            )
        order = [others[i] for i in rng.permutation(len(others))]
        parts[0] += order[n_validation:]
        parts[1] += order[:n_validation]
    return Split(
        name=f"site {site}",
        train=tuple(sorted(parts[0])),
        validation=tuple(sorted(parts[1])),
        test=tuple(subject for subject in labels.subjects if sites[subject] == site),
    )


def read_split(path: Path, labels: Labels) -> Split:
    """Read a fixed split: columns ``participant_id`` and ``split`` (train, validation, test).

    Raises
    ------
    LeakError, LabelError
        A subject has two rows.
    SplitError
        A part has another name or lacks a class, or a subject has no scan or no label.
    """
    table = read_table(path, ["split"])
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for subject, row in sorted(table.items()):
        if row["split"] not in parts:
            raise SplitError(
                f"{path}: {subject} is in {row['split'] or 'no split'!r}; expected one of {PARTS}."
            )
        parts[row["split"]].append(subject)
    known = set(labels.subjects)
    absent = [subject for subject in table if subject not in known]
    if absent:
        raise SplitError(f"{path}: subjects without scan or label: {some(absent)}.")
    split = Split(name=path.name, **{part: tuple(members) for part, members in parts.items()})
    if lacking := _lacking(split, labels):
        raise SplitError(
            f"{path}: expected every class in every part, found in {some(lacking)}.",
            hint="Move subjects, or merge or leave out rare classes.",
        )
    return split


def split_of(config: ProtocolConfig, labels: Labels, *, repetition: int) -> Split:
    """Read the fixed split, or draw that of one repetition; probe and fine-tuning share it."""
    if config.splits is not None:
        split = read_split(config.splits, labels)
    else:
        split = draw_split(labels, config.shares, seed=config.seed + repetition)
    return thin(split, labels, config.train_subjects, seed=config.seed + repetition)


def thin(split: Split, labels: Labels, n_train: int | None, *, seed: int) -> Split:
    """Keep so many training subjects, in classification of every class its share; None: all.

    Raises
    ------
    SplitError
        There are fewer, or a class would have none.
    """
    if n_train is None or n_train == len(split.train):
        return split
    if n_train > len(split.train):
        raise SplitError(
            f"{split.name}: {len(split.train)} subjects to train on, fewer than the {n_train} "
            "asked for.",
            hint="Lower --train-subjects, or give --shares with more for training.",
        )
    rng = np.random.default_rng(seed)
    is_stratified = bool(labels.classes) and not labels.owners
    values = labels.of(split.train) if is_stratified else np.zeros(len(split.train))
    # Dealt class by class in turn of their shares, so that any beginning is stratified.
    place = np.empty(len(values))
    for value in np.unique(values):
        members = np.flatnonzero(values == value)
        place[rng.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    kept = sorted(np.argsort(place, kind="stable")[:n_train])
    fewer = replace(split, train=tuple(split.train[i] for i in kept))
    if _lacking(fewer, labels) != _lacking(split, labels):
        raise SplitError(
            f"{split.name}: {n_train} training subjects leave a class without any.",
            hint="Raise --train-subjects, or merge or leave out rare classes.",
        )
    return fewer


def make_splits(config: ProbeConfig, labels: Labels, participants: Path) -> list[Split]:
    """Make the splits a probe asks for: fixed, sites left out, or repeated draws.

    Raises
    ------
    SplitError, LeakError, LabelError
        As in the functions above; or subjects have no site.
    """
    if config.site is None:
        repetitions = 1 if config.splits is not None else config.repetitions
        return [split_of(config, labels, repetition=i) for i in range(repetitions)]
    sites = sites_of(config.site, labels, participants)
    return [
        thin(split, labels, config.train_subjects, seed=config.seed)
        for split in leave_sites_out(labels, sites, config.shares, seed=config.seed)
    ]


def sites_of(column: str, labels: Labels, participants: Path) -> dict[str, str]:
    """Read the site of every subject with a label.

    Raises
    ------
    SplitError, LabelError
        Subjects have none, or the table cannot be read.
    """
    table = read_table(participants, [column])
    sites = {subject: table[subject][column] for subject in labels.subjects}
    without = [subject for subject, site in sites.items() if not site]
    if without:
        raise SplitError(
            f"{participants}: subjects without {column}: {some(without)}.",
            hint="--allow-missing leaves them out.",
        )
    return sites


def exchangeable(
    config: ProbeConfig, labels: Labels, participants: Path, splits: Sequence[Split]
) -> dict[str, str]:
    """Group the subjects whose labels may change places if the labels mean nothing.

    Rows within their subject. Everybody, if splits are drawn, for that is done anew; within a
    site that is left out; within a part of a fixed split.
    """
    if labels.owners:
        return dict(labels.owners)
    if config.splits is not None:
        (split,) = splits
        return {s: part for part in PARTS for s in getattr(split, part)}
    if config.site is not None:
        return sites_of(config.site, labels, participants)
    return {}
