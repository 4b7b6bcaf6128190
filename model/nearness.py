"""What parcels have in common by their place in the label table, and what that says of lost ones.

No atlas geometry enters: nearness is distance in the table's order within network and
hemisphere, and homotopic parcels (same name, other hemisphere) share a place.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from model.networks import NETWORKS, missing_networks, network_columns, parcels

Float64Array = npt.NDArray[np.float64]

NETWORK_CORRELATION = 0.10
"""Of any two parcels of a network ..."""
NEAR_CORRELATION = 0.20
"""... and more between near ones, ..."""
REACH_PARCELS = 8.0
"""... decaying by e over this distance. Rounded averages over the STAGES development scans
(docs/robustness.md): .30 at distance 0 and 1, .16 at 15."""


@cache
def positions() -> Float64Array:
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
    """(n, n) correlation that a network's parcels have by their places alone."""
    place = positions()[network_columns(network)]
    distance = np.abs(place[:, None] - place[None, :])
    correlation = NETWORK_CORRELATION + NEAR_CORRELATION * np.exp(-distance / REACH_PARCELS)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)


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
    (T, P) finite series. A guess is smaller than a real series: about a fifth of the variance
    can be guessed. In networks that count as missing (more than half of their parcels) nothing
    is guessed and zeros stand, for their tokens are masked.
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
