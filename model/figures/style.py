"""Colours, types and marks of every figure; readers who are colour-blind tell them apart.

Figures stand on white, whatever the page around them: they are files of their own, to be printed
and put on slides.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.files.write import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

NETWORK_COLOURS = {
    "Vis": "#aa4499",
    "SomMot": "#88ccee",
    "DorsAttn": "#228844",
    "SalVentAttn": "#cc6677",
    "Limbic": "#ddcc77",
    "Control": "#999933",
    "Default": "#992255",
    "Subcortical": "#4b47b5",
    "Cerebellum": "#44aa99",
}
"""Tol's muted colours, the darkest lightened. The same network has the same one everywhere."""

SERIES = ("#1f5fa8", "#d9822b", "#009e73", "#cc79a7")
"""What several curves or marks take, in this order: dark to light in print, apart in colour."""
CATEGORIES = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7d5ba6",
    "#8a6d1d",
)
"""Groups of scans, such as sites, by marks of different shapes: Okabe and Ito's, and two more."""
STEPS = ("#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725")
"""A number in seven steps: matplotlib's viridis."""
BEFORE, AFTER = "#8c959f", SERIES[0]
"""A thing before and after something was done to it."""
OUTLIER, DROPPED = "#d55e00", "#7d8590"
"""Volumes that were interpolated, and those that were left out."""
GOOD, UNUSUAL, BAD = "#1a7f37", "#9a6700", "#c62828"
"""Judgements, which are never told by colour alone: a word stands beside."""

PAPER, INK, QUIET, LINE, GRID = "#ffffff", "#1f2328", "#59636e", "#8c959f", "#e5e5e5"
"""Ground; text; second text and what is no finding, such as chance; frames; lines behind."""
BORDER = "#30363d"
"""Lines within a matrix."""
MISSING, MISSING_LINE, MISSING_HATCH = "#e8eaed", "#a8b0b9", "//////"
"""What is not there: a quiet grey, hatched, so that it looks like no value of any map."""

FONTS = ("DejaVu Sans", "sans-serif")
"""matplotlib brings the first; text stays text in an SVG."""
TEXT = 9.5
"""Points, and the least there is: of a figure 720 wide on a page of 800 pixels, 10 pixels"""
LEVELS = 32
"""Colours of a matrix: with few of them, its PNG is small."""

SETTINGS: dict[str, Any] = {
    "font.size": TEXT,
    "font.family": list(FONTS),
    "font.sans-serif": list(FONTS[:1]),
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": TEXT,
    "axes.labelsize": TEXT,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 0.8,
    "image.interpolation": "none",
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    **{
        f"{axis}tick.{name}": value
        for axis in "xy"
        for name, value in {
            "color": LINE,
            "labelcolor": INK,
            "labelsize": TEXT,
            "major.size": 2.5,
            "major.width": 0.6,
            # Numbers of both axes meet in their corner: those below it keep off.
            "major.pad": {"x": 4, "y": 2.5}[axis],
        }.items()
    },
}
"""matplotlib's settings of a figure for a page, in points of 1/72 inch."""


def missing_css() -> str:
    """Return a CSS background that looks as what is missing does in a figure."""
    stripes = f"{MISSING_LINE} 0 1px,{MISSING} 1px 4px"
    return f"repeating-linear-gradient(135deg,{stripes})"


def hatch_missing(axes: Axes) -> None:
    """Show what is missing behind a matrix whose map leaves NaN clear (`palette`)."""
    axes.patch.set(facecolor=MISSING, edgecolor=MISSING_LINE, hatch=MISSING_HATCH, linewidth=0)


def palette(name: str, levels: int = LEVELS) -> Colormap:
    """Return a colour map of matplotlib in few levels, clear where a value is NaN."""
    import matplotlib as mpl

    return mpl.colormaps[name].resampled(levels).with_extremes(bad=(0, 0, 0, 0))


@contextlib.contextmanager
def font_folder(place: Path | None = None) -> Iterator[None]:
    """Give matplotlib a folder, gone afterwards, for the list of the machine's fonts.

    Its place is where this process may write, such as its log folder; None: where temporary
    files are, of which a container may have none. The list is made when matplotlib is first
    imported, in seconds where fonts are many, and would be kept in the user's home, where there
    may be none to write to. Processes started within share the folder.
    """
    if "MPLCONFIGDIR" in os.environ:  # the user has chosen, or an outer call
        yield
        return
    with scratch_folder(place or Path(tempfile.gettempdir())) as folder:
        os.environ["MPLCONFIGDIR"] = str(folder)
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


@contextlib.contextmanager
def figure_style(**settings: Any) -> Iterator[None]:
    """Draw in this style, whatever the user's own settings, which come back after it.

    Parameters
    ----------
    **settings
        Of matplotlib, over `SETTINGS`, points for underscores doubled: ``font__size=9``.
    """
    with contextlib.nullcontext() if "matplotlib.style" in sys.modules else font_folder():
        import matplotlib.backends.backend_svg
        import matplotlib.figure
        import matplotlib.style
    more = {name.replace("__", "."): value for name, value in settings.items()}
    with matplotlib.style.context(["default", SETTINGS | more]):
        yield
