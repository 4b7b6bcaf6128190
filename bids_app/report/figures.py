"""Figures of the report, one function each: arrays in, a matplotlib figure out.

Numbers that only a figure needs are computed here. Those of the brain are in `brain`, those of
what denoising did in `effect`.
"""

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
    name_rows,
    network_bar,
    network_edges,
    network_order,
    new_axes,
    new_figure,
    write_numbers,
)
from bids_app.signal.effect import MOST_COLUMNS, thin
from model.figures.style import BORDER, INK, MISSING_LINE, NETWORK_COLOURS, OUTLIER
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
CONNECTIVITY_LEVELS = 11
"""Of a large matrix of correlations; an odd number has a white for none"""
CARPET_LEVELS = 15
"""Shades of a carpet: with what is missing 16, the most of which a pixel takes half a byte"""


def correlation(values: FloatArray) -> npt.NDArray[np.float64]:
    """Correlate the columns of (S, P); rows and columns of missing parcels are NaN."""
    present = np.flatnonzero(~np.isnan(values).any(axis=0))
    matrix = np.full((values.shape[1], values.shape[1]), np.nan)
    matrix[np.ix_(present, present)] = np.corrcoef(values[:, present].astype(float), rowvar=False)
    return matrix


def network_means(matrix: FloatArray) -> npt.NDArray[np.float64]:
    """Average (P, P) over pairs of different parcels: (N, N), NaN where there is none."""
    pairs = np.where(np.eye(matrix.shape[0], dtype=bool), np.nan, matrix)
    members = np.zeros((len(NETWORKS), matrix.shape[0]))
    for row, network in enumerate(NETWORKS):
        members[row, network_columns(network)] = 1
    total = members @ np.nan_to_num(pairs) @ members.T
    count = members @ np.isfinite(pairs).astype(float) @ members.T
    means: npt.NDArray[np.float64] = np.full_like(total, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def window_similarity(tokens: FloatArray) -> npt.NDArray[np.float64]:
    """Compare windows by the cosine between their networks' mean tokens, joined.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data. A network that lacks tokens in a whole
        window does not enter.

    Returns
    -------
    (W, W)
    """
    count, means = _token_means(tokens, axis=2)
    common = (count > 0).all(axis=0).ravel()
    vectors = means[:, common].reshape(tokens.shape[0], -1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def token_distance(tokens: FloatArray) -> npt.NDArray[np.float64]:
    """Compare each token with the mean of its network's tokens in the scan.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data.

    Returns
    -------
    (W, N, K) one minus cosine; NaN where a token saw no data.
    """
    _, means = _token_means(tokens, axis=(0, 2))
    product = np.einsum("wnkd,nd->wnk", tokens, means)
    lengths = np.linalg.norm(tokens, axis=3) * np.linalg.norm(means, axis=1)[:, None]
    distance: npt.NDArray[np.float64] = np.full(product.shape, np.nan)
    np.divide(product, lengths, out=distance, where=lengths > 0)
    return 1 - distance


def norm_range(tokens: FloatArray) -> tuple[float, float]:
    """Return the smallest and the largest norm of (W, N, K, D) tokens that saw data."""
    norms = np.linalg.norm(tokens, axis=3)
    return float(np.nanmin(norms)), float(np.nanmax(norms))


def _token_means(
    tokens: FloatArray, *, axis: int | tuple[int, ...]
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.float64]]:
    """Count and average the tokens that saw data; zero where there is none."""
    valid = np.isfinite(tokens).all(axis=3, keepdims=True)
    count = valid.sum(axis=axis)
    total = np.where(valid, tokens, 0).sum(axis=axis, dtype=np.float64)
    return count, total / np.maximum(count, 1)


def carpet(
    values: FloatArray,
    *,
    tr_s: float,
    start_s: float,
    end_s: float,
    limit: float,
    unit: str,
) -> Figure:
    """Draw parcels over time in network order.

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
    """
    height = 230.0
    figure = new_figure(TOP + height + 31)
    shown, step = thin(values, most=MOST_COLUMNS)
    axes = new_axes(figure, LEFT, TOP, PLOT, height)
    # The last column may stand for fewer frames than the others and reach beyond the end.
    extent = (start_s, start_s + len(shown) * step * tr_s, values.shape[1], 0)
    lines = shown.T[network_order()]
    image = matrix(axes, lines, "gray", (-limit, limit), levels=CARPET_LEVELS, extent=extent)
    axes.set(xlim=(0, end_s), xlabel="time (s)")
    network_bar(axes)
    colour_bar(figure, image, top=TOP, height=height, label=unit)
    return figure


def coverage(share: FloatArray, used: BoolArray, *, minimum: float) -> Figure:
    """Draw one tick per parcel at its share of usable voxels, one row per network.

    Parameters
    ----------
    share
        (P,) share of each parcel's voxels that carry signal.
    used
        (P,) whether the parcel has a series.
    minimum
        Share below which a parcel is missing.
    """
    figure = new_figure(197)
    axes = new_axes(figure, LEFT, TOP, PLOT, 158)
    for row, network in enumerate(NETWORKS):
        columns = network_columns(network)
        part, kept = np.nan_to_num(share[columns]), used[columns]
        colour = NETWORK_COLOURS[network]
        axes.barh(row, part.mean(), height=0.72, color=colour, alpha=0.22)
        for places, ink, width in ((part[kept], colour, 1.1), (part[~kept], MISSING_LINE, 1.6)):
            # One line for all ticks, interrupted in between.
            x = np.column_stack([places, places, np.full(places.size, np.nan)]).ravel()
            y = np.tile([row - 0.36, row + 0.36, np.nan], places.size)
            axes.plot(x, y, color=ink, linewidth=width)
        axes.text(1.02, row, f"{kept.sum()} of {part.size}", va="center")
    axes.axvline(minimum, color=INK, linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, 1.01), ylim=(len(NETWORKS) - 0.4, -0.6))
    axes.set_xlabel("share of the parcel's voxels that carry signal")
    name_networks(axes, range(len(NETWORKS)))
    return figure


