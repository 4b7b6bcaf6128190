"""The figure of the normalization study: two panels, one line per perturbation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from normalization_study import Row

Keys = tuple[Literal["cosine", "centred"], Literal["cosine_5th", "centred_5th"]]
COLOURS = {"robust": "#1f5fa8", "zscore": "#d9822b"}
LABELS = {"robust": "robust (default)", "zscore": "z-score"}
TARGET = "#333333"


def draw(rows: list[Row], path: Path) -> None:
    """Draw median (dot) and 5th percentile (end of the line) of both cosines."""
    names = list(dict.fromkeys(r.name for r in rows))
    figure = Figure(figsize=(10, 0.27 * len(names) + 1.1), layout="constrained")
    plain, centred = figure.subplots(1, 2, sharey=True)
    _panel(plain, rows, names, keys=("cosine", "cosine_5th"))
    _panel(centred, rows, names, keys=("centred", "centred_5th"))
    plain.set(title="cosine to the unperturbed scan")
    centred.set(title="the same, mean over scans removed")
    plain.set_yticks(range(len(names)), names)
    plain.set_ylim(len(names) - 0.4, -0.6)
    handles, labels = plain.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=90, bbox_inches="tight", pad_inches=0.15)


def _panel(ax: Axes, rows: list[Row], names: list[str], *, keys: Keys) -> None:
    """Draw one measure; the variants below each other on each line."""
    for shift, (variant, colour) in zip((-0.15, 0.15), COLOURS.items(), strict=True):
        chosen = {r.name: r for r in rows if r.variant == variant}
        y = [i + shift for i in range(len(names))]
        median = [chosen[n].measured[keys[0]] for n in names]
        low = [chosen[n].measured[keys[1]] for n in names]
        ax.hlines(y, low, median, color=colour, linewidth=1.5)
        ax.plot(median, y, "o", color=colour, markersize=4.5, label=LABELS[variant])
    targets = {r.name: r.target for r in rows if r.target is not None}
    ax.plot(
        list(targets.values()),
        [names.index(n) for n in targets],
        "|",
        color=TARGET,
        markersize=13,
        label="target",
    )
    families = {r.name: r.family for r in rows}
    for i in range(1, len(names)):
        if families[names[i]] != families[names[i - 1]]:
            ax.axhline(i - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlim(right=1.02)
    ax.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
