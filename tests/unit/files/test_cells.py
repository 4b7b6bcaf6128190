"""Text in tables: no formula to a spreadsheet, one line each, and read back as it was."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from bids_app.files import table_bytes
from model.files.cells import cell_text, text_cell
from model.files.tables import read_cells, read_columns
from model.files.write import tsv_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMULAS = ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "'=1", "''+1", "\uff1d1+1", '=HYPERLINK("x")']
PLAIN = ["rest", "01", "it's", "'quoted'", 'say "no"', '"', "a=b", "1e-3", "Größe", "\\n"]
UNPRINTABLE = {
    "two\nlines": "two\\nlines",
    "a\tb": "a\\tb",
    "\t=1": "\\t=1",
    "\r=1": "\\r=1",
    "\x00\x1b[31m": "\\x00\\x1b[31m",
    "sub-\udc80": "sub-\\udc80",
    "a\u2028b\u202eb": "a\\u2028b\\u202eb",
}
WRITERS: dict[str, Callable[[list[str]], bytes]] = {
    "small": lambda texts: tsv_bytes(["label", "n"], [(text, -0.5) for text in texts]),
    "pandas": lambda texts: table_bytes(
        pd.DataFrame({"label": pd.Series(texts, dtype=object), "n": -0.5})
    ),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_text_is_safe_and_comes_back_as_it_was(write, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(write(FORMULAS + PLAIN))
    with path.open(newline="") as file:
        cells = [row[0] for row in csv.reader(file, delimiter="\t")][1:]
    assert not [cell for cell in cells if cell[0] in "=+-@\uff1d"]
    assert cells[len(FORMULAS) :] == PLAIN
    assert [row[0] for row in read_cells(path).rows] == FORMULAS + PLAIN
    assert read_columns(path, text=["label"])["label"].to_pylist() == FORMULAS + PLAIN


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_numbers_are_no_text_and_missing_values_stay(write, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(write(["rest", None]))
    assert path.read_bytes() == b"label\tn\nrest\t-0.5\nn/a\t-0.5\n"


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_cannot_be_printed_breaks_no_row(write, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(write(list(UNPRINTABLE)))
    assert path.read_text().splitlines()[1:] == [f"{cell}\t-0.5" for cell in UNPRINTABLE.values()]


def test_names_of_columns_are_text_too() -> None:
    assert tsv_bytes(["=a", "b\tc"], []) == b"'=a\tb\\tc\n"
    assert table_bytes(pd.DataFrame({"=a": [1.5]})) == b"'=a\n1.5\n"
    assert table_bytes(pd.DataFrame({"=a": ["x"]})) == b"'=a\nx\n"


def test_marking_twice_is_undone_twice() -> None:
    for text in FORMULAS:
        assert cell_text(cell_text(text_cell(text_cell(text)))) == text
