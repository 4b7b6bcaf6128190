"""The law, gain of training by the logarithm of the number of subjects, and its figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from model.figures import style
from model.figures.render import described, png_bytes
from model.statistics.bootstrap import percentiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    Gains = Mapping[int, list[float]]


Array = npt.NDArray[np.float64]
N_RESAMPLES = 2000
SEED = 0


DRAWN = {
    "window, raw, identification": "one window, raw",
    "window, standardised, identification": "one window, standardised",
    "probe, balanced_accuracy": "linear probe, balanced accuracy",
    "linear, balanced_accuracy": "logistic regression, balanced accuracy",
    "probe, r2": "linear probe, R2",
    "linear, r2": "ridge regression, R2",
}
"""What is drawn, of what was measured; the table has the rest. The full scan saturates."""
COLOURS = style.SERIES[:2]


@dataclass(frozen=True, kw_only=True)
class Law:
    """A straight line: gain = at_one + per_decade * log10(subjects)."""

    per_decade: float
    per_decade_interval: tuple[float, float] | None
    """Central 95 % over resamples of the seeds within each size; None where one has one seed"""
    at_one: float
    r_squared: float
    """Of the means per size"""
    n_rows: int
    band: list[tuple[float, float, float]]
    """(subjects, low, high) of the fitted line, for the figure; empty without an interval"""


def fit_law(gains: dict[int, list[float]]) -> Law | None:
    """Fit by least squares over all rows.

    Parameters
    ----------
    gains
        Gain of each run over its own start, by number of subjects.

    Returns
    -------
    None where fewer than two sizes have a score.
    """
    sizes = sorted(size for size, found in gains.items() if found)
    if len(sizes) < 2:
        return None
    values = [np.array(gains[size]) for size in sizes]
    x = np.log10(np.repeat(sizes, [len(v) for v in values]))
    slope, constant = np.polyfit(x, np.concatenate(values), 1)
    interval, band = _resampled(x, values) if min(v.size for v in values) > 1 else (None, [])
    means = np.array([v.mean() for v in values])
    left = means - (constant + slope * np.log10(sizes))
    spread = float(np.square(means - means.mean()).sum())
    return Law(
        per_decade=float(slope),
        per_decade_interval=interval,
        at_one=float(constant),
        r_squared=1 - float(np.square(left).sum()) / spread if spread > 0 else 0.0,
        n_rows=len(x),
        band=band,
    )


def _resampled(
    x: Array, values: list[Array]
) -> tuple[tuple[float, float], list[tuple[float, float, float]]]:
    """Return the interval of the slope, and the band of the line, over resampled seeds."""
    rng = np.random.default_rng(SEED)
    lines = np.array(
        [
            np.polyfit(x, np.concatenate([rng.choice(v, v.size) for v in values]), 1)
            for _ in range(N_RESAMPLES)
        ]
    )
    at = np.linspace(x[0], x[-1], 30)
    drawn = lines[:, [0]] * at + lines[:, [1]]
    band = [(float(10**n), *percentiles(y)) for n, y in zip(at, drawn.T, strict=True)]
    return percentiles(lines[:, 0]), band


def draw(
    gains: Mapping[tuple[str, str], Gains], laws: Mapping[tuple[str, str], Law | None]
) -> bytes:
    """Draw one panel per set of scans, one line per score; return a PNG.

    Dots are single runs, large dots means over seeds; the line is the log-linear fit, its band
    the 95 % interval over seeds, where there are some.
    """
    # Not at the top: drawing takes a second to import.
    from matplotlib.figure import Figure

    data = list(dict.fromkeys(d for d, _ in gains))
    figure = Figure(figsize=(5.6 * len(data), 4.4), layout="constrained")
    axes = figure.subplots(1, len(data), squeeze=False)[0]
    for ax, name in zip(axes, data, strict=True):
        drawn = [score for score in DRAWN if (name, score) in gains]
        for score, colour in zip(drawn, COLOURS, strict=False):
            _curve(ax, gains[name, score], laws[name, score], label=DRAWN[score], colour=colour)
        ax.axhline(0, color=style.QUIET, linewidth=0.8, linestyle=":")
        ax.set(
            xscale="log",
            xlabel="pretraining subjects",
            title=f"identification, {name}" if drawn[0].startswith("window") else name,
        )
        sizes = sorted(gains[name, drawn[0]])
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.minorticks_off()
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize=9)
        ax.grid(axis="y", color=style.GRID, linewidth=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("gain over the own start, points")
    alt = described("Gain of pretraining by the number of subjects", *data)
    return png_bytes(figure, alt=alt)


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
