"""What a probe reads: series of participant level, tables of group level."""

from __future__ import annotations

import json

import numpy as np
import outputs
import pandas as pd
import probe_builders
import pytest

from model.cohort.names import parts_of
from model.cohort.outputs import OutputsError, model_series
from model.encoder import build_encoder
from model.errors import SeriesError
from model.evaluation.options import SourceOptions
from model.evaluation.source import read_source
from model.files.write import file_sha256
from model.networks import NETWORKS, network_columns
from model.partition.groups import NETWORK_GROUPS
from model.preprocess import normalize
from model.probing.features import (
    correlations,
    covariance,
    crop_extractor,
    crops,
    drop_missing,
    extract,
    find_runs,
    subject_of,
)
from model.probing.inputs import read_group_table, table_features
from model.probing.participants import Labels
from model.probing.samples import ProbeError, Samples
from model.probing.splits import LeakError
from model.series import ParcelSeries
from model.spec import EncoderSpec, InputSpec

SPEC = InputSpec()


@pytest.fixture(scope="module")
def values():
    """(samples, parcels) of one scan, as the model takes it."""
    return probe_builders.simulate_cohort(1)[0, 0]


def series_of(values, *, start_s=0.0):
    return ParcelSeries(values=values, tr_s=2.0, unit="robust", start_s=start_s)


# Output folders


def test_only_embedded_runs_with_the_wanted_entities_are_found(tmp_path, values):
    for name in ("sub-02_task-rest", "sub-01_task-rest_run-1", "sub-01_task-faces"):
        probe_builders.write_series(tmp_path, name, values[:3])
    probe_builders.write_series(tmp_path, "sub-03_task-rest", values[:3], status="failed")
    runs = find_runs(tmp_path, entities=["task-rest"])
    assert [run.name.partition("_atlas")[0] for run in runs] == [
        "sub-01_task-rest_run-1",
        "sub-02_task-rest",
    ]
    assert [subject_of(run) for run in runs] == ["sub-01", "sub-02"]


def test_entities_that_no_run_has_are_refused(tmp_path, values):
    probe_builders.write_series(tmp_path, "sub-01_task-rest", values[:3])
    with pytest.raises(OutputsError, match="no embedded run with task-faces"):
        find_runs(tmp_path, entities=["task-faces"])


def test_runs_of_two_settings_are_refused(tmp_path, values):
    probe_builders.write_series(tmp_path, "sub-01_task-rest", values[:3], settings="one")
    probe_builders.write_series(tmp_path, "sub-02_task-rest", values[:3], settings="two")
    with pytest.raises(OutputsError, match="2 different settings"):
        find_runs(tmp_path, entities=[])


def test_a_series_comes_back_as_it_was_written(tmp_path, values):
    values = values.copy()
    values[:, 450:] = np.nan
    probe_builders.write_series(tmp_path, "sub-01_task-rest", values)
    (run,) = find_runs(tmp_path, entities=[])
    series = model_series(run)
    np.testing.assert_allclose(series.values, values, rtol=1e-5)
    assert (series.tr_s, series.unit) == (2.0, "robust")
    assert series.missing.sum() == 7


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.unlink(), "absent or damaged"),
        (lambda p: p.write_text(p.read_text()[:-4000]), "absent or damaged"),
        (lambda p: p.write_text("a\tb\n1\t2\n"), "its scan's status describes"),
        (lambda p: p.with_suffix(".json").write_text("{}"), "status describes .2 bytes, not"),
    ],
)
def test_a_damaged_series_is_one_clear_error(tmp_path, values, damage, message):
    damage(probe_builders.write_series(tmp_path, "sub-01_task-rest", values[:30]))
    (run,) = find_runs(tmp_path, entities=[])
    with pytest.raises(OutputsError, match=message):
        model_series(run)


def test_what_a_status_describes_must_still_be_a_series(tmp_path, values):
    path = probe_builders.write_series(tmp_path, "sub-01_task-rest", values[:30])
    path.write_text("a\tb\n1\t2\n")
    (status,) = path.parent.glob("*_status.json")
    outputs.sign(status, path)
    with pytest.raises(OutputsError, match="not the 457 parcels"):
        model_series(find_runs(tmp_path, entities=[])[0])
    path.with_suffix(".json").write_text('{"ConfigurationHash": "same-1"}')
    outputs.sign(status, path.with_suffix(".json"))
    with pytest.raises(OutputsError, match="RepetitionTime"):
        model_series(find_runs(tmp_path, entities=[])[0])


# Features


def test_crops_are_equally_spaced_from_the_first_to_the_last_sample(values):
    windows = crops(series_of(values, start_s=4.0), SPEC, n_crops=5)
    starts = [0, 5, 10, 15, 20]
    np.testing.assert_array_equal(windows.start_s, 4.0 + 2.0 * np.array(starts))
    for window, start in zip(windows.values, starts, strict=True):
        np.testing.assert_array_equal(window, values[start : start + 100].T)


