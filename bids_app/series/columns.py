"""Which column of a foreign parcel series is which of the 457 parcels: certain, or refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError
from model.errors import some
from model.networks import N_CORTEX, N_SUBCORTEX, parcel_names
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IntArray = npt.NDArray[np.intp]

MIN_CORTICAL_NAMES = 301
"""Schaefer-100, -200 and -300 use names of Schaefer-400 for other parcels; with more names
than they have, it is none of them."""
PREFIX = "7Networks_"

_EXAMPLES = 3
_SCHAEFER = re.compile(
    r"(\d+Networks_)?[LR]H_(Vis|SomMot|DorsAttn|SalVentAttn|Limbic|Cont|Default|TempPar)"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mapping457:
    """Where each column of a series belongs."""

    target: IntArray
    """(C,) 0-based parcel of each column; -1: left out."""
    evidence: str
    """``names``, ``declared order <name>`` or ``HDF5 layout``"""
    ignored: tuple[str, ...] = ()
    """Names of the columns left out."""

    __repr__ = shown

    def spread(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Put (T, C) columns into (T, 457); parcels without a column are NaN."""
        used = self.target >= 0
        series = np.full((len(values), len(parcel_names())), np.nan)
        series[:, self.target[used]] = values[:, used]
        return series

    @property
    def provided(self) -> npt.NDArray[np.bool_]:
        """(457,) true where the series has a column for the parcel."""
        given = np.zeros(len(parcel_names()), dtype=bool)
        given[self.target[self.target >= 0]] = True
        return given


@cache
def declared_orders() -> Mapping[str, IntArray]:
    """Return the orders that can be declared: (C,) 0-based parcels by name of the order."""
    model = np.arange(len(parcel_names()))
    cortex, subcortex = model[:N_CORTEX], model[N_CORTEX : N_CORTEX + N_SUBCORTEX]
    return {
        "schaefer400x7": cortex,
        "schaefer400x7+tian50": model[: N_CORTEX + N_SUBCORTEX],
        "tian-first-450": np.concatenate([subcortex, cortex]),
        "semantoks457": model,
    }


def map_by_order(order: str | None, *, n_columns: int, where: str) -> Mapping457:
    """Map unnamed columns by the order that the user declares.

    Raises
    ------
    ScanError
        No order is declared, or it has another number of parcels.
    """
    if order is None:
        raise ScanError(
            f"{where}: {n_columns} columns without parcel names; which parcel is which "
            "cannot be told from the numbers.",
            hint=f"Declare it with --order {'|'.join(declared_orders())}.",
        )
    target = declared_orders()[order]
    if n_columns != len(target):
        raise ScanError(
            f"{where}: --order {order} means {len(target)} columns, found {n_columns}.",
            hint="Take out what is not a parcel of that order, or declare another one.",
        )
    return Mapping457(target=target, evidence=f"declared order {order}")


def map_by_name(
    names: Sequence[str], *, order: str | None, ignore_others: bool, where: str
) -> Mapping457:
    """Map columns by their names: those of ``parcels.tsv``, with or without ``7Networks_``.

    Parameters
    ----------
    names
        Header of the table.
    order
        A declared order; names are believed, so a contradiction is an error.
    ignore_others
        Leave out columns that are no parcel of the model, unless they are Schaefer's.
    where
        The file, for messages.

    Raises
    ------
    ScanError
        A name occurs twice, is unknown, or belongs to another Schaefer parcellation.
    """
    known = {name.removeprefix(PREFIX): i for i, name in enumerate(parcel_names())}
    target = np.array([known.get(name.removeprefix(PREFIX), -1) for name in names], dtype=np.intp)
    others = [name for name, parcel in zip(names, target, strict=True) if parcel < 0]
    _refuse_unknown(others, n_known=len(names) - len(others), ignore=ignore_others, where=where)
    found = target[target >= 0]
    values, counts = np.unique(found, return_counts=True)
    if (counts > 1).any():
        twice = [parcel_names()[i] for i in values[counts > 1]]
        raise ScanError(
            f"{where}: parcels with more than one column: {some(twice, most=_EXAMPLES)}."
        )
    n_cortical = int((found < N_CORTEX).sum())
    if 0 < n_cortical < MIN_CORTICAL_NAMES:
        raise ScanError(
            f"{where}: {n_cortical} cortical parcels by name; expected {N_CORTEX} (at least "
            f"{MIN_CORTICAL_NAMES}).",
            hint="Schaefer-100, -200 and -300 have the same names for other parcels. If these "
            "are of Schaefer-400, add the other columns with n/a.",
        )
    if order is not None and not np.array_equal(found, declared_orders()[order]):
        raise ScanError(
            f"{where}: the names of the columns contradict --order {order}.",
            hint="Named columns need no --order.",
        )
    return Mapping457(target=target, evidence="names", ignored=tuple(others))


def _refuse_unknown(others: Sequence[str], *, n_known: int, ignore: bool, where: str) -> None:
    schaefer = [name for name in others if _SCHAEFER.match(name)]
    if schaefer:
        raise ScanError(
            f"{where}: {len(schaefer)} columns are of another Schaefer parcellation than 400 "
            f"parcels in 7 networks: {some(schaefer, most=_EXAMPLES)}.",
            hint="17-network names and other numbers of parcels are other regions; extract "
            "again with Schaefer-400, 7 networks.",
        )
    if n_known == 0 or (others and not ignore):
        raise ScanError(
            f"{where}: {len(others)} columns are no parcel of the model: "
            f"{some([name or '(no name)' for name in others], most=_EXAMPLES)}.",
            hint="Names as in model/data/parcels.tsv, with or without 7Networks_. "
            + ("--ignore-other-columns leaves such columns out." if n_known else ""),
        )
