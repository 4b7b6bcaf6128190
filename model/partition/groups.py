"""A group of parcels and its tokens; the rows of the token grid, and which of them have data."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt

from model.errors import ConfigError, some
from model.files.settings import Limits, Strict
from model.networks import NETWORKS, network_columns, parcel_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Tokens = Annotated[int, Limits(1, 1024, "from 1 to 1024")]

NAME = r"[A-Za-z][A-Za-z0-9]*"
"""Pattern of the names of groups and rows."""
MOST_ROWS = 4096
"""Of a grid; a card or a table that has more is damaged."""
_RESERVED = ("mean", "cls", "networks")
"""Parts of an embedding that are no rows."""
_SHORT = re.compile(r"short\d*", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")
_EXAMPLE = 'numbers and ranges such as "1-31 201-230"'


@dataclass(frozen=True, repr=False)
class Group(Strict):
    """Parcels that become tokens together.

    Examples
    --------
    >>> group = Group("Three", "1-2 401")
    >>> group.parcels
    (0, 1, 400)
    >>> group
    Group('Three', '1-2 401', tokens=1)
    """

    name: str
    """Letters and digits: it begins columns and stands in names of files."""
    parcels: tuple[int, ...]
    """0-based columns of ``model/data/parcels.tsv``, ascending. A text of 1-based numbers and
    ranges may stand for them, as in a card."""
    tokens: Tokens = 1
    """Tokens of each patch, each with weights of its own, all of all the group's parcels."""

    def __post_init__(self) -> None:
        if isinstance(self.parcels, str):
            object.__setattr__(self, "parcels", _columns(self.parcels))
        super().__post_init__()
        reserved = self.name.lower() in _RESERVED or is_short(self.name)
        if not re.fullmatch(NAME, self.name) or reserved:
            raise ConfigError(
                f"group {self.name!r:.80}: expected a name of letters and digits, a letter first, "
                f"that is none of {', '.join(_RESERVED)}, short, short1, ..."
            )
        n_parcels = len(parcel_names())
        is_sorted = all(a < b for a, b in pairwise(self.parcels))
        if (
            not self.parcels
            or not is_sorted
            or not 0 <= self.parcels[0] <= self.parcels[-1] < (n_parcels)
        ):
            raise ConfigError(
                f"group {self.name}: expected one or more of the parcels 1 to {n_parcels} in "
                f"their order, each once, found {ranges(self.parcels) or 'none'!s:.80}."
            )

    def __repr__(self) -> str:
        return f"Group({self.name!r}, {ranges(self.parcels)!r}, tokens={self.tokens})"

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of its rows in the grid: its own, numbered where there are several."""
        if self.tokens == 1:
            return (self.name,)
        return tuple(f"{self.name}{i}" for i in range(1, self.tokens + 1))

    def to_dict(self) -> dict[str, Any]:
        """Return the group as a card holds it."""
        return super().to_dict() | {"parcels": ranges(self.parcels)}


def is_short(part: str) -> bool:
    """Tell whether a part of an embedding is of its short form, which no group may be called."""
    return _SHORT.fullmatch(part) is not None


def ranges(columns: Sequence[int]) -> str:
    """Write 0-based columns as 1-based numbers and ranges.

    Examples
    --------
    >>> ranges([0, 1, 2, 9])
    '1-3 10'
    """
    pieces: list[list[int]] = []
    for column in columns:
        if pieces and column == pieces[-1][1] + 1:
            pieces[-1][1] = column
        else:
            pieces.append([column, column])
    return " ".join(str(a + 1) if a == b else f"{a + 1}-{b + 1}" for a, b in pieces)


def _columns(text: str) -> tuple[int, ...]:
    """Read what `ranges` writes."""
    columns: list[int] = []
    for piece in text.split(" "):
        found = _RANGE.fullmatch(piece)
        if found is None:
            raise ConfigError(f"parcels {text!r:.80}: expected {_EXAMPLE}, found {piece!r:.20}.")
        first = int(found[1])
        columns += range(first - 1, int(found[2] or first))
    if ranges(columns) != text:
        raise ConfigError(
            f"parcels {text!r:.80}: expected {_EXAMPLE}, from the smallest to the largest, as few "
            "as there can be."
        )
    return tuple(columns)


def check_groups(groups: Sequence[Group]) -> None:
    """Refuse groups that cannot stand side by side in one grid.

    Raises
    ------
    ConfigError
        There is none, or more rows than any grid has, or two rows would have one name.
    """
    if not groups:
        raise ConfigError("groups (): expected one or more.")
    n_rows = sum(group.tokens for group in groups)
    if n_rows > MOST_ROWS:
        raise ConfigError(f"groups: expected at most {MOST_ROWS} rows of tokens, found {n_rows}.")
    # Upper and lower case are one on some file systems.
    counted = Counter(row.casefold() for group in groups for row in group.rows)
    twice = sorted({r for g in groups for r in g.rows if counted[r.casefold()] > 1})
    if twice:
        raise ConfigError(
            f"groups: two rows of the grid would be called {some(twice)}.",
            hint="Each group needs a name of its own; where it has several tokens, its rows are "
            "the name with 1, 2, ...",
        )


def row_names(groups: Iterable[Group]) -> tuple[str, ...]:
    """Return the names of the grid's rows (N,)."""
    return tuple(row for group in groups for row in group.rows)


def summary(groups: tuple[Group, ...]) -> str:
    """Name groups for a message, such as ``the nine networks, Brain x 7``."""
    n = len(NETWORK_GROUPS)
    is_led = groups[:n] == NETWORK_GROUPS
    others = groups[n:] if is_led else groups
    told = [g.name if g.tokens == 1 else f"{g.name} x {g.tokens}" for g in others]
    return some(["the nine networks", *told] if is_led else told)


def differences(found: tuple[Group, ...], wanted: tuple[Group, ...]) -> str:
    """Say how groups differ from others that were expected."""
    if [(g.name, g.tokens) for g in found] != [(g.name, g.tokens) for g in wanted]:
        return f"found {summary(found)}, expected {summary(wanted)}"
    pairs = zip(found, wanted, strict=True)
    return f"other parcels in {some([one.name for one, other in pairs if one != other])}"


def missing_rows(
    groups: tuple[Group, ...], missing: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Tell which rows lack more than half of their group's parcels.

    Parameters
    ----------
    groups
        Those of the grid.
    missing
        (..., P) true where a parcel has no signal.

    Returns
    -------
    (..., N) true where the row's tokens must be masked. For the nine networks what
    `model.networks.missing_networks` tells.
    """
    held = members(groups)
    lost: npt.NDArray[np.bool_] = 2 * (missing @ held.T) > held.sum(axis=1)
    return lost


@cache
def members(groups: tuple[Group, ...]) -> npt.NDArray[np.float32]:
    """(N, P) one where a parcel is of a row's group, else zero."""
    held = np.zeros((len(groups), len(parcel_names())), np.float32)
    for row, group in zip(held, groups, strict=True):
        row[list(group.parcels)] = 1
    return np.repeat(held, [group.tokens for group in groups], axis=0)


NETWORK_GROUPS = tuple(Group(n, tuple(network_columns(n).tolist())) for n in NETWORKS)
"""The published partition: one token for each of the nine networks."""


def network_shares(groups: tuple[Group, ...]) -> npt.NDArray[np.float32]:
    """(N, 9) share of each row's parcels that are of each network; rows sum to 1."""
    held = members(groups)
    shares: npt.NDArray[np.float32] = held @ members(NETWORK_GROUPS).T
    shares /= held.sum(axis=1, keepdims=True)
    return shares
