from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.errors import OptionsError, ScanError
from bids_app.series.columns import declared_orders, map_by_name
from bids_app.series.find import entities_of, find_series
from bids_app.series.foreign import read_series, series_keys
from bids_app.series.options import Order
from model.errors import SeriesError
from model.networks import parcel_names

if TYPE_CHECKING:
    from pathlib import Path

T = 30
NAMES = list(parcel_names())
CORTEX = NAMES[:400]


def numbers(n_columns: int, n_frames: int = T) -> np.ndarray:
    """Values that tell their column: column k holds k + 1, and some variation."""
    wave = np.random.default_rng(0).normal(size=(n_frames, n_columns))
    return np.arange(1, n_columns + 1) + 0.01 * wave


def write_table(path: Path, names: list[str], values: np.ndarray | None = None) -> Path:
    values = numbers(len(names)) if values is None else values
    pd.DataFrame(values, columns=names).to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def owners(values: np.ndarray) -> np.ndarray:
    """The 1-based input column each parcel came from; 0 where it is missing."""
    means = np.nan_to_num(values.mean(axis=0))
    return np.round(means).astype(int)


def test_the_command_offers_the_orders_that_can_be_read() -> None:
    assert set(get_args(Order)) == set(declared_orders())


def test_named_columns_find_their_parcels_whatever_their_order(tmp_path) -> None:
    shuffled = list(np.random.default_rng(1).permutation(NAMES))
    found = read_series(write_table(tmp_path / "a.tsv", shuffled), tr_s=2.0)
    assert found.mapping.evidence == "names"
    assert [shuffled[k - 1] for k in owners(found.series.values)] == NAMES


def test_the_prefix_of_the_seven_networks_may_be_absent(tmp_path) -> None:
    bare = [name.removeprefix("7Networks_") for name in CORTEX]
    found = read_series(write_table(tmp_path / "a.tsv", bare), tr_s=2.0)
    assert owners(found.series.values).tolist() == [*range(1, 401), *[0] * 57]
    assert found.series.missing.sum() == 57


def test_a_parcel_without_values_is_missing_and_one_with_gaps_is_refused(tmp_path) -> None:
    values = numbers(400)
    values[:, 7] = np.nan
    found = read_series(write_table(tmp_path / "a.tsv", CORTEX, values), tr_s=2.0)
    assert found.series.missing[7]
    assert found.mapping.provided[7]
    values[3, 9] = np.nan
    with pytest.raises(SeriesError, match=r"Vis_10"):
        read_series(write_table(tmp_path / "b.tsv", CORTEX, values), tr_s=2.0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*CORTEX, "LH_VisCent_ExStr_1"], "another Schaefer"),
        ([name.replace("7Networks", "17Networks") for name in CORTEX], "another Schaefer"),
        ([*CORTEX, "7Networks_LH_Vis_99"], "another Schaefer"),
        ([*CORTEX, "Hippocampus"], "no parcel of the model: Hippocampus"),
        ([*CORTEX, "LH_Vis_1"], "more than one column: 7Networks_LH_Vis_1"),
        (CORTEX[:300], "300 cortical parcels by name"),
        (["x", "y"], "2 columns are no parcel"),
        (["", *CORTEX], r"no parcel of the model: \(no name\)"),
    ],
)
def test_names_that_are_not_certain_are_refused_by_name(tmp_path, names, message) -> None:
    with pytest.raises(ScanError, match=message):
        read_series(write_table(tmp_path / "a.tsv", names), tr_s=2.0)


def test_other_columns_are_left_out_on_request_but_never_another_schaefer(tmp_path) -> None:
    names = ["Hippocampus", *CORTEX]
    table = pd.DataFrame(numbers(401), columns=names)
    table["Hippocampus"] = "some text"
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    found = read_series(tmp_path / "a.tsv", tr_s=2.0, ignore_others=True)
    assert found.mapping.ignored == ("Hippocampus",)
    assert owners(found.series.values)[:400].tolist() == list(range(2, 402))
    with pytest.raises(ScanError, match="another Schaefer"):
        map_by_name(["LH_VisCent_ExStr_1", *CORTEX], order=None, ignore_others=True, where="x")


