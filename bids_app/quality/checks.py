"""Quality of one scan: numbers of its arrays, and flags where a number is out of bounds.

Whether series stand in the order of their labels is told from correlations alone.

Flags warn, they never exclude. Formulas, thresholds and what they rest on: docs/quality.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.quality.measures import BY_KEY, GOOD_COVERAGE, MANY_PARCELS, MEASURES, ORDER
from model.networks import N_CORTEX, N_SUBCORTEX, NETWORKS, missing_networks, parcel_names, parcels

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

MIN_PAIRS = 50
"""With fewer mirror pairs present, their mean says too little."""

ROUNDING = 1e-9
"""What varies by less than this share of its magnitude does not vary."""

MODEL_ORDER = "model"
_HALF = N_CORTEX // 2
# Parcels of Vis, SomMot, DorsAttn, SalVentAttn, Limbic, Control, Default (with TempPar) in
# the left and the right half of Schaefer2018_400Parcels_17Networks_order.txt (CBIG, MIT).
_SCHAEFER_17 = ((24, 35, 26, 23, 12, 28, 52), (23, 35, 26, 28, 12, 33, 43))

CONSTANT = 1e-4
"""Spread over magnitude below which a parcel is constant; the least of 22,400 real ones: 9e-4."""
MEAN_LIMITS = (0.03, 4.0)
"""Mean over the median of the parcels' means: beyond, one parcel is enough."""
LOW_MEAN = 0.3
"""The same ratio: below is dropout in a few parcels, a fault in many."""
MIN_SAMPLES = 60
"""With fewer samples, correlations do not tell a wrong order (120 s at the model's rate)."""
DIGITS = 6
"""Decimals kept: the last bits of a correlation depend on the number of threads."""


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


def coverage_numbers(
    fraction: FloatArray, *, missing: BoolArray, in_atlas: BoolArray
) -> dict[str, Any]:
    """Summarize the (P,) share of voxels used; mean and minimum over parcels with a series.

    Parcels that the atlas lacks in this space are missing, but not of low coverage.
    """
    used = fraction[~missing]
    return {
        "n_missing_parcels": int(missing.sum()),
        "n_low_coverage_parcels": int((in_atlas & (fraction < GOOD_COVERAGE)).sum()),
        "coverage_mean": _rounded(used.mean()),
        "coverage_min": _rounded(used.min()),
    }


def motion_numbers(fd_mm: FloatArray, std_dvars: FloatArray) -> dict[str, Any]:
    """Summarize (T,) framewise displacement and DVARS; what is NaN throughout is left out."""
    numbers = {}
    if not np.isnan(fd_mm).all():
        numbers = {"mean_fd": _rounded(np.nanmean(fd_mm)), "max_fd": _rounded(np.nanmax(fd_mm))}
    if not np.isnan(std_dvars).all():
        numbers["mean_std_dvars"] = _rounded(np.nanmean(std_dvars))
    return numbers


def parcel_numbers(extracted: FloatArray, *, lost: BoolArray) -> dict[str, Any]:
    """Look for faults of extraction in (T, P) series before denoising.

    Parameters
    ----------
    extracted
        Parcel means as in the image, without the dropped volumes; NaN columns are missing.
    lost
        (P,) true where denoising or normalization found nothing to keep.

    Returns
    -------
    ``n_constant_parcels``, ``n_implausible_parcels``, and, where the series have a level to
    compare with (their mean was not removed), ``tsnr``.
    """
    present = np.isfinite(extracted).all(axis=0)
    values = extracted[:, present]
    mean, std = values.mean(axis=0), values.std(axis=0)
    constant = (std <= CONSTANT * np.abs(values).max(axis=0)) | lost[present]
    implausible = _repeated(values) & ~constant
    numbers: dict[str, Any] = {"n_constant_parcels": int(constant.sum())}
    level = float(np.median(mean))
    if level > np.median(std):
        implausible |= _far_from(level, mean)
        measured = (mean > 0) & ~constant
        if measured.any():
            numbers["tsnr"] = _rounded(np.median(mean[measured] / std[measured]))
    return numbers | {"n_implausible_parcels": int(implausible.sum())}


