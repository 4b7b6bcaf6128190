"""Figures of what denoising did: parcels before and after on one time axis, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_app.report.canvas import (
    LEFT,
    PLOT,
    TOP,
    colour_bar,
    matrix,
    name_networks,
    network_bar,
    network_order,
    new_axes,
    new_figure,
)
from bids_app.report.figures import CARPET_LEVELS
from bids_app.signal.effect import MOST_COLUMNS, thin, unshaded
from model.figures.style import AFTER, BEFORE, DROPPED, GRID, INK, OUTLIER, QUIET, SERIES
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bids_app.outputs.scan_tables import Extraction, Motion
    from bids_app.signal.effect import Effect

FloatArray = npt.NDArray[np.floating]
TRACE, CARPET = 30.0, 140.0
"""Heights of a curve and of a carpet"""
LIMIT = 2.0
"""Standard deviations at both ends of the grey scale"""
STEPS = ("outside the band", "explained by confounds", "left")


def bridged(effect: Effect) -> bool:
    """Tell whether a spike of any parcel was bridged: where none was, no carpet shows it."""
    return bool((effect.raw != effect.despiked).any())


def carpets(extraction: Extraction, *, end_s: float) -> Figure:
    """Draw motion, the global signal and the parcels raw, despiked and denoised over time.

    Rows are pairs of parcels in network order; each carpet is in standard deviations of its own.
    """
    motion, effect = extraction.motion, extraction.pictures.effect
    tr_s = extraction.denoised_meta["RepetitionTime"]
    shown = [("raw", unshaded(effect.raw), 0.0)]
    if bridged(effect):
        shown.append(("despiked", unshaded(effect.despiked), 0.0))
    residual = _standardized(extraction.denoised)
    shown.append(("denoised", residual, extraction.denoised_meta["StartTime"]))
    traces_end = TOP + 3 * (TRACE + 6) + 12
    figure = new_figure(traces_end + len(shown) * (CARPET + 8) + 28)
    _draw_traces(figure, motion, effect.global_signal, tr_s=tr_s, end_s=end_s)
    for number, (name, values, start_s) in enumerate(shown):
        few, step = thin(values, most=MOST_COLUMNS)
        every = len(motion.onset_s) / len(few) if name != "denoised" else step
        top = traces_end + number * (CARPET + 8)
        axes = new_axes(figure, LEFT, top, PLOT, CARPET)
        lines = _paired(few.T[network_order()])
        extent = (start_s, start_s + len(few) * every * tr_s, few.shape[1], 0)
        image = matrix(axes, lines, "gray", (-LIMIT, LIMIT), levels=CARPET_LEVELS, extent=extent)
        axes.set(xlim=(0, end_s))
        network_bar(axes)
        axes.text(
            0.006, 0.03, name, transform=axes.transAxes, va="bottom", weight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85},
        )  # fmt: skip
        if number < len(shown) - 1:
            axes.set_xticks([])
        else:
            axes.set_xlabel("time (s)")
    colour_bar(figure, image, top=top, height=CARPET, label="standard deviations")
    return figure


def summary(effect: Effect, *, band_hz: tuple[float | None, float | None]) -> Figure:
    """Draw spectra, correlations with motion, and where the variance of each network went.

    Parameters
    ----------
    effect
        Of a scan.
    band_hz
        Edges of the filter; None: open on that side.
    """
    height = 160.0
    figure = new_figure(height + 86)
    spectra = new_axes(figure, 44, 20, 168, height)
    motion = new_axes(figure, 258, 20, 172, height)
    shares = new_axes(figure, 512, 20, 198, height)
    _draw_spectra(spectra, effect, band_hz)
    _draw_correlations(motion, effect.fd_correlation)
    _draw_shares(shares, effect.variance)
    return figure


def _draw_spectra(axes: Axes, effect: Effect, band_hz: tuple[float | None, float | None]) -> None:
    frequency = effect.frequency_hz[1:]
    for values, colour, name in zip(
        effect.power, (BEFORE, AFTER), ("before", "after"), strict=True
    ):
        axes.plot(frequency, 100 * values[1:], color=colour, label=name)
    low, high = band_hz
    end = float(frequency[-1])
    axes.axvspan(low or 0, high or end, color=GRID, zorder=0, lw=0, label="band that is kept")
    axes.set(xlim=(0, end), xlabel="frequency (Hz)", ylabel="power (% of all before)")
    axes.set_ylim(0, 1.35 * axes.get_ylim()[1])
    axes.locator_params(nbins=5)
    axes.set_title("spectrum of the median parcel")
    axes.legend(frameon=False, loc="upper right", labelspacing=0.2, borderaxespad=0.2)


def _draw_correlations(axes: Axes, found: FloatArray) -> None:
    axes.set_title("correlation of FD with parcels")
    known = np.isfinite(found).all(axis=0)
    if not known.any():
        axes.text(0.5, 0.5, "motion is not known", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return
    reach = max(0.3, np.ceil(10 * float(np.abs(found[:, known]).max())) / 10)
    bins = np.linspace(-reach, reach, 41).tolist()
    for values, colour, name in zip(found, (BEFORE, AFTER), ("before", "after"), strict=True):
        mean = float(np.abs(values[known]).mean())
        axes.hist(
            values[known], bins=bins, color=colour, histtype="step", linewidth=1.1,
            label=f"{name}: mean |r| {mean:.2f}",
        )  # fmt: skip
    axes.axvline(0, color=QUIET, linewidth=0.6, linestyle=":")
    axes.set(xlabel="Pearson r", ylabel="parcels", xlim=(-reach, reach))
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    axes.locator_params(nbins=5)
    axes.legend(frameon=False, loc="upper left", labelspacing=0.2, borderaxespad=0.2)


def _draw_shares(axes: Axes, variance: FloatArray) -> None:
    axes.set_title("where the variance went")
    begin = np.zeros(len(NETWORKS))
    for name, colour, row in zip(STEPS, (GRID, SERIES[1], AFTER), variance, strict=True):
        parts = [row[network_columns(network)] for network in NETWORKS]
        means = np.array([np.nanmean(p) if np.isfinite(p).any() else 0.0 for p in parts])
        axes.barh(range(len(NETWORKS)), 100 * means, left=begin, color=colour, label=name)
        begin += 100 * means
    axes.set(xlim=(0, 100), ylim=(len(NETWORKS) - 0.4, -0.6), xlabel="% of the raw variance")
    name_networks(axes, range(len(NETWORKS)))
    axes.legend(
        frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.3, -0.17),
        columnspacing=1, handlelength=1, labelspacing=0.2,
    )  # fmt: skip


def by_chance(degrees_of_freedom: int) -> float:
    """Return the mean of |r| of independent series: r is normal, of variance 1/dof."""
    return float(np.sqrt(2 / (np.pi * degrees_of_freedom)))


def shares_of(variance: FloatArray) -> tuple[float, float, float]:
    """Average the shares (3, P) over the parcels that have a series."""
    outside, explained, left = (float(np.nanmean(row)) for row in variance)
    return outside, explained, left


def _standardized(values: FloatArray) -> FloatArray:
    """Centre the columns of (T, P) and scale them to unit variance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((values - values.mean(axis=0)) / values.std(axis=0))


