"""What repetitions say together, and how people see it: table, TSVs, figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from model.files.figures import svg_bytes
from model.files.write import tsv_bytes
from model.probing.options import MAIN_METRIC
from model.probing.scoring import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.probing.options import Task
    from model.probing.participants import Labels
    from model.probing.scoring import Row
    from model.probing.splits import Split

    Summary = dict[str, dict[str, dict[str, float]]]


CONFIDENCE = 0.95
REFERENCE = "probe"


COLOUR = "#1f5fa8"
SPREAD = 0.4
"""Over which the dots of a method are spread, in rows"""
METRIC_NAMES = {"balanced_accuracy": "balanced accuracy", "r2": "R²"}


def summarize(
    rows: Sequence[Row], splits: Sequence[Split], task: Task
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, dict[str, dict[str, float]]]]:
    """Summarize the rows with scores.

    Returns
    -------
    By method and metric: ``n`` splits, ``mean``, ``sd``, and ``low`` and ``high`` of the 95 %
    interval where splits differ. Then the same of the probe's score minus the
    method's, over the splits where both have one.
    """
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        scores.setdefault(row.method, {})[row.split] = row.scores
    ratio = {split.name: len(split.test) / len(split.train) for split in splits}

    def describe(values: dict[str, float]) -> dict[str, float]:
        return interval(list(values.values()), float(np.mean([ratio[name] for name in values])))

    summary: dict[str, dict[str, dict[str, float]]] = {}
    differences: dict[str, dict[str, dict[str, float]]] = {}
    for method, by_split in scores.items():
        for metric in METRICS[task]:
            own = {s: v[metric] for s, v in by_split.items() if metric in v}
            if own:
                summary.setdefault(method, {})[metric] = describe(own)
            reference = scores.get(REFERENCE, {})
            shared = {
                s: reference[s][metric] - v
                for s, v in own.items()
                if metric in reference.get(s, {})
            }
            if shared and method != REFERENCE:
                differences.setdefault(method, {})[metric] = describe(shared)
    return summary, differences


def interval(values: Sequence[float], ratio: float) -> dict[str, float]:
    """Return number, mean, sd and the interval of the mean over overlapping splits.

    Parameters
    ----------
    ratio
        Test subjects per training subject.

    Notes
    -----
    Splits of one cohort share subjects, so the standard error of independent repetitions is
    far too small. The variance of the mean is taken as sd² (1 / n + ratio), the corrected
    resampled t-test of Nadeau and Bengio (2003). Equal values have no interval: that a few
    splits agree is not certainty.
    """
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return {"n": n, "mean": mean}
    sd = float(np.std(values, ddof=1))
    if np.ptp(values) == 0:
        return {"n": n, "mean": mean, "sd": 0.0}
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd * math.sqrt(1 / n + ratio)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def text_table(summary: Summary, differences: Summary, task: Task) -> str:
    """Return one line per method: mean and sd of each metric, intervals of the main one."""
    main = MAIN_METRIC[task]
    header = ["method", "n", *METRICS[task], f"95 % of {main}", f"{REFERENCE} minus it"]
    lines = [header]
    for method, metrics in summary.items():
        numbers = metrics[main]
        cells = [_mean_sd(metrics[m]) if m in metrics else "n/a" for m in METRICS[task]]
        difference = differences.get(method, {}).get(main)
        lines.append(
            [
                method,
                str(numbers["n"]),
                *cells,
                _range(numbers),
                "" if difference is None else f"{difference['mean']:+.3f} {_range(difference)}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _mean_sd(numbers: dict[str, float]) -> str:
    sd = f" ± {numbers['sd']:.3f}" if "sd" in numbers else ""
    return f"{numbers['mean']:.3f}{sd}"


def _range(numbers: dict[str, float]) -> str:
    return f"[{numbers['low']:.3f}, {numbers['high']:.3f}]" if "low" in numbers else ""


def rows_tsv(rows: Sequence[Row], task: Task) -> bytes:
    """Return one line per method and split."""
    header = ["method", "split", "status", "reason", "setting", "validation", *METRICS[task]]
    return tsv_bytes(
        header,
        [
            [r.method, r.split, r.status, r.reason or None, r.setting, r.validation]
            + [r.scores.get(metric) for metric in METRICS[task]]
            for r in rows
        ],
    )


def predictions_tsv(rows: Sequence[Row], labels: Labels) -> bytes:
    """Return one line per method, split and test subject: label, prediction, scores."""
    outputs = [f"score_{name}" for name in labels.classes]
    header = ["method", "split", "participant_id", "label", "predicted", *outputs]
    return tsv_bytes(
        header,
        [
            [row.method, row.split, subject, *_outcome(labels, subject, scores)]
            for row in rows
            for subject, scores in row.predictions.items()
        ],
    )


def _outcome(labels: Labels, subject: str, scores: list[float]) -> list[Any]:
    label = labels.values[subject]
    if not labels.classes:
        return [label, scores[0]]
    best = max(range(len(scores)), key=scores.__getitem__)
    return [labels.classes[int(label)], labels.classes[best], *scores]


def figure_svg(rows: Sequence[Row], summary: Summary, labels: Labels) -> bytes:
    """Draw the main metric: a dot per split, mean and interval per method, no knowledge."""
    from matplotlib.figure import Figure

    main = MAIN_METRIC[labels.task]
    methods = list(summary)
    figure = Figure(figsize=(6.4, 1.4 + 0.4 * len(methods)), layout="constrained")
    axes = figure.subplots()
    knowing_nothing = 1 / len(labels.classes) if labels.classes else 0.0
    said = "chance" if labels.classes else "the mean of all, guessed for each"
    axes.axvline(knowing_nothing, color="0.4", linestyle=":", linewidth=1, label=said)
    for y, method in enumerate(methods):
        values = [r.scores[main] for r in rows if r.method == method and main in r.scores]
        # Side by side: splits often have the same score.
        beside = [y + SPREAD * (i / max(1, len(values) - 1) - 0.5) for i in range(len(values))]
        axes.plot(values, beside, "o", color="0.7", markersize=3.5, label="one split")
        numbers = summary[method][main]
        if "low" in numbers:
            ends = [numbers["low"], numbers["high"]]
            axes.plot(ends, [y, y], color=COLOUR, linewidth=2, label="95 % interval")
        axes.plot(numbers["mean"], y, "D", color=COLOUR, markersize=6, label="mean")
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    # No score is above 1, as an interval may be.
    axes.set_xlim(right=min(1.02, axes.get_xlim()[1]))
    axes.set_xlabel(METRIC_NAMES[main])
    axes.set_title(f"{labels.column}, {len(labels.subjects)} subjects", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    return svg_bytes(figure)
