"""Drawing ground of the report's figures: SVG as text, matrices as indexed PNGs inside.

Written directly: a figure library takes a second per run for the same lines. Lengths are points
(1/72 inch) from the upper left corner; every figure is `WIDTH` wide. Text and lines take the
page's colours, so that a figure follows it from light to dark.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.floating]

WIDTH = 720.0
LEFT, PLOT = 75.6, 572.4
"""Left edge and width of a plot over the whole figure."""
INK, LINE = "currentColor", "var(--line)"
"""The stylesheet of data/report.html defines the line colour."""
MISSING = "#cfb53b"
LEVELS = 32
"""Colours of a matrix"""
# Few steps of known maps, in between straight lines: ColorBrewer's RdBu, viridis, cividis.
_MAPS = {
    "grey": "000000 ffffff",
    "red-blue": "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f",
    "viridis": "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
    "cividis": "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A rectangle of the figure, and the data coordinates of its edges."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float] = (0, 1)
    """At the left and the right edge"""
    y: tuple[float, float] = (0, 1)
    """At the upper and the lower edge"""

    def across(self, value: npt.ArrayLike) -> FloatArray:
        """Turn data coordinates into points from the left."""
        share = (np.asarray(value) - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + self.width * share

    def down(self, value: npt.ArrayLike) -> FloatArray:
        """Turn data coordinates into points from the top."""
        share = (np.asarray(value) - self.y[0]) / (self.y[1] - self.y[0])
        return self.top + self.height * share


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Which colours stand for which values."""

    colours: str
    low: float
    high: float

    def levels(self, values: FloatArray) -> npt.NDArray[np.uint8]:
        """Sort values into `LEVELS` colours; what is not finite comes after the last."""
        share = (values - self.low) / (self.high - self.low)
        level = np.clip(np.nan_to_num(share) * LEVELS, 0, LEVELS - 1)
        chosen: npt.NDArray[np.uint8] = np.where(np.isfinite(values), level, LEVELS).astype("u1")
        return chosen

    def palette(self) -> npt.NDArray[np.uint8]:
        """(LEVELS + 1, 3) red, green, blue; the last is that of missing values."""
        steps = np.array([list(bytes.fromhex(step)) for step in _MAPS[self.colours].split()])
        places = np.linspace(0, len(steps) - 1, LEVELS)
        channels = [np.interp(places, np.arange(len(steps)), channel) for channel in steps.T]
        missing = np.array(list(bytes.fromhex(MISSING[1:])))
        colours: npt.NDArray[np.float64] = np.vstack([np.stack(channels, axis=1), missing])
        return np.rint(colours).astype(np.uint8)


