"""Figures as bytes, so that they can be written whole beside the numbers they show."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SALT = "semantoks"
MOST_COLOURS = 256
"""That a PNG can have a table of."""


def described(what: str, *facts: str) -> str:
    """Make an alternative text: what a figure shows, then what is to be seen in it.

    Examples
    --------
    >>> described("Carpet of 457 parcels", "3 volumes dropped", "")
    'Carpet of 457 parcels: 3 volumes dropped.'
    """
    said = "; ".join(fact for fact in facts if fact)
    return f"{what}: {said}." if said else f"{what}."


def png_bytes(figure: Figure, *, alt: str) -> bytes:
    """Render a figure; `alt` says in words what it shows, and is kept in the file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Description": alt})
    return buffer.getvalue()


def svg_bytes(figure: Figure, *, alt: str) -> bytes:
    """Render a figure; the same figure gives the same bytes.

    Parameters
    ----------
    figure
        Its text stays text where it was drawn within `model.figures.style.figure_style`.
    alt
        What it shows, in words; the file's title, which screen readers tell.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": _SALT}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    head = svg[: svg.index(">") + 1]
    named = head[:-1] + ' role="img">' + f"<title>{escape(alt)}</title>"
    svg = svg.replace(head, named, 1)
    svg = re.sub(r'<!--.*?-->| transform="rotate\(-0 [^"]*"', "", svg, flags=re.S)
    svg = re.sub(r'(?<=<g) id="[^"]*"| id="image[^"]*"|(?<=\n) +', "", svg)
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)  # a hundredth of a point is enough
    svg = re.sub(r" ?\n(?=[MLz])", " ", svg)
    svg = re.sub(r"(?<=base64,)[^\"]+", lambda picture: indexed(picture[0]), svg)
    return _with_classes(svg).encode()


def _with_classes(svg: str) -> str:
    """Say each style that is used several times once: half of a drawing is their repetition."""
    used = Counter(re.findall(r' style="([^"]*)"', svg))
    styles = [text for text, count in used.items() if count > 2]
    for number, text in enumerate(styles):
        svg = svg.replace(f' style="{text}"', f' class="s{number}"')
    rules = "".join(f".s{number}{{{text}}}" for number, text in enumerate(styles))
    return svg.replace("</style>", f"{rules}</style>", 1)


def indexed(picture: str) -> str:
    """Encode a PNG of few colours, as base64, with a table of them: half as large."""
    from PIL import Image

    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA"))
    codes, places = np.unique(pixels.view(np.uint32)[..., 0], return_inverse=True)
    if codes.size > MOST_COLOURS:  # a photograph, so to speak
        return picture
    colours = codes.view(np.uint8).reshape(-1, 4)
    image = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8))
    image.putpalette(colours[:, :3].tobytes())
    clear = {"transparency": colours[:, 3].tobytes()} if (colours[:, 3] < 255).any() else {}
    buffer = io.BytesIO()
    image.save(buffer, "png", **clear)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
