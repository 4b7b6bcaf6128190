"""What may happen to a scan and should not move its embedding. Pure functions of a series.

Each perturbation takes an unperturbed series and a generator, and returns another series.
Sizes are in standard deviations of the parcel. What is drawn differs from scan to scan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, irfft, rfft, rfftfreq

from model.despike import despike
from model.networks import NETWORKS, missing_networks, network_columns
from model.series import ParcelSeries

Array = npt.NDArray[np.float64]
Perturbation = Callable[[ParcelSeries, np.random.Generator], ParcelSeries]
SPIKE_SDS = (4.0, 20.0)
BURST_FRAMES = 3
"""Frames lost at a time: motion rarely costs a single one."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A perturbation with its name."""

    family: str
    name: str
    apply: Perturbation


def conditions() -> list[Condition]:
    """Return all perturbations of the study, in the order of its tables."""

    def rows(family: str, made: dict[str, Perturbation]) -> list[Condition]:
        return [Condition(family=family, name=n, apply=f) for n, f in made.items()]

    scopes: tuple[Literal["parcel", "scan"], ...] = ("parcel", "scan")
    units = {f"gain and offset per {s}": gain_and_offset(s) for s in scopes}
    shares = (0.5, 1, 2, 5)
    spiky = {f"{p:g} % spikes, whole frames": spikes(p / 100, together=True) for p in shares}
    spiky |= {f"{p:g} % spikes, each parcel": spikes(p / 100, together=False) for p in shares}
    before = spikes(0.02, together=True)
    filtered = {
        "band-passed again": then_band_pass(unchanged),
        "2 % spikes, band-passed": then_band_pass(before),
        "2 % spikes, despiked, band-passed": then_band_pass(then_despike(before)),
    }
    return [
        *rows("units", units),
        *rows("spikes", spiky),
        *rows("filter", filtered),
        *rows("drift", {f"linear drift, {s:g} sd": drift(s, periods=None) for s in (1, 3)}),
        *rows("drift", {"slow drift (one period), 1 sd": drift(1.0, periods=1.0)}),
        *rows(
            "missing",
            {f"{p} % of parcels lost": lose_parcels(p / 100) for p in (2, 5, 10)}
            | {"one network lost": lose_network},
        ),
        *rows("sampling", {f"TR {s:g} s": other_tr(s) for s in (0.72, 0.8, 1.5, 3.0)}),
        *rows("sampling", {f"first {s} s": first_seconds(s) for s in (100, 200, 300, 400)}),
        *rows("noise", {f"white noise, SNR {s:g}": white_noise(s) for s in (4, 2, 1, 0.5)}),
        *rows("frames", {f"{p} % of frames lost": lose_frames(p / 100) for p in (10, 20, 30)}),
    ]


