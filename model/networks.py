"""The 457 parcels and nine networks: the model's order, and what lost parcels are guessed from."""

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

N_CORTEX, N_SUBCORTEX, N_CEREBELLUM = 400, 50, 7
"""Parcels of Schaefer-400, Tian S3 and Buckner-7, which stand in this sequence."""


Float64Array = npt.NDArray[np.float64]
NETWORK_CORRELATION = 0.10
"""Of any two parcels of a network ..."""
NEAR_CORRELATION = 0.20
"""... and more between near ones, ..."""
REACH_PARCELS = 8.0
"""... decaying by e over this distance. Rounded averages over the STAGES development scans
(docs/preprocessing.md): .30 at distance 0 and 1, .16 at 15."""
MEASURED_SHRINKAGE = 0.1
"""Of the measured correlations, towards none."""


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
    """Return the 0-based columns (n,) of a network's parcels, ascending."""
    if network not in NETWORKS:
        msg = f"unknown network {network!r}; one of {', '.join(NETWORKS)}"
        raise ValueError(msg)
    return np.array(_columns(network), dtype=np.intp)


@cache
def _columns(network: str) -> tuple[int, ...]:
    return tuple(p.index - 1 for p in parcels() if p.network == network)


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


@cache
def parcel_places() -> Float64Array:
    """(P,) place of each parcel in its network and hemisphere, or of its homotope."""
    table = parcels()
    homotope = {p.name: p.index - 1 for p in table}
    position = np.zeros(len(table))
    for network in NETWORKS:
        columns = network_columns(network)
        for side in "LRB":
            block = [c for c in columns if table[c].hemisphere == side]
            position[block] = np.arange(len(block))
    for parcel in table:
        twin = parcel.name.replace("_RH_", "_LH_").replace("-rh", "-lh")
        if parcel.hemisphere == "R" and twin in homotope:
            position[parcel.index - 1] = position[homotope[twin]]
    return position


@cache
def expected_correlation(network: str) -> Float64Array:
    """(n, n) correlation of a network's parcels, before anything of a scan is known.

    As measured in people, a little shrunk (``model/data/correlation.npz``); of subcortex and
    cerebellum, of which there are none that may be used, by their places: docs/preprocessing.md.
    """
    measured = _measured_correlation()
    if network in measured:
        correlation = (1 - MEASURED_SHRINKAGE) * measured[network]
    else:
        place = parcel_places()[network_columns(network)]
        distance = np.abs(place[:, None] - place[None, :])
        correlation = NETWORK_CORRELATION + NEAR_CORRELATION * np.exp(-distance / REACH_PARCELS)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)


@cache
def _measured_correlation() -> dict[str, Float64Array]:
    with (
        files("model").joinpath("data/correlation.npz").open("rb") as stored,
        np.load(stored) as file,
    ):
        return {name: file[name].astype(np.float64) for name in file.files}


def predict_missing(
    values: npt.NDArray[np.floating], missing: npt.NDArray[np.bool_]
) -> Float64Array:
    """Put the best linear guess from the rest of its network where a parcel is missing.

    Parameters
    ----------
    values
        (T, P) normalized series.
    missing
        (P,) true where a parcel has no series.

    Returns
    -------
    (T, P) finite series. A guess is smaller than a real series: two fifths of the variance can
    be guessed in cortex. In networks that count as missing (more than half of their parcels)
    nothing is guessed and zeros stand, for their tokens are masked.
    """
    filled = np.where(missing, 0.0, values.astype(np.float64))
    for network, masked in zip(NETWORKS, missing_networks(missing), strict=True):
        columns = network_columns(network)
        lost, there = columns[missing[columns]], columns[~missing[columns]]
        if lost.size and not masked:
            here = ~missing[columns]
            expected = expected_correlation(network)
            weights = np.linalg.solve(expected[np.ix_(here, here)], expected[np.ix_(here, ~here)])
            filled[:, lost] = filled[:, there] @ weights
    return filled
