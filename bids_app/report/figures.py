"""Figures of the report, one function each: arrays in, a matplotlib figure out.

Numbers that only a figure needs are computed here. Lengths are points (1/72 inch) from the upper
left corner; every figure is `WIDTH` wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.report.style import INK
from model.figures.style import (
    BORDER,
    DROPPED,
    LEVELS,
    MISSING_LINE,
    NETWORK_COLOURS,
    OUTLIER,
    hatch_missing,
    palette,
)
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from bids_app.outputs.scan_tables import Motion

FloatArray = npt.NDArray[np.floating]


BoolArray = npt.NDArray[np.bool_]
WIDTH = 720.0
LEFT, PLOT = 75.6, 572.4
"""Left edge and width of a plot over the whole figure."""
TOP = 7.0
MAX_COLUMNS = 400
"""Columns of a carpet: with few colours, what keeps its PNG below 150 kB."""
MAX_ROWS = 20
"""Rows of tokens that there is room to name"""
MAX_LETTERS = 11
"""Of such a name; a longer one is written smaller."""


def thin(values: FloatArray, *, most: int) -> tuple[FloatArray, int]:
    """Average successive frames of (T, P) until at most `most` are left; tell how many each."""
    step = int(np.ceil(values.shape[0] / most))
    if step == 1:
        return values, 1
    starts = np.arange(0, values.shape[0], step)
    counts = np.diff(starts, append=values.shape[0])
    return np.add.reduceat(values, starts, axis=0) / counts[:, None], step


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
    limit: float | None = None,
    unit: str,
    motion: Motion | None = None,
) -> Figure:
    """Draw parcels over time in network order, and motion above if it is given.

    Parameters
    ----------
    values
        (T, P), NaN columns are missing parcels.
    tr_s, start_s, end_s
        Repetition time, time of the first frame, and end of the axis, in seconds.
    limit
        Value at both ends of the grey scale; None: beyond it lie 2.5 % of `values`.
    unit
        Of `values`, for the colour bar.
    motion
        Of the acquired volumes, and what was done with them.
    """
    limit = limit or float(np.nanpercentile(np.abs(values), 97.5)) or 1.0
    top, height = TOP if motion is None else 97.0, 230.0
    figure = _figure(top + height + 29)
    if motion is not None:
        _draw_motion(figure, motion, tr_s=tr_s, end_s=end_s)
    shown, step = thin(values, most=MAX_COLUMNS)
    axes = _axes(figure, LEFT, top, PLOT, height)
    # The last column may stand for fewer frames than the others and reach beyond the end.
    extent = (start_s, start_s + len(shown) * step * tr_s, values.shape[1], 0)
    image = _matrix(axes, shown.T[_order()], "gray", (-limit, limit), extent=extent)
    axes.set(xlim=(0, end_s), xlabel="time (s)")
    _network_bar(axes)
    _colour_bar(figure, image, top=top, height=height, label=unit)
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
    figure = _figure(195)
    axes = _axes(figure, LEFT, TOP, PLOT, 158)
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
    _name_networks(axes, range(len(NETWORKS)))
    return figure


def connectivity(values: FloatArray) -> Figure:
    """Draw the correlation of all parcels, and its mean within and between networks.

    Parameters
    ----------
    values
        (S, P) model input, NaN columns are missing parcels.
    """
    matrix, order, edges = correlation(values), _order(), _edges()
    size = 302.0
    figure = _figure(314)
    axes = _axes(figure, LEFT, TOP, size, size)
    extent = (0, order.size, order.size, 0)
    image = _matrix(axes, matrix[np.ix_(order, order)], "RdBu_r", (-1, 1), extent=extent)
    axes.hlines(edges[1:-1], 0, order.size, color=BORDER, linewidth=0.4)
    axes.vlines(edges[1:-1], 0, order.size, color=BORDER, linewidth=0.4)
    axes.set(xticks=[], xlim=(0, order.size))
    _network_bar(axes)
    _colour_bar(figure, image, left=385, top=TOP, height=size, label="Pearson r")
    cells = _axes(figure, 500, TOP, 212, 212)
    means = network_means(matrix)
    _write_numbers(_matrix(cells, means, "RdBu_r", (-1, 1)), means)
    _name_networks(cells, range(len(NETWORKS)))
    cells.set_xticks(range(len(NETWORKS)), NETWORKS, rotation=90, rotation_mode="anchor")
    cells.tick_params(axis="x", length=0)
    for label in cells.get_xticklabels():
        label.set(ha="right", va="center")
    cells.text(4, 10.9, "mean r within and between networks", ha="center", va="center")
    return figure


def embedding(tokens: FloatArray, rows: Sequence[str], onsets_s: list[float]) -> Figure:
    """Draw how alike the windows are, and how far each token lies from its network's mean.

    Parameters
    ----------
    tokens
        (W, N, K, D), NaN where a token saw no data.
    rows
        (N,) names of the grid's rows.
    onsets_s
        (W,) start of each window in seconds.
    """
    n_windows, n_rows, n_patches, _ = tokens.shape
    every = slice(None, None, int(np.ceil(n_windows / 10)))
    labels = [f"{onset:g}" for onset in onsets_s][every]
    windows = np.arange(n_windows)[every]
    height = 173.0
    figure = _figure(209)

    similar = window_similarity(tokens)
    low = np.floor(20 * min(float(np.nanmin(similar)), 0.95)) / 20
    left = _axes(figure, LEFT, TOP, height, height)
    image = _matrix(left, similar, "Blues", (low, 1))
    left.set_xticks(windows, labels)
    left.set_yticks(windows, labels)
    left.set(xlabel="start of window (s)", ylabel="start of window (s)")
    if n_windows <= 7:
        _write_numbers(image, similar)
    _colour_bar(figure, image, left=254, top=TOP, height=height, label="cosine similarity")

    distances = token_distance(tokens).transpose(1, 0, 2).reshape(n_rows, -1)
    right = _axes(figure, 385, TOP, 263, height)
    image = _matrix(right, distances, "Blues", (0, max(float(np.nanmax(distances)), 0.01)))
    for edge in np.arange(1, n_windows) * n_patches - 0.5:
        right.axvline(edge, color="#ffffff", linewidth=1.2)
    _name_rows(right, rows)
    right.set_xticks(windows * n_patches + (n_patches - 1) / 2, labels)
    right.tick_params(axis="x", length=0)
    right.set_xlabel(f"start of window (s), {n_patches} patches each")
    _colour_bar(figure, image, top=TOP, height=height, label="cosine distance")
    return figure


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72)


def _axes(
    figure: Figure, left: float, top: float, width: float, height: float, **options: Any
) -> Axes:
    total = figure.get_figheight() * 72
    box = (left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total)
    return figure.add_axes(box, **options)


def _order() -> npt.NDArray[np.intp]:
    """Return the 0-based columns of all parcels, network by network."""
    return np.concatenate([network_columns(network) for network in NETWORKS])


def _edges() -> npt.NDArray[np.int_]:
    """Return where each network begins in `_order`, and the end (N + 1)."""
    return np.cumsum([0, *(network_columns(network).size for network in NETWORKS)])


def _matrix(
    axes: Axes, values: FloatArray, colours: str, limits: tuple[float, float], **options: Any
) -> AxesImage:
    """Fill axes with (rows, columns) in colours, one cell per value."""
    low, high = limits
    if not np.isfinite(values).all():
        hatch_missing(axes)
    return axes.imshow(
        values, cmap=palette(colours), vmin=low, vmax=high, aspect="auto", **options
    )


def _write_numbers(image: AxesImage, matrix: FloatArray) -> None:
    """Write the value into each cell of a small matrix."""
    light = image.to_rgba(matrix)[..., :3] @ [0.3, 0.59, 0.11] > 0.45
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            text = f"{value:z.2f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
            ink = "#000000" if light[row, column] else "#ffffff"
            image.axes.text(column, row, text, ha="center", va="center", color=ink, size=5.5)


def _name_rows(axes: Axes, rows: Sequence[str]) -> None:
    """Write the names of a grid's rows left of it, of many only some."""
    axes.tick_params(axis="y", length=0, pad=5)
    shown = range(0, len(rows), int(np.ceil(len(rows) / MAX_ROWS)))
    labels = [rows[row] for row in shown]
    axes.set_yticks(shown, labels)
    if (longest := max(map(len, labels))) > MAX_LETTERS:
        for label in axes.get_yticklabels():
            label.set_fontsize(float(label.get_fontsize()) * MAX_LETTERS / longest)


