"""What a file announces is compared with what it has, before memory is taken for it."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bids_app.files import read_table
from model.files.arrays import array_names, map_array, read_array, read_arrays
from model.files.faults import FileError
from model.files.read import read_json, read_text, read_toml
from model.files.tables import read_cells, read_columns
from model.shards.published_series import open_store, read_row, read_subjects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1 << 20


@contextmanager
def within(most_mb: int) -> Iterator[None]:
    """Fail where Python takes more memory than this at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_mb * MB
    finally:
        tracemalloc.stop()


def npy(shape: tuple[int, ...], descr: str = "<f8", body: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + body


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|b1"])
def test_arrays_come_back_as_they_were_written(tmp_path: Path, order, dtype) -> None:
    values = np.asarray(np.arange(12).reshape(3, 4) % 2, dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", first=values.T, second=values)
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy"), values)
    np.testing.assert_array_equal(map_array(tmp_path / "a.npy"), values)
    assert array_names(tmp_path / "a.npz") == ("first", "second")
    np.testing.assert_array_equal(read_array(tmp_path / "a.npz", number=1), values)
    assert [*read_arrays(tmp_path / "a.npz")] == ["first", "second"]
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz")["second"], values)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy((1 << 40, 457)), "the header announces"),
        (npy((-1, 457), body=bytes(457 * 8)), "the header announces"),
        (npy((0, 457)), "the header announces"),
        (npy((2, 2), body=bytes(31)), r"\(2, 2\) of float64 \(160 bytes in all\), found 159"),
        (npy((2, 2), body=bytes(33)), "found 161 bytes"),
        (npy((1,), "|O", pickled := b"cos\nsystem\n(S'touch bomb'\ntR."), "expected real numbers"),
        (npy((1,), "|V8", bytes(8)), "expected real numbers"),
        (pickled, "not a readable numpy file"),
        (b"\x93NUMPY\x03\x00", "version 1 or 2"),
        (b"", "the file is empty"),
    ],
)
def test_headers_of_arrays_are_not_believed(tmp_path: Path, content, said) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    for read in (read_array, map_array):
        with pytest.raises(FileError, match=said), within(8):
            read(path)


