"""The script for a lent GPU, tried whole on a CPU: it trains, is stopped, goes on, scores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shard_builders import make_shards

SCRIPT = Path(__file__).resolve().parents[2] / "tools/gpu_train.sh"


def call(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"} | settings
    command = ["bash", str(SCRIPT), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_without_words_it_says_what_it_does():
    answer = call()
    assert answer.returncode == 2
    assert "whitened first weights" in answer.stdout
    assert "SEEDS=" in answer.stdout


@pytest.mark.slow
def test_it_is_ended_by_time_and_goes_on_to_the_gains(tmp_path):
    shards = make_shards(tmp_path / "shards", 30)
    words = ("--tiny", str(tmp_path / "out"), str(shards))
    assert call(*words, SEEDS="1", BUDGET_S="0").returncode == 75
    answer = call(*words, SEEDS="1", BUDGET_S="500")
    assert answer.returncode == 0, answer.stderr
    header, *rows = (tmp_path / "out/gains.tsv").read_text().splitlines()
    assert header.split("\t") == ["data", "score", "n_subjects", "gains", "mean"]
    assert {row.split("\t")[0] for row in rows} == {"held out"}
    assert len({row.split("\t")[2] for row in rows}) == 3