def connectivity(values: FloatArray) -> Figure:
    """Draw the correlation of all parcels, and its mean within and between networks.

    Parameters
    ----------
    values
        (S, P) model input, NaN columns are missing parcels.
    """
    r, order, edges = correlation(values), network_order(), network_edges()
    size = 250.0
    figure = new_figure(344)
    axes = new_axes(figure, LEFT, TOP, size, size)
    extent = (0, order.size, order.size, 0)
    image = matrix(
        axes, r[np.ix_(order, order)], "RdBu_r", (-1, 1), levels=CONNECTIVITY_LEVELS, extent=extent
    )
    axes.hlines(edges[1:-1], 0, order.size, color=BORDER, linewidth=0.4)
    axes.vlines(edges[1:-1], 0, order.size, color=BORDER, linewidth=0.4)
    axes.set(xticks=[], xlim=(0, order.size))
    network_bar(axes)
    colour_bar(figure, image, left=LEFT + size + 7, top=TOP, height=size, label="Pearson r")
    cells = new_axes(figure, 462, TOP, 252, 252)
    means = network_means(r)
    write_numbers(matrix(cells, means, "RdBu_r", (-1, 1)), means)
    name_networks(cells, range(len(NETWORKS)))
    cells.set_xticks(range(len(NETWORKS)), NETWORKS, rotation=90, rotation_mode="anchor")
    cells.tick_params(axis="x", length=0)
    for label in cells.get_xticklabels():
        label.set(ha="right", va="center")
    cells.text(4, 11.2, "mean r within and between networks", ha="center", va="center")
    return figure


def embedding(
    tokens: FloatArray, rows: Sequence[str], onsets_s: list[float], *, length_s: float
) -> Figure:
    """Draw how alike the windows are, and how far each token lies from its network's mean.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data.
    rows
        (N,) names of the grid's rows.
    onsets_s
        (W,) start of each window in seconds.
    length_s
        Of a window: pairs that share some of it are framed.
    """
    n_windows, n_rows, n_patches, _ = tokens.shape
    every = slice(None, None, int(np.ceil(n_windows / 6)))
    labels = [f"{onset:g}" for onset in onsets_s][every]
    windows = np.arange(n_windows)[every]
    height = 194.0
    figure = new_figure(234)

    similar = window_similarity(tokens)
    left = new_axes(figure, LEFT, TOP, height, height)
    image = matrix(left, similar, "Blues", (0, 1))
    _frame(left, np.abs(np.subtract.outer(onsets_s, onsets_s)) < length_s)
    left.set_xticks(windows, labels)
    left.set_yticks(windows, labels)
    left.set(xlabel="start of window (s)", ylabel="start of window (s)")
    if n_windows <= 7:
        write_numbers(image, similar)
    colour_bar(
        figure, image, left=LEFT + height + 7, top=TOP, height=height, label="cosine similarity"
    )

    distances = token_distance(tokens).transpose(1, 0, 2).reshape(n_rows, -1)
    right = new_axes(figure, 424, TOP, LEFT + PLOT - 424, height)
    image = matrix(right, distances, "Blues", (0, 1))
    for edge in np.arange(1, n_windows) * n_patches - 0.5:
        right.axvline(edge, color="#ffffff", linewidth=1.2)
    name_rows(right, rows)
    right.set_xticks(windows * n_patches + (n_patches - 1) / 2, labels)
    right.tick_params(axis="x", length=0)
    right.set_xlabel(f"start of window (s), {n_patches} patches each")
    colour_bar(figure, image, top=TOP, height=height, label="cosine distance")
    return figure


def _frame(axes: Axes, chosen: BoolArray) -> None:
    """Draw a line around the cells (rows, columns) of a matrix that are chosen."""
    rows, columns = np.nonzero(chosen[1:] != chosen[:-1])
    axes.hlines(rows + 0.5, columns - 0.5, columns + 0.5, color=OUTLIER, linewidth=1.2)
    rows, columns = np.nonzero(chosen[:, 1:] != chosen[:, :-1])
    axes.vlines(columns + 0.5, rows - 0.5, rows + 0.5, color=OUTLIER, linewidth=1.2)
