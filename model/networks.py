"""The 457 parcels and the nine networks: the model's order, read from one table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

NETWORKS = (
    "Vis",
    "SomMot",
    "DorsAttn",
    "SalVentAttn",
    "Limbic",
    "Control",
    "Default",
    "Subcortical",
    "Cerebellum",
)
"""Networks in the order of the token grid (Yeo 7, Tian subcortex, Buckner cerebellum)."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One row of the label table."""

    index: int
    name: str
    network: str
    hemisphere: str
    """``L``, ``R``, or ``B`` for both."""


@cache
def parcels() -> tuple[Parcel, ...]:
    """Return the 457 parcels in model order.

    Schaefer-400 in 7-network order (1-400), Tian S3 subcortex (401-450, right hemisphere
    first, as its authors number it), Buckner-7 cerebellum (451-457).
    """
    with files("model").joinpath("data/parcels.tsv").open(encoding="utf-8") as table:
        return tuple(
            Parcel(
                index=int(row["index"]),
                name=row["name"],
                network=row["network"],
                hemisphere=row["hemisphere"],
            )
            for row in csv.DictReader(table, delimiter="\t")
        )


@cache
def parcel_names() -> tuple[str, ...]:
    """Return the names of the 457 parcels in model order."""
    return tuple(parcel.name for parcel in parcels())


def network_columns(network: str) -> npt.NDArray[np.intp]:
    """Return the 0-based columns of a network's parcels, ascending."""
    if network not in NETWORKS:
        msg = f"unknown network {network!r}; one of {', '.join(NETWORKS)}"
        raise ValueError(msg)
    return np.array([p.index - 1 for p in parcels() if p.network == network], dtype=np.intp)


def missing_networks(missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell which networks lack more than half of their parcels.

    Parameters
    ----------
    missing
        (P,) true where a parcel has no signal.

    Returns
    -------
    (N,) true where the network's tokens must be masked.
    """
    return np.array([missing[network_columns(n)].mean() > 0.5 for n in NETWORKS])