def place_numbers(mirror_margin: float | None) -> dict[str, Any]:
    """Return ``mirror_margin`` (`bids_app.images.nifti_parcels`); empty without a comparison."""
    return {} if mirror_margin is None else {"mirror_margin": _rounded(mirror_margin)}


def order_numbers(model_series: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Summarize `order_evidence` of (T, P) series; empty where too few parcels are present."""
    evidence = order_evidence(model_series)
    if evidence is None:
        return {}
    return {
        "homotopic_correlation": _rounded(evidence.homotopic_correlation),
        "network_contrast": _rounded(evidence.network_contrast),
        "order_margin": _rounded(evidence.margin),
        "best_order": evidence.best_order,
    }


def flags(
    numbers: Mapping[str, Any],
    *,
    n_samples: int,
    missing: BoolArray,
    in_atlas: BoolArray,
    without_signal: str = "",
) -> dict[str, str]:
    """Say what a user should look at before using the scan.

    Parameters
    ----------
    numbers
        Of the functions above, and the scan's ``duration`` (s), ``interpolated_fraction``,
        ``degrees_of_freedom``, ``mask`` and ``tr_source``. What is absent raises no flag.
    n_samples
        Samples of the model series.
    missing
        (P,) true where a parcel has no series.
    in_atlas
        (P,) false where the atlas lacks the parcel in this space, which is no fault of the scan.
    without_signal
        Which frames hold no signal, and why, in words; empty where all do.

    Returns
    -------
    Text by code; empty for a scan without remark.
    """
    told_alone = [one for one in MEASURES if one.text and one.key not in ORDER]
    found = [(one.flag, one.exceeded(numbers)) for one in told_alone]
    found.append(("frames_without_signal", without_signal))
    found.append(("low_coverage", _coverage_text(numbers, missing, in_atlas)))
    if n_samples >= MIN_SAMPLES:
        found.append(("wrong_order", _order_text(numbers)))
    if numbers.get("mask") == "derived":
        found.append(("derived_mask", "no brain mask was found; it was derived from the data"))
    if numbers.get("tr_source", "").endswith("header"):
        text = f"repetition time from the {numbers['tr_source']} alone, no sidecar confirms it"
        found.append(("tr_from_header", text))
    if numbers.get("tr_source", "").startswith("sidecar ("):
        text = f"repetition time corrected: {numbers['tr_source']} is taken"
        found.append(("tr_corrected", text))
    texts: dict[str, str] = {}
    for code, text in sorted(found):
        if text:
            texts[code] = f"{texts[code]}; {text}" if code in texts else text
    return texts


def _far_from(level: float, mean: FloatArray) -> BoolArray:
    """(P,) true where a mean cannot be that of a parcel beside the others."""
    low, high = MEAN_LIMITS
    far = (mean < low * level) | (mean > high * level)
    dim = mean < LOW_MEAN * level
    return np.asarray(far | dim if dim.mean() > MANY_PARCELS else far)


def _repeated(values: FloatArray) -> BoolArray:
    """(P,) true where another column of (T, P) is the same throughout."""
    _, group, count = np.unique(values, axis=1, return_inverse=True, return_counts=True)
    return np.asarray(count[group.ravel()] > 1)


def _coverage_text(numbers: Mapping[str, Any], missing: BoolArray, in_atlas: BoolArray) -> str:
    count, of = numbers["n_low_coverage_parcels"], int(in_atlas.sum())
    texts = []
    if count > MANY_PARCELS * of:
        texts.append(f"{count} of {of} parcels have less than {GOOD_COVERAGE:.0%} of their voxels")
    lost = missing_networks(missing & in_atlas)
    if lost.any():
        names = ", ".join(name for name, gone in zip(NETWORKS, lost, strict=True) if gone)
        texts.append(f"networks without signal in most of their parcels: {names}")
    return "; ".join(texts)


def _order_text(numbers: Mapping[str, Any]) -> str:
    texts = [BY_KEY[key].exceeded(numbers) for key in ORDER]
    best = numbers.get("best_order", MODEL_ORDER)
    if best != MODEL_ORDER:
        texts.append(f"networks fit better in the order {best} than in the model's")
    return "; ".join(text for text in texts if text)


def _rounded(value: np.floating[Any] | float) -> float:
    return round(float(value), DIGITS)
