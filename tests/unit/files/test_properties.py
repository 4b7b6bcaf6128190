"""What holds for every file, drawn at random: nothing is lost, and nothing cut or added passes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bids_app.files import read_table
from model.files.arrays import map_array, read_array
from model.files.faults import FileError
from model.files.read import read_json
from model.files.tables import read_cells
from model.files.write import json_bytes

few = settings(max_examples=50, deadline=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**290), 10**290) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
NUMBERS = arrays.arrays(
    dtype=st.sampled_from(["<f4", "<f8", ">f8", "<i2", ">i4", "|u1", "<f2"]),
    shape=arrays.array_shapes(min_dims=0, max_dims=3, max_side=5),
)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@few
@given(content=st.dictionaries(TEXT, VALUES, max_size=5))
def test_any_json_that_is_written_is_read_as_it_was(folder, content) -> None:
    path = folder / "a.json"
    path.write_bytes(json_bytes(content))
    assert read_json(path) == content


@few
@given(text=st.text(max_size=20))
def test_any_text_of_python_can_be_written_and_read(folder, text) -> None:
    path = folder / "b.json"
    path.write_bytes(json_bytes({"name": text}))
    assert read_json(path)["name"].encode() == text.encode(errors="backslashreplace")


@few
@given(values=NUMBERS, fortran=st.booleans())
def test_any_array_comes_back_whole(folder, values, fortran) -> None:
    values = np.asarray(values, order="F" if fortran else "C")
    path, packed = folder / "a.npy", folder / "a.npz"
    np.save(path, values)
    np.savez_compressed(packed, values)
    for found in (read_array(path), map_array(path), read_array(packed)):
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


@few
@given(values=NUMBERS, change=st.integers(-20, 20).filter(bool))
def test_no_byte_of_an_array_is_missing_or_too_many(folder, values, change) -> None:
    path = folder / "b.npy"
    np.save(path, values)
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    for read in (read_array, map_array):
        with pytest.raises(FileError):
            read(path)


@few
@given(
    rows=st.lists(
        st.lists(st.floats(allow_nan=False, width=32), min_size=3, max_size=3),
        min_size=1, max_size=6,
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.booleans(),
)  # fmt: skip
def test_both_readers_of_tables_see_the_same_numbers(folder, rows, end, mark) -> None:
    lines = ["a\tb\tc", *("\t".join(map(repr, row)) for row in rows)]
    path = folder / "a.tsv"
    path.write_bytes((end.join(lines) + end).encode("utf-8-sig" if mark else "utf-8"))
    cells, table = read_cells(path), read_table(path)
    assert cells.header == list(table.columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(table.to_numpy(float), np.array(cells.rows, float))
