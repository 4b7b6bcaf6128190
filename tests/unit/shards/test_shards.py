"""Stored series: what is written is read, damage is found, sources are read as documented."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from shard_builders import make_shards, noise_scans, write_output

from model.cli.app import main
from model.cohort.outputs import OutputsError
from model.preprocess import normalize, resample
from model.series import ParcelSeries
from model.shards.incoming import scans_of_hdf5, scans_of_outputs, scans_of_simulator
from model.shards.published_series import PARTS
from model.shards.store import NewScan, write_shards
from model.shards.stored import ShardError, Shards
from model.simulation.simulate import SimulationConfig
from model.spec import InputSpec

SPEC = InputSpec()


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("data") / "shards")


@pytest.fixture
def damaged(stored, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(stored, tmp_path / "copy")


def change_values(folder, change, *, hide=False):
    """Change the first scan in its file; ``hide``: and let the index say that it is so."""
    path = folder / "shard-00000.npy"
    values = np.load(path)
    scan = Shards(folder).scans[0]
    old = hashlib.sha256(values[: scan.n_frames].tobytes()).hexdigest()
    change(values)
    np.save(path, values)
    if not hide:
        return
    new = hashlib.sha256(values[: scan.n_frames].tobytes()).hexdigest()
    index = (folder / "index.tsv").read_text().replace(old, new)
    (folder / "index.tsv").write_text(index)
    description = json.loads((folder / "shards.json").read_text())
    description["index_sha256"] = hashlib.sha256(index.encode()).hexdigest()
    (folder / "shards.json").write_text(json.dumps(description))


def test_what_was_written_is_read_from_several_shards(stored):
    shards = Shards(stored)
    shards.verify(shards.scans)
    assert len({scan.shard for scan in shards.scans}) > 1
    for scan, new in zip(shards.scans, noise_scans(12), strict=True):
        np.testing.assert_array_equal(shards.read(scan), new.series.values)
    np.testing.assert_array_equal(
        shards.read(scan, start=5, stop=25), np.asarray(new.series.values)[5:25]
    )


def test_the_same_scans_give_the_same_index(stored, tmp_path):
    again = make_shards(tmp_path / "again")
    assert (again / "index.tsv").read_bytes() == (stored / "index.tsv").read_bytes()


def test_missing_parcels_stay_missing(tmp_path):
    shards = Shards(make_shards(tmp_path / "s", 6, missing=slice(450, 457)))
    shards.verify(shards.scans)
    assert np.isnan(shards.read(shards.scans[0])[:, 450:]).all()
    assert np.isfinite(shards.read(shards.scans[0])[:, :450]).all()


def test_short_and_refused_scans_are_left_out_by_name(tmp_path):
    short = next(noise_scans(1, n_frames=99))
    refused = NewScan(
        subject="sub-x", session="n/a", scan="sub-x", source="tests", series="status is failed"
    )
    full = list(noise_scans(3))[2:]
    made = write_shards(tmp_path / "s", [short, refused, *full], SPEC, made_from="t")
    assert made.excluded == {
        short.scan: "99 samples, a window has 100",
        "sub-x": "status is failed",
    }
    assert made.n_scans == 4


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ShardError, match="no scan of t can be used"):
        write_shards(tmp_path / "s", noise_scans(2, n_frames=50), SPEC, made_from="t")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_written_to(stored):
    with pytest.raises(ShardError, match="exists"):
        write_shards(stored, noise_scans(1), SPEC, made_from="t")


def test_a_subject_whose_name_fills_two_lines_is_refused(tmp_path):
    scan = replace(next(noise_scans(1)), subject="a\nb")
    with pytest.raises(ShardError, match="cannot stand on a list"):
        write_shards(tmp_path / "s", [scan], SPEC, made_from="t")


def test_two_scans_of_one_name_are_refused(tmp_path):
    with pytest.raises(ShardError, match="two scans are named sub-00_ses-1"):
        write_shards(tmp_path / "s", [*noise_scans(1), *noise_scans(1)], SPEC, made_from="t")


def test_series_of_another_normalization_are_refused(tmp_path):
    zscore = InputSpec(normalization="zscore")
    with pytest.raises(ShardError, match="expected series normalized by zscore"):
        write_shards(tmp_path / "s", noise_scans(1), zscore, made_from="t")


def test_a_changed_value_is_found_and_the_scan_named(damaged):
    change_values(damaged, lambda v: v.__setitem__((3, 7), 1.0))
    shards = Shards(damaged)
    with pytest.raises(ShardError, match=r"sub-00 ses-1 \(sub-00_ses-1 in shard-00000.npy\)"):
        shards.verify(shards.scans)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_in_some_frames_is_found_even_if_the_hash_fits(damaged, value):
    change_values(damaged, lambda v: v.__setitem__((3, 7), value), hide=True)
    shards = Shards(damaged)
    with pytest.raises(ShardError, match=r"sub-00 ses-1 .* holds NaN"):
        shards.verify(shards.scans)


def test_a_scan_that_is_all_nan_is_found(damaged):
    change_values(damaged, lambda v: v.__setitem__(slice(0, 120), np.nan), hide=True)
    shards = Shards(damaged)
    with pytest.raises(ShardError, match=r"sub-00 ses-1 .* holds NaN"):
        shards.verify(shards.scans)


def test_a_truncated_shard_is_found(damaged):
    path = damaged / "shard-00000.npy"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ShardError, match=r"shard-00000\.npy: the header announces \(600, 457\)"):
        Shards(damaged).verify(Shards(damaged).scans)


def test_a_changed_index_is_refused(damaged):
    with (damaged / "index.tsv").open("a") as index:
        index.write("\n")
    with pytest.raises(ShardError, match=r"index\.tsv: expected sha256"):
        Shards(damaged)


def test_shards_for_other_parcels_are_refused(damaged):
    description = json.loads((damaged / "shards.json").read_text())
    (damaged / "shards.json").write_text(json.dumps(description | {"parcels_sha256": "other"}))
    with pytest.raises(ShardError, match="label table"):
        Shards(damaged)


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(ShardError, match="not a folder of shards"):
        Shards(tmp_path)


@pytest.fixture
def series():
    values = np.random.default_rng(1).standard_normal((120, 457)).astype(np.float32)
    values[:, 450:] = np.nan
    return values


def test_participant_outputs_are_taken_as_the_encoder_saw_them(tmp_path, series):
    write_output(tmp_path, "sub-01", series, session="ses-a")
    write_output(tmp_path, "sub-02", series)
    scans = list(scans_of_outputs(tmp_path, SPEC))
    assert [(s.subject, s.session) for s in scans] == [("sub-01", "ses-a"), ("sub-02", "n/a")]
    np.testing.assert_allclose(scans[0].series.values, series, rtol=1e-7)
    assert scans[0].source == "sub-01/ses-a/func/sub-01_ses-a_task-rest_desc-model_timeseries.tsv"


def test_denoised_outputs_are_resampled_and_normalized_with_their_outliers(tmp_path, series):
    write_output(tmp_path, "sub-01", series, RepetitionTime=1.5)
    found = next(
        scans_of_outputs(tmp_path, InputSpec(normalization="zscore"), description="denoised")
    )
    kept = np.arange(120) != 4
    raw = ParcelSeries(values=series, tr_s=1.5, unit="residual", kept=kept)
    expected = normalize(resample(raw, tr_s=2.0), "zscore")
    np.testing.assert_allclose(found.series.values, expected.values, atol=1e-5)


def test_a_run_that_is_not_embedded_is_not_taken(tmp_path, series):
    stem = write_output(tmp_path, "sub-01", series)
    write_output(tmp_path, "sub-02", series)
    status = stem.with_name(f"{stem.name}_status.json")
    status.write_text(status.read_text().replace("embedded", "failed"))
    assert [scan.subject for scan in scans_of_outputs(tmp_path, SPEC)] == ["sub-02"]


def test_outputs_of_two_configurations_are_refused(tmp_path, series):
    write_output(tmp_path, "sub-01", series)
    write_output(tmp_path, "sub-02", series, configuration="def")
    with pytest.raises(OutputsError, match="2 different settings"):
        next(scans_of_outputs(tmp_path, SPEC))


def test_outputs_of_another_normalization_are_refused(tmp_path, series):
    write_output(tmp_path, "sub-01", series, Normalization="zscore")
    with pytest.raises(ShardError, match=r"normalization robust, found .*zscore"):
        next(scans_of_outputs(tmp_path, SPEC))


def test_a_folder_without_outputs_is_refused(tmp_path):
    with pytest.raises(OutputsError, match="no embedded run"):
        next(scans_of_outputs(tmp_path, SPEC))


def write_hdf5(path, **extra):
    h5py = pytest.importorskip("h5py", reason="the optional package h5py is not installed")
    rng = np.random.default_rng(2)
    parts = {"schaefer400": 400, "tian3": 50, "buckner7": 7}
    data = {name: rng.standard_normal((3, n, 150)) for name, n in parts.items()}
    for block in data.values():
        block[1, :, 130:] = np.nan
    data |= extra
    with h5py.File(path, "w") as store:
        for name, block in data.items():
            if block is not None:
                store[f"timeseries/{name}"] = block
        store["long_subject_id"] = [b"A", b"B", b"A"]
    return data


def test_the_published_hdf5_gives_sessions_by_subject_without_padding(tmp_path):
    data = write_hdf5(tmp_path / "d.h5")
    scans = list(scans_of_hdf5(tmp_path / "d.h5", InputSpec(normalization="zscore"), tr_s=2.0))
    assert [(s.subject, s.session) for s in scans] == [
        ("A", "ses-1"),
        ("B", "ses-1"),
        ("A", "ses-2"),
    ]
    assert [s.series.n_frames for s in scans] == [150, 130, 150]
    row = data["tian3"][0, 3]
    np.testing.assert_allclose(
        scans[0].series.values[:, 403], (row - row.mean()) / row.std(), atol=1e-5
    )


def test_series_are_stored_at_the_sampling_that_is_asked_for(tmp_path):
    write_hdf5(tmp_path / "d.h5")
    call = ["shards", "hdf5", str(tmp_path / "d.h5"), str(tmp_path / "s"), "--tr", "2.0"]
    answer = CliRunner().invoke(main, [*call, "--sampling", "0.735"])
    assert answer.exit_code == 0, answer.output
    shards = Shards(tmp_path / "s")
    assert shards.description.tr_s == 0.735
    assert shards.scans[0].n_frames == 1 + int(149 * 2 / 0.735)


def test_an_hdf5_without_cerebellum_has_missing_parcels(tmp_path):
    write_hdf5(tmp_path / "d.h5", buckner7=None)
    found = next(scans_of_hdf5(tmp_path / "d.h5", SPEC, tr_s=2.0))
    assert list(np.flatnonzero(found.series.missing)) == list(range(450, 457))


def test_an_hdf5_of_another_layout_is_refused(tmp_path):
    write_hdf5(tmp_path / "d.h5", tian3=np.zeros((3, 49, 150)))
    with pytest.raises(ShardError, match="expected 50 parcels, found 49"):
        next(scans_of_hdf5(tmp_path / "d.h5", SPEC, tr_s=2.0))
    write_hdf5(tmp_path / "more.h5", **{n: np.zeros((4, k, 150)) for n, k in PARTS.items()})
    with pytest.raises(ShardError, match=r"names 3 rows, timeseries/.* has 4"):
        next(scans_of_hdf5(tmp_path / "more.h5", SPEC, tr_s=2.0))
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ShardError, match="not the published HDF5 layout"):
        next(scans_of_hdf5(tmp_path / "text.h5", SPEC, tr_s=2.0))


def test_simulated_scans_mark_what_is_cut_as_missing():
    config = SimulationConfig(cut_probability=1.0)
    scans = list(
        scans_of_simulator(config, SPEC, n_subjects=3, n_sessions=2, population=2, seed=1)
    )
    assert [s.subject for s in scans[::2]] == ["sub-000001", "sub-000002", "sub-000003"]
    assert all(np.isnan(s.series.values[:, 450:]).all() for s in scans)
    assert len({s.source for s in scans}) == 2
