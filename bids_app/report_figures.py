"""Figures of the report, one function each: arrays in, inline SVG out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.report_numbers import (
    correlation,
    network_means,
    thin,
    token_distance,
    window_similarity,
)
from bids_app.report_svg import (
    DROPPED,
    INK,
    LEFT_IN,
    NETWORK_COLOURS,
    OUTLIER,
    PLOT_IN,
    add_axes,
    colour_bar,
    colour_map,
    network_bar,
    network_edges,
    network_order,
    new_figure,
    render,
    style,
)
from model.networks import NETWORKS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

FloatArray = npt.NDArray[np.floating]

MAX_COLUMNS = 400
"""Columns of a carpet: with few colours, what keeps its PNG below 150 kB."""
_BORDER = "#30363d"


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """Motion of the acquired volumes, as in the table of outliers."""

    outliers: pd.DataFrame
    fd_threshold_mm: float | None
    std_dvars_threshold: float | None
    """Values beyond which volumes were interpolated; None: not used."""


def carpet_figure(
    values: FloatArray,
    *,
    tr_s: float,
    start_s: float,
    end_s: float,
    limit: float,
    unit: str,
    salt: str,
    motion: Motion | None = None,
) -> str:
    """Draw parcels over time in network order, and motion above if it is given.

    Parameters
    ----------
    values
        (T, P), NaN columns are missing parcels.
    tr_s, start_s, end_s
        Repetition time, time of the first frame, and end of the axis, in seconds.
    limit
        Value at both ends of the grey scale.
    unit
        Of `values`, for the colour bar.
    salt
        Distinguishes the identifiers inside this figure from those of others in the page.
    motion
        Traces and marks of the acquired volumes.
    """
    top = 0.1 if motion is None else 1.35
    with style(salt):
        fig = new_figure(height_in=top + 3.2 + 0.4)
        if motion is not None:
            _draw_motion(fig, motion, tr_s=tr_s, end_s=end_s)
        ax = add_axes(fig, left=LEFT_IN, top=top, width=PLOT_IN, height=3.2)
        shown, step = thin(values, most=MAX_COLUMNS)
        image = ax.imshow(
            shown.T[network_order()],
            aspect="auto",
            interpolation="none",
            cmap=colour_map("gray"),
            vmin=-limit,
            vmax=limit,
            extent=(start_s, start_s + shown.shape[0] * step * tr_s, values.shape[1], 0),
        )
        ax.set(xlim=(0, end_s), ylim=(values.shape[1], 0), yticks=[], xlabel="time (s)")
        network_bar(fig, left=LEFT_IN - 0.14, top=top, height=3.2)
        colour_bar(fig, image, top=top, height=3.2, label=unit)
        return render(fig)


def coverage_figure(coverage: pd.DataFrame, *, minimum: float, salt: str) -> str:
    """Draw one tick per parcel at its share of usable voxels, one row per network."""
    with style(salt):
        fig = new_figure(height_in=2.7)
        ax = add_axes(fig, left=LEFT_IN, top=0.1, width=PLOT_IN, height=2.2)
        for row, network in enumerate(NETWORKS):
            part = coverage[coverage["network"] == network]
            used = part["status"] == "used"
            colour = NETWORK_COLOURS[network]
            share = part["coverage"].fillna(0.0)
            ax.barh(row, share.mean(), height=0.72, color=colour, alpha=0.22, linewidth=0)
            _ticks_at(ax, share[used].to_numpy(), row, half=0.36, color=colour, linewidth=1.1)
            _ticks_at(ax, share[~used].to_numpy(), row, half=0.36, color=OUTLIER, linewidth=1.6)
            ax.text(1.02, row, f"{used.sum()} of {len(part)}", va="center", color=INK)
        ax.axvline(minimum, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        ax.set(xlim=(0, 1.01), ylim=(len(NETWORKS) - 0.4, -0.6))
        ax.set(xlabel="share of the parcel's voxels that carry signal")
        ax.set_yticks(range(len(NETWORKS)), NETWORKS)
        ax.tick_params(axis="y", length=0)
        return render(fig)


def connectivity_figure(values: FloatArray, *, salt: str) -> str:
    """Draw the correlation of all parcels, and its mean within and between networks.

    Parameters
    ----------
    values
        (S, P) model input, NaN columns are missing parcels.
    salt
        As in `carpet_figure`.
    """
    matrix = correlation(values)
    order = network_order()
    edges = network_edges()
    with style(salt):
        fig = new_figure(height_in=4.5)
        ax = add_axes(fig, left=LEFT_IN, top=0.1, width=4.2, height=4.2)
        image = ax.imshow(
            matrix[np.ix_(order, order)],
            interpolation="none",
            cmap=colour_map("RdBu_r"),
            vmin=-1,
            vmax=1,
            extent=(0, order.size, order.size, 0),
        )
        for edge in edges[1:-1]:
            ax.axhline(edge, color=_BORDER, linewidth=0.4)
            ax.axvline(edge, color=_BORDER, linewidth=0.4)
        ax.set(xticks=[], yticks=[])
        network_bar(fig, left=LEFT_IN - 0.14, top=0.1, height=4.2)
        network_bar(fig, left=LEFT_IN, top=4.34, height=4.2, across=True)
        colour_bar(fig, image, left=5.35, top=0.1, height=4.2, label="Pearson r")
        means = add_axes(fig, left=6.95, top=0.1, width=2.95, height=2.95)
        _annotated(means, network_means(matrix), cmap="RdBu_r", vmin=-1, vmax=1)
        means.set_yticks(range(len(NETWORKS)), NETWORKS)
        means.set_xticks(range(len(NETWORKS)), NETWORKS, rotation=90)
        means.set_xlabel("mean r within and between networks", labelpad=6)
        return render(fig)


def embedding_figure(tokens: FloatArray, onsets_s: list[float], *, salt: str) -> str:
    """Draw how alike the windows are, and how far each token lies from its network's mean.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data.
    onsets_s
        (W,) start of each window in seconds.
    salt
        As in `carpet_figure`.
    """
    n_windows, n_networks, n_patches, _ = tokens.shape
    labels = [f"{onset:g}" for onset in onsets_s]
    distances = token_distance(tokens).transpose(1, 0, 2).reshape(n_networks, -1)
    every = int(np.ceil(n_windows / 10))
    with style(salt):
        fig = new_figure(height_in=2.9)
        ax = add_axes(fig, left=LEFT_IN, top=0.1, width=2.4, height=2.4)
        similar = window_similarity(tokens)
        low = np.floor(20 * min(float(np.nanmin(similar)), 0.95)) / 20
        image = _annotated(ax, similar, cmap="cividis", vmin=low, vmax=1, digits=n_windows <= 7)
        ax.set_xticks(range(0, n_windows, every), labels[::every])
        ax.set_yticks(range(0, n_windows, every), labels[::every])
        ax.set(xlabel="start of window (s)", ylabel="start of window (s)")
        colour_bar(fig, image, left=3.53, top=0.1, height=2.4, label="cosine similarity")
        ax = add_axes(fig, left=5.35, top=0.1, width=3.65, height=2.4)
        image = ax.imshow(
            distances,
            aspect="auto",
            interpolation="none",
            cmap=colour_map("viridis"),
            vmin=0,
            vmax=max(float(np.nanmax(distances)), 0.01),
        )
        for edge in np.arange(1, n_windows) * n_patches - 0.5:
            ax.axvline(edge, color="#ffffff", linewidth=1.2)
        ax.set_yticks(range(n_networks), NETWORKS)
        ax.set_xticks(
            (np.arange(n_windows) * n_patches + (n_patches - 1) / 2)[::every], labels[::every]
        )
        ax.tick_params(length=0)
        ax.set_xlabel(f"start of window (s), {n_patches} patches each")
        colour_bar(fig, image, top=0.1, height=2.4, label="cosine distance")
        return render(fig)


def _draw_motion(fig: Figure, motion: Motion, *, tr_s: float, end_s: float) -> None:
    outliers = motion.outliers
    for top, column, label, threshold in (
        (0.1, "framewise_displacement", "FD (mm)", motion.fd_threshold_mm),
        (0.67, "std_dvars", "DVARS", motion.std_dvars_threshold),
    ):
        ax = add_axes(fig, left=LEFT_IN, top=top, width=PLOT_IN, height=0.45)
        _mark_volumes(ax, outliers, tr_s=tr_s, alpha=0.25)
        _draw_trace(ax, outliers["onset"] + tr_s / 2, outliers[column], threshold=threshold)
        ax.set(xlim=(0, end_s), xticks=[])
        ax.text(-0.035, 0.5, label, ha="right", va="center", transform=ax.transAxes)
    marks = add_axes(fig, left=LEFT_IN, top=1.2, width=PLOT_IN, height=0.11)
    _mark_volumes(marks, outliers, tr_s=tr_s, alpha=1)
    marks.set(xlim=(0, end_s), ylim=(0, 1), xticks=[], yticks=[])


def _draw_trace(
    ax: Axes, time_s: pd.Series[float], trace: pd.Series[float], *, threshold: float | None
) -> None:
    if trace.isna().all():
        text, place = "not in the confounds", ax.transAxes
        ax.text(0.5, 0.5, text, ha="center", va="center", transform=place)
        ax.set(yticks=[])
        return
    ax.plot(time_s, trace, color=INK, linewidth=0.8)
    if threshold is not None:
        ax.axhline(threshold, color=OUTLIER, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.set_ylim(0, 1.12 * max(trace.max(), threshold or 0) or 1)
    ax.locator_params(axis="y", nbins=2)


def _mark_volumes(ax: Axes, outliers: pd.DataFrame, *, tr_s: float, alpha: float) -> None:
    """Shade dropped and interpolated volumes over the whole height of the axes."""
    over_height = ax.get_xaxis_transform()
    for column, colour in (("dropped", DROPPED), ("interpolated", OUTLIER)):
        spans = [(onset, tr_s) for onset in outliers["onset"][outliers[column] == 1]]
        ax.broken_barh(
            spans, (0, 1), color=colour, alpha=alpha, linewidth=0, transform=over_height
        )


def _ticks_at(ax: Axes, places: FloatArray, row: int, *, half: float, **line: Any) -> None:
    """Draw vertical ticks as one path: hundreds of paths would make the page heavy."""
    gap = np.full(places.size, np.nan)
    x = np.column_stack([places, places, gap]).ravel()
    y = np.tile([row - half, row + half, np.nan], places.size)
    ax.plot(x, y, solid_capstyle="butt", clip_on=False, **line)


def _annotated(
    ax: Axes, matrix: FloatArray, *, cmap: str, vmin: float, vmax: float, digits: bool = True
) -> AxesImage:
    """Show a small matrix with its numbers in the cells."""
    image = ax.imshow(matrix, interpolation="none", cmap=colour_map(cmap), vmin=vmin, vmax=vmax)
    ax.tick_params(length=0)
    for (row, column), value in np.ndenumerate(matrix):
        if digits and np.isfinite(value):
            red, green, blue, _ = image.to_rgba(np.array([[value]]))[0, 0]
            ink = "#000000" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.45 else "#ffffff"
            text = f"{value:z.2f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
            ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=5.5)
    return image