def unchanged(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:  # noqa: ARG001 - nothing is drawn
    """Return the series as it is."""
    return series


def gain_and_offset(scope: Literal["parcel", "scan"]) -> Perturbation:
    """Return a change of unit: gains of 0.1 to 10, offsets of up to 1000 sd."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        size = series.values.shape[1] if scope == "parcel" else 1
        gain = 10 ** rng.uniform(-1, 1, size)
        offset = rng.uniform(-1000, 1000, size) * _sd(series)
        return series.with_values(gain * (series.values + offset))

    return apply


def spikes(share: float, *, together: bool) -> Perturbation:
    """Return jumps of 4 to 20 sd in a share of the frames: of all parcels, or of each its own."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        n_frames, n_parcels = series.values.shape
        columns = 1 if together else n_parcels
        n_spikes = round(share * n_frames)
        size = rng.uniform(*SPIKE_SDS, (n_spikes, columns)) * rng.choice(
            [-1, 1], (n_spikes, columns)
        )
        jumps = np.zeros((n_frames, columns))
        jumps[:n_spikes] = size
        return series.with_values(series.values + rng.permuted(jumps, axis=0) * _sd(series))

    return apply


def then_despike(before: Perturbation) -> Perturbation:
    """Return the perturbation followed by despiking, as the model's input has it."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        spiked = before(series, rng)
        return spiked.with_values(despike(spiked.values)[0])

    return apply


def then_band_pass(
    before: Perturbation, band_hz: tuple[float, float] = (0.01, 0.1)
) -> Perturbation:
    """Return the perturbation followed by a sharp band-pass, as if it came before denoising."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        values = before(series, rng).values.astype(np.float64)
        mirrored = np.concatenate([values, values[::-1]])
        hz = rfftfreq(len(mirrored), series.tr_s)
        kept = (hz >= band_hz[0]) & (hz <= band_hz[1])
        spectrum = np.where(kept[:, None], rfft(mirrored, axis=0), 0)
        return series.with_values(irfft(spectrum, n=len(mirrored), axis=0)[: len(values)])

    return apply


def drift(sd: float, *, periods: float | None) -> Perturbation:
    """Return a drift of this sd, its sign and phase drawn per parcel; linear without periods."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        n_frames, n_parcels = series.values.shape
        time = np.linspace(-0.5, 0.5, n_frames)[:, None]
        if periods is None:
            curve = np.sqrt(12) * time * rng.choice([-1, 1], n_parcels)
        else:
            phase = rng.uniform(0, 2 * np.pi, n_parcels)
            curve = np.sqrt(2) * np.sin(2 * np.pi * periods * time + phase)
        return series.with_values(series.values + sd * curve * _sd(series))

    return apply


def lose_parcels(share: float) -> Perturbation:
    """Return the loss of a share of the parcels, drawn from all that are present."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        present = np.flatnonzero(~series.missing)
        lost = rng.choice(present, round(share * present.size), replace=False)
        return series.with_values(_without(series, lost))

    return apply


def lose_network(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
    """Lose all parcels of one network, drawn from those that are present."""
    present = np.flatnonzero(~missing_networks(series.missing))
    lost = network_columns(NETWORKS[rng.choice(present)])
    return series.with_values(_without(series, lost))


def other_tr(tr_s: float) -> Perturbation:
    """Return the same continuous signals, sampled at another TR.

    Between the frames the signal is the cosine series through all of them: band-limited, exact
    at the frames. Only near the ends, which it mirrors, does it hold more than the scan's band.
    """

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:  # noqa: ARG001 - nothing is drawn
        n_frames = series.n_frames
        weight = dct(series.values.astype(np.float64), axis=0) / n_frames
        weight[0] /= 2
        last_s = (n_frames - 1) * series.tr_s
        at = np.arange(int(last_s / tr_s + 1e-6) + 1) * tr_s / series.tr_s
        cosines = np.cos(np.pi * (at[:, None] + 0.5) * np.arange(n_frames) / n_frames)
        return series.with_values(cosines @ weight, tr_s=tr_s)

    return apply


def first_seconds(seconds: float) -> Perturbation:
    """Return the beginning of the scan."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:  # noqa: ARG001 - nothing is drawn
        return series.with_values(series.values[: round(seconds / series.tr_s)])

    return apply


def white_noise(snr: float) -> Perturbation:
    """Return independent noise in all parcels; ``snr`` is sd of signal over sd of noise."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        noise = rng.standard_normal(series.values.shape) / snr
        return series.with_values(series.values + noise * _sd(series))

    return apply


def lose_frames(share: float) -> Perturbation:
    """Return the loss of a share of the frames, three at a time, bridged by straight lines."""

    def apply(series: ParcelSeries, rng: np.random.Generator) -> ParcelSeries:
        n_frames = series.n_frames
        kept = np.ones(n_frames, dtype=bool)
        while n_frames - kept.sum() < share * n_frames:
            start = rng.integers(1, n_frames - BURST_FRAMES)
            kept[start : start + BURST_FRAMES] = False
        frames = np.arange(n_frames)
        bridged = [np.interp(frames, frames[kept], column[kept]) for column in series.values.T]
        return series.with_values(np.stack(bridged, axis=1), kept=kept)

    return apply


def _sd(series: ParcelSeries) -> Array:
    """(P,) standard deviations; NaN where missing."""
    return np.asarray(series.values.astype(np.float64).std(axis=0))


def _without(series: ParcelSeries, lost: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """(T, P) values with NaN in the lost parcels."""
    values = series.values.copy()
    values[:, lost] = np.nan
    return values
