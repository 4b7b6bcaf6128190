"""Drawing ground of the report's figures: axes in inches, network colours, inline SVG.

Colours of text and lines are placeholders that `render` turns into CSS, so that a figure
follows the page from light to dark. Text stays text; matrices are indexed PNGs inside. matplotlib
is used through its objects only, and imported late.
"""

from __future__ import annotations

import base64
import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

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
MISSING = "#cfb53b"
OUTLIER = "#d0342c"
DROPPED = "#7d8590"

LEVELS = 32
"""Colours of a matrix"""
WIDTH_IN = 10.0
LEFT_IN, PLOT_IN = 1.05, 7.95
# Placeholders; the stylesheet of data/report.html defines the line colour.
INK, LINE = "#010203", "#040506"


def network_order() -> npt.NDArray[np.intp]:
    """Return the 0-based columns of all parcels, network by network."""
    return np.concatenate([network_columns(network) for network in NETWORKS])


def network_edges() -> npt.NDArray[np.int_]:
    """Return where each network begins in `network_order`, and the end (N + 1)."""
    return np.cumsum([0, *(network_columns(network).size for network in NETWORKS)])


def network_bar(
    fig: Figure, *, left: float, top: float, height: float, across: bool = False
) -> None:
    """Draw the networks' colours along a matrix; with names where they run down."""
    edges = network_edges()
    width, length = (height, 0.1) if across else (0.1, height)
    ax = add_axes(fig, left=left, top=top, width=width, height=length)
    for network, start, stop in zip(NETWORKS, edges[:-1], edges[1:], strict=True):
        span = ax.axvspan if across else ax.axhspan
        span(start, stop, color=NETWORK_COLOURS[network], linewidth=0)
        if not across:
            ax.text(-0.5, (start + stop) / 2, network, ha="right", va="center", color=INK)
    ax.set(xlim=(0, edges[-1] if across else 1), ylim=(1, 0) if across else (edges[-1], 0))
    ax.set_axis_off()


def colour_bar(
    fig: Figure,
    image: AxesImage,
    *,
    top: float,
    height: float,
    label: str,
    left: float = LEFT_IN + PLOT_IN + 0.1,
) -> None:
    """Draw the colours of an image with their values, at a place in inches."""
    ax = add_axes(fig, left=left, top=top, width=0.1, height=height)
    low, high = image.get_clim()
    ramp = np.linspace(high, low, LEVELS)[:, None]
    ax.imshow(
        ramp,
        aspect="auto",
        interpolation="none",
        cmap=image.get_cmap(),
        vmin=low,
        vmax=high,
        extent=(0, 1, low, high),
    )
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.set(xticks=[], ylabel=label)
    ax.locator_params(axis="y", nbins=5)
    ax.ticklabel_format(axis="y", useOffset=False)


def colour_map(name: str) -> Colormap:
    """Return one of matplotlib's maps in few steps, with a colour of its own for NaN."""
    import matplotlib

    return matplotlib.colormaps[name].resampled(LEVELS).with_extremes(bad=MISSING)


def new_figure(*, height_in: float) -> Figure:
    """Return an empty figure of the report's width; call within `style`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in))


def add_axes(fig: Figure, *, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the left and upper edge."""
    high = float(fig.get_figheight())
    rect = (left / WIDTH_IN, 1 - (top + height) / high, width / WIDTH_IN, height / high)
    return fig.add_axes(rect)


@contextmanager
def style(salt: str) -> Iterator[None]:
    """Draw by matplotlib's defaults and these, whatever the user's own style is."""
    import matplotlib.style

    ours = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.size": 7,
        "axes.linewidth": 0.6,
        "axes.facecolor": "none",
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "axes.edgecolor": LINE,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    }
    with matplotlib.style.context(["default", ours]):
        yield


def render(fig: Figure) -> str:
    """Render to SVG that can stand inside a page: no prolog, no date, no loose identifiers."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    fig.savefig(buffer, format="svg", facecolor="none", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (xmlns(:xlink)?|version|width|height)="[^"]*"', "", text, count=5)
    # The stylesheet inside would apply to the whole page.
    text = re.sub(r"<!--.*?-->\n?|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"data:image/png;base64,([^\"]+)", _indexed, text)
    used = set(re.findall(r'#([A-Za-z][\w.-]*)[")]', text))
    text = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", text)
    return text.replace(INK, "currentColor").replace(LINE, "var(--line)")


def _indexed(match: re.Match[str]) -> str:
    """Encode an embedded picture with a palette: fewer bytes, the same pixels."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(match[1]))).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(LEVELS + 1, dither=Image.Dither.NONE).save(
        buffer, format="png", optimize=True
    )
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
