from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from bids_app.errors import OutputError
from bids_app.files import json_bytes, replacing, table_bytes, write_all, write_bytes

if TYPE_CHECKING:
    from pathlib import Path


def test_files_of_a_set_appear_together(tmp_path: Path) -> None:
    paths = write_all({tmp_path / "a" / "x": b"1", tmp_path / "b" / "y": b"2"})
    assert [path.read_bytes() for path in paths] == [b"1", b"2"]


def test_when_one_file_cannot_be_written_none_appears_and_none_changes(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "blocker").write_bytes(b"a file, where a folder is needed")
    with pytest.raises(OutputError, match="cannot be written"):
        write_all({tmp_path / "old": b"new", tmp_path / "blocker" / "z": b"2"})
    assert (tmp_path / "old").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"old", "blocker"}


def test_the_same_bytes_are_not_written_again(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "x", b"1")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    write_bytes(path, b"1")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_an_interruption_leaves_no_temporary_file(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replacing(tmp_path / "x") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_json_never_holds_null_nor_nan() -> None:
    expected = b"""{\n  "b": {\n    "d": 1\n  }\n}\n"""
    assert json_bytes({"a": None, "b": {"c": None, "d": 1}}) == expected
    with pytest.raises(ValueError, match="JSON"):
        json_bytes({"a": float("nan")})


def test_tables_say_na_and_keep_float32_precision() -> None:
    values = np.float32([1 / 3, np.nan, 123456.79])
    text = table_bytes(pd.DataFrame({"a": values})).decode()
    assert text.splitlines()[2] == "n/a"
    back = np.float32([float(x) for x in text.splitlines()[1:4:2]])
    np.testing.assert_allclose(back, values[[0, 2]], rtol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_rows", [0, 1, 40])
def test_tables_of_numbers_are_the_bytes_that_pandas_writes(dtype: str, n_rows: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n_rows, 30)) * 10.0 ** rng.integers(-40, 30, (n_rows, 30))
    values[:, 3] = np.nan
    values[:1, 4:9] = [0.0, -0.0, np.inf, -np.inf, 1e15]
    with np.errstate(under="ignore"):
        table = pd.DataFrame(values.astype(dtype), columns=[f"nan {i}" for i in range(30)])
    expected = table.to_csv(
        sep="\t", index=False, na_rep="n/a", float_format="%.8g", lineterminator="\n"
    )
    assert table_bytes(table) == expected.encode()


def test_names_that_need_quotes_get_them_in_tables_of_numbers() -> None:
    table = pd.DataFrame({'a\tb"c': [1.5, np.nan]})
    assert table_bytes(table) == b'"a\\tb""c"\n1.5\nn/a\n'
