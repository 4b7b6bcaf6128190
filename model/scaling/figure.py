"""The figure: gain over random weights against the number of pretraining subjects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from model.files.figures import png_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from model.scaling.law import Law

    Gains = Mapping[int, list[float]]

SCORES = {
    "window, raw, identification": "raw",
    "window, standardised, identification": "standardised",
}
"""What is drawn; the table has the rest. The full scan saturates."""
COLOURS = ("#1f5fa8", "#d9822b")


def draw(
    gains: Mapping[tuple[str, str], Gains], laws: Mapping[tuple[str, str], Law | None]
) -> bytes:
    """Draw one panel per set of scans, one line per score; return a PNG.

    Dots are single runs, large dots means over seeds; the line is the log-linear fit, its band
    the 95 % interval over seeds, where there are some.
    """
    data = list(dict.fromkeys(d for d, _ in gains))
    figure = Figure(figsize=(5.6 * len(data), 4.4), layout="constrained")
    axes = figure.subplots(1, len(data), squeeze=False)[0]
    for ax, name in zip(axes, data, strict=True):
        for (score, label), colour in zip(SCORES.items(), COLOURS, strict=True):
            _curve(ax, gains[name, score], laws[name, score], label=label, colour=colour)
        ax.axhline(0, color="#333333", linewidth=0.8, linestyle=":")
        ax.set(
            xscale="log",
            xlabel="pretraining subjects",
            title=f"{name} scans, identification from one window",
        )
        sizes = sorted(gains[name, next(iter(SCORES))])
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.minorticks_off()
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize=9)
        ax.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("gain over random weights, points")
    return png_bytes(figure)


def _curve(ax: Axes, gains: Gains, law: Law | None, *, label: str, colour: str) -> None:
    sizes = sorted(gains)
    for size in sizes:
        ax.plot([size] * len(gains[size]), gains[size], "o", color=colour, markersize=3, alpha=0.5)
    means = [sum(gains[size]) / len(gains[size]) for size in sizes]
    if law is not None:
        ends = [sizes[0], sizes[-1]]
        line = [law.at_one + law.per_decade * math.log10(n) for n in ends]
        ax.plot(ends, line, "-", color=colour, linewidth=1.2)
        label += f": {law.per_decade:+.2f} per decade"
        if law.per_decade_interval is not None:
            low, high = law.per_decade_interval
            x, lower, upper = zip(*law.band, strict=True)
            ax.fill_between(x, lower, upper, color=colour, alpha=0.15, lw=0)
            label += f", 95 % over seeds [{low:.2f}, {high:.2f}]"
    ax.plot(sizes, means, "o", color=colour, markersize=6, label=label)
