"""A checkpoint whose readout asks for its short form, all the way: tables, group, loading."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import builders
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from outputs import of_scan

from bids_app.cli.app import main
from bids_app.group.export import export_group
from bids_app.group.load import load_embeddings
from model.checkpoint import save_checkpoint
from model.encoder import build_encoder
from model.errors import ConfigError
from model.evaluation.options import SourceOptions
from model.evaluation.source import read_source
from model.partition.groups import Group
from model.probing.inputs import read_group_table
from model.spec import EncoderSpec, InputSpec

if TYPE_CHECKING:
    from pathlib import Path

DIM = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory, atlas) -> Path:
    """Two scans, of which the second lacks the cerebellum."""
    folder = tmp_path_factory.mktemp("short")
    encoder = build_encoder(EncoderSpec(dim=DIM, depth=1, heads=2, short=2), seed=1)
    generator = torch.Generator().manual_seed(1)
    encoder.short.matrix.copy_(torch.randn(9, DIM, 2 * DIM, generator=generator))
    save_checkpoint(
        folder / "checkpoint",
        encoder,
        name="short",
        version="1",
        input=InputSpec(normalization="zscore"),
        readout=("short",),
        source="tests",
        licence="Apache-2.0",
        training={},
    )
    dataset = builders.make_dataset(folder / "in", subjects=("01", "02"))
    builders.cut_cerebellum(dataset.scans[1])
    words = [dataset.root, folder / "out", "participant", "--atlas", atlas,
             "--checkpoint", folder / "checkpoint", "--n-cpus", 1]  # fmt: skip
    answer = CliRunner().invoke(main, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    return folder


def test_tables_hold_it_beside_the_rows_that_it_is_made_of(made) -> None:
    table = pd.read_csv(of_scan(made, "01", "_desc-scan_embedding.tsv"), sep="\t")
    assert list(table)[-2 * DIM :] == [f"short{i}_{k:03d}" for i in (1, 2) for k in range(DIM)]
    assert len(table.columns) == (2 + 9 + 2) * DIM
    windows = pd.read_csv(of_scan(made, "01", "_desc-windows_embedding.tsv"), sep="\t")
    assert list(windows)[3:] == list(table)
    meta = json.loads(of_scan(made, "01", "_desc-scan_embedding.json").read_text())
    assert list(meta["Parts"])[-2:] == ["short1", "short2"]
    assert meta["ScanVector"] == ["short"]


def test_a_scan_without_cerebellum_has_it_whole(made) -> None:
    table = pd.read_csv(of_scan(made, "02", "_desc-scan_embedding.tsv"), sep="\t")
    gone = {name.rpartition("_")[0] for name in table.columns[table.isna().any()]}
    assert gone == {"Cerebellum"}


def test_it_is_loaded_probed_and_evaluated_from_the_group_table(made) -> None:
    loaded = load_embeddings(made / "out")
    assert loaded.X.shape == (2, 2 * DIM)
    assert loaded.X.notna().all(axis=None)
    assert load_embeddings(made / "out", parts=["networks"]).X.shape == (2, 9 * DIM)
    (path, *_), _ = export_group(made / "out")
    assert read_group_table(path, readout=(), entities=()).samples.values.shape == (2, 2 * DIM)
    vectors, _ = read_source(path, SourceOptions(session_column="task_id"))
    np.testing.assert_array_equal(
        vectors["scan"].sets["short"].astype(np.float32), loaded.X.to_numpy(np.float32)
    )
    assert vectors["scan"].sets["networks"].shape == (2, 8 * DIM)


def test_no_group_may_be_called_like_it() -> None:
    for name in ("short", "Short3"):
        with pytest.raises(ConfigError, match="that is none of"):
            Group(name, (0, 1))