def test_a_bomb_in_an_archive_of_arrays_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as f,
    ):
        f.write(npy((300 * MB // 8, 1)))
        for _ in range(300):
            f.write(bytes(MB))
    with pytest.raises(FileError, match=r"array 'a\.npy' is announced with 315 MB"), within(8):
        read_array(path)
    content = path.read_bytes()
    lying = content.replace((300 * MB + 128).to_bytes(4, "little"), (4096).to_bytes(4, "little"))
    assert lying != content
    path.write_bytes(lying)
    with pytest.raises(FileError), within(8):
        read_array(path)


def test_compressed_text_is_unpacked_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tsv.gz"
    with gzip.open(path, "wb", 1) as file:
        for _ in range(70):
            file.write(b"1\t2\n" * (MB // 4))
    with pytest.raises(FileError, match=r"too large: found .* MB compressed"), within(200):
        read_table(path)


@pytest.mark.parametrize(
    ("read", "size"), [(read_json, 17), (read_toml, 1), (read_text, 65), (read_cells, 257)]
)
def test_files_beyond_a_limit_are_refused_with_their_size(tmp_path: Path, read, size) -> None:
    path = tmp_path / "large.tsv"
    with path.open("wb") as file:
        file.truncate(size * MB)
    with pytest.raises(FileError, match=rf"too large: found {size * MB / 1e6:.1f} MB"), within(8):
        read(path)


@pytest.mark.parametrize("read", [read_table, lambda p: read_columns(p, text=())])
def test_tables_wider_than_any_is_meant_to_be_are_refused(tmp_path: Path, read) -> None:
    path = tmp_path / "wide.tsv"
    path.write_bytes(b"\t" * 100_000)
    with pytest.raises(FileError, match="found 100001 columns"):
        read(path)


def test_a_parquet_that_repeats_one_number_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    table = pa.table({f"c{i}": pa.array(np.zeros(500_000, "f4")) for i in range(80)})
    parquet.write_table(table, path)
    with pytest.raises(FileError, match="a table of 500000 rows is announced with 160 MB"):
        read_columns(path, text=())


def series_file(path: Path, **changes: object) -> Path:
    with h5py.File(path, "w") as store:
        store["long_subject_id"] = [b"a", b"b"]
        store["timeseries/schaefer400"] = np.ones((2, 400, 30), "f4")
        for name, value in changes.items():
            place = {"ids": "long_subject_id", "part": "timeseries/schaefer400"}[name]
            del store[place]
            if isinstance(value, dict):
                store.create_dataset(place, **value)
            else:
                store[place] = value
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"part": h5py.ExternalLink("other.h5", "/x")}, "is a link, which is not followed"),
        ({"ids": h5py.ExternalLink("pipe", "/x")}, "is a link, which is not followed"),
        ({"part": h5py.SoftLink("/long_subject_id")}, "is a link, which is not followed"),
        (
            {
                "part": {
                    "shape": (2, 400, 30),
                    "dtype": "f4",
                    "external": [("/etc/passwd", 0, 1 << 20)],
                }
            },
            "another file",
        ),
        (
            {"part": {"shape": (2, 400, 1 << 40), "dtype": "f4", "chunks": (1, 1, 8)}},
            "stores none",
        ),
        ({"part": {"shape": (2, 400, 30), "dtype": "S4"}}, "expected numbers"),
        ({"part": {"data": np.ones((2, 400), "f4")}}, "3 axes"),
        ({"ids": {"data": [b"x" * 300, b"b"]}}, "200 at most"),
        ({"ids": {"data": [b"\xff", b"b"]}}, "utf-8"),
        ({"ids": {"data": ["x" * 300, "b"], "dtype": h5py.string_dtype()}}, "a text of 300 bytes"),
        (
            {"ids": {"data": ["x" * 300, "b"], "dtype": h5py.string_dtype(), "compression": 4}},
            "a text of 300 bytes",
        ),
        ({"ids": {"data": [b"a"]}}, "names 1 rows"),
    ],
)
def test_hdf5_is_taken_as_far_as_it_lies_in_the_file(tmp_path: Path, changes, said) -> None:
    path = series_file(tmp_path / "a.h5", **changes)
    with pytest.raises(FileError, match=said):
        first_row(path)


@pytest.mark.parametrize("how", [{}, {"chunks": (1,)}, {"chunks": (5,), "compression": 9}])
def test_names_of_any_length_are_read_however_they_are_stored(tmp_path: Path, how) -> None:
    ids = {"shape": (2,), "maxshape": (9,) if how else None, "dtype": h5py.string_dtype()} | how
    path = series_file(tmp_path / "a.h5", ids=ids)
    with h5py.File(path, "a") as store:
        store["long_subject_id"][:] = ["Größe", ""]
    with open_store(path) as store:
        assert read_subjects(store) == ["Größe", ""]


def test_letters_that_are_announced_and_not_there_take_no_memory(tmp_path: Path) -> None:
    path = series_file(tmp_path / "a.h5", ids={"data": ["abc", "b"], "dtype": h5py.string_dtype()})
    with h5py.File(path) as store:
        start = store["long_subject_id"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start : start + 4] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(FileError, match="a text of 2147483648 bytes, expected 200 at most"):
        first_row(path)


def test_a_heap_whose_objects_have_no_size_comes_to_an_end(tmp_path: Path) -> None:
    path = series_file(tmp_path / "a.h5", ids={"data": ["abc", "b"], "dtype": h5py.string_dtype()})
    content = path.read_bytes()
    heap = content.index(b"GCOL")
    size = heap + 16 + 8
    path.write_bytes(content[:size] + bytes(8) + content[size + 8 :])
    with pytest.raises(FileError, match="not the published HDF5 layout"):
        first_row(path)
    path.write_bytes(content[: heap + 8] + b"\xff" * 8 + content[heap + 16 :])
    with pytest.raises(FileError, match="no heap where one is announced"):
        first_row(path)


def first_row(path: Path) -> None:
    with open_store(path) as store:
        read_subjects(store)
        read_row(store, 0)


def test_a_row_of_hdf5_that_needs_too_much_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as store:
        store["long_subject_id"] = [b"a"]
        part = store.create_dataset(
            "timeseries/schaefer400", (1, 400, 1 << 30), "f4", chunks=(1, 400, 8)
        )
        part[0, :, :8] = 1
    with pytest.raises(FileError, match="is announced with"), open_store(path) as store, within(8):
        read_row(store, 0)


def test_other_links_of_a_file_are_never_looked_at(tmp_path: Path) -> None:
    path = series_file(tmp_path / "a.h5")
    with h5py.File(path, "a") as store:
        store["ts_len"] = h5py.ExternalLink("nowhere.h5", "/x")
    with pytest.raises(FileError, match="ts_len: is a link"), open_store(path) as store:
        read_row(store, 0)