def test_names_that_contradict_the_declared_order_are_refused(tmp_path) -> None:
    swapped = [CORTEX[1], CORTEX[0], *CORTEX[2:]]
    with pytest.raises(ScanError, match="contradict --order"):
        read_series(write_table(tmp_path / "a.tsv", swapped), tr_s=2.0, order="schaefer400x7")


@pytest.mark.parametrize(
    "header", [range(400), range(1, 401), None], ids=["from 0", "from 1", "no header"]
)
def test_unnamed_tables_need_a_declared_order(tmp_path, header) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame(numbers(400)).to_csv(
        path, index=False, header=False if header is None else [str(i) for i in header]
    )
    with pytest.raises(ScanError, match="without parcel names"):
        read_series(path, tr_s=2.0)
    found = read_series(path, tr_s=2.0, order="schaefer400x7")
    assert found.series.n_frames == T
    assert owners(found.series.values)[:400].tolist() == list(range(1, 401))


def test_a_declared_order_of_another_length_is_refused(tmp_path) -> None:
    path = write_table(tmp_path / "a.tsv", [str(i) for i in range(450)])
    with pytest.raises(ScanError, match="400 columns, found 450"):
        read_series(path, tr_s=2.0, order="schaefer400x7")


def test_subcortex_first_is_put_behind_the_cortex(tmp_path) -> None:
    np.save(tmp_path / "a.npy", numbers(450))
    found = read_series(tmp_path / "a.npy", tr_s=2.0, order="tian-first-450")
    came_from = owners(found.series.values)
    assert came_from[:400].tolist() == list(range(51, 451))
    assert came_from[400:450].tolist() == list(range(1, 51))


@given(
    order=st.sampled_from(sorted(declared_orders())),
    n_frames=st.integers(2, 60),
    turned=st.booleans(),
)
def test_arrays_read_the_same_either_way_round(tmp_path_factory, order, n_frames, turned) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    values = numbers(len(declared_orders()[order]), n_frames)
    np.save(path, values.T if turned else values)
    found = read_series(path, tr_s=2.0, order=order).series.values
    assert np.array_equal(found[:, declared_orders()[order]], values.astype(np.float32))


@pytest.mark.parametrize("shape", [(400, 400), (400, 450), (457, 400)])
def test_arrays_whose_axes_could_both_be_parcels_are_refused(tmp_path, shape) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ScanError, match="both axes"):
        read_series(tmp_path / "a.npy", tr_s=2.0, order="schaefer400x7")


def test_a_table_without_header_is_read_like_an_array(tmp_path) -> None:
    path = tmp_path / "a.csv"
    np.savetxt(path, numbers(400).T, delimiter=",")
    found = read_series(path, tr_s=2.0, order="schaefer400x7")
    assert owners(found.series.values)[:400].tolist() == list(range(1, 401))
    np.savetxt(path, np.ones((450, 400)), delimiter=",")
    with pytest.raises(ScanError, match="both axes"):
        read_series(path, tr_s=2.0, order="schaefer400x7")


def test_complex_numbers_and_words_are_no_series(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", words=np.full((30, 400), "x"), vector=np.zeros(400))
    for row in (0, 1):
        with pytest.raises(ScanError, match=r"a\.npz"):
            read_series(tmp_path / "a.npz", tr_s=2.0, row=row, order="schaefer400x7")
    np.save(tmp_path / "b.npy", np.zeros((30, 400), dtype=complex))
    with pytest.raises(ScanError, match="real numbers"):
        read_series(tmp_path / "b.npy", tr_s=2.0, order="schaefer400x7")


@pytest.mark.parametrize("shape", [(419, 234), (457, 234)])
def test_arrays_of_another_number_of_parcels_are_refused(tmp_path, shape) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ScanError, match="no axis has that length"):
        read_series(tmp_path / "a.npy", tr_s=2.0, order="schaefer400x7")


