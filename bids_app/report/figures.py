"""Figures of the report, one function each: arrays in, inline SVG out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_app.report.numbers import (
    correlation,
    network_means,
    thin,
    token_distance,
    window_similarity,
)
from bids_app.report.svg import INK, LEFT, PLOT, Drawing, Panel, Scale, ticks
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.floating]

NETWORK_COLOURS = {
    "Vis": "#8e3b9c",
    "SomMot": "#4682b4",
    "DorsAttn": "#2e8b47",
    "SalVentAttn": "#c964e8",
    "Limbic": "#b3b24c",
    "Control": "#e69422",
    "Default": "#cd3e4e",
    "Subcortical": "#8a6a4f",
    "Cerebellum": "#36a3a0",
}
"""Close to those of Yeo et al. 2011, darkened or lightened to be seen on black and white."""
OUTLIER = "#d0342c"
DROPPED = "#7d8590"
MAX_COLUMNS = 400
"""Columns of a carpet: with few colours, what keeps its PNG below 150 kB."""
_BORDER = "#30363d"
_TOP = 7.0
_BAR = 7.0


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
    motion
        Traces and marks of the acquired volumes.
    """
    top, height = _TOP if motion is None else 97.0, 230.0
    figure = Drawing(height=top + height + 29)
    if motion is not None:
        _draw_motion(figure, motion, tr_s=tr_s, end_s=end_s)
    axes = Panel(left=LEFT, top=top, width=PLOT, height=height, x=(0, end_s))
    shown, step = thin(values, most=MAX_COLUMNS)
    begin, end = axes.across([start_s, start_s + shown.shape[0] * step * tr_s])
    # The last column may stand for fewer frames than the others and reach beyond the end.
    carpet = Panel(left=begin, top=top, width=end - begin, height=height)
    scale = Scale(colours="grey", low=-limit, high=limit)
    figure.matrix(carpet, shown.T[_order()], scale)
    figure.frame(axes)
    figure.x_axis(axes, *ticks(0, end_s, most=6), title="time (s)")
    _network_bar(figure, top=top, height=height)
    figure.colour_bar(scale, top=top, height=height, label=unit)
    return figure.svg()


def coverage_figure(coverage: pd.DataFrame, *, minimum: float) -> str:
    """Draw one tick per parcel at its share of usable voxels, one row per network."""
    figure = Drawing(height=195)
    axes = Panel(
        left=LEFT, top=_TOP, width=PLOT, height=158, x=(0, 1.01), y=(-0.6, len(NETWORKS) - 0.4)
    )
    for row, network in enumerate(NETWORKS):
        part = coverage[coverage["network"] == network]
        used = (part["status"] == "used").to_numpy()
        share = part["coverage"].fillna(0.0).to_numpy()
        top, bottom = axes.down([row - 0.36, row + 0.36])
        colour = NETWORK_COLOURS[network]
        mean = float(axes.across(share.mean()) - LEFT)
        figure.boxes([(LEFT, top)], mean, bottom - top, fill=colour, opacity=0.22)
        for places, ink, width in ((share[used], colour, 1.1), (share[~used], OUTLIER, 1.6)):
            # One path for all ticks, interrupted in between.
            x = np.column_stack([axes.across(places)] * 2 + [np.full(places.size, np.nan)])
            y = np.tile([top, bottom, np.nan], places.size)
            figure.lines(x.ravel(), y, colour=ink, width=width)
        text = f"{used.sum()} of {len(part)}"
        figure.text(LEFT + PLOT + 6, (top + bottom) / 2, text, anchor="start")
    _rule(figure, axes, x=minimum, colour=INK, width=0.8, dashed=True)
    figure.frame(axes)
    figure.y_axis(axes, range(len(NETWORKS)), NETWORKS, mark=False)
    title = "share of the parcel's voxels that carry signal"
    figure.x_axis(axes, *ticks(0, 1, most=5), title=title)
    return figure.svg()


