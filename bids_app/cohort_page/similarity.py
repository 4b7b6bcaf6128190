"""How alike the embeddings of a cohort are: arrays in, arrays out; never all pairs at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

ROWS_AT_ONCE = 1024
"""Of the matrix of similarities, of which there is never more in memory."""
LEAST_OF_A_TASK = 5
"""Scans of a task from which on its mean is taken off: of fewer, it is theirs."""
LEAST_SCANS = 3
"""Of two, each is the mean's other side: their similarity is -1 whatever they are."""
_MOST_COUNTED = 1500
"""Scans among which the pairs of different people are counted: a million pairs say enough."""
_FEW_BINS, _MANY_BINS, _MANY_PAIRS = 24, 60, 500
"""Of a histogram: few where the rarest kind has fewer pairs than many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """Of each row, how alike it is to its own person's other rows and to everybody else's."""

    own: FloatArray
    """(n,) the highest similarity to another row of the same person; NaN where there is none"""
    own_row: IntArray
    other: FloatArray
    """(n,) the highest similarity to a row of somebody else; NaN where there is nobody else"""
    other_row: IntArray

    __repr__ = shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """Similarities of pairs of one kind."""

    n_pairs: int
    quartiles: tuple[float, float, float]
    shares: FloatArray
    """(bins,) share of the pairs in each"""

    __repr__ = shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """Similarities within and between people."""

    edges: FloatArray
    """(bins + 1,)"""
    kinds: dict[str, Kind]
    """``repeats`` (same person and session), ``sessions`` (same person), ``people`` (different);
    those of which there are pairs"""

    __repr__ = shown


def coded(labels: Sequence[object]) -> IntArray:
    """Return (n,) a number for each label: equal where the labels are.

    Examples
    --------
    >>> coded(["b", "a", "b"]).tolist()
    [1, 0, 1]
    """
    _, codes = np.unique([str(label) for label in labels], return_inverse=True)
    return codes.ravel()


def centred(vectors: FloatArray, tasks: IntArray | None = None) -> Float32Array:
    """Take the cohort's mean off (n, F) embeddings: what is left is what tells scans apart.

    Columns keep their spread: scaled to one, those that hold little but noise count as much as
    the others, and sessions of one person are not found any more.

    Parameters
    ----------
    vectors
        Embeddings; NaN where a network is missing, which becomes the mean.
    tasks
        (n,) the task of each row: the mean of each with `LEAST_OF_A_TASK` rows is taken off, so
        that people are compared and not what they did.
    """
    rows = np.array(vectors, dtype=np.float32)
    known = np.isfinite(rows)
    rows[~known] = 0
    groups = [np.arange(len(rows))]
    if tasks is not None:
        groups += [its for its in _alike(tasks) if len(its) >= LEAST_OF_A_TASK]
    for its in groups:
        _take_mean_off(rows, known, its)
    return rows


def _take_mean_off(rows: Float32Array, known: BoolArray, its: IntArray) -> None:
    """Take the mean of some rows off them, in place; what is not known becomes zero."""
    blocks = [its[start : start + ROWS_AT_ONCE] for start in range(0, len(its), ROWS_AT_ONCE)]
    total, count = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for block in blocks:
        total += rows[block].sum(axis=0, dtype=np.float64)
        count += known[block].sum(axis=0)
    mean = (total / np.maximum(count, 1)).astype(np.float32)
    for block in blocks:
        rows[block] = np.where(known[block], rows[block] - mean, 0)


def unit_rows(rows: FloatArray) -> Float32Array:
    """Scale (n, F) rows to length one; one of nothing but zeros stays as it is."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), dtype=np.float32)


def neighbours(rows: Float32Array, people: IntArray) -> Neighbours:
    """Find the nearest rows of the same person and of others, by the cosine of (n, F) unit rows.

    Parameters
    ----------
    people
        (n,) whose row each is.
    """
    n = len(rows)
    own, other = np.full(n, np.nan), np.full(n, np.nan)
    own_row, other_row = np.zeros(n, np.intp), np.zeros(n, np.intp)
    for block, similarity in _blocks(rows):
        here = np.arange(block.start, block.stop)
        same = people[block, None] == people[None, :]
        _highest(similarity, ~same, other[block], other_row[block])
        same[np.arange(len(here)), here] = False
        _highest(similarity, same, own[block], own_row[block])
    return Neighbours(own=own, own_row=own_row, other=other, other_row=other_row)


