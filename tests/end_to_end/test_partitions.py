"""A checkpoint of another partition, all the way: participant, tables, report, group, loading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import builders
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from outputs import of_scan

from bids_app.cli.app import main
from bids_app.cli.importance import main as importance
from bids_app.errors import OptionsError
from bids_app.group.export import export_group
from bids_app.group.load import load_embeddings
from model.cohort.names import parts_of
from model.encoder import build_encoder
from model.evaluation.options import SourceOptions
from model.evaluation.source import read_source
from model.networks import NETWORKS
from model.partition.named import partition
from model.probing.inputs import read_group_table
from model.spec import EncoderSpec

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = partition(["networks", "brain:7"])
ROWS = (*NETWORKS, *(f"Brain{i}" for i in range(1, 8)))
DIM = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory, atlas) -> Path:
    """Two scans, of which the second lacks the cerebellum, embedded in a grid of 16 rows."""
    folder = tmp_path_factory.mktemp("partitions")
    spec = EncoderSpec(dim=DIM, depth=1, heads=2, groups=GROUPS)
    checkpoint = builders.make_checkpoint(folder / "checkpoint", build_encoder(spec, seed=1))
    dataset = builders.make_dataset(folder / "in", subjects=("01", "02"))
    builders.cut_cerebellum(dataset.scans[1])
    words = [dataset.root, folder / "out", "participant", "--atlas", atlas,
             "--checkpoint", checkpoint, "--n-cpus", 1]  # fmt: skip
    answer = CliRunner().invoke(main, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    return folder


def test_tables_and_tokens_have_every_row(made) -> None:
    table = pd.read_csv(of_scan(made, "01", "_desc-scan_embedding.tsv"), sep="\t")
    assert list(table) == [f"{part}_{i:03d}" for part in parts_of(ROWS) for i in range(DIM)]
    assert not table.isna().any(axis=None)
    tokens = np.load(of_scan(made, "01", "_desc-tokens_embedding.npy"))
    assert tokens.shape[1:] == (16, 5, DIM)
    windows = pd.read_csv(of_scan(made, "01", "_desc-windows_embedding.tsv"), sep="\t")
    assert list(windows)[3:] == list(table)


def test_sidecars_name_rows_and_groups(made) -> None:
    meta = json.loads(of_scan(made, "01", "_desc-tokens_embedding.json").read_text())
    assert meta["Networks"] == list(ROWS)
    assert list(meta["Parts"]) == ["mean", "cls", *ROWS]
    assert meta["Parts"]["Vis"] == "mean over the valid tokens of network Vis"
    assert meta["Parts"]["Brain2"] == "mean over the valid tokens of group Brain, token 2"
    assert meta["Groups"][-1] == {"name": "Brain", "parcels": "1-457", "tokens": 7}


def test_a_network_out_of_view_is_missing_and_the_brain_is_not(made) -> None:
    table = pd.read_csv(of_scan(made, "02", "_desc-scan_embedding.tsv"), sep="\t")
    gone = {name.rpartition("_")[0] for name in table.columns[table.isna().any()]}
    assert gone == {"Cerebellum"}
    meta = json.loads(of_scan(made, "02", "_desc-scan_embedding.json").read_text())
    assert meta["MissingNetworks"] == ["Cerebellum"]


def test_the_report_draws_and_describes_the_rows(made) -> None:
    page = (made / "out" / "sub-01.html").read_text()
    assert "Brain7" in page
    assert "into 16 rows of tokens" in " ".join(page.split())


def test_the_cohort_is_loaded_with_all_rows(made) -> None:
    loaded = load_embeddings(made / "out")
    assert loaded.X.shape == (2, 16 * DIM)
    assert list(loaded.X)[-1] == f"Brain7_{DIM - 1:03d}"
    assert load_embeddings(made / "out", parts=["Brain3", "cls"]).X.shape == (2, 2 * DIM)
    with pytest.raises(ValueError, match=r"'Brain8'.*Brain7"):
        load_embeddings(made / "out", parts=["Brain8"])
    table = pd.read_csv(of_scan(made, "01", "_desc-scan_embedding.tsv"), sep="\t")
    np.testing.assert_array_equal(
        loaded.X.iloc[0].to_numpy(np.float32), table[list(loaded.X)].iloc[0].to_numpy(np.float32)
    )
    assert not [name for name in loaded.table if name.startswith("Brain")]


def test_the_group_table_is_probed_and_evaluated_with_all_rows(made) -> None:
    (path, *_), _ = export_group(made / "out")
    columns = SourceOptions(session_column="task_id")
    vectors, notes = read_source(path, columns)
    assert vectors["scan"].sets["networks"].shape == (2, 15 * DIM)
    assert notes  # tells of the cerebellum, which one scan lacks
    table = read_group_table(path, readout=(), entities=())
    assert table.samples.values.shape == (2, 16 * DIM)
    cut = pd.read_parquet(path).drop(columns=[f"Brain7_{i:03d}" for i in range(DIM)])
    short = path.with_name("short.parquet")
    cut.to_parquet(short)
    short.with_suffix(".json").write_text(path.with_suffix(".json").read_text())
    with pytest.raises(Exception, match="16 columns are absent, such as Brain7_000"):
        read_group_table(short, readout=(), entities=())
    short.unlink()
    short.with_suffix(".json").unlink()


def test_every_group_alone_has_a_table(made) -> None:
    words = [str(made / "out"), "--checkpoint", str(made / "checkpoint")]
    answer = CliRunner().invoke(importance, words)
    assert answer.exit_code == 0, answer.output
    paths = {p.name for p in (made / "out").glob("group_desc-only*_embedding.tsv")}
    assert paths == {f"group_desc-only{g.name}_embedding.tsv" for g in GROUPS}
    meta = json.loads((made / "out" / "group_desc-onlyBrain_embedding.json").read_text())
    assert meta["Group"] == "Brain"
    vis, brain = (
        pd.read_csv(made / "out" / f"group_desc-only{name}_embedding.tsv", sep="\t")
        for name in ("Vis", "Brain")
    )
    numbers = [f"mean_{i:03d}" for i in range(DIM)]
    assert not np.allclose(vis[numbers], brain[numbers])


def test_scans_of_two_partitions_are_not_mixed(made, tmp_path, atlas) -> None:
    out = tmp_path / "out"
    dataset = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    nine = builders.make_checkpoint(tmp_path / "nine")
    for sub, checkpoint in (("01", made / "checkpoint"), ("02", nine)):
        words = [dataset.root, out, "participant", "--atlas", atlas, "--n-cpus", 1,
                 "--checkpoint", checkpoint, "--participant-label", sub]  # fmt: skip
        answer = CliRunner().invoke(main, [str(word) for word in words])
        assert answer.exit_code == 0, answer.output
    with pytest.raises(OptionsError, match=r"groups of parcels.*the nine networks, Brain x 7"):
        export_group(out)
