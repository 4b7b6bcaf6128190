"""What repetitions say together, and how people see it: table, TSVs, figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from model.figures import style
from model.figures.render import described, svg_bytes
from model.files.cells import aligned
from model.files.write import tsv_bytes
from model.probing.options import MAIN_METRIC
from model.probing.scoring import METRICS
from model.statistics.repetitions import SHARE, Bounds, effective_size, interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from model.probing.options import Task
    from model.probing.participants import Labels
    from model.probing.scoring import Row
    from model.probing.splits import Split

    Summary = dict[str, dict[str, dict[str, float]]]


REFERENCE = "probe"


COLOUR = style.SERIES[0]
SPREAD = 0.4
"""Over which the dots of a method are spread, in rows"""
FEW_OF_A_CLASS, FEW_NUMBERS = 10, 20
"""Test subjects below which a warning is due"""
MORE_TESTED = 0.3
"""Share of the subjects that a test set may well have of so few"""
BOUNDS = {
    **dict.fromkeys(METRICS["classification"], SHARE),
    "r2": Bounds(high=1),
    "r": Bounds(-1, 1),
    "mae": Bounds(low=0),
}
METRIC_NAMES = {"balanced_accuracy": "balanced accuracy", "r2": "R²"}


def summarize(
    rows: Sequence[Row],
    task: Task,
    *,
    ratios: Mapping[str, float],
    answers: Mapping[str, float],
    reference: str = REFERENCE,
) -> tuple[Summary, Summary]:
    """Summarize the rows with scores.

    Parameters
    ----------
    ratios
        Test subjects per training subject of each split, as `ratios_of` them.
    answers
        How many each method's test subjects are worth, as `answers_of` them; where nothing is
        said nobody knows.
    reference
        Method that the others are compared with.

    Returns
    -------
    By method and metric: ``n`` splits, ``mean``, ``sd``, and ``low`` and ``high`` of the 95 %
    interval (`model.statistics.repetitions.interval`). Then the same of the reference's score
    minus the method's, over the splits where both have one.
    """
    scores = by_method(rows)

    def describe(values: dict[str, float], bounds: Bounds, most: float) -> dict[str, float]:
        ratio = float(np.mean([ratios[name] for name in values]))
        return interval(list(values.values()), ratio, bounds=bounds, most=most)

    summary: Summary = {}
    differences: Summary = {}
    for method, by_split in scores.items():
        most = answers.get(method, math.inf)
        for metric in METRICS[task]:
            bounds = BOUNDS[metric]
            own = {s: v[metric] for s, v in by_split.items() if metric in v}
            if own:
                summary.setdefault(method, {})[metric] = describe(own, bounds, most)
            others = scores.get(reference, {})
            shared = {
                s: others[s][metric] - v for s, v in own.items() if metric in others.get(s, {})
            }
            if shared and method != reference:
                differences.setdefault(method, {})[metric] = describe(
                    shared, bounds.of_differences(), math.inf
                )
    return summary, differences


def by_method(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the scores that there are by method, then split."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if row.scores:
            scores.setdefault(row.method, {})[row.split] = row.scores
    return scores


def ratios_of(splits: Sequence[Split]) -> dict[str, float]:
    """Return the test subjects per training subject of each split, by its name."""
    return {split.name: len(split.test) / len(split.train) for split in splits}


def answers_of(rows: Sequence[Row], splits: Sequence[Split], labels: Labels) -> dict[str, float]:
    """Say how many answers the test subjects of each method's scored splits are worth together.

    Of numbers nobody knows: nothing is said.
    """
    if not labels.classes:
        return {}
    tested = {split.name: split.test for split in splits}
    found = {}
    for method, scores in by_method(rows).items():
        counts = labels.counts({subject for name in scores for subject in tested[name]})
        found[method] = effective_size([n for n in counts if n])
    return found


def cautions(labels: Labels, splits: Sequence[Split], *, are_drawn: bool) -> list[str]:
    """Say what must not be read into scores of so few people; empty where there are enough."""
    smallest = min(splits, key=lambda split: len(split.test))
    n_tested = len(smallest.test)
    advice = "Read the intervals, and --permutations for a p-value."
    if are_drawn and n_tested < MORE_TESTED * len(labels.subjects):
        advice += " --shares 0.4 0.2 0.4 tests more of them, and trains on fewer."
    if not labels.classes:
        if n_tested >= FEW_NUMBERS:
            return []
        return [f"a test set holds {n_tested} subjects: R² and r of so few vary widely. {advice}"]
    counts = [n for split in splits for n in labels.counts(split.test)]
    fewest = max(1, min(counts))
    if fewest >= FEW_OF_A_CLASS:
        return []
    step = 1 / (len(labels.classes) * fewest)
    return [
        f"a test set holds {n_tested} subjects, the smallest class {min(counts)}: one answer "
        f"moves balanced accuracy by up to {step:.2f}. {advice}"
    ]


def text_table(
    summary: Summary,
    differences: Summary,
    task: Task,
    *,
    p_values: Mapping[str, float],
    reference: str = REFERENCE,
) -> str:
    """Return one line per method: number of splits, mean of each metric and its 95 % interval.

    Parameters
    ----------
    p_values
        By method; of those without one none is shown.
    reference
        Method that the others were compared with.
    """
    main = MAIN_METRIC[task]
    header = ["method", "splits", *METRICS[task], f"{reference} minus it"]
    header += ["p"] if p_values else []
    lines = [header]
    for method, metrics in summary.items():
        numbers = metrics[main]
        cells = [_mean(metrics[m]) if m in metrics else "n/a" for m in METRICS[task]]
        difference = differences.get(method, {}).get(main)
        lines.append(
            [
                method,
                str(numbers["n"]),
                *cells,
                "" if difference is None else _mean(difference, sign="+"),
                *([f"{p_values[method]:.3g}" if method in p_values else ""] if p_values else []),
            ]
        )
    return "\n".join([*aligned(lines), "Means over splits [95 % interval]."])


def _mean(numbers: dict[str, float], *, sign: str = "-") -> str:
    interval = f" [{numbers['low']:.3f}, {numbers['high']:.3f}]" if "low" in numbers else ""
    return f"{numbers['mean']:{sign}.3f}{interval}"


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
    """Return one line per method, split and test subject or row: label, prediction, scores."""
    outputs = [f"score_{name}" for name in labels.classes]
    whose = ["participant_id", *(["row"] if labels.owners else [])]
    header = ["method", "split", *whose, "label", "predicted", *outputs]
    return tsv_bytes(
        header,
        [
            [
                row.method,
                row.split,
                *dict.fromkeys((labels.owner(key), key)),
                *_outcome(labels, key, scores),
            ]
            for row in rows
            for key, scores in row.predictions.items()
        ],
    )


def _outcome(labels: Labels, key: str, scores: list[float]) -> list[Any]:
    label = labels.values[key]
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
    for y, method in enumerate(methods):
        values = [r.scores[main] for r in rows if r.method == method and main in r.scores]
        # Side by side: splits often have the same score.
        beside = [y + SPREAD * (i / max(1, len(values) - 1) - 0.5) for i in range(len(values))]
        axes.plot(values, beside, "o", color=style.LINE, markersize=3.5, label="one split")
        numbers = summary[method][main]
        if "low" in numbers:
            ends = [numbers["low"], numbers["high"]]
            axes.plot(ends, [y, y], color=COLOUR, linewidth=2, label="95 % interval")
        axes.plot(numbers["mean"], y, "D", color=COLOUR, markersize=6, label="mean")
    scores = [summary[method][main]["mean"] for method in methods]
    return finish(figure, axes, labels, methods, scores)


def knowing_nothing(labels: Labels) -> float:
    """Return the main metric of who knows nothing of anybody."""
    return 1 / len(labels.classes) if labels.classes else 0.0


def finish(
    figure: Figure,
    axes: Axes,
    labels: Labels,
    rows: Sequence[str],
    scores: Sequence[float],
) -> bytes:
    """Name the rows of a figure of the main metric, from above, and mark knowing nothing."""
    said = "chance" if labels.classes else "the mean of all, guessed for each"
    axes.axvline(
        knowing_nothing(labels),
        color=style.QUIET,
        linestyle=":",
        linewidth=1,
        zorder=1,
        label=said,
    )
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(right=min(1.02, axes.get_xlim()[1]))
    axes.set_xlabel(METRIC_NAMES[MAIN_METRIC[labels.task]])
    n_rows = f", {len(labels.values)} rows" if labels.owners else ""
    axes.set_title(f"{labels.column}, {len(labels.subjects)} subjects{n_rows}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9
    )
    each = (f"{row} {score:.2f}" for row, score in zip(rows, scores, strict=True))
    alt = described(f"{METRIC_NAMES[MAIN_METRIC[labels.task]]}, predicting {labels.column}", *each)
    return svg_bytes(figure, alt=alt)
