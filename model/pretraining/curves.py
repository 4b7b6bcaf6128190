"""Figure of a run: losses, held-out losses and signs of collapse over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CURVES_FILE = "curves.png"
PANELS = {
    "total loss, weighted": ("total",),
    "CLS": ("cls", "validation_cls"),
    "temporal regularizer": ("ttr", "validation_ttr"),
    "masked tokens": ("token", "validation_token"),
    "gradient norm": ("gradient_norm",),
    "RankMe (1: collapse)": ("rankme_cls", "rankme_networks"),
    "teacher std (0: collapse)": ("teacher_std",),
}
FROM_ZERO = {"gradient_norm", "rankme_cls", "teacher_std"}
"""Whose distance from zero is what a reader looks for."""


def draw_curves(rows: Sequence[dict[str, float]], folder: Path) -> None:
    """Draw what the log holds to ``curves.png``.

    Parameters
    ----------
    rows
        One per step; a quantity may be there in some only.
    folder
        Gets the figure, whole or not at all.
    """
    # Not at the top: drawing takes a second to import, and most commands do not draw.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12, 6))
    figure.subplots_adjust(left=0.05, right=0.98, bottom=0.08, top=0.93, wspace=0.25, hspace=0.4)
    axes = figure.subplots(2, 4).ravel()
    for ax, (title, names) in zip(axes, PANELS.items(), strict=False):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                dots = "." if name.startswith("validation") or len(points) < 50 else ""
                ax.plot(*zip(*points, strict=True), lw=0.8, marker=dots, label=name)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("step", fontsize=8)
        ax.tick_params(labelsize=7)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        if names[0] in FROM_ZERO and ax.lines:
            ax.set_ylim(bottom=0)
        if ax.lines:
            ax.legend(fontsize=7, frameon=False)
    axes[-1].set_axis_off()
    scratch = folder / f".{CURVES_FILE}.part"
    figure.savefig(scratch, format="png", dpi=100)
    scratch.replace(folder / CURVES_FILE)