def usual(rows: Float32Array, people: IntArray) -> FloatArray:
    """Return (n,) the mean similarity of (n, F) unit rows to the rows of everybody else.

    NaN where there is nobody else.

    Notes
    -----
    The mean of products is the product with the mean: no pair is looked at.
    """
    found, whole = np.full(len(rows), np.nan), rows.sum(axis=0, dtype=np.float64)
    for its in _alike(people):
        if n_others := len(rows) - len(its):
            others = whole - rows[its].sum(axis=0, dtype=np.float64)
            found[its] = rows[its] @ others / n_others
    return found


def _alike(codes: IntArray) -> list[IntArray]:
    """Return the places of each code: of each person's rows, or each task's."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _blocks(rows: Float32Array) -> Iterator[tuple[slice, Float32Array]]:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = slice(start, min(start + ROWS_AT_ONCE, len(rows)))
        yield block, rows[block] @ rows.T


def _highest(similarity: Float32Array, among: BoolArray, value: FloatArray, row: IntArray) -> None:
    """Write the highest similarity of each row among some columns, and where it is."""
    masked = np.where(among, similarity, -np.inf)
    row[:] = masked.argmax(axis=1)
    found = masked[np.arange(len(masked)), row]
    value[:] = np.where(np.isfinite(found), found, np.nan)


def spread(rows: Float32Array, people: IntArray, sessions: IntArray) -> Spread:
    """Count the similarities of (n, F) unit rows within and between people.

    Parameters
    ----------
    people, sessions
        (n,) whose row each is, and of which session.

    Notes
    -----
    All pairs within people count; of pairs of different people those among some 1,500 rows that
    are evenly spread, where there are more.
    """
    within = [_pairs_within(rows, its) for its in _alike(people)]
    first, second, value = (np.concatenate(part) for part in zip(*within, strict=True))
    again = sessions[first] == sessions[second]
    found = {"repeats": value[again], "sessions": value[~again], "people": _between(rows, people)}
    found = {kind: values for kind, values in found.items() if len(values)}
    if not found:
        return Spread(edges=np.linspace(-1, 1, _FEW_BINS + 1), kinds={})
    n_bins = _MANY_BINS if min(map(len, found.values())) >= _MANY_PAIRS else _FEW_BINS
    low = min(float(values.min()) for values in found.values())
    high = max(float(values.max()) for values in found.values())
    edges = np.linspace(low, max(high, low + 0.01), n_bins + 1)
    return Spread(edges=edges, kinds={name: _kind(v, edges) for name, v in found.items()})


def _pairs_within(rows: Float32Array, of: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    first, second = np.triu_indices(len(of), 1)
    first, second = of[first], of[second]
    return first, second, np.einsum("if,if->i", rows[first], rows[second]).astype(np.float64)


def _between(rows: Float32Array, people: IntArray) -> FloatArray:
    step = -(-len(rows) // _MOST_COUNTED)
    some, whose = rows[::step], people[::step]
    first, second = np.triu_indices(len(some), 1)
    similarity = np.asarray(some @ some.T)[first, second]
    return np.asarray(similarity[whose[first] != whose[second]], dtype=np.float64)


def _kind(values: FloatArray, edges: FloatArray) -> Kind:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return Kind(
        n_pairs=len(values),
        quartiles=(float(low), float(middle), float(high)),
        shares=counts / len(values),
    )


def same_data(vectors: FloatArray) -> list[list[int]]:
    """Group the rows of (n, F) vectors that are equal throughout: one scan under several names."""
    rows: dict[bytes, list[int]] = {}
    for place, vector in enumerate(np.ascontiguousarray(vectors, dtype=np.float32)):
        rows.setdefault(hashlib.sha256(vector).digest(), []).append(place)
    return [places for places in rows.values() if len(places) > 1]
