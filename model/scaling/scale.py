"""Run the grid row by row, each row one JSON; go on where an earlier call stopped; fit, draw."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from model.checkpoint import load_encoder
from model.cohort.outputs import model_series
from model.encoder import build_encoder
from model.errors import ConfigError, SemantoksError
from model.evaluation.encoded import encode
from model.evaluation.options import SourceOptions
from model.evaluation.source import keyed_scans
from model.files.read import read_json
from model.files.write import json_bytes, text_sha256, tsv_bytes, write_whole
from model.preprocess import window
from model.pretraining.pretrain import run_pretraining
from model.pretraining.run_folder import git_revision
from model.scaling.grid import UNTRAINED, Plan, load_plan, row_name, row_settings
from model.scaling.law import Law, draw, fit_law
from model.series import ParcelSeries
from model.simulation.simulate import simulate
from model.statistics.measures import mean_scores
from model.statistics.pairing import Key, pairings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.pretraining.settings import PretrainConfig
    from model.scaling.grid import HeldOut
    from model.series import Windows


READOUT = "networks"
"""Means per network: the readout that identifies best at every size (docs/pretraining.md)."""


_LOG = logging.getLogger(__name__)
Row = dict[str, Any]
PLAN_FILE, ROWS_FOLDER, RUNS_FOLDER = "plan.json", "rows", "runs"


@dataclass(frozen=True, kw_only=True, eq=False)
class RepeatedScans:
    """Windows of subjects who were scanned twice or more."""

    name: str
    keys: list[Key]
    """One per scan"""
    windows: list[Windows]


def repeated_scans(plan: Plan) -> list[RepeatedScans]:
    """Prepare simulated scans, and the user's own if the plan names any."""
    sets = [_simulated(plan.held_out, plan.recipe)]
    if plan.outputs is not None:
        sets.append(_from_outputs(plan.outputs, plan.recipe))
    return sets


def measure(encoder: Encoder, scans: RepeatedScans) -> dict[str, float]:
    """Score an encoder.

    Returns
    -------
    Mean over subjects by ``<level>, <raw or standardised>, <measure>``.
    """
    found: dict[str, float] = {}
    for level, vectors in encode(scans.keys, scans.windows, encoder).items():
        pairs = pairings(vectors.keys)
        for standardised in (False, True):
            _, scores = mean_scores(vectors.sets[READOUT], pairs, standardised=standardised)
            kind = "standardised" if standardised else "raw"
            found |= {f"{level}, {kind}, {n}": float(s.mean()) for n, s in scores.items()}
    return found


def _simulated(held_out: HeldOut, recipe: PretrainConfig) -> RepeatedScans:
    """Draw two scans of each subject, all parcels present."""
    assert recipe.simulation is not None, "a plan's recipe simulates its subjects"  # noqa: S101
    config = replace(recipe.simulation, n_samples=held_out.n_samples, cut_probability=0.0)
    drawn = simulate(
        config,
        recipe.input,
        n_subjects=held_out.n_subjects,
        n_sessions=2,
        generator=torch.Generator().manual_seed(held_out.seed),
    )
    keys, windows = [], []
    for subject, sessions in enumerate(drawn.values):
        for session, values in enumerate(sessions):
            series = ParcelSeries(
                values=values.numpy().T, tr_s=recipe.input.tr_s, unit=recipe.input.normalization
            )
            keys.append(Key(f"{subject:05d}", str(session)))
            windows.append(window(series, recipe.input))
    return RepeatedScans(name="simulated", keys=keys, windows=windows)


def _from_outputs(folder: Path, recipe: PretrainConfig) -> RepeatedScans:
    """Read the model series of an output folder."""
    runs = keyed_scans(folder, SourceOptions())
    return RepeatedScans(
        name=folder.name,
        keys=list(runs),
        windows=[window(model_series(run), recipe.input) for run in runs.values()],
    )


def run_scaling(config: Path, out: Path) -> list[Row]:
    """Train and measure every row that is not done, then fit and draw.

    Parameters
    ----------
    config
        TOML as `model.scaling.grid.load_plan` reads it.
    out
        Gets ``plan.json``, ``rows/*.json`` (one per row), ``runs/`` (one pretraining folder per
        row), ``scaling.tsv``, ``scaling.json`` and ``scaling.png``.

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
    scans = repeated_scans(plan) if to_do else []
    write_whole({out / PLAN_FILE: json_bytes(plan.to_dict())})
    for size, seed in to_do:
        _LOG.info("size %d, seed %d", size, seed)
        rows[size, seed] = _run_row(plan, out, scans, size=size, seed=seed)
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
    plan: Plan, out: Path, scans: Sequence[RepeatedScans], *, size: int, seed: int
) -> Row:
    row: Row = {
        "status": "done",
        "n_subjects": size,
        "seed": seed,
        "subjects_sha256": subjects_sha256(size, seed),
        "recipe": plan.recipe.to_dict(),
        "overrides": list(row_settings(size, seed)) if size != UNTRAINED else [],
        "git_revision": git_revision(),
    }
    started = time.monotonic()
    try:
        encoder = _encoder(plan, out / RUNS_FOLDER / row_name(size, seed), size=size, seed=seed)
        scores = {s.name: measure(encoder, s) for s in scans}
    except Exception as err:  # noqa: BLE001 - whatever happens in one row must not end the others
        unexpected = not isinstance(err, SemantoksError)
        _LOG.error("size %d, seed %d failed: %s", size, seed, err, exc_info=unexpected)
        return row | {"status": "failed", "reason": f"{type(err).__name__}: {err}"}
    return row | {"scores": scores, "seconds": round(time.monotonic() - started, 1)}


def _encoder(plan: Plan, folder: Path, *, size: int, seed: int) -> Encoder:
    """Pretrain, or go on where a killed row stopped; for no subjects, the weights at the start."""
    if size == UNTRAINED:
        return build_encoder(plan.recipe.encoder, seed=seed).eval()
    return load_encoder(run_pretraining(plan.recipe_path, folder, row_settings(size, seed)))


def subjects_sha256(size: int, seed: int) -> str:
    """Hash the names of the simulated subjects that a row trains on."""
    return text_sha256("\n".join(f"sim-{seed}-{i}" for i in range(size)))


def gains(rows: Sequence[Row]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Return score minus that of the random weights of the same seed.

    Returns
    -------
    Gains by number of subjects, by (data, score). Rows that failed, and rows whose seed has no
    row of random weights, have none.
    """
    done = [row for row in rows if row["status"] == "done"]
    untrained = {row["seed"]: row["scores"] for row in done if row["n_subjects"] == UNTRAINED}
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in done:
        base = untrained.get(row["seed"])
        if row["n_subjects"] == UNTRAINED or base is None:
            continue
        for data, scores in row["scores"].items():
            for name, value in scores.items():
                by_size = found.setdefault((data, name), {})
                by_size.setdefault(row["n_subjects"], []).append(value - base[data][name])
    return found


def write_results(rows: Sequence[Row], out: Path) -> list[Path]:
    """Write the table of all rows, the fitted laws, and the figure."""
    found = gains(rows)
    laws = {key: fit_law(by_size) for key, by_size in found.items()}
    names = sorted(
        {(d, s) for row in rows for d in row.get("scores", {}) for s in row["scores"][d]}
    )
    table = tsv_bytes(
        ["n_subjects", "seed", "status", "seconds", *(f"{d}: {s}" for d, s in names)],
        (
            [
                *(row.get(k) for k in ("n_subjects", "seed", "status", "seconds")),
                *(row.get("scores", {}).get(d, {}).get(s) for d, s in names),
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
