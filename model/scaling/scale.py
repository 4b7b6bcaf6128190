"""Run the grid row by row, each row one JSON; go on where an earlier call stopped; fit, draw."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from model.checkpoint import load_encoder
from model.errors import ConfigError, SemantoksError
from model.files.read import read_json
from model.files.write import json_bytes, text_sha256, tsv_bytes, write_whole
from model.pretraining.adapt import AdaptationError
from model.pretraining.pretrain import CHECKPOINT_FOLDER, run_pretraining
from model.pretraining.run_folder import git_revision
from model.scaling.grid import (
    load_plan,
    row_name,
    row_settings,
    start_name,
    start_settings,
)
from model.scaling.law import Law, draw, fit_law
from model.scaling.measures import measures_of
from model.shards.pooled import open_shards
from model.shards.subjects import first_subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.scaling.grid import Plan
    from model.scaling.measures import Measure


_LOG = logging.getLogger(__name__)
Row = dict[str, Any]
Scores = dict[str, dict[str, float]]
"""By what is measured, then score"""
AT_START = ", at the start"
PLAN_FILE, ROWS_FOLDER, RUNS_FOLDER = "plan.json", "rows", "runs"


def run_scaling(config: Path, out: Path, *, device: str = "cpu") -> list[Row]:
    """Train and measure every row that is not done, then fit and draw.

    Parameters
    ----------
    config
        TOML as `model.scaling.grid.load_plan` reads it.
    out
        Gets ``plan.json``, ``rows/*.json`` (one per row), ``runs/`` (one pretraining folder per
        row, and one per seed of its start), ``scaling.tsv``, ``scaling.json`` and ``scaling.png``.
    device
        Where runs train and their encoders are measured: ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    All rows, done and failed; a failed row has no score and is tried again by the next call.

    Raises
    ------
    ConfigError
        The plan is wrong, or ``out`` holds another one.
    """
    plan = load_plan(config)
    _refuse_other(out, plan)
    paths = {at: out / ROWS_FOLDER / f"{row_name(*at)}.json" for at in plan.rows()}
    rows = {at: row for at, path in paths.items() if (row := _read_done(path)) is not None}
    to_do = [at for at in paths if at not in rows]
    subjects = subjects_of_rows(plan)
    measures = measures_of(plan) if to_do else []
    write_whole({out / PLAN_FILE: json_bytes(plan.to_dict())})

    @cache
    def start_of(seed: int) -> Scores:
        folder = out / RUNS_FOLDER / start_name(seed)
        encoder = _encoder(plan, folder, start_settings(seed), device=device)
        return _scored(encoder, measures)

    for size, seed in to_do:
        _LOG.info("size %d, seed %d", size, seed)
        row = _run_row(plan, out, measures, start_of, size=size, seed=seed, device=device)
        rows[size, seed] = row | {"subjects_sha256": subjects[size, seed]}
        write_whole({paths[size, seed]: json_bytes(rows[size, seed])})
    in_order = [rows[at] for at in paths]
    write_results(in_order, out)
    return in_order


def _refuse_other(out: Path, plan: Plan) -> None:
    """Check that the folder is empty, or belongs to this very plan."""
    path = out / PLAN_FILE
    if path.exists():
        if path.read_bytes() != json_bytes(plan.to_dict()):
            raise ConfigError(
                f"{out} holds an analysis with other settings ({path.name} differs).",
                hint="Name a new folder, or go on with the settings it was started with.",
            )
    elif out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no analysis.", hint="Name a new folder.")


def _read_done(path: Path) -> Row | None:
    """Return a row that an earlier call finished; None: to be done."""
    if not path.exists():
        return None
    row: Row = read_json(path, needs={"status": str})
    return row if row["status"] == "done" else None


def _run_row(
    plan: Plan,
    out: Path,
    measures: Sequence[Measure],
    start_of: Callable[[int], Scores],
    *,
    size: int,
    seed: int,
    device: str,
) -> Row:
    settings = row_settings(size, seed)
    row: Row = {
        "status": "done",
        "n_subjects": size,
        "seed": seed,
        "recipe": plan.recipe.to_dict(),
        "overrides": list(settings),
        "git_revision": git_revision(),
    }
    folder = out / RUNS_FOLDER / row_name(size, seed)
    try:
        scores = {"start": start_of(seed)}
        started = time.monotonic()
        scores["scores"] = _scored(_encoder(plan, folder, settings, device=device), measures)
    except Exception as err:  # noqa: BLE001 - whatever happens in one row must not end the others
        unexpected = not isinstance(err, SemantoksError)
        _LOG.error("size %d, seed %d failed: %s", size, seed, err, exc_info=unexpected)
        return row | {"status": "failed", "reason": f"{type(err).__name__}: {err}"}
    return row | scores | {"seconds": round(time.monotonic() - started, 1)}


def _scored(encoder: Encoder, measures: Sequence[Measure]) -> Scores:
    return {measure.name: measure.score(encoder) for measure in measures}


def _encoder(plan: Plan, folder: Path, settings: tuple[str, ...], *, device: str) -> Encoder:
    """Pretrain, or go on where a killed row stopped."""
    try:
        made = run_pretraining(plan.recipe_path, folder, settings, device=device)
    except AdaptationError:  # all is written; whether it helped is measured here
        made = folder / CHECKPOINT_FOLDER
    return load_encoder(made, device=device)


def subjects_of_rows(plan: Plan) -> dict[tuple[int, int], str]:
    """Hash the names of the subjects that each row (size, seed) trains on.

    Raises
    ------
    SubjectsError
        A size is more than there are.
    """
    data = plan.recipe.data
    if data is None:
        names = {at: [f"sim-{at[1]}-{i}" for i in range(at[0])] for at in plan.rows()}
    else:
        train = open_shards(data.folders).lists({"train": data.train})["train"].subjects
        names = {at: [*first_subjects(train, at[0], seed=at[1])] for at in plan.rows()}
    return {at: text_sha256("\n".join(found)) for at, found in names.items()}


def gains(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Return what training added to each score: of a run, minus that of its own start.

    Returns
    -------
    Gains by number of subjects, by (data, score); rows that failed have none.
    """
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        for data, scores in row.get("scores", {}).items():
            for name, value in scores.items():
                by_size = found.setdefault((data, name), {})
                by_size.setdefault(row["n_subjects"], []).append(value - row["start"][data][name])
    return found


def write_results(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write the table of all rows, the fitted laws, and the figure."""
    found = gains(rows)
    laws = {key: fit_law(by_size) for key, by_size in found.items()}
    names = sorted(
        {(d, s) for row in rows for d in row.get("scores", {}) for s in row["scores"][d]}
    )
    table = tsv_bytes(
        [
            *("n_subjects", "seed", "status", "seconds"),
            *(f"{d}: {s}{at}" for d, s in names for at in ("", AT_START)),
        ],
        (
            [
                *(row.get(k) for k in ("n_subjects", "seed", "status", "seconds")),
                *(
                    row.get(part, {}).get(d, {}).get(s)
                    for d, s in names
                    for part in ("scores", "start")
                ),
            ]
            for row in rows
        ),
    )
    summary = {
        "rows": len(rows),
        "failed": [row_name(r["n_subjects"], r["seed"]) for r in rows if r["status"] != "done"],
        "laws": [
            {"data": data, "score": name, "gains": found[data, name], **_without_band(law)}
            for (data, name), law in laws.items()
        ],
    }
    files = {out / "scaling.tsv": table, out / "scaling.json": json_bytes(summary)}
    if any(laws.values()):
        files[out / "scaling.png"] = draw(found, laws)
    return write_whole(files)


def _without_band(law: Law | None) -> dict[str, Any]:
    return {} if law is None else {k: v for k, v in asdict(law).items() if k != "band"}
