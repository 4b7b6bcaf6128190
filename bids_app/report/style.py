"""Colours and looks of all figures, and the way of a figure into a page as SVG.

Ink and lines take the page's colours, so that a figure follows it from light to dark; text stays
text in the page's font. Nothing here touches pyplot or leaves matplotlib's settings changed.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

from model.figures import style
from model.figures.render import indexed

if TYPE_CHECKING:
    import contextlib

    from matplotlib.figure import Figure

INK, LINE = "#010203", "#040506"
"""Text and curves; frames. They
stand for the page's own colours, which matplotlib cannot name: see `inline_svg`."""
_PAGE_COLOURS = {INK: "currentColor", LINE: "var(--line)"}
_TICKS = {"color": LINE, "labelcolor": INK}


def figure_style() -> contextlib.AbstractContextManager[None]:
    """Draw in the page's ink, for `inline_svg`."""
    ink = dict.fromkeys(("text__color", "axes__labelcolor"), INK)
    ticks = {f"{axis}tick__{key}": colour for axis in "xy" for key, colour in _TICKS.items()}
    clear = dict.fromkeys(("figure__facecolor", "savefig__facecolor"), "none")
    return style.figure_style(axes__edgecolor=LINE, **ink, **ticks, **clear)


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
    svg = re.sub(r"(?<=base64,)[^\"]+", lambda picture: indexed(picture[0]), svg)
    for stand_in, colour in _PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
