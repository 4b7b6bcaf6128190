"""The probe reads what the app itself wrote: series of runs, and the group table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import probe_builders
from click.testing import CliRunner

from bids_app.cli.series import main as semantoks_series
from model.cli.app import main
from model.networks import parcel_names

if TYPE_CHECKING:
    from pathlib import Path

N = 12
SHARES = ("--shares", ".34", ".33", ".33")


def run(command: object, *words: object) -> None:
    answer = CliRunner().invoke(command, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output


def test_probe_and_fine_tuning_take_the_outputs_of_the_app(
    tmp_path: Path, checkpoint: Path, semantoks
) -> None:
    for i, (series,) in enumerate(probe_builders.simulate_cohort(N)):
        path = tmp_path / f"sub-{i:02d}_task-rest.tsv"
        pd.DataFrame(series, columns=list(parcel_names())).to_csv(path, sep="\t", index=False)
    out = tmp_path / "out"
    files = sorted(tmp_path.glob("sub-*.tsv"))
    run(semantoks_series, *files, out, "--tr", 2, "--checkpoint", checkpoint)
    assert semantoks(tmp_path, out, "group").exit_code == 0
    people = probe_builders.write_participants(tmp_path / "participants.tsv", N)
    question = ("--target", "planted", "--kind", "classification", *SHARES)
    weights = ("--checkpoint", checkpoint, "--n-crops", 2)
    few = ("--repetitions", 1, "--method", "probe", "--method", "linear")
    table = out / "group_desc-scan_embedding.parquet"
    run(main, "probe", table, people, tmp_path / "by-table", *question, *few)
    run(main, "probe", out, people, tmp_path / "by-series", *question, *few, *weights)
    short = ("--epochs", 1, "--frozen-epochs", 0)
    run(main, "finetune", out, people, tmp_path / "tuned", *question, *weights, *short)
    results = [
        json.loads((tmp_path / name / "results.json").read_text())
        for name in ("by-table", "by-series", "tuned")
    ]
    # One split for all three: the same subjects are tested on.
    assert len({content["splits"][0]["sha256"] for content in results}) == 1
    hashes = {content["checkpoint"]["WeightsSHA256"] for content in results[:2]}
    assert len(hashes) == 1
    scores = [row["scores"]["auc"] for content in results for row in content["rows"]]
    assert np.isfinite(scores).all()