def _name_networks(axes: Axes, places: npt.ArrayLike, *, pad: float = 5) -> None:
    """Write the networks' names left of axes."""
    axes.tick_params(axis="y", length=0, pad=pad)
    axes.set_yticks(np.asarray(places), NETWORKS)


def _network_bar(axes: Axes) -> None:
    """Draw the networks' colours and names down the left side of a matrix of parcels."""
    edges, left = _edges(), -6.5 / (axes.get_position().width * WIDTH)
    axes.vlines(
        np.full(len(NETWORKS), left),
        edges[:-1],
        edges[1:],
        colors=list(NETWORK_COLOURS.values()),
        linewidth=7,
        transform=axes.get_yaxis_transform(),
        clip_on=False,
    )
    axes.set_ylim(edges[-1], 0)
    _name_networks(axes, (edges[:-1] + edges[1:]) / 2, pad=14)


def _colour_bar(
    figure: Figure,
    image: AxesImage,
    *,
    top: float,
    height: float,
    label: str,
    left: float = LEFT + PLOT + 7,
) -> None:
    """Draw the colours of a matrix with their values."""
    low, high = image.get_clim()
    axes = _axes(figure, left, top, 7, height)
    levels = np.linspace(low, high, LEVELS)[:, None]
    axes.imshow(levels, image.cmap, aspect="auto", origin="lower", extent=(0, 1, low, high))
    axes.set(xticks=[], ylabel=label)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")


