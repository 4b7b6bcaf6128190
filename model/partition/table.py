"""A partition of one's own, from a table: parcel, group, and tokens where there are several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.errors import ConfigError, some
from model.files.faults import faults_as
from model.files.tables import DELIMITERS, read_cells
from model.networks import parcel_names
from model.partition.groups import Group

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TABLES = tuple(DELIMITERS)
"""Endings of tables."""


def table_of(groups: Iterable[Group]) -> list[tuple[str, ...]]:
    """Return the header and the rows of the table that `read_groups` makes these groups of."""
    names = parcel_names()
    rows = [(names[c], g.name, str(g.tokens)) for g in groups for c in g.parcels]
    return [("parcel", "group", "tokens"), *rows]


def read_groups(path: Path) -> tuple[Group, ...]:
    """Read groups from a table, in the order in which it names them.

    Parameters
    ----------
    path
        ``.tsv`` or ``.csv`` with the columns ``parcel`` (a name of ``model/data/parcels.tsv``),
        ``group`` and, if wanted, ``tokens`` (of the group, on each of its rows). A parcel may
        be in several groups, on a row each, and in none.

    Raises
    ------
    ConfigError
        The table is absent, or names parcels that there are not, or contradicts itself.
    """
    with faults_as(ConfigError, what="not a readable partition"):
        header, cells = read_cells(path)
    lacking = [name for name in ("parcel", "group") if name not in header]
    unknown = [name for name in header if name not in ("parcel", "group", "tokens")]
    if lacking or unknown:
        raise ConfigError(
            f"{path}: expected the columns parcel, group and, if wanted, tokens, found "
            f"{some(header)}."
        )
    rows = [dict(zip(header, row, strict=True)) for row in cells]
    column = {name: i for i, name in enumerate(parcel_names())}
    strange = [row["parcel"] for row in rows if row["parcel"] not in column]
    if strange:
        raise ConfigError(
            f"{path}: {len(strange)} parcels that there are not: {some(strange, most=4)}.",
            hint="semantoks.parcel_names() has the 457 names.",
        )
    members: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        members.setdefault(row["group"], []).append(row)
    return tuple(_group(path, name, found, column) for name, found in members.items())


def _group(path: Path, name: str, rows: list[dict[str, str]], column: dict[str, int]) -> Group:
    tokens = {row.get("tokens", "1") for row in rows}
    parcels = sorted(column[row["parcel"]] for row in rows)
    if len(tokens) > 1 or not min(tokens).isdecimal():
        raise ConfigError(
            f"{path}: group {name:.80}: expected one number of tokens on all of its rows, found "
            f"{some(sorted(tokens), most=4)}."
        )
    try:
        return Group(name, tuple(parcels), int(min(tokens)))
    except ConfigError as err:
        raise ConfigError(f"{path}: {err.message}", hint=err.hint) from err
