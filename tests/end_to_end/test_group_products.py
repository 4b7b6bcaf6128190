"""What the group level writes on demand: windows, tokens, matrices, AnnData, without sites."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING

import builders
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bids_app.cli.app import main
from bids_app.group import pieces
from model.networks import parcel_names
from semantoks import load_embeddings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

needs_combat = pytest.mark.skipif(find_spec("combatlearn") is None, reason="no combatlearn")
needs_anndata = pytest.mark.skipif(find_spec("anndata") is None, reason="anndata is not installed")
SUBJECTS = ("01", "02", "03", "04", "05", "06")


@pytest.fixture(scope="module")
def made(tmp_path_factory, atlas, checkpoint) -> Path:
    folder = tmp_path_factory.mktemp("products")
    data = builders.make_dataset(folder / "in", subjects=SUBJECTS)
    words = ["--atlas", atlas, "--checkpoint", checkpoint, "--n-cpus", 1, "--no-reports"]
    answer = CliRunner().invoke(
        main, [str(word) for word in (data.root, folder / "out", "participant", *words)]
    )
    assert answer.exit_code == 0, answer.output
    people = folder / "participants.tsv"
    rows = [
        f"{sub}\t{'ab'[i % 2]}\t{20 + 3 * i}\t{'FMM'[i % 3]}" for i, sub in enumerate(SUBJECTS)
    ]
    people.write_text("\n".join(["participant_id\tsite\tage\tsex", *rows]) + "\n")
    return folder


def group(made: Path, *words: object) -> Result:
    call = (made / "in", made / "out", "group", "--no-reports", *words)
    return CliRunner().invoke(main, [str(word) for word in call])


def state(made: Path) -> dict[str, int]:
    return {
        str(path.relative_to(made)): path.stat().st_mtime_ns
        for path in made.rglob("*")
        if path.is_file()
    }


def test_windows_and_tokens_are_the_scans_own_and_come_as_arrays_too(made, monkeypatch) -> None:
    monkeypatch.setattr(pieces, "NUMBERS_AT_ONCE", 64)
    people = made / "participants.tsv"
    answer = group(made, "--windows", "--tokens", "--npz", "--participants", people)
    assert answer.exit_code == 0, answer.output
    out = made / "out"
    windows = pd.read_parquet(out / "group_desc-windows_embedding.parquet")
    tokens = pd.read_parquet(out / "group_desc-tokens_embedding.parquet")
    assert pq.ParquetFile(out / "group_desc-tokens_embedding.parquet").num_row_groups > 3
    (own,) = (out / "sub-03").rglob("*_desc-windows_embedding.tsv")
    table = pd.read_csv(own, sep="\t", na_values="n/a")
    mine = windows[windows["participant_id"] == "sub-03"]
    numbers = [*table.columns[3:]]
    np.testing.assert_allclose(mine[numbers], table[numbers], rtol=1e-6)
    assert mine["window_onset"].tolist() == table["onset"].tolist()
    assert mine["window"].tolist() == [*range(len(table))]
    assert mine["site"].tolist() == ["a"] * len(table)
    (array,) = (out / "sub-03").rglob("*_desc-tokens_embedding.npy")
    values = np.load(array)
    theirs = tokens[tokens["participant_id"] == "sub-03"]
    np.testing.assert_array_equal(
        theirs.filter(regex="^token_").to_numpy().reshape(values.shape), values
    )
    assert theirs["network"].iloc[0] == "Vis"
    length = json.loads(array.with_suffix(".json").read_text())["Windows"]["Length"]
    onsets = theirs["patch_onset"].tolist()
    assert onsets[0] == theirs["window_onset"].iloc[0]
    assert onsets[1] - onsets[0] == pytest.approx(length / values.shape[2])
    with np.load(out / "group_desc-tokens_embedding.npz", allow_pickle=False) as arrays:
        chosen = arrays["participant_id"] == "sub-03"
        np.testing.assert_array_equal(arrays["values"][chosen], values)
        assert arrays["networks"].tolist()[0] == "Vis"
        assert arrays["age"].shape == (len(windows),)
    with np.load(out / "group_desc-windows_embedding.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["values"], windows[numbers])
        assert arrays["columns"].tolist() == numbers
    X, table = load_embeddings(out, level="windows", parts=("cls",))
    np.testing.assert_array_equal(X, windows[X.columns])
    assert table["window"].tolist() == windows["window"].tolist()
    assert load_embeddings(out, level="tokens").X.shape == (len(tokens), values.shape[-1])
    (out / "group_desc-windows_embedding.parquet").unlink()
    again = load_embeddings(out, level="windows", parts=("cls",), participants=people)
    pd.testing.assert_frame_equal(again.X, X)
    described = json.loads((out / "group_desc-windows_embedding.json").read_text())
    assert set(windows.columns) - set(numbers) - {"site", "age", "sex"} <= {
        *described, "participant_id", "task_id", "space", "res", "session_id", "run_id",
    }  # fmt: skip


@needs_combat
@needs_anndata
def test_an_unchanged_second_call_touches_nothing_and_a_dry_run_says_it_before(made) -> None:
    words = (
        "--windows", "--tokens", "--npz", "--connectivity", "--anndata", "--tsv",
        "--participants", made / "participants.tsv", "--harmonize", "site",
    )  # fmt: skip
    before = state(made)
    answer = group(made, *words, "--dry-run")
    assert answer.exit_code == 0, answer.output
    assert state(made) == before
    told = {line.split()[2].rstrip(":") for line in answer.stdout.splitlines()}
    assert group(made, *words).exit_code == 0
    first = state(made)
    there = {path.name for path in (made / "out").glob("group*")}
    assert there == told - {"sub-*/**/*_relmat.tsv"}
    answer = group(made, *words, "--dry-run")
    left = [f"would leave {name} as it is" for name in there]
    assert sorted(answer.stdout.splitlines()) == sorted(left)
    assert group(made, *words).exit_code == 0
    assert state(made) == first
    (made / "out" / "group_desc-windows_embedding.npz").write_bytes(b"")
    assert group(made, *words).exit_code == 0
    changed = {name for name, time in state(made).items() if first.get(name) != time}
    names = {name.rpartition("/")[2].rpartition(".")[0] for name in changed}
    assert names == {"group_desc-windows_embedding"}
    first = state(made)
    assert group(made, "--windows").exit_code == 0  # without the columns about people
    changed = {name for name, time in state(made).items() if first.get(name) != time}
    assert {f"out/group_desc-windows_embedding.{s}" for s in ("parquet", "npz")} <= changed


def test_matrices_stand_beside_their_scans_and_go_with_the_series_they_were_of(made) -> None:
    assert group(made, "--connectivity", "--fisher-z").exit_code == 0
    (path,) = (made / "out" / "sub-02").rglob("*_stat-pearsoncorrelation_relmat.tsv")
    matrix = pd.read_csv(path, sep="\t", na_values="n/a", index_col="Node")
    assert (*matrix.columns,) == (*matrix.index,) == parcel_names()
    (series,) = path.parent.glob("*_desc-denoised_timeseries.tsv")
    (outliers,) = path.parent.glob("*_outliers.tsv")
    frames = pd.read_csv(outliers, sep="\t", na_values="n/a").query("dropped == 0")
    values = pd.read_csv(series, sep="\t", na_values="n/a")
    kept = values[(frames["interpolated"] == 0).to_numpy()]
    np.testing.assert_allclose(matrix, kept.corr(), rtol=1e-5, atol=1e-7)
    z = pd.read_csv(
        str(path).replace("pearsoncorrelation", "fisherz"), sep="\t", na_values="n/a", index_col=0
    )
    assert np.isnan(np.diag(z)).all()
    np.testing.assert_allclose(np.tanh(z.iloc[0, 1:]), matrix.iloc[0, 1:], atol=1e-6)
    said = json.loads(path.with_suffix(".json").read_text())
    assert (said["Weighted"], said["Directed"], said["ValidDiagonal"]) == (True, False, True)
    assert group(made, "--fisher-z").exit_code == 2


def test_matrices_of_a_series_that_is_made_anew_are_gone(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01",))
    semantoks(data.root, tmp_path / "out")
    semantoks(data.root, tmp_path / "out", "group", "--connectivity")
    assert [*(tmp_path / "out").rglob("*relmat*")]
    semantoks(data.root, tmp_path / "out", "participant", "--low-pass", "0.12")
    assert not [*(tmp_path / "out").rglob("*relmat*")]


def test_a_scan_whose_tokens_were_edited_is_left_out_where_they_are_read(
    tmp_path, semantoks
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out = tmp_path / "out"
    semantoks(data.root, out)
    (path,) = (out / "sub-01").rglob("*_desc-tokens_embedding.npy")
    path.write_bytes(path.read_bytes()[:-4])
    assert semantoks(data.root, out, "group").exit_code == 0
    assert semantoks(data.root, out, "group", "--tokens").exit_code == 1
    tokens = pd.read_parquet(out / "group_desc-tokens_embedding.parquet")
    assert set(tokens["participant_id"]) == {"sub-02"}


@needs_combat
def test_sites_are_taken_out_beside_the_raw_values(made) -> None:
    out, people = made / "out", made / "participants.tsv"
    group(made)
    raw = (out / "group_desc-scan_embedding.parquet").read_bytes()
    assert b"site" not in raw
    answer = group(made, "--participants", people, "--harmonize", "site",
                   "--harmonize-keep", "age")  # fmt: skip
    assert answer.exit_code == 0, answer.output
    before = pd.read_parquet(out / "group_desc-scan_embedding.parquet")
    after = pd.read_parquet(out / "group_desc-harmonized_embedding.parquet")
    numbers = [*before.filter(regex=r"^(mean|Vis)_\d{3}$").columns]
    assert [*after.columns] == [*before.columns]
    assert np.abs(after[numbers] - before[numbers]).to_numpy().max() > 1e-4
    gap = {
        name: np.abs(np.diff(table.groupby("site")[numbers].mean(), axis=0)).mean()
        for name, table in (("before", before), ("after", after))
    }
    assert gap["after"] < gap["before"]
    X, _ = load_embeddings(out, level="harmonized", parts=("mean",))
    np.testing.assert_array_equal(X, after[X.columns])
    said = json.loads((out / "group_desc-harmonized_embedding.json").read_text())
    assert said["Harmonization"]["Sites"] == {"a": 3, "b": 3}
    assert said["Harmonization"]["KeptColumns"] == ["age"]


@needs_combat
def test_only_training_people_are_learned_from(made) -> None:
    out, people = made / "out", made / "participants.tsv"
    split = made / "split.tsv"
    parts = ["train"] * 4 + ["test"] * 2
    rows = [f"sub-{sub}\t{part}" for sub, part in zip(SUBJECTS, parts, strict=True)]
    split.write_text("\n".join(["participant_id\tsplit", *rows]) + "\n")
    words = ("--participants", people, "--harmonize", "site", "--splits", split)
    assert group(made, *words).exit_code == 0
    whole = pd.read_parquet(out / "group_desc-harmonized_embedding.parquet")
    (table,) = (out / "sub-06").rglob("*_desc-scan_embedding.tsv")
    text = table.read_text()
    status = next((out / "sub-06").rglob("*_status.json"))
    kept = status.read_text()
    try:
        header, row = text.split("\n")[:2]
        cells = [c if c == "n/a" else f"{float(c) + 1:.8g}" for c in row.split("\t")]
        table.write_text(f"{header}\n" + "\t".join(cells) + "\n")
        import outputs

        outputs.sign(status, table)
        assert group(made, *words).exit_code == 0
        again = pd.read_parquet(out / "group_desc-harmonized_embedding.parquet")
    finally:
        table.write_text(text)
        status.write_text(kept)
    numbers = [*whole.filter(regex=r"_\d{3}$").columns]
    pd.testing.assert_frame_equal(whole[numbers][:5], again[numbers][:5])
    assert not whole[numbers][5:].equals(again[numbers][5:])
    split.write_text("participant_id\tsplit\nsub-01\ttrain\nsub-03\ttrain\nsub-02\ttrain\n")
    answer = group(made, *words)
    assert answer.exit_code == 2
    assert "each site to learn from, found fewer in train of --splits: b (1)" in answer.output
    rows = [f"{sub}\ttrain" for sub in (*SUBJECTS[:-1], "99")]
    split.write_text("\n".join(["participant_id\tsplit", *rows]) + "\n")
    answer = group(made, *words, "--dry-run")
    assert answer.exit_code == 0
    assert "not in it, and not learned from: sub-06" in answer.output
    assert "in it, but without a scan here: sub-99" in answer.output
    split.write_text("participant_id\tsplit\nsub-01\ttest\n")
    answer = group(made, *words)
    assert answer.exit_code == 2
    assert f"--splits {split}: none of the 6 people with scans is in train" in answer.output


@needs_combat
@pytest.mark.parametrize(
    ("rows", "words", "told"),
    [
        (["a", "a", "a", "a", "a", "b"], (), "found fewer: b (1)"),
        (["a", "a", "b", "b", "n/a", "a"], (), "1 of 6 scans have no site: sub-05"),
        (["a"] * 6, (), "all scans are of one site, a"),
        (["a", "b"] * 3, ("--harmonize-keep", "other"), "cannot be told apart from the sites"),
        (["a", "b"] * 3, ("--harmonize-keep", "height"), "no column height"),
        (["a", "b"] * 3, ("--harmonize-keep", "same"), "same: all scans have the same, x"),
        (["a", "b"] * 3, ("--harmonize-keep", "other", "other"), "other: given twice"),
        (["a", "b"] * 3, ("--harmonize-keep", "site"), "site: is the column whose effect"),
    ],
)
def test_sites_that_cannot_be_taken_out_are_one_error(made, rows, words, told) -> None:
    people = made / "others.tsv"
    lines = [f"{sub}\t{site}\t{site}\tx" for sub, site in zip(SUBJECTS, rows, strict=True)]
    people.write_text("\n".join(["participant_id\tsite\tother\tsame", *lines]) + "\n")
    harmonized = made / "out" / "group_desc-harmonized_embedding.parquet"
    harmonized.unlink(missing_ok=True)
    answer = group(made, "--participants", people, "--harmonize", "site", *words)
    assert answer.exit_code == 2
    assert told in answer.output
    assert not harmonized.exists()


@needs_combat
@needs_anndata
def test_anndata_reads_what_is_written(made) -> None:
    out = made / "out"
    words = ("--participants", made / "participants.tsv", "--harmonize", "site", "--anndata")
    answer = group(made, *words)
    assert answer.exit_code == 0, answer.output
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anndata import read_h5ad

        found = read_h5ad(out / "group_desc-scan_embedding.h5ad")
    table = pd.read_parquet(out / "group_desc-scan_embedding.parquet")
    numbers = [*table.filter(regex=r"_\d{3}$").columns]
    assert [*found.var_names] == numbers
    np.testing.assert_array_equal(found.X, table[numbers])
    assert found.obs_names[0].startswith("sub-01_task-rest")
    assert found.obs["age"].tolist() == table["age"].tolist()
    assert found.obs["site"].tolist() == table["site"].tolist()
    assert set(found.var["part"]) >= {"mean", "cls", "Vis"}
    after = pd.read_parquet(out / "group_desc-harmonized_embedding.parquet")
    np.testing.assert_array_equal(found.layers["harmonized"], after[numbers])
    np.testing.assert_array_equal(found.obsm["X_cls"], table.filter(regex="^cls_"))
    assert json.loads(found.uns["semantoks"])["Model"]["Name"] == "tiny-random"
