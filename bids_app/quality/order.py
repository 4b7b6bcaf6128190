"""Do the series stand in the order of their labels? Evidence from correlations alone.

Thresholds and what they were measured on are in docs/quality.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from model.networks import N_CORTEX, N_SUBCORTEX, NETWORKS, parcel_names, parcels

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

MIN_PAIRS = 50
"""With fewer mirror pairs present, their mean says too little."""

ROUNDING = 1e-9
"""What varies by less than this share of its magnitude does not vary."""

MODEL_ORDER = "model"
_HALF = N_CORTEX // 2
# Parcels of Vis, SomMot, DorsAttn, SalVentAttn, Limbic, Control, Default (with TempPar) in
# the left and the right half of Schaefer2018_400Parcels_17Networks_order.txt (CBIG, MIT).
_SCHAEFER_17 = ((24, 35, 26, 23, 12, 28, 52), (23, 35, 26, 28, 12, 33, 43))


@dataclass(frozen=True, kw_only=True)
class OrderEvidence:
    """How well correlations agree with the labels, mean signal removed; docs/quality.md."""

    homotopic_correlation: float
    """Mean over pairs of parcels whose names mirror one another."""
    network_contrast: float
    """Mean correlation within networks minus that between networks."""
    best_order: str
    """Which known order has the largest contrast: ``model``, or the name of another."""
    margin: float
    """Contrast in the model's order minus the largest in another one."""


@cache
def mirror_pairs() -> IntArray:
    """Return (K, 2) columns of parcels, left and right, whose names mirror one another.

    184 of the 457: 159 of 200 in cortex, since Schaefer parcels were not made symmetric and
    some areas have more parcels on one side, and all 25 of the subcortex.
    """
    columns = {name: column for column, name in enumerate(parcel_names())}
    mirrored = (
        (column, columns.get(name.replace("_LH_", "_RH_").replace("-lh", "-rh")))
        for name, column in columns.items()
        if "_LH_" in name or name.endswith("-lh")
    )
    return np.array([(left, right) for left, right in mirrored if right is not None])


def order_evidence(values: FloatArray) -> OrderEvidence | None:
    """Compare the correlations of (T, P) series with what their labels let expect.

    Parameters
    ----------
    values
        Series in the model's order, any unit; NaN columns are missing.

    Returns
    -------
    None where fewer than `MIN_PAIRS` mirror pairs, or fewer than three frames, are present.

    Notes
    -----
    The mean over parcels is regressed out first: with it, correlations say more about the
    denoising (with or without a global-signal step) than about the order.
    """
    r = _correlation(_without_mean_signal(np.asarray(values, dtype=np.float64)))
    left, right = mirror_pairs().T
    homotopic = r[left, right]
    if np.isfinite(homotopic).sum() < MIN_PAIRS or len(values) < 3:
        return None
    contrast = {name: network_contrast(r, labels) for name, labels in known_orders().items()}
    own = contrast.pop(MODEL_ORDER)
    rival = max(contrast, key=contrast.__getitem__)
    return OrderEvidence(
        homotopic_correlation=float(np.nanmean(homotopic)),
        network_contrast=own,
        best_order=MODEL_ORDER if own >= contrast[rival] else rival,
        margin=own - contrast[rival],
    )


def network_contrast(r: Float64Array, labels: IntArray) -> float:
    """Average (P, P) correlations within networks, minus between them; the diagonal is NaN."""
    same = labels[:, None] == labels[None, :]
    known = np.isfinite(r)
    return float(r[same & known].mean() - r[~same & known].mean())


@cache
def known_orders() -> dict[str, IntArray]:
    """Return (P,) the network of each column, were the series in this or that order.

    Orders in which such series are published, and which have as many columns: Schaefer's
    17-network order, Tian's merged files (subcortex first), the right hemisphere first, and
    left and right parcels in turns.
    """
    model = np.array([NETWORKS.index(parcel.network) for parcel in parcels()], dtype=np.intp)
    cortex, subcortex = model[:N_CORTEX], model[N_CORTEX : N_CORTEX + N_SUBCORTEX]
    rest = model[N_CORTEX:]
    halves = [np.repeat(np.arange(len(lengths)), lengths) for lengths in _SCHAEFER_17]
    return {
        MODEL_ORDER: model,
        "schaefer_17_networks": np.concatenate([*halves, rest]),
        "subcortex_first": np.concatenate([subcortex, cortex, model[N_CORTEX + N_SUBCORTEX :]]),
        "right_first": np.concatenate([cortex[_HALF:], cortex[:_HALF], rest]),
        "left_right_in_turns": np.concatenate([cortex.reshape(2, _HALF).T.ravel(), rest]),
    }


def _without_mean_signal(values: Float64Array) -> Float64Array:
    """Centre (T, P), scale to unit norm, regress out the mean over parcels."""
    scaled = _unit(values)
    present = np.isfinite(scaled).all(axis=0)
    mean = scaled[:, present].sum(axis=1)
    power = mean @ mean
    return scaled - np.outer(mean, mean @ scaled) / power if power > 0 else scaled


def _correlation(values: Float64Array) -> Float64Array:
    """(P, P) correlations; NaN on the diagonal and where a parcel is missing or constant."""
    unit = _unit(values)
    r = unit.T @ unit
    np.fill_diagonal(r, np.nan)
    return np.asarray(r)


def _unit(values: Float64Array) -> Float64Array:
    """Centre the columns of (T, P) and scale them to unit norm; NaN where they are constant."""
    centred = values - values.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    varies = norm > ROUNDING * np.abs(values).max(axis=0, initial=0.0)
    unit: Float64Array = np.full_like(centred, np.nan)
    np.divide(centred, norm, out=unit, where=varies)
    return unit
