"""Group level: from participant outputs only."""

from __future__ import annotations

import json
import shutil

import builders
import numpy as np
import pandas as pd


def read(path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def test_the_table_has_one_row_per_run_with_ids_and_the_runs_own_numbers(
    tmp_path, semantoks
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"), sessions=("1", "2"))
    out = tmp_path / "out"
    semantoks(data.root, out)
    shutil.rmtree(data.root)
    data.root.mkdir()
    answer = semantoks(data.root, out, "group")
    assert answer.exit_code == 0, answer.output
    table = read(out / "group_desc-scan_embedding.tsv")
    assert list(table["participant_id"]) == ["sub-01", "sub-01", "sub-02", "sub-02"]
    assert list(table["session_id"]) == ["ses-1", "ses-2", "ses-1", "ses-2"]
    (own,) = (out / "sub-02" / "ses-1").rglob("*_desc-scan_embedding.tsv")
    single = read(own)
    np.testing.assert_allclose(table.loc[2, single.columns].astype(float), single.loc[0])


def test_parquet_and_tsv_say_the_same(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    semantoks(data.root, tmp_path / "out")
    semantoks(data.root, tmp_path / "out", "group")
    parquet = pd.read_parquet(tmp_path / "out" / "group_desc-scan_embedding.parquet")
    table = read(tmp_path / "out" / "group_desc-scan_embedding.tsv")
    assert list(parquet.columns) == list(table.columns)
    numbers = parquet.filter(regex="_[0-9]{3}$").columns
    np.testing.assert_allclose(parquet[numbers], table[numbers], rtol=1e-6)


def test_failed_and_excluded_runs_stand_in_the_status_with_their_reason(
    tmp_path, semantoks
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02", "03"))
    builders.blank_image(data.scans[0])
    builders.cut_volumes(data.scans[1], keep=8)
    semantoks(data.root, tmp_path / "out")
    assert semantoks(data.root, tmp_path / "out", "group").exit_code == 0
    status = read(tmp_path / "out" / "group_status.tsv")
    assert list(status["status"]) == ["failed", "excluded", "embedded"]
    assert list(status["reason"].notna()) == [True, True, False]
    table = read(tmp_path / "out" / "group_desc-scan_embedding.tsv")
    assert list(table["participant_id"]) == ["sub-03"]


def test_runs_of_different_settings_are_refused_by_name(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out = tmp_path / "out"
    semantoks(data.root, out, "participant", "--participant-label", "01")
    words = ("--participant-label", "02", "--normalization", "zscore")
    semantoks(data.root, out, "participant", *words)
    answer = semantoks(data.root, out, "group")
    assert answer.exit_code == 2
    assert "normalization (--normalization): none (1 scan), zscore (1 scan)" in answer.output
    assert list(read(out / "group_status.tsv")["status"]) == ["embedded", "embedded"]
    assert not (out / "group_desc-scan_embedding.tsv").exists()


def test_files_of_other_options_under_a_status_are_in_no_table(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    out, other = tmp_path / "out", tmp_path / "other"
    semantoks(data.root, out)
    semantoks(data.root, other, "participant", "--low-pass", "0.12")
    # As after a kill between the renames of files and the status.
    for path in (other / "sub-01").rglob("*.*"):
        if not path.name.endswith("_status.json"):
            shutil.copy2(path, out / path.relative_to(other))
    answer = semantoks(data.root, out, "group")
    assert answer.exit_code == 1
    assert list(read(out / "group_desc-scan_embedding.tsv")["participant_id"]) == ["sub-02"]
    status = read(out / "group_status.tsv")
    assert list(status["status"]) == ["damaged", "embedded"]
    assert "sub-01_task-rest" in status["reason"][0]
    semantoks(data.root, out)
    assert semantoks(data.root, out, "group").exit_code == 0


def test_a_second_export_changes_no_file(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    out = tmp_path / "out"
    semantoks(data.root, out)
    semantoks(data.root, out, "group")
    before = {path: path.read_bytes() for path in out.glob("group*")}
    semantoks(data.root, out, "group")
    assert before == {path: path.read_bytes() for path in out.glob("group*")}


def test_a_folder_without_participant_outputs_is_refused(tmp_path, semantoks) -> None:
    answer = semantoks(tmp_path, tmp_path / "nothing", "group")
    assert answer.exit_code == 16
    assert "participant level first" in answer.output


def test_a_status_without_embeddings_is_nothing_to_export(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in")
    builders.blank_image(data.scans[0])
    semantoks(data.root, tmp_path / "out")
    assert semantoks(data.root, tmp_path / "out", "group").exit_code == 18


def test_missing_networks_are_not_zero_in_the_table(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    builders.cut_cerebellum(data.scans[0])
    semantoks(data.root, tmp_path / "out")
    semantoks(data.root, tmp_path / "out", "group")
    table = read(tmp_path / "out" / "group_desc-scan_embedding.tsv")
    assert list(table["Cerebellum_000"].isna()) == [True, False]
    assert table["missing_networks"][0] == "Cerebellum"
    sidecar = json.loads((tmp_path / "out" / "group_desc-scan_embedding.json").read_text())
    assert sidecar["NumberOfRuns"] == 2


def test_flags_are_joined_codes_in_both_tables_and_texts_in_the_status(
    tmp_path, semantoks
) -> None:
    data = builders.make_dataset(
        tmp_path / "in", with_mask=False, with_sidecar=False, n_volumes=90
    )
    out = tmp_path / "out"
    semantoks(data.root, out, "participant", "--denoise-strategy", "none")
    assert semantoks(data.root, out, "group").exit_code == 0
    (path,) = (out / "sub-01").rglob("*_status.json")
    flags = json.loads(path.read_text())["QC"]["flags"]
    assert {"derived_mask", "short_scan", "tr_from_header"} <= set(flags)
    assert all(flags.values())
    for name in ("group_status", "group_desc-scan_embedding"):
        assert read(out / f"{name}.tsv")["flags"][0] == ",".join(flags)
        described = json.loads((out / f"{name}.json").read_text())
        assert "flags" in described


def test_the_page_of_the_cohort_is_written_unless_it_is_not_wanted(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"), sessions=("1", "2"))
    out = tmp_path / "out"
    semantoks(data.root, out)
    answer = semantoks(data.root, out, "group", "--no-reports")
    assert answer.exit_code == 0, answer.output
    assert not (out / "group.html").exists()
    assert str(out / "group.html") in semantoks(data.root, out, "group").output
    before = (out / "group.html").stat().st_mtime_ns
    semantoks(data.root, out, "group")
    assert (out / "group.html").stat().st_mtime_ns == before
    refused = semantoks(data.root, out, "group", "--no-reports", "--umap")
    assert refused.exit_code == 2
    assert "--no-reports leaves out" in refused.output
    assert semantoks(data.root, out, "group", "--reports-only").exit_code == 2