@pytest.mark.parametrize(
    ("sidecar", "asked", "expected"),
    [
        ({"RepetitionTime": 0.8}, None, (0.8, "sidecar")),
        ({"SamplingFrequency": 0.5}, None, (2.0, "sidecar")),
        ({"SamplingFrequency": "TR", "RepetitionTime": 0.8}, None, (0.8, "sidecar")),
        ({"RepetitionTime": 0.8}, 0.8, (0.8, "option")),
        (None, 1.5, (1.5, "option")),
    ],
)
def test_the_repetition_time_comes_from_the_user_or_the_sidecar(
    tmp_path, sidecar, asked, expected
) -> None:
    path = write_table(tmp_path / "a.tsv", CORTEX)
    if sidecar is not None:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    found = read_series(path, tr_s=asked)
    assert (found.series.tr_s, found.tr_source) == expected


@pytest.mark.parametrize(
    ("sidecar", "asked", "message"),
    [
        (None, None, "no repetition time"),
        ({"RepetitionTime": None}, None, "no repetition time"),
        ({"RepetitionTime": 0.8}, 2.0, "contradict"),
        ({"RepetitionTime": 0.8, "SamplingFrequency": 0.5}, None, "contradict"),
        (None, 2000.0, "found 2000"),
    ],
)
def test_an_unknown_or_contradictory_repetition_time_is_refused(
    tmp_path, sidecar, asked, message
) -> None:
    path = write_table(tmp_path / "a.tsv", CORTEX)
    if sidecar is not None:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    with pytest.raises(ScanError, match=message):
        read_series(path, tr_s=asked)


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.npy", "a.npz", "a.mat"])
@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"1\t2\n1\t2\t3\n"])
def test_a_damaged_file_is_one_error_with_its_name(tmp_path, name, content) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ScanError, match=name):
        read_series(path, tr_s=2.0, order="schaefer400x7")


def write_hdf5(path: Path, *, lengths: list[int], parts: dict[str, slice], **extra) -> Path:
    import h5py

    with h5py.File(path, "w") as store:
        for part, columns in parts.items():
            block = np.full((len(lengths), len(range(457)[columns]), max(lengths)), np.nan)
            for row, length in enumerate(lengths):
                block[row, :, :length] = numbers(457, length).T[columns]
            store[f"timeseries/{part}"] = block
        store["long_subject_id"] = [b"100307", b"100307", b"100408"][: len(lengths)]
        for key, value in extra.items():
            store[key] = value
    return path


ALL_PARTS = {"schaefer400": slice(400), "tian3": slice(400, 450), "buckner7": slice(450, 457)}


def test_the_published_layout_is_read_without_its_padding(tmp_path) -> None:
    path = write_hdf5(tmp_path / "a.h5", lengths=[30, 25, 40], parts=ALL_PARTS)
    found = read_series(path, tr_s=2.0, row=1)
    assert found.series.n_frames == 25
    assert owners(found.series.values).tolist() == list(range(1, 458))
    assert [scan.name for scan in find_series([path])] == [
        "sub-100307_ses-1",
        "sub-100307_ses-2",
        "sub-100408",
    ]


def test_a_part_that_the_hdf5_file_lacks_is_missing(tmp_path) -> None:
    parts = {"tian3": ALL_PARTS["tian3"], "schaefer400": ALL_PARTS["schaefer400"]}
    path = write_hdf5(tmp_path / "a.h5", lengths=[30], parts=parts)
    found = read_series(path, tr_s=2.0)
    assert owners(found.series.values).tolist() == [*range(1, 451), *[0] * 7]