def _draw_motion(figure: Figure, motion: Motion, *, tr_s: float, end_s: float) -> None:
    for top, label, trace, threshold in (
        (TOP, "FD (mm)", motion.fd_mm, motion.fd_threshold_mm),
        (48.0, "DVARS", motion.std_dvars, motion.std_dvars_threshold),
    ):
        known = np.isfinite(trace)
        most = max(trace[known].max(initial=0), threshold or 0) or 1
        axes = _axes(figure, LEFT, top, PLOT, 32.4)
        axes.set(xlim=(0, end_s), ylim=(0, 1.12 * most), xticks=[])
        axes.text(-22 / PLOT, 0.5, label, transform=axes.transAxes, ha="right", va="center")
        _mark_volumes(axes, motion, tr_s=tr_s, alpha=0.25)
        if not known.any():
            axes.text(0.5, 0.5, "not in the confounds", transform=axes.transAxes, ha="center")
            axes.set_yticks([])
            continue
        axes.locator_params(axis="y", nbins=2)
        axes.plot(motion.onset_s + tr_s / 2, trace, color=INK)
        if threshold is not None:
            axes.axhline(threshold, color=OUTLIER, linestyle="--")
    marks = _axes(figure, LEFT, 86.4, PLOT, 8)
    _mark_volumes(marks, motion, tr_s=tr_s, alpha=1)
    marks.set(xlim=(0, end_s), ylim=(0, 1), xticks=[], yticks=[])


def _mark_volumes(axes: Axes, motion: Motion, *, tr_s: float, alpha: float) -> None:
    """Shade dropped and interpolated volumes over the whole height of axes."""
    for marked, colour in ((motion.dropped, DROPPED), (motion.interpolated, OUTLIER)):
        spans = [(onset, tr_s) for onset in motion.onset_s[marked]]
        axes.broken_barh(
            spans, (0, 1), transform=axes.get_xaxis_transform(), color=colour, alpha=alpha, lw=0
        )
