"""The figure of robustness: one row per perturbation, its strengths joined, three measures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure

from model.files.figures import png_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from model.evaluation.robustness import Moved

Measure = Literal["cosine", "centred", "identified"]
TITLES: dict[Measure, str] = {
    "cosine": "cosine to the unperturbed scan",
    "centred": "the same, mean over scans removed",
    "identified": "identified in the other session, %",
}
COLOUR = "#1f5fa8"


def draw(rows: Sequence[Moved]) -> bytes:
    """Draw every measure with its 95 % interval over subjects; return a PNG."""
    figure = Figure(figsize=(11, 1.0 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(TITLES), sharey=True)
    for ax, (measure, title) in zip(axes, TITLES.items(), strict=True):
        _panel(ax, rows, measure)
        ax.set_title(title, fontsize=10)
    axes[0].set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    for ax in axes[:-1]:
        ax.set_xlim(min(0.0, ax.get_xlim()[0]), 1.02)
    axes[-1].set_xlim(-2, 102)
    figure.supxlabel("mean and 95 % interval over subjects", fontsize=9)
    return png_bytes(figure)


def _panel(ax: Axes, rows: Sequence[Moved], measure: Measure) -> None:
    y = range(len(rows))
    value = [getattr(row, measure) for row in rows]
    low, high = ([getattr(row, f"{measure}_{end}") for row in rows] for end in ("low", "high"))
    ax.hlines(y, low, high, color=COLOUR, linewidth=1.2)
    ax.plot(value, y, "o", color=COLOUR, markersize=4)
    for i in range(1, len(rows)):
        if _without_numbers(rows[i]) == _without_numbers(rows[i - 1]):
            ax.plot(value[i - 1 : i + 1], (i - 1, i), color=COLOUR, linewidth=0.8, alpha=0.5)
    for i in range(1, len(rows)):
        if rows[i].family != rows[i - 1].family:
            ax.axhline(i - 0.5, color="#cccccc", linewidth=0.8)
    ax.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _without_numbers(row: Moved) -> str:
    """Name what is done; rows that differ in its strength only are joined to a curve."""
    return re.sub(r"[0-9.]+", "", row.name)