def test_hdf5_faults_are_told(tmp_path) -> None:
    wrong = write_hdf5(tmp_path / "a.h5", lengths=[30], parts=ALL_PARTS, ts_len=[28])
    with pytest.raises(ScanError, match="ts_len says 28"):
        read_series(wrong, tr_s=2.0)
    other = write_hdf5(tmp_path / "b.h5", lengths=[30], parts={"schaefer400": slice(399)})
    with pytest.raises(ScanError, match="expected 400 parcels"):
        read_series(other, tr_s=2.0)
    (tmp_path / "c.h5").write_bytes(b"no")
    with pytest.raises(ScanError, match="not the published HDF5 layout"):
        series_keys(tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        (
            "sub-01_ses-1_task-rest_run-1_space-MNI152NLin6Asym_seg-4S456Parcels_stat-mean_"
            "desc-denoised_timeseries.tsv",
            "sub-01_ses-1_task-rest_run-1_space-MNI152NLin6Asym",
        ),
        ("sub-002_ses-1", "sub-002_ses-1"),
        ("sub-01.npy", "sub-01"),
        ("100307_REST1.npy", "sub-100307REST1"),
        ("100307", "sub-100307"),
        ("subject-7.csv", "sub-subject7"),
    ],
)
def test_names_keep_the_entities_of_the_run(name, stem) -> None:
    assert entities_of(name).stem() == stem


def test_two_series_of_one_name_are_refused_before_anything_is_read(tmp_path) -> None:
    paths = [tmp_path / "sub-1_atlas-A_timeseries.tsv", tmp_path / "sub-1_atlas-B_timeseries.tsv"]
    for path in paths:
        path.touch()
    with pytest.raises(OptionsError, match="would both be called sub-1"):
        find_series(paths)
    with pytest.raises(OptionsError, match="letters or digits"):
        entities_of("---")


@pytest.mark.parametrize(
    "arrays", [{}, {"-": numbers(400)}, {"a": numbers(400), "__": numbers(9)}]
)
def test_an_archive_without_usable_names_is_one_bad_scan(tmp_path, arrays) -> None:
    np.savez(tmp_path / "sub-7.npz", **arrays)
    write_table(tmp_path / "sub-8.tsv", CORTEX)
    bad, good = find_series([tmp_path / "sub-7.npz", tmp_path / "sub-8.tsv"])
    assert bad.name == "sub-7"
    assert "holds no series" in str(bad.problem) or "letters or digits" in str(bad.problem)
    assert good.problem is None


@pytest.mark.parametrize("given", ["NaN", "-1", '"soon"', "[1, 2]", "true", "Infinity"])
def test_a_repetition_time_that_is_none_is_told_with_what_stands_there(tmp_path, given) -> None:
    path = write_table(tmp_path / "sub-7.tsv", CORTEX)
    path.with_suffix(".json").write_text(f'{{"RepetitionTime": {given}}}')
    for tr_s in (None, 2.0):
        with pytest.raises(ScanError, match=r"sub-7\.json: RepetitionTime is "):
            read_series(path, tr_s=tr_s)


def test_numbers_beyond_float32_are_infinite_and_refused(tmp_path) -> None:
    values = numbers(400)
    values[3, 4] = 1e308
    with pytest.raises(SeriesError, match="Vis_5"):
        read_series(write_table(tmp_path / "a.tsv", CORTEX, values), tr_s=2.0)
    values[3, 4] = 5e-324
    assert (
        read_series(write_table(tmp_path / "b.tsv", CORTEX, values), tr_s=2.0).series.n_frames == T
    )


def test_text_in_a_column_of_ours_is_told(tmp_path) -> None:
    table = pd.DataFrame(numbers(400), columns=CORTEX).astype(object)
    table.iloc[3, 4] = "secret"
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    with pytest.raises(ScanError, match=r"a\.tsv: not readable as a table"):
        read_series(tmp_path / "a.tsv", tr_s=2.0)
