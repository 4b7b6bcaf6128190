"""Colours and looks of all figures, and the way of a figure into a page as SVG.

Ink and lines take the page's colours, so that a figure follows it from light to dark; text stays
text in the page's font. Nothing here touches pyplot or leaves matplotlib's settings changed.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.files.write import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

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
"""Tol's muted colours, told apart by colour-blind readers; the darkest are lightened."""
OUTLIER = "#d55e00"
DROPPED = "#7d8590"
MISSING = "#e6c200"
"""Far from every colour of the maps in use, so that what is missing looks like no value."""
INK, LINE, BORDER = "#010203", "#040506", "#30363d"
"""Text and curves; frames; lines within a matrix, which is as light in a dark page. The first two
stand for the page's own colours, which matplotlib cannot name: see `inline_svg`."""
_PAGE_COLOURS = {INK: "currentColor", LINE: "var(--line)"}
LEVELS = 32
"""Colours of a matrix: with few of them, its PNG is small."""
_SETTINGS: dict[str, Any] = {
    "font.size": 7,
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it; the page's own takes its place
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
    "figure.facecolor": "none",
    "lines.linewidth": 0.8,
    "image.interpolation": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    **{
        f"{axis}tick.{name}": value
        for axis in "xy"
        for name, value in {
            "color": LINE,
            "labelcolor": INK,
            "labelsize": 7,
            "major.size": 2.5,
            "major.width": 0.6,
            "major.pad": 2.5,
        }.items()
    },
}


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
def figure_style() -> Iterator[None]:
    """Draw in the report's style, whatever the user's own settings, which come back after it."""
    with contextlib.nullcontext() if "matplotlib.style" in sys.modules else font_folder():
        import matplotlib.backends.backend_svg
        import matplotlib.figure
        import matplotlib.style
    with matplotlib.style.context(["default", _SETTINGS]):
        yield


def palette(name: str) -> Colormap:
    """Return a colour map of matplotlib in few levels, with a colour of its own for NaN."""
    import matplotlib as mpl

    return mpl.colormaps[name].resampled(LEVELS).with_extremes(bad=MISSING)


def inline_svg(figure: Figure, *, name: str, alt: str) -> str:
    """Return a figure as SVG to stand inside a page.

    Parameters
    ----------
    figure
        Drawn within `figure_style`.
    name
        Tells the figure from all others of the page: identifiers are made from it.
    alt
        What the figure shows, in words.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace("xlink:href", "href")
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size is not None  # noqa: S101 matplotlib always writes it
    svg = re.sub(r"<svg[^>]*>", f'<svg {size[0]} role="img" aria-label="{escape(alt)}">', svg)
    svg = re.sub(r'<style[^<]*</style>|<!--[^>]*-->| transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r'(?<=<g) id="[^"]*"| id="image[^"]*"|(?<=\n) +', "", svg)
    svg = re.sub(r"(?<=base64,)[^\"]+", lambda picture: _indexed(picture[0]), svg)
    for stand_in, colour in _PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg


def _indexed(picture: str) -> str:
    """Encode a PNG of few colours with a table of them: half as large."""
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(2 * LEVELS, dither=Image.Dither.NONE).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
