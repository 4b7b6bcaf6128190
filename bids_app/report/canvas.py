"""What the report's figures are put together from: axes in points, matrices, bars, names.

Lengths are points (1/72 inch) from the upper left corner; every figure is `WIDTH` wide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.figures.style import LEVELS, NETWORK_COLOURS, hatch_missing, palette
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

FloatArray = npt.NDArray[np.floating]
WIDTH = 720.0
LEFT, PLOT = 92.0, 562.0
"""Left edge and width of a plot over the whole figure."""
TOP = 7.0
MAX_ROWS = 18
"""Rows of tokens that there is room to name"""
MAX_LETTERS = 12
"""Of such a name; of a longer one the middle is left out."""
LINE = 10.5
"""From one line of text to the next"""


def new_figure(height: float) -> Figure:
    """Return an empty figure, `WIDTH` wide."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH / 72, height / 72), dpi=72)


def new_axes(
    figure: Figure, left: float, top: float, width: float, height: float, **options: Any
) -> Axes:
    """Add axes by their upper left corner and size."""
    total = figure.get_figheight() * 72
    box = (left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total)
    return figure.add_axes(box, **options)


def network_order() -> npt.NDArray[np.intp]:
    """Return the 0-based columns (P,) of all parcels, network by network."""
    return np.concatenate([network_columns(network) for network in NETWORKS])


def network_edges() -> npt.NDArray[np.int_]:
    """Return where each network begins in `network_order`, and the end (N + 1)."""
    return np.cumsum([0, *(network_columns(network).size for network in NETWORKS)])


def matrix(
    axes: Axes,
    values: FloatArray,
    colours: str,
    limits: tuple[float, float],
    *,
    levels: int = LEVELS,
    **options: Any,
) -> AxesImage:
    """Fill axes with (rows, columns) in colours, one cell per value; what is NaN is hatched."""
    low, high = limits
    if not np.isfinite(values).all():
        hatch_missing(axes)
    return axes.imshow(
        values, cmap=palette(colours, levels), vmin=low, vmax=high, aspect="auto", **options
    )


def write_numbers(image: AxesImage, matrix: FloatArray) -> None:
    """Write the value into each cell of a small matrix (N, N)."""
    light = image.to_rgba(matrix)[..., :3] @ [0.3, 0.59, 0.11] > 0.45
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            text = f"{value:z.2f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
            ink = "#000000" if light[row, column] else "#ffffff"
            image.axes.text(column, row, text, ha="center", va="center", color=ink)


def name_rows(axes: Axes, rows: Sequence[str]) -> None:
    """Write the names of a grid's rows left of it, of many only some."""
    axes.tick_params(axis="y", length=0, pad=5)
    shown = range(0, len(rows), int(np.ceil(len(rows) / MAX_ROWS)))
    axes.set_yticks(shown, [_short(rows[row]) for row in shown])


def _short(name: str) -> str:
    """Leave out the middle of a long name: rows of one family end in their numbers."""
    if len(name) <= MAX_LETTERS:
        return name
    half = MAX_LETTERS // 2
    return f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[1 - half :]}"


def name_networks(axes: Axes, places: npt.ArrayLike, *, pad: float = 5) -> None:
    """Write the networks' names left of axes, each at its place of (N,)."""
    axes.tick_params(axis="y", length=0, pad=pad)
    axes.set_yticks(np.asarray(places), NETWORKS)


def network_bar(axes: Axes) -> None:
    """Draw the networks' colours and names down the left side of a matrix of parcels."""
    edges, left = network_edges(), -6.5 / (axes.get_position().width * WIDTH)
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
    line = LINE * edges[-1] / axes.bbox.height  # a pixel is a point here
    name_networks(axes, _apart((edges[:-1] + edges[1:]) / 2, line), pad=14)


def _apart(places: FloatArray, least: float) -> FloatArray:
    """Move ascending places (N,) down where one would stand less than `least` below another."""
    steps = least * np.arange(places.size)
    return np.asarray(np.maximum.accumulate(places - steps) + steps)


def colour_bar(
    figure: Figure,
    image: ScalarMappable,
    *,
    top: float,
    height: float,
    label: str,
    left: float = LEFT + PLOT + 7,
) -> None:
    """Draw the colours of a matrix with their values."""
    low, high = image.get_clim()
    axes = new_axes(figure, left, top, 7, height)
    levels = np.linspace(low, high, image.cmap.N)[:, None]
    axes.imshow(levels, image.cmap, aspect="auto", origin="lower", extent=(0, 1, low, high))
    axes.set(xticks=[], ylabel=label)
    axes.locator_params(axis="y", nbins=6)
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
