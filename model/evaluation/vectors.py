"""Sets of vectors over the same rows, and the two levels at which they are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from model.series import shown
from model.statistics.pairing import EvaluationError, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = npt.NDArray[np.float64] | npt.NDArray[np.float32]
Level = Literal["scan", "window"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Vectors:
    """Several sets of vectors of the same scans or windows, such as an encoder's readouts."""

    keys: list[Key]
    """What each row is"""
    sets: Mapping[str, Array]
    """(R, D) by name; D differs from set to set"""

    __repr__ = shown

    def __post_init__(self) -> None:
        for name, values in self.sets.items():
            if values.ndim != 2 or len(values) != len(self.keys) or not np.isfinite(values).all():
                raise EvaluationError(
                    f"{name}: expected finite vectors for {len(self.keys)} rows, "
                    f"found an array of {values.shape}."
                )

    def chosen(self, keys: list[Key]) -> Vectors:
        """Return the rows of some keys, in their order."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        rows = [row_of[key] for key in keys]
        return Vectors(keys=keys, sets={name: v[rows] for name, v in self.sets.items()})


ByLevel = dict[Level, Vectors]


def side_by_side(first: Vectors, second: Vectors) -> Vectors:
    """Join the sets of two tables over the keys that both have.

    Raises
    ------
    EvaluationError
        They share no key, or a set's name.
    """
    have = set(second.keys)
    shared = [key for key in first.keys if key in have]
    if not shared:
        raise EvaluationError(
            f"expected the same subjects and sessions on both sides, found {first.keys[0]} on "
            f"one and {second.keys[0]} on the other.",
            hint="Labels must be equal to the letter.",
        )
    twice = sorted(first.sets.keys() & second.sets.keys())
    if twice:
        raise EvaluationError(f"two sets of vectors are called {', '.join(twice)}.")
    return Vectors(keys=shared, sets={**first.chosen(shared).sets, **second.chosen(shared).sets})


def one_below_other(first: Vectors, second: Vectors) -> Vectors:
    """Join the rows of two tables for the sets that both have, equally wide.

    Raises
    ------
    EvaluationError
        A set has another width on the other side.
    """
    names = [name for name in first.sets if name in second.sets]
    for name in names:
        widths = first.sets[name].shape[1], second.sets[name].shape[1]
        if widths[0] != widths[1]:
            raise EvaluationError(
                f"{name}: expected as many numbers on both sides, found {widths[0]} and "
                f"{widths[1]}.",
                hint="Only embeddings of one encoder, with the same networks, can be compared.",
            )
    return Vectors(
        keys=first.keys + second.keys,
        sets={n: np.concatenate([first.sets[n], second.sets[n]]) for n in names},
    )
