"""What an evaluation leaves: tables, JSON, figures, and a few lines for the terminal."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.figure import Figure

from model.evaluation.compare import Measurement
from model.figures import style
from model.figures.render import described, png_bytes
from model.files.write import json_bytes, tsv_bytes, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from model.evaluation.robustness import Displacement


COLOURS = {"raw": style.SERIES[1], "standardised": style.SERIES[0]}
IDENTIFICATION = "identification"


Measure = Literal["cosine", "centred", "identified"]
TITLES: dict[Measure, str] = {
    "cosine": "cosine to the unperturbed scan",
    "centred": "the same, mean over scans removed",
    "identified": "identified in the other session, %",
}
COLOUR = style.SERIES[0]


def write_report(found: Sequence[Measurement], settings: dict[str, Any], out: Path) -> list[Path]:
    """Write ``evaluation.tsv``, ``.json`` and ``.png``: all of them or none."""
    header = [f.name for f in fields(Measurement)]
    return write_whole(
        {
            out / "evaluation.tsv": tsv_bytes(
                header, ([getattr(f, n) for n in header] for f in found)
            ),
            out / "evaluation.json": json_bytes(
                settings | {"findings": [asdict(f) for f in found]}
            ),
            out / "evaluation.png": draw(found),
        }
    )


def write_robustness(
    rows: Sequence[Displacement], settings: dict[str, Any], out: Path
) -> list[Path]:
    """Write ``robustness.tsv``, ``.json`` and ``.png``."""
    header = list(asdict(rows[0]))
    return write_whole(
        {
            out / "robustness.tsv": tsv_bytes(
                header, (list(asdict(row).values()) for row in rows)
            ),
            out / "robustness.json": json_bytes(settings | {"rows": [asdict(r) for r in rows]}),
            out / "robustness.png": draw_robustness(rows),
        }
    )


def identification_lines(found: Sequence[Measurement]) -> str:
    """Return a markdown table of identification: sets by level, comparison and scaling.

    Its last lines say of how many people, and what chance would reach.
    """
    shown = _identification(found)
    kinds = list(dict.fromkeys((f.level, f.comparison, f.scaling) for f in shown))
    cell = {(f.name, (f.level, f.comparison, f.scaling)): _text(f) for f in shown}
    lines = [
        "| identification, % | " + " | ".join(" ".join(kind) for kind in kinds) + " |",
        "|---" * (len(kinds) + 1) + "|",
    ]
    names = dict.fromkeys(f.name for f in shown)
    lines += [f"| {n} | " + " | ".join(cell.get((n, k), "") for k in kinds) + " |" for n in names]
    one_of = {(f.level, f.comparison, f.scaling): f for f in shown}
    for name, about in (("chance", _chance), ("people", lambda f: str(f.n_subjects))):
        lines.append(f"| {name} | " + " | ".join(about(one_of[kind]) for kind in kinds) + " |")
    return "\n".join(lines)


def below_chance(found: Sequence[Measurement]) -> list[str]:
    """Note the sets whose people are found less often than by chance, interval and all."""
    return [
        f"{f.name}, {f.level}, {f.scaling}: {_text(f)} % are identified, less than by chance "
        f"({_chance(f)} %). Were the weights fitted to these scans? Their whitening then sets "
        "the sessions of a person apart in most directions (docs/series.md)."
        for f in _identification(found)
        if f.high is not None and f.chance is not None and f.high < f.chance
    ]


def _chance(one: Measurement) -> str:
    return "" if one.chance is None else f"{one.chance:.1f}"


def draw(found: Sequence[Measurement]) -> bytes:
    """Draw identification with its intervals, one panel per level and comparison; return a PNG."""
    shown = _identification(found)
    panels = list(dict.fromkeys((f.level, f.comparison) for f in shown))
    names = list(dict.fromkeys(f.name for f in shown))
    figure = Figure(
        figsize=(2.2 + 2.9 * len(panels), 1.5 + 0.33 * len(names)), layout="constrained"
    )
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for ax, (level, comparison) in zip(axes, panels, strict=True):
        chosen = [f for f in shown if (f.level, f.comparison) == (level, comparison)]
        _panel(ax, chosen, names)
        pipelines = "two pipelines" if comparison == "across" else "one pipeline"
        ax.set_title(f"{'single window' if level == 'window' else 'whole scan'}, {pipelines}")
        ax.set_xlabel("identified, % (95 % interval)")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    alt = described(
        "Share of scans whose person is found among all, with intervals", f"{len(names)} methods"
    )
    return png_bytes(figure, alt=alt)


def _panel(ax: Axes, chosen: Sequence[Measurement], names: list[str]) -> None:
    for shift, (scaling, colour) in zip((-0.15, 0.15), COLOURS.items(), strict=True):
        of_scaling = [f for f in chosen if f.scaling == scaling]
        y = [names.index(f.name) + shift for f in of_scaling]
        ax.hlines(
            y, [f.low or 0 for f in of_scaling], [f.high or 0 for f in of_scaling], color=colour
        )
        label = {"raw": "raw", "standardised": "features standardised"}[scaling]
        ax.plot([f.value for f in of_scaling], y, "o", color=colour, markersize=4.5, label=label)
    chance = next(f.chance for f in chosen if f.chance is not None)
    ax.axvline(chance, color=style.QUIET, linewidth=0.8, linestyle=":", label="chance")
    ax.set_xlim(-2, 102)
    ax.grid(axis="x", color=style.GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _identification(found: Sequence[Measurement]) -> list[Measurement]:
    return [f for f in found if f.measure == IDENTIFICATION and f.minus is None]


def _text(one: Measurement) -> str:
    return f"{one.value:.1f} [{one.low:.0f}, {one.high:.0f}]"


def draw_robustness(rows: Sequence[Displacement]) -> bytes:
    """Draw every measure with its 95 % interval over subjects; return a PNG."""
    figure = Figure(figsize=(11, 1.0 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(TITLES), sharey=True)
    for ax, (measure, title) in zip(axes, TITLES.items(), strict=True):
        _robustness_panel(ax, rows, measure)
        ax.set_title(title, fontsize=10)
    axes[0].set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    for ax in axes[:-1]:
        ax.set_xlim(min(0.0, ax.get_xlim()[0]), 1.02)
    axes[-1].set_xlim(-2, 102)
    figure.supxlabel("mean and 95 % interval over subjects", fontsize=9)
    alt = described(
        "How far each disturbance moves embeddings, with intervals", f"{len(rows)} disturbances"
    )
    return png_bytes(figure, alt=alt)


def _robustness_panel(ax: Axes, rows: Sequence[Displacement], measure: Measure) -> None:
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
            ax.axhline(i - 0.5, color=style.LINE, linewidth=0.8)
    ax.grid(axis="x", color=style.GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _without_numbers(row: Displacement) -> str:
    """Name what is done; rows that differ in its strength only are joined to a curve."""
    return re.sub(r"[0-9.]+", "", row.name)
