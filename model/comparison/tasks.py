"""Is one method better than another over tasks: paired tests over splits, corrected by Holm."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import ConfigError, some
from model.files.cells import aligned
from model.files.faults import faults_as
from model.files.read import read_json
from model.files.write import json_bytes, new_folder, refuse_occupied, tsv_bytes
from model.probing.options import MAIN_METRIC
from model.probing.unfinished import RESULTS
from model.statistics.repetitions import corrected_t_p, holm, wilcoxon_p

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.comparison.options import CompareOptions

FEWEST_SPLITS = 6
"""With fewer no signed-rank test can reach .05."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two methods on the splits of one task."""

    task: str
    metric: str
    compared: str
    other: str
    n_splits: int
    """On which both have a score."""
    compared_mean: float
    other_mean: float
    difference: float
    wilcoxon_p: float
    wilcoxon_holm: float
    corrected_t_p: float
    corrected_t_holm: float


def run_comparison(folders: Sequence[Path], out: Path, options: CompareOptions) -> str:
    """Compare methods on the tasks whose results lie in some folders.

    Parameters
    ----------
    folders
        What probes wrote, one for each task.
    out
        New folder for ``comparison.tsv`` and ``comparison.json``.

    Returns
    -------
    One line per comparison.

    Raises
    ------
    ConfigError
        A folder holds no results, or too few splits with both methods; or two have one name.
    """
    refuse_occupied(out)
    names = [folder.absolute().name for folder in folders]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"folders {', '.join(sorted(names))}: tasks are called by them, and two are called "
            "the same."
        )
    pairs = [pair for folder in folders for pair in _pairs(folder, options)]
    p = {
        "wilcoxon_p": [wilcoxon_p(one["differences"]) for one in pairs],
        "corrected_t_p": [corrected_t_p(one["differences"], one["ratio"]) for one in pairs],
    }
    corrected = {name: holm(values) for name, values in p.items()}
    found = [
        Comparison(
            **{f.name: one[f.name] for f in fields(Comparison) if f.name in one},
            wilcoxon_p=p["wilcoxon_p"][i],
            wilcoxon_holm=corrected["wilcoxon_p"][i],
            corrected_t_p=p["corrected_t_p"][i],
            corrected_t_holm=corrected["corrected_t_p"][i],
        )
        for i, one in enumerate(pairs)
    ]
    record = {
        "compared": options.compared,
        "versus": options.versus,
        "results": [str(folder) for folder in folders],
        "comparisons": [asdict(one) for one in found],
    }
    header = [f.name for f in fields(Comparison)]
    with new_folder(out) as folder:
        (folder / "comparison.json").write_bytes(json_bytes(record))
        (folder / "comparison.tsv").write_bytes(tsv_bytes(header, [astuple(c) for c in found]))
    return _text(found)


def _pairs(folder: Path, options: CompareOptions) -> list[dict[str, Any]]:
    """Return what one task has to compare: the best other method, or each."""
    hint = "Name folders that `semantoks-model probe` wrote."
    needs = {"config": dict, "rows": list, "splits": list}
    with faults_as(ConfigError, hint=hint):
        content = read_json(folder / RESULTS, needs=needs)
    metric = MAIN_METRIC[content["config"]["task"]]
    scores: dict[str, dict[str, float]] = {}
    for row in content["rows"]:
        if metric in row.get("scores", {}):
            scores.setdefault(row["method"], {})[row["split"]] = row["scores"][metric]
    own = scores.pop(options.compared, None)
    if own is None or not scores:
        there = ", ".join(scores) or "none"
        raise ConfigError(
            f"{folder}: expected scores of {options.compared} and of another method; found of "
            f"others: {there}.",
            hint="--compared names the method that is compared.",
        )
    others = [name for name in options.methods or scores if name != options.compared]
    absent = [name for name in others if name not in scores]
    if absent:
        raise ConfigError(f"{folder}: no scores of {some(absent)}.")
    if options.versus == "best":
        others = [max(others, key=lambda name: float(np.mean(list(scores[name].values()))))]
    sizes = {one["name"]: one["n_test"] / one["n_train"] for one in content["splits"]}
    pairs = []
    for other in others:
        splits = [name for name in own if name in scores[other]]
        if len(splits) < FEWEST_SPLITS:
            raise ConfigError(
                f"{folder}: {len(splits)} splits with {options.compared} and {other}; with fewer "
                f"than {FEWEST_SPLITS} no signed-rank test can tell them apart.",
                hint="Probe with more --repetitions.",
            )
        ours, theirs = ([values[name] for name in splits] for values in (own, scores[other]))
        pairs.append(
            {
                "task": folder.absolute().name,
                "metric": metric,
                "compared": options.compared,
                "other": other,
                "n_splits": len(splits),
                "compared_mean": float(np.mean(ours)),
                "other_mean": float(np.mean(theirs)),
                "difference": float(np.mean(ours) - np.mean(theirs)),
                "differences": [a - b for a, b in zip(ours, theirs, strict=True)],
                "ratio": float(np.mean([sizes[name] for name in splits])),
            }
        )
    return pairs


def _text(found: Sequence[Comparison]) -> str:
    lines = [["task", "other", "n", "mean", "other's", "difference", "Wilcoxon, Holm", "t, Holm"]]
    lines += [
        [
            one.task,
            one.other,
            str(one.n_splits),
            f"{one.compared_mean:.3f}",
            f"{one.other_mean:.3f}",
            f"{one.difference:+.3f}",
            f"{one.wilcoxon_holm:.3g}",
            f"{one.corrected_t_holm:.3g}",
        ]
        for one in found
    ]
    return "\n".join(aligned(lines))