def test_a_scan_holds_no_crop_twice(values):
    assert len(crops(series_of(values[:103]), SPEC, n_crops=8).values) == 4


def test_a_short_scan_is_one_padded_and_masked_crop(values):
    windows = crops(series_of(values[:60]), SPEC, n_crops=8)
    assert windows.values.shape == (1, 457, 100)
    assert windows.token_mask(NETWORK_GROUPS)[0, :, 3:].all()
    assert not windows.token_mask(NETWORK_GROUPS)[0, :, :3].any()


def test_series_normalized_otherwise_than_the_checkpoint_expects_are_refused(values):
    series = ParcelSeries(values=values, tr_s=2.0, unit="zscore")
    with pytest.raises(SeriesError, match="unit robust, found zscore"):
        crops(series, SPEC, n_crops=8)


def test_a_crop_is_the_parts_of_the_readout_in_order(values):
    encoder = build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=0).eval()
    series = series_of(values)
    both, mean, cls = (
        crop_extractor(encoder, SPEC, readout=readout, n_crops=2)(series)
        for readout in (("mean", "cls"), ("mean",), ("cls",))
    )
    assert both.shape == (2, 32)
    np.testing.assert_array_equal(both, np.concatenate([mean, cls], axis=1))


def test_a_network_that_one_scan_lacks_is_left_out_for_all(values):
    encoder = build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=0).eval()
    embed = crop_extractor(encoder, SPEC, readout=("networks",), n_crops=1)
    cut = values.copy()
    cut[:, network_columns("Cerebellum")] = np.nan
    rows = np.concatenate([embed(series_of(values)), embed(series_of(cut))])
    samples = Samples(values=rows, subjects=("a", "b"), scans=("a", "b"))
    kept, n_left_out = drop_missing(samples)
    assert n_left_out == 16
    assert kept.values.shape == (2, 16 * (len(NETWORKS) - 1))


def test_connectivity_and_covariance_leave_missing_parcels_out(values):
    cut = values.copy()
    cut[:, 3] = np.nan
    fc, matrix = correlations(series_of(cut)), covariance(series_of(cut))
    assert np.isnan(fc).sum() == 456
    one = Samples(values=matrix, subjects=("a",), scans=("a",))
    kept, n_left_out = drop_missing(one)
    assert (kept.values.shape, n_left_out) == ((1, 456, 456), 1)
    assert np.linalg.eigvalsh(kept.values[0])[0] > 0
    with_all = correlations(series_of(values))
    np.testing.assert_allclose(fc[~np.isnan(fc)], with_all[~np.isnan(fc)], atol=1e-6)


def test_features_that_no_scan_shares_are_refused():
    rows = np.array([[1.0, np.nan], [np.nan, 1.0]], np.float32)
    with pytest.raises(ProbeError, match="no feature is present in all scans"):
        drop_missing(Samples(values=rows, subjects=("a", "b"), scans=("a", "b")))


def test_a_session_copied_to_another_subject_is_refused(tmp_path, values):
    for name in ("sub-01_ses-1_task-rest", "sub-02_ses-2_task-rest"):
        probe_builders.write_series(tmp_path, name, values)
    runs = find_runs(tmp_path, entities=[])
    with pytest.raises(LeakError, match=r"sub-01_ses-1_task-rest\S* and sub-02_ses-2_task-rest"):
        extract(runs, {"fc": correlations})


# Group tables


def write_table(folder, *, n=6, dim=4, change=lambda table: table, suffix=".parquet"):
    rng = np.random.default_rng(0)
    columns = [f"{part}_{i:03d}" for part in ("mean", "cls", *NETWORKS) for i in range(dim)]
    values = pd.DataFrame(rng.normal(2, 3, (n, len(columns))), columns=columns, dtype="float32")
    keys = pd.DataFrame(
        {
            "participant_id": [f"sub-{i // 2:02d}" for i in range(n)],
            "session_id": [f"ses-{i % 2}" for i in range(n)],
            "task_id": "rest",
            "run_id": "1",
        }
    )
    table = change(pd.concat([keys, values], axis=1))
    path = folder / f"group_desc-scan_embedding{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    meta = {"Model": {"Name": "m"}, "EmbeddingDimension": dim, "ScanVector": ["networks"]}
    meta["Parts"] = dict.fromkeys(sorted(parts_of(NETWORKS)), "x")
    path.with_suffix(".json").write_text(json.dumps(meta))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".tsv"])
def test_a_group_table_gives_scans_their_names_and_its_default_readout(tmp_path, suffix):
    path = write_table(tmp_path, suffix=suffix)
    table = read_group_table(path, readout=(), entities=["ses-1", "run-1"])
    assert table.samples.scans[0] == "sub-00_ses-1_task-rest_run-1"
    assert table.samples.values.shape == (3, 36)
    assert (table.readout, table.model) == (("networks",), {"Name": "m"})