def connectivity_figure(values: FloatArray) -> str:
    """Draw the correlation of all parcels, and its mean within and between networks.

    Parameters
    ----------
    values
        (S, P) model input, NaN columns are missing parcels.
    """
    matrix, order, edges = correlation(values), _order(), _edges()
    scale = Scale(colours="red-blue", low=-1, high=1)
    size = 302.0
    span = (0.0, float(order.size))
    figure = Drawing(height=324)
    axes = Panel(left=LEFT, top=_TOP, width=size, height=size, x=span, y=span)
    figure.matrix(axes, matrix[np.ix_(order, order)], scale)
    for edge in edges[1:-1]:
        _rule(figure, axes, x=edge, colour=_BORDER, width=0.4)
        _rule(figure, axes, y=edge, colour=_BORDER, width=0.4)
    figure.frame(axes)
    _network_bar(figure, top=_TOP, height=size)
    places = axes.across(edges)
    for start, stop, network in zip(places[:-1], places[1:], NETWORKS, strict=True):
        colour = NETWORK_COLOURS[network]
        figure.boxes([(start, _TOP + size + 3)], stop - start, _BAR, fill=colour)
    figure.colour_bar(scale, left=385, top=_TOP, height=size, label="Pearson r")
    cells = Panel(left=500, top=_TOP, width=212, height=212)
    cells = _cells(figure, cells, network_means(matrix), scale, digits=True)
    figure.y_axis(cells, range(len(NETWORKS)), NETWORKS, mark=False)
    for x, network in zip(cells.across(range(len(NETWORKS))), NETWORKS, strict=True):
        figure.text(x, _TOP + 217, network, anchor="end", turned=True)
    figure.text(cells.left + 106, _TOP + 268, "mean r within and between networks")
    return figure.svg()


def embedding_figure(tokens: FloatArray, onsets_s: list[float]) -> str:
    """Draw how alike the windows are, and how far each token lies from its network's mean.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data.
    onsets_s
        (W,) start of each window in seconds.
    """
    n_windows, n_networks, n_patches, _ = tokens.shape
    every = slice(None, None, int(np.ceil(n_windows / 10)))
    labels = [f"{onset:g}" for onset in onsets_s][every]
    windows = np.arange(n_windows)[every]
    height = 173.0
    figure = Drawing(height=209)

    similar = window_similarity(tokens)
    low = np.floor(20 * min(float(np.nanmin(similar)), 0.95)) / 20
    scale = Scale(colours="cividis", low=low, high=1)
    axes = Panel(left=LEFT, top=_TOP, width=height, height=height)
    axes = _cells(figure, axes, similar, scale, digits=n_windows <= 7)
    figure.x_axis(axes, windows, labels, title="start of window (s)")
    figure.y_axis(axes, windows, labels)
    figure.text(LEFT - 28, _TOP + height / 2, "start of window (s)", turned=True)
    figure.colour_bar(scale, left=254, top=_TOP, height=height, label="cosine similarity")

    distances = token_distance(tokens).transpose(1, 0, 2).reshape(n_networks, -1)
    scale = Scale(colours="viridis", low=0, high=max(float(np.nanmax(distances)), 0.01))
    axes = Panel(left=385, top=_TOP, width=263, height=height)
    axes = _cells(figure, axes, distances, scale, digits=False)
    for edge in np.arange(1, n_windows) * n_patches - 0.5:
        _rule(figure, axes, x=edge, colour="#ffffff", width=1.2)
    figure.y_axis(axes, range(n_networks), NETWORKS, mark=False)
    title = f"start of window (s), {n_patches} patches each"
    middles = windows * n_patches + (n_patches - 1) / 2
    figure.x_axis(axes, middles, labels, title=title, mark=False)
    figure.colour_bar(scale, top=_TOP, height=height, label="cosine distance")
    return figure.svg()


def _order() -> npt.NDArray[np.intp]:
    """Return the 0-based columns of all parcels, network by network."""
    return np.concatenate([network_columns(network) for network in NETWORKS])


def _edges() -> npt.NDArray[np.int_]:
    """Return where each network begins in `_order`, and the end (N + 1)."""
    return np.cumsum([0, *(network_columns(network).size for network in NETWORKS)])


