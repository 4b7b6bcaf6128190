"""Rows of features, each with its subject and scan, and what is learned from some of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.errors import SemantoksError, some
from model.probing.splits import LeakError
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from model.probing.participants import Labels

FloatArray = npt.NDArray[np.float32]


class ProbeError(SemantoksError):
    """Features cannot be probed, or a fit did not succeed."""


class UndefinedError(ProbeError):
    """The subjects to be scored do not allow it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """What is classified: crops, scans or connectivity matrices."""

    values: FloatArray
    """(S, ...) features; the first axis is samples"""
    subjects: tuple[str, ...]
    """(S,) whose each sample is"""
    scans: tuple[str, ...]
    """(S,) which scan it is of"""

    __repr__ = shown

    def of(self, subjects: Collection[str]) -> Samples:
        """Keep the samples of some subjects."""
        chosen = set(subjects)
        return self.rows([i for i, subject in enumerate(self.subjects) if subject in chosen])

    def rows(self, rows: Sequence[int]) -> Samples:
        """Keep some samples, by number."""
        rows = list(rows)
        return Samples(
            values=self.values[rows],
            subjects=tuple(self.subjects[i] for i in rows),
            scans=tuple(self.scans[i] for i in rows),
        )

    def keys(self, labels: Labels) -> tuple[str, ...]:
        """(S,) name by which each sample has its label: its subject, or its own."""
        return self.scans if labels.owners else self.subjects

    def per_scan(self) -> Samples:
        """Average the samples of each scan."""
        values, subjects, scans = average(self.values, self.scans), {}, []
        for subject, scan in zip(self.subjects, self.scans, strict=True):
            if scan not in subjects:
                scans.append(scan)
            subjects[scan] = subject
        return Samples(
            values=values.astype(np.float32),
            subjects=tuple(subjects[scan] for scan in scans),
            scans=tuple(scans),
        )

    def with_values(self, values: FloatArray) -> Samples:
        """Return the same samples with other features (S, ...)."""
        return replace(self, values=values)


def one_of_each(owners: Sequence[str], *, seed: int) -> list[int]:
    """Draw one of the rows (S,) of each owner, and return them in order."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {}
    for i, owner in enumerate(owners):
        rows.setdefault(owner, []).append(i)
    return sorted(int(rng.choice(rows[owner])) for owner in sorted(rows))


def average(values: npt.NDArray[np.floating], keys: Collection[str]) -> npt.NDArray[np.float64]:
    """Average the rows of (S, ...) with the same key; in order of the keys' first appearance."""
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    row = np.array([order[key] for key in keys])
    total = np.zeros((len(order), *values.shape[1:]))
    np.add.at(total, row, values)
    count: npt.NDArray[np.float64] = np.bincount(row).astype(np.float64)
    return total / count.reshape(-1, *[1] * (values.ndim - 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """A transformation or a predictor, with everybody who had a part in it."""

    apply: Callable[..., FloatArray]
    """Takes features (S, ...), and if ``by_subject`` also whose they are (S,)."""
    seen: frozenset[str]
    by_subject: bool = False

    def on(self, samples: Samples) -> FloatArray:
        """Apply to samples (S, ...), whoever they are of."""
        if self.by_subject:
            return self.apply(samples.values, samples.subjects)
        return self.apply(samples.values)

    def on_held_out(self, samples: Samples) -> FloatArray:
        """Apply to samples (S, ...) of subjects from whom nothing was learned.

        Raises
        ------
        LeakError
            It was scaled, selected or trained on some of them.
        """
        known = sorted(self.seen & set(samples.subjects))
        if known:
            raise LeakError(
                f"{len(known)} subjects to be scored had a part in what scores them: "
                f"{some(known)}.",
                hint="Learn scaling, selection and weights from the training subjects alone.",
            )
        return self.on(samples)


def refuse_copies(scans: Iterable[tuple[str, str, bytes]]) -> str:
    """Refuse the same data under the names of two subjects, who may be in two splits.

    Parameters
    ----------
    scans
        Subject, scan and content of each.

    Returns
    -------
    One hash of all contents, whatever the order.

    Raises
    ------
    LeakError
        Names the pairs.
    """
    owner: dict[str, tuple[str, str]] = {}
    copies = []
    for subject, scan, content in scans:
        digest = hashlib.sha256(content).hexdigest()
        first, first_scan = owner.setdefault(digest, (subject, scan))
        if first != subject:
            copies.append(f"{first_scan} and {scan}")
    if copies:
        raise LeakError(
            f"{len(copies)} scans of different subjects hold the same numbers: {some(copies)}.",
            hint="One scan under two names can be trained on and tested on: remove one of them.",
        )
    return hashlib.sha256("".join(sorted(owner)).encode()).hexdigest()