def test_parquet_and_tsv_hold_the_same_numbers(tmp_path):
    first, second = (
        read_group_table(
            write_table(tmp_path, suffix=s), readout=("mean", "cls"), entities=[]
        ).samples.values
        for s in (".parquet", ".tsv")
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)


def scaled(table):
    numbers = table.columns[4:]
    table[numbers] = (table[numbers] - table[numbers].mean()) / table[numbers].std()
    return table


def test_a_table_scaled_over_all_scans_is_refused(tmp_path):
    path = write_table(tmp_path, n=20, change=scaled)
    with pytest.raises(LeakError, match="scaled with the test subjects in it"):
        read_group_table(path, readout=(), entities=[])


def test_a_harmonised_table_is_refused_but_of_the_very_split_that_is_scored(tmp_path):
    path, splits = write_table(tmp_path), tmp_path / "splits.tsv"
    splits.write_text("participant_id\tsplit\nsub-00\ttrain\n")
    sidecar = path.with_suffix(".json")
    said = json.loads(sidecar.read_text())

    def harmonised_on(sha256):
        harmonized = {"SiteColumn": "site", "SplitSHA256": sha256}
        sidecar.write_text(json.dumps(said | {"Harmonization": harmonized}))

    harmonised_on(None)
    for given in (None, splits):
        with pytest.raises(LeakError, match=r"effects of site were taken out .* from everybody"):
            read_group_table(path, readout=(), entities=[], splits=given)
    harmonised_on(file_sha256(splits))
    assert read_group_table(path, readout=(), entities=[], splits=splits).samples.scans
    splits.write_text("participant_id\tsplit\nsub-01\ttrain\n")
    with pytest.raises(LeakError, match="train of another split"):
        read_group_table(path, readout=(), entities=[], splits=splits)


def test_an_evaluation_notes_that_a_table_was_harmonised(tmp_path):
    path = write_table(tmp_path)
    options = SourceOptions()
    assert read_source(path, options)[1] == []
    sidecar = path.with_suffix(".json")
    said = json.loads(sidecar.read_text()) | {"Harmonization": {"SiteColumn": "scanner"}}
    sidecar.write_text(json.dumps(said))
    (note,) = read_source(path, options)[1]
    assert "effects of scanner were taken out as learned from everybody" in note


def test_a_table_of_selected_columns_is_refused(tmp_path):
    path = write_table(tmp_path, change=lambda table: table.drop(columns="Vis_001"))
    with pytest.raises(ProbeError, match="1 columns are absent, such as Vis_001"):
        read_group_table(path, readout=(), entities=[])


def test_a_row_under_two_subjects_is_refused(tmp_path):
    def copied(table):
        table.loc[3, table.columns[4:]] = table.loc[0, table.columns[4:]]
        return table

    table = read_group_table(write_table(tmp_path, change=copied), readout=(), entities=[])
    values = {f"sub-{i:02d}": float(i % 2) for i in range(3)}
    labels = Labels(column="x", task="classification", classes=("a", "b"), values=values)
    with pytest.raises(LeakError, match="sub-00_ses-0_task-rest_run-1 and sub-01_ses-1"):
        table_features(table, labels)


@pytest.mark.parametrize("damage", ["table", "json"])
def test_a_damaged_table_is_one_clear_error(tmp_path, damage):
    path = write_table(tmp_path)
    (path if damage == "table" else path.with_suffix(".json")).write_text("nothing")
    with pytest.raises(ProbeError, match="not a table of the group level"):
        read_group_table(path, readout=(), entities=[])


def test_entities_that_no_scan_has_are_refused(tmp_path):
    with pytest.raises(ProbeError, match="no scan with task-faces"):
        read_group_table(write_table(tmp_path), readout=(), entities=["task-faces"])


def test_normalized_and_written_series_are_what_a_probe_takes(values):
    raw = ParcelSeries(values=values, tr_s=2.0, unit="residual")
    assert len(crops(normalize(raw, "robust"), SPEC, n_crops=3).values) == 3


def test_of_several_tasks_any_is_taken_with_or_without_prefix(tmp_path):
    for task in ("rest", "faces", "movie"):
        values = np.zeros((100, 457))
        probe_builders.write_series(tmp_path, f"sub-01_task-{task}", values)
    found = find_runs(tmp_path, entities=["sub-01"], task_ids=["rest", "task-movie"])
    assert sorted(run.record.entities["task"] for run in found) == ["movie", "rest"]
    with pytest.raises(OutputsError, match="sub-02 and rest"):
        find_runs(tmp_path, entities=["sub-02"], task_ids=["rest"])