@dataclass(kw_only=True)
class Drawing:
    """A figure in the making."""

    height: float
    parts: list[str] = field(default_factory=list)

    def svg(self) -> str:
        """Return the figure; it can stand inside a page, without identifiers of its own."""
        body = "\n".join(self.parts)
        return f'<svg viewBox="0 0 {WIDTH:g} {_n(self.height)}">\n{body}\n</svg>'

    def boxes(
        self,
        corners: Sequence[tuple[float, float]],
        width: float,
        height: float,
        *,
        fill: str,
        opacity: float = 1,
    ) -> None:
        """Draw filled rectangles of one size from their upper left corners, as one path."""
        size = f"h{_n(width)}v{_n(height)}h{_n(-width)}z"
        path = "".join(f"M{_n(x)} {_n(y)}{size}" for x, y in corners)
        if path:
            self.parts.append(f'<path d="{path}" fill="{fill}" fill-opacity="{opacity}"/>')

    def lines(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        colour: str,
        width: float = 0.6,
        dashed: bool = False,
    ) -> None:
        """Draw a line through points; NaN interrupts it."""
        x, y = np.asarray(x), np.asarray(y)
        drawn = np.isfinite(x) & np.isfinite(y)
        starts = drawn & ~np.r_[False, drawn[:-1]]
        path = "".join(
            f"{'M' if start else 'L'}{_n(a)} {_n(b)}"
            for a, b, start in zip(x[drawn], y[drawn], starts[drawn], strict=True)
        )
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: Literal["start", "middle", "end"] = "middle",
        turned: bool = False,
        colour: str = INK,
        size: float = 7,
    ) -> None:
        """Write text centred on a height; turned: upwards."""
        turn = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if turned else ""
        self.parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" dominant-baseline="central" '
            f'font-size="{size}" fill="{colour}"{turn}>{escape(text)}</text>'
        )

    def matrix(self, panel: Panel, values: FloatArray, scale: Scale) -> None:
        """Fill a panel with (rows, columns) in colours, one cell per value."""
        picture = base64.b64encode(_png(scale.levels(values), scale.palette())).decode("ascii")
        self.parts.append(
            f'<image x="{_n(panel.left)}" y="{_n(panel.top)}" width="{_n(panel.width)}" '
            f'height="{_n(panel.height)}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{picture}"/>'
        )

    def frame(self, panel: Panel) -> None:
        """Draw the outline of a panel."""
        left, right = panel.left, panel.left + panel.width
        top, bottom = panel.top, panel.top + panel.height
        x, y = [left, right, right, left, left], [top, top, bottom, bottom, top]
        self.lines(x, y, colour=LINE)

    def x_axis(
        self,
        panel: Panel,
        places: npt.ArrayLike,
        labels: Sequence[str],
        *,
        title: str,
        mark: bool = True,
    ) -> None:
        """Label places below a panel, with ticks or without."""
        bottom = panel.top + panel.height
        for x, label in zip(panel.across(places), labels, strict=True):
            if mark:
                self.lines([x, x], [bottom, bottom + 2.5], colour=LINE)
            self.text(x, bottom + 9, label)
        self.text(panel.left + panel.width / 2, bottom + 19, title)

    def y_axis(
        self,
        panel: Panel,
        places: npt.ArrayLike,
        labels: Sequence[str],
        *,
        mark: bool = True,
        right: bool = False,
    ) -> None:
        """Label places left of a panel, or right of it."""
        edge = panel.left + panel.width if right else panel.left
        out = 1 if right else -1
        for y, label in zip(panel.down(places), labels, strict=True):
            if mark:
                self.lines([edge, edge + 2.5 * out], [y, y], colour=LINE)
            self.text(edge + 5 * out, y, label, anchor="start" if right else "end")

    def colour_bar(
        self, scale: Scale, *, top: float, height: float, label: str, left: float = LEFT + PLOT + 7
    ) -> None:
        """Draw the colours of a scale with their values."""
        bar = Panel(left=left, top=top, width=7, height=height, y=(scale.high, scale.low))
        self.matrix(bar, np.linspace(scale.high, scale.low, LEVELS)[:, None], scale)
        self.frame(bar)
        places, labels = ticks(scale.low, scale.high, most=5)
        self.y_axis(bar, places, labels, right=True)
        widest = max(map(len, labels))
        self.text(left + 17 + 4 * widest, top + height / 2, label, turned=True)


def ticks(low: float, high: float, *, most: int) -> tuple[list[float], list[str]]:
    """Return round values between two bounds, at most `most` steps apart, and their text."""
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    places = [step * k for k in range(first, last + 1)]
    digits = next(d for d in range(20) if abs(round(step, d) - step) < 1e-6 * step)
    return places, [f"{place:z.{digits}f}".replace("-", "\N{MINUS SIGN}") for place in places]


def _n(value: float) -> str:
    """Write a length: hundredths of a point are finer than any screen."""
    return f"{value:z.2f}".rstrip("0").rstrip(".")


def _png(levels: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Encode (rows, columns) of palette entries."""
    n_rows, n_columns = levels.shape
    lines = np.hstack([np.zeros((n_rows, 1), np.uint8), levels])  # 0: a line without a filter
    chunks = {
        b"IHDR": struct.pack(">2I5B", n_columns, n_rows, 8, 3, 0, 0, 0),
        b"PLTE": palette.tobytes(),
        b"IDAT": zlib.compress(lines.tobytes()),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