def _network_bar(figure: Drawing, *, top: float, height: float) -> None:
    """Draw the networks' colours and names down the left side of a matrix of parcels."""
    edges = top + height * _edges() / _edges()[-1]
    for network, start, stop in zip(NETWORKS, edges[:-1], edges[1:], strict=True):
        colour = NETWORK_COLOURS[network]
        figure.boxes([(LEFT - 10, start)], _BAR, stop - start, fill=colour)
        figure.text(LEFT - 14, (start + stop) / 2, network, anchor="end")


def _rule(
    figure: Drawing,
    panel: Panel,
    *,
    x: float | None = None,
    y: float | None = None,
    colour: str,
    width: float,
    dashed: bool = False,
) -> None:
    """Draw a straight line through a panel, upright at `x` or level at `y`."""
    ends = np.array([0.0, 1.0])
    across = panel.left + panel.width * ends if x is None else panel.across([x, x])
    down = panel.top + panel.height * ends if y is None else panel.down([y, y])
    figure.lines(across, down, colour=colour, width=width, dashed=dashed)


def _draw_motion(figure: Drawing, motion: Motion, *, tr_s: float, end_s: float) -> None:
    outliers = motion.outliers
    for top, column, label, threshold in (
        (_TOP, "framewise_displacement", "FD (mm)", motion.fd_threshold_mm),
        (48.0, "std_dvars", "DVARS", motion.std_dvars_threshold),
    ):
        trace = outliers[column].to_numpy()
        known = np.isfinite(trace)
        most = max(trace[known].max(initial=0), threshold or 0) or 1
        axes = Panel(left=LEFT, top=top, width=PLOT, height=32.4, x=(0, end_s), y=(1.12 * most, 0))
        _mark_volumes(figure, axes, outliers, tr_s=tr_s, opacity=0.25)
        figure.frame(axes)
        figure.text(LEFT - 22, top + 16, label, anchor="end")
        if not known.any():
            figure.text(LEFT + PLOT / 2, top + 16, "not in the confounds")
            continue
        time_s = outliers["onset"].to_numpy() + tr_s / 2
        figure.lines(axes.across(time_s), axes.down(trace), colour=INK, width=0.8)
        if threshold is not None:
            _rule(figure, axes, y=threshold, colour=OUTLIER, width=0.8, dashed=True)
        figure.y_axis(axes, *ticks(0, 1.12 * most, most=2))
    marks = Panel(left=LEFT, top=86.4, width=PLOT, height=8, x=(0, end_s))
    _mark_volumes(figure, marks, outliers, tr_s=tr_s, opacity=1)
    figure.frame(marks)


def _mark_volumes(
    figure: Drawing, panel: Panel, outliers: pd.DataFrame, *, tr_s: float, opacity: float
) -> None:
    """Shade dropped and interpolated volumes over the whole height of a panel."""
    width = float(panel.across(tr_s) - panel.left)
    for column, colour in (("dropped", DROPPED), ("interpolated", OUTLIER)):
        onsets = outliers["onset"].to_numpy()[outliers[column].to_numpy() == 1]
        corners = [(x, panel.top) for x in panel.across(onsets)]
        figure.boxes(corners, width, panel.height, fill=colour, opacity=opacity)


def _cells(
    figure: Drawing, panel: Panel, matrix: FloatArray, scale: Scale, *, digits: bool
) -> Panel:
    """Show a small matrix, with its numbers if wanted; return the panel in cells."""
    n_rows, n_columns = matrix.shape
    cells = replace(panel, x=(-0.5, n_columns - 0.5), y=(-0.5, n_rows - 0.5))
    figure.matrix(cells, matrix, scale)
    figure.frame(cells)
    if digits:
        colours = scale.palette()[scale.levels(matrix)]
        light = colours @ [0.3, 0.59, 0.11] > 0.45 * 255
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                text = f"{value:z.2f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
                x, y = float(cells.across(column)), float(cells.down(row))
                ink = "#000000" if light[row, column] else "#ffffff"
                figure.text(x, y, text, colour=ink, size=5.5)
    return cells
