"""Task blocks and single networks through the command line, on series with a known response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.blocks import main as blocks_command
from bids_app.cli.importance import main as importance_command
from bids_app.cli.series import main as series_command
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CORTEX = list(parcel_names())[:400]
RUNS = ("sub-01_task-hariri_run-1", "sub-01_task-hariri_run-2", "sub-02_task-hariri_run-1")
DELAY = ("--construction", "pad", "--hrf-delay", "5")
EVENTS = [(10.0 + 42 * i, 21.0, ("shapes", "faces")[i % 2]) for i in range(6)]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, checkpoint: Path) -> Path:
    """Output folder of three runs."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(RUNS):
        values = np.random.default_rng(seed).normal(100.0, 2.0, size=(150, 400))
        table = pd.DataFrame(values, columns=CORTEX)
        table.to_csv(folder / f"{name}_timeseries.tsv", sep="\t", index=False)
    words = [*map(str, sorted(folder.glob("*.tsv"))), str(folder / "out"), "--tr", "2"]
    done = CliRunner().invoke(series_command, [*words, "--checkpoint", str(checkpoint)])
    assert done.exit_code == 0, done.output
    return folder / "out"


@pytest.fixture
def bids(tmp_path) -> Path:
    """Dataset whose two subjects share one events file."""
    write_events(tmp_path / "bids" / "task-hariri_events.tsv", EVENTS)
    return tmp_path / "bids"


@pytest.fixture
def blocks(embedded: Path, checkpoint: Path) -> Callable[..., Result]:
    def call(bids_dir: Path, *words: str) -> Result:
        arguments = [str(bids_dir), str(embedded), *words, "--checkpoint", str(checkpoint)]
        return CliRunner().invoke(blocks_command, arguments)

    return call


def write_events(path: Path, rows: list[tuple[object, ...]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["onset", "duration", "trial_type"])
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def table_of(embedded: Path, desc: str) -> pd.DataFrame:
    return pd.read_csv(embedded / f"group_desc-{desc}.tsv", sep="\t", na_values="n/a")


def test_every_block_of_every_run_gets_a_row_and_every_condition_its_mean(
    embedded, blocks, bids
) -> None:
    answer = blocks(bids, *DELAY)
    assert answer.exit_code == 0, answer.output
    table = table_of(embedded, "blocks_embedding")
    assert len(table) == 3 * 6
    assert table["trial_type"][:2].tolist() == ["shapes", "faces"]
    assert (table["n_samples"] == 10).all()
    assert table.filter(regex="^Cerebellum_").isna().all(axis=None)
    conditions = table_of(embedded, "conditions_embedding")
    assert conditions["n_blocks"].tolist() == [3] * 6
    chosen = table[(table["participant_id"] == "sub-02") & (table["trial_type"] == "faces")]
    row = conditions[
        (conditions["participant_id"] == "sub-02") & (conditions["trial_type"] == "faces")
    ]
    assert row["mean_000"].item() == pytest.approx(chosen["mean_000"].mean(), rel=1e-5)


def test_events_of_a_run_go_before_those_that_all_runs_inherit(embedded, blocks, bids) -> None:
    own = bids / "sub-01" / "func" / "sub-01_task-hariri_run-01_events.tsv"
    write_events(own, [(20.0, 20.0, "pain")])
    assert blocks(bids, *DELAY).exit_code == 0
    table = table_of(embedded, "blocks_embedding")
    of_run = table.set_index(["participant_id", "run_id"])["trial_type"]
    assert of_run.loc[[("sub-01", 1)]].tolist() == ["pain"]
    assert set(of_run.loc[[("sub-01", 2)]]) == {"faces", "shapes"}


def test_a_condition_called_null_is_a_condition(embedded, blocks, bids) -> None:
    own = bids / "sub-01" / "func" / "sub-01_task-hariri_run-01_events.tsv"
    write_events(own, [(20.0, 20.0, "null"), (80.0, 20.0, "None"), (140.0, 20.0, None)])
    assert blocks(bids, *DELAY).exit_code == 0
    table = pd.read_csv(
        embedded / "group_desc-blocks_embedding.tsv", sep="\t", keep_default_na=False
    )
    of_run = table[(table["participant_id"] == "sub-01") & (table["run_id"] == 1)]
    assert of_run["trial_type"].tolist() == ["null", "None"]


def test_what_gives_no_block_is_listed_with_its_reason(embedded, blocks, bids) -> None:
    late = [(285.0, 21.0, "shapes"), (10.0, 21.0, "faces")]
    (bids / "task-hariri_events.tsv").unlink()
    write_events(bids / "sub-02" / "func" / "sub-02_task-hariri_events.tsv", late)
    answer = blocks(bids, *DELAY)
    assert answer.exit_code == 0, answer.output
    assert "1 block of 1 scan; scans or events left out: 3, see" in answer.stderr
    status = table_of(embedded, "blocks_status")
    assert sorted(status["reason"]) == [
        "its response is not wholly in the scan",
        "no events file",
        "no events file",
    ]


def test_the_response_has_no_default_and_only_one_model(embedded, blocks, bids) -> None:
    before = sorted(embedded.iterdir())
    for words in ((), ("--hrf-delay", "5", "--double-gamma")):
        answer = blocks(bids, "--construction", "pad", *words)
        assert answer.exit_code == 2
        assert "--hrf-delay SECONDS or --double-gamma" in answer.stderr
    assert sorted(embedded.iterdir()) == before


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([], DELAY, "no event of the conditions"),
        (EVENTS, (*DELAY, "--condition", "houses"), "no event of the conditions"),
        ([("soon", 21.0, "faces")], DELAY, "could not convert"),
        ([(10.0, np.nan, "faces")], DELAY, "no duration"),
        ([(10.0, np.inf, "faces")], DELAY, "no duration"),
        ([(10.0, 21.0, "faces")], ("--construction", "concatenated", *DELAY[2:]), "no second"),
    ],
)
def test_events_that_give_nothing_are_one_clear_error(
    blocks, tmp_path, rows, words, message
) -> None:
    write_events(tmp_path / "bids" / "task-hariri_events.tsv", rows)
    answer = blocks(tmp_path / "bids", *words)
    assert answer.exit_code == 18
    assert message in answer.stderr
    assert "Traceback" not in answer.output


def test_a_dataset_without_events_is_refused(blocks, tmp_path) -> None:
    assert blocks(tmp_path, *DELAY).exit_code == 16


def test_every_network_gets_a_table_that_its_own_parcels_alone_decide(
    embedded, checkpoint
) -> None:
    words = [str(embedded), "--checkpoint", str(checkpoint)]
    answer = CliRunner().invoke(importance_command, words)
    assert answer.exit_code == 0, answer.output
    visual, motor = (
        table_of(embedded, f"only{name}_embedding").filter(regex="^(mean|cls)_")
        for name in ("Vis", "SomMot")
    )
    assert visual.shape == motor.shape == (3, 32)
    assert not np.allclose(visual, motor)
    assert not (embedded / "group_desc-onlyCerebellum_embedding.tsv").exists()
