"""Embeddings for Python: the group table where it is up to date, the scans where it is not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import outputs
import pandas as pd
import pytest
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bids_app.errors import InputError, OptionsError
from bids_app.group.export import export_group
from bids_app.group.options import GroupOptions
from model.networks import NETWORKS
from semantoks import load_embeddings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for seed in range(6):
        outputs.write_run(tmp_path, f"{seed:02d}", seed=seed)
    outputs.write_run(tmp_path, "99", seed=0, Status="failed", Reason="damaged")
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_scans_are_read_without_a_group_table_and_nothing_is_written(out) -> None:
    before = files(out)
    X, table = load_embeddings(out)
    assert files(out) == before
    assert X.shape == (6, 9 * 2)
    assert list(X.columns[[0, 2, -1]]) == ["Vis_000", "SomMot_000", "Cerebellum_001"]
    assert (X.dtypes == np.float32).all()
    assert X.filter(like="Cerebellum").isna().all(axis=None)
    assert X.filter(like="Vis").notna().all(axis=None)
    assert table["participant_id"].tolist() == [f"sub-{i:02d}" for i in range(6)]
    assert table["mean_fd"].tolist() == pytest.approx([0.1 + i for i in range(6)])
    assert not set(table.columns) & set(X.columns)


def test_the_group_table_is_the_same_and_a_newer_scan_is_not_overlooked(out) -> None:
    single = load_embeddings(out)
    export_group(out)
    before = files(out)
    for one, other in zip(single, load_embeddings(out), strict=True):
        pd.testing.assert_frame_equal(one, other)
    outputs.write_run(out, "06", seed=6)
    shutil.rmtree(out / "sub-00")
    X, table = load_embeddings(out)
    assert table["participant_id"].tolist() == [f"sub-{i:02d}" for i in range(1, 7)]
    pd.testing.assert_frame_equal(X.iloc[:5], single.X.iloc[1:].reset_index(drop=True))
    assert {name for name in before if "group" in name} <= files(out).keys()


def test_a_group_table_alone_will_do(out, tmp_path) -> None:
    export_group(out)
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in out.glob("group_desc-scan_embedding.*"):
        shutil.copy(path, alone)
    for one, other in zip(load_embeddings(out), load_embeddings(alone), strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_parts_are_those_asked_for(out) -> None:
    X, _ = load_embeddings(out, parts=("cls", "Default"))
    assert list(X.columns) == ["cls_000", "cls_001", "Default_000", "Default_001"]
    assert load_embeddings(out, parts=NETWORKS).X.equals(load_embeddings(out).X)
    with pytest.raises(ValueError, match="'Visual': expected parts among networks, mean"):
        load_embeddings(out, parts=("Visual",))


def test_scans_of_different_settings_are_not_mixed(out) -> None:
    outputs.write_run(out, "07", seed=7, ConfigurationHash="ffff456789abcdef-01234567")
    with pytest.raises(OptionsError, match="cannot stand in one table"):
        load_embeddings(out)


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_outputs_is_refused(tmp_path, name) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no participant outputs"):
        load_embeddings(tmp_path / name)


def test_it_serves_scikit_learn(out) -> None:
    X, table = load_embeddings(str(out))
    model = make_pipeline(
        SimpleImputer(keep_empty_features=True),
        VarianceThreshold(1e-6),
        StandardScaler(),
        LogisticRegression(),
    )
    assert model.fit(X, table["mean_fd"] > 3).score(X, table["mean_fd"] > 3) > 0.5
    assert list(model.feature_names_in_) == list(X.columns)


def cut_short(table: Path) -> None:
    table.write_bytes(table.read_bytes()[:1000])


def edited(table: Path) -> None:
    found = pd.read_parquet(table)
    found["Vis_000"] = 0
    found.to_parquet(table)


@pytest.mark.parametrize("tamper", [cut_short, edited, lambda table: table.write_bytes(b"")])
def test_a_table_that_is_not_as_it_was_written_is_not_read(out, tmp_path, tamper) -> None:
    right = load_embeddings(out)
    export_group(out)
    table = out / "group_desc-scan_embedding.parquet"
    tamper(table)
    pd.testing.assert_frame_equal(load_embeddings(out).X, right.X)
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in out.glob("group_desc-scan_embedding.*"):
        shutil.copy(path, alone)
    with pytest.raises(InputError, match="not the table that its sidecar describes") as caught:
        load_embeddings(alone)
    assert str(alone / table.name) in str(caught.value)
    export_group(out)
    assert pd.read_parquet(table)["Vis_000"].tolist() == pytest.approx(right.X["Vis_000"].tolist())


def test_a_status_that_came_back_from_a_copy_is_not_overlooked(out, tmp_path) -> None:
    shutil.copytree(out / "sub-00", tmp_path / "copy")  # keeps the times, which are older
    outputs.write_run(out, "00", seed=50)
    export_group(out)
    shutil.rmtree(out / "sub-00")
    shutil.copytree(tmp_path / "copy", out / "sub-00")
    assert load_embeddings(out).table["mean_fd"][0] == pytest.approx(0.1)


def test_a_table_of_other_scans_than_are_there_is_not_read(out) -> None:
    export_group(out)
    before = files(out)
    shutil.rmtree(out / "sub-00")
    outputs.write_run(out, "07", seed=7, ConfigurationHash="ffff456789abcdef-01234567")
    with pytest.raises(OptionsError):
        export_group(out)  # the table of statuses is new, that of embeddings is not
    shutil.rmtree(out / "sub-07")
    assert (
        before["group_desc-scan_embedding.parquet"]
        == files(out)["group_desc-scan_embedding.parquet"]
    )
    assert load_embeddings(out).table["participant_id"].tolist() == [
        f"sub-0{i}" for i in range(1, 6)
    ]


def test_a_copied_folder_s_table_is_read_though_its_statuses_are_newer(out, tmp_path) -> None:
    people = tmp_path / "people.tsv"
    people.write_text("participant_id\tage\n00\t33\n")
    export_group(out, GroupOptions(participants=people))
    copy = tmp_path / "copied"
    copy.mkdir()
    for path in sorted(out.glob("group*")):
        shutil.copyfile(path, copy / path.name)
    for path in sorted(out.glob("sub-*")):
        shutil.copytree(path, copy / path.name, copy_function=shutil.copyfile)
    assert load_embeddings(copy).table["age"][0] == 33


def test_why_a_table_is_not_read_is_said(out, tmp_path, caplog) -> None:
    people = tmp_path / "people.tsv"
    people.write_text("participant_id\tage\n00\t33\n")
    export_group(out, GroupOptions(participants=people))
    outputs.write_run(out, "00", seed=50)
    load_embeddings(out)
    assert "is of scans that were made anew since, and is not read; it has" in caplog.text
    shutil.rmtree(out / "sub-01")
    load_embeddings(out)
    assert "is of other scans than are there now, and is not read" in caplog.text