def _paired(lines: FloatArray) -> FloatArray:
    """Average (P, C) lines two by two: a carpet is drawn no finer; of one alone, it alone."""
    odd = lines[-1:] if len(lines) % 2 else lines[:0]
    pairs = np.concatenate([lines, odd]).reshape(-1, 2, lines.shape[1])
    known = np.isfinite(pairs)
    total, count = np.where(known, pairs, 0).sum(axis=1), known.sum(axis=1)
    # Two parcels of noise have less of it: the grey scale stays that of one.
    mean = np.full(total.shape, np.nan)
    np.divide(total, np.sqrt(np.maximum(count, 1)), out=mean, where=count > 0)
    return mean


def _draw_traces(
    figure: Figure, motion: Motion, global_signal: FloatArray, *, tr_s: float, end_s: float
) -> None:
    """Draw framewise displacement, DVARS and the global signal, and what became of volumes."""
    for number, (label, trace, threshold) in enumerate(
        (
            ("FD (mm)", motion.fd_mm, motion.fd_threshold_mm),
            ("DVARS", motion.std_dvars, motion.std_dvars_threshold),
            ("global (sd)", global_signal, None),
        )
    ):
        known = np.isfinite(trace)
        axes = new_axes(figure, LEFT, TOP + number * (TRACE + 6), PLOT, TRACE)
        axes.set(xlim=(0, end_s), xticks=[])
        axes.text(-30 / PLOT, 0.5, label, transform=axes.transAxes, ha="right", va="center")
        _mark_volumes(axes, motion, tr_s=tr_s, alpha=0.25)
        if not known.any():
            axes.text(0.5, 0.5, "not in the confounds", transform=axes.transAxes, ha="center")
            axes.set_yticks([])
            continue
        if number < 2:
            most = max(trace[known].max(initial=0), threshold or 0) or 1
            axes.set_ylim(0, 1.12 * most)
        axes.locator_params(axis="y", nbins=2)
        if number < 2:  # its zero stands on the edge: off what is written at the next one's top
            axes.get_yticklabels()[0].set_verticalalignment("bottom")
        axes.plot(motion.onset_s + tr_s / 2, trace, color=INK)
        if threshold is not None:
            axes.axhline(threshold, color=OUTLIER, linestyle="--")
    marks = new_axes(figure, LEFT, TOP + 3 * (TRACE + 6), PLOT, 7)
    _mark_volumes(marks, motion, tr_s=tr_s, alpha=1)
    marks.set(xlim=(0, end_s), ylim=(0, 1), xticks=[], yticks=[])


def _mark_volumes(axes: Axes, motion: Motion, *, tr_s: float, alpha: float) -> None:
    """Shade dropped and interpolated volumes over the whole height of axes."""
    for marked, colour in ((motion.dropped, DROPPED), (motion.interpolated, OUTLIER)):
        edges = np.flatnonzero(np.diff(marked.astype(int), prepend=0, append=0)).reshape(-1, 2)
        spans = [
            (float(motion.onset_s[begin]), (end - begin) * tr_s) for begin, end in edges.tolist()
        ]
        axes.broken_barh(
            spans, (0, 1), transform=axes.get_xaxis_transform(), color=colour, alpha=alpha, lw=0
        )
