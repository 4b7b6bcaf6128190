"""Average what a probe found for several encoders, split by split, as the paper over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import ConfigError, some
from model.files.read import read_json
from model.files.write import json_bytes, new_folder, refuse_occupied
from model.probing.options import MAIN_METRIC
from model.probing.protocol import row_record
from model.probing.samples import ProbeError
from model.probing.scoring import METRICS, Row
from model.probing.summary import REFERENCE, by_method, rows_tsv, summarize, text_table
from model.probing.unfinished import RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model.probing.options import Task

    Record = dict[str, Any]

_OF_NO_MATTER = ("methods", "permutations")
"""Settings that change which scores there are, and no score."""
_NEEDS = {
    "config": dict,
    "splits": list[dict[str, Any]],
    "labels_sha256": str,
    "answers": dict[str, float],
    "checkpoint": dict,
    "rows": list[dict[str, Any]],
}


def average(folders: Sequence[Path], out: Path) -> str:
    """Average the scores of several encoders in each split, and write them as one result.

    Parameters
    ----------
    folders
        Results of `model.probing.probe.run_probe`, each of another encoder, of the same people,
        labels and splits.
    out
        New folder for ``results.json`` and ``results.tsv``.

    Returns
    -------
    The summary as text. What is said to vary are splits; ``sd_over_encoders`` in the file is how
    much the encoders' means do.

    Raises
    ------
    ConfigError
        There are fewer than two, two are of one encoder, or they do not answer one question.
    ProbeError
        No method was scored for all of them.
    """
    refuse_occupied(out)
    if len(folders) < 2:
        raise ConfigError("expected results of two encoders or more to average over.")
    records = {folder: read_json(folder / RESULTS, needs=_NEEDS) for folder in folders}
    first = records[folders[0]]
    _refuse_unlike(records)
    task: Task = first["config"]["task"]
    rows = _averaged(list(records.values()), task)
    if all(row.status != "ok" for row in rows):
        raise ProbeError("no method was scored for all encoders.")
    ratios = {split["name"]: split["n_test"] / split["n_train"] for split in first["splits"]}
    answers = _fewest([record["answers"] for record in records.values()])
    summary, differences = summarize(rows, task, ratios=ratios, answers=answers)
    content = {key: first[key] for key in first if key not in ("rows", "summary", "checkpoint")}
    for key in ("permutation_p", "permuted", "warnings"):
        content.pop(key, None)
    content |= {
        "averaged_over": [
            {"results": str(folder), "checkpoint": record["checkpoint"]}
            for folder, record in records.items()
        ],
        "answers": answers,
        "summary": summary,
        "sd_over_encoders": _over_encoders(list(records.values()), rows, task),
        "probe_minus_method": differences,
        "rows": [row_record(row) for row in rows],
    }
    with new_folder(out) as folder:
        (folder / RESULTS).write_bytes(json_bytes(content))
        (folder / "results.tsv").write_bytes(rows_tsv(rows, task))
    return text_table(summary, differences, task, p_values={}, reference=REFERENCE)


def _refuse_unlike(records: Mapping[Path, Record]) -> None:
    """Check that the results are of one question and of different encoders."""
    seen: dict[str, Path] = {}
    questions = {}
    for folder, record in records.items():
        weights = record["checkpoint"].get("WeightsSHA256")
        if not isinstance(weights, str):
            raise ConfigError(f"{folder / RESULTS}: does not tell the hash of the weights.")
        if weights in seen:
            raise ConfigError(
                f"{seen[weights]} and {folder} are of one encoder.",
                hint="Name results of different checkpoints, such as those of other seeds.",
            )
        seen[weights] = folder
        config = {k: v for k, v in record["config"].items() if k not in _OF_NO_MATTER}
        splits = [split["sha256"] for split in record["splits"]]
        questions[folder] = config | {"labels": record["labels_sha256"], "splits": splits}
    (first, question), *others = questions.items()
    for folder, other in others:
        keys = sorted(question.keys() | other.keys())
        differing = [key for key in keys if question.get(key) != other.get(key)]
        if differing:
            raise ConfigError(
                f"{first} and {folder} do not answer one question: they differ in "
                f"{some(differing)}.",
                hint="Probe each checkpoint with the same data, participants and options.",
            )


def _fewest(answers: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each method's fewest answers: an average is of the splits that all have."""
    shared = [name for name in answers[0] if all(name in each for each in answers)]
    return {name: min(each[name] for each in answers) for name in shared}


def _scored(record: Record) -> dict[tuple[str, str], dict[str, float]]:
    """Scores by method and split."""
    return {(r["method"], r["split"]): r["scores"] for r in record["rows"] if "scores" in r}


def _averaged(records: Sequence[Record], task: Task) -> list[Row]:
    """Average each method and split that the first has; skipped where another has no score."""
    scores = [_scored(record) for record in records]
    rows = []
    for row in records[0]["rows"]:
        at = row["method"], row["split"]
        found = [each[at] for each in scores if at in each]
        if len(found) < len(records):
            reason = f"scored for {len(found)} of {len(records)} encoders"
            rows.append(Row(method=at[0], split=at[1], status="skipped", reason=reason))
            continue
        shared = [metric for metric in METRICS[task] if all(metric in each for each in found)]
        means = {metric: float(np.mean([each[metric] for each in found])) for metric in shared}
        rows.append(Row(method=at[0], split=at[1], status="ok", scores=means))
    return rows


def _over_encoders(records: Sequence[Record], rows: Sequence[Row], task: Task) -> dict[str, float]:
    """Spread, over encoders, of each method's mean main metric over the splits averaged."""
    found: dict[str, float] = {}
    for method, by_split in by_method(rows).items():
        means = [
            np.mean([_scored(record)[method, split][MAIN_METRIC[task]] for split in by_split])
            for record in records
        ]
        found[method] = float(np.std(means, ddof=1))
    return found
