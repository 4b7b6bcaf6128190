"""Figures as bytes, so that they can be written whole beside the numbers they show."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png_bytes(figure: Figure) -> bytes:
    """Render a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def svg_bytes(figure: Figure) -> bytes:
    """Render a figure; the same figure gives the same bytes."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "semantoks"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
