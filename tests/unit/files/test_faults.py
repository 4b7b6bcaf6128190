"""Foreign files: what is read, and that every fault is of one type with file, place and cause."""

from __future__ import annotations

import gzip
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bids_app.errors import OptionsError, ScanError
from bids_app.files import read_table
from model.files.faults import FileError, faults_as, reading
from model.files.read import read_json, read_text, read_toml
from model.files.tables import read_cells, read_columns
from model.files.write import (
    ResultError,
    file_sha256,
    json_bytes,
    new_folder,
    scratch_file,
    stamp,
    text_sha256,
    write_whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable


READERS = {
    "json": read_json,
    "text": read_text,
    "toml": read_toml,
    "cells": read_cells,
    "columns": lambda path: read_columns(path, text=()),
    "table": read_table,
    "stamp": stamp,
    "sha256": file_sha256,
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_an_absent_file_is_a_fault_that_names_it(tmp_path, reader: Callable[[Path], object]):
    path = tmp_path / "absent.tsv"
    with pytest.raises(FileError, match=r"absent\.tsv: ") as caught:
        reader(path)
    assert caught.value.path == path
    assert caught.value.message.endswith(").")


@pytest.mark.parametrize("name", ["json", "text", "toml", "cells", "columns", "table", "sha256"])
def test_a_folder_is_no_file(tmp_path, name):
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(FileError, match=r"folder\.tsv: "):
        READERS[name](tmp_path / "folder.tsv")


@pytest.mark.parametrize("name", ["json", "text", "toml", "cells"])
def test_bytes_that_are_no_text_are_a_fault(tmp_path, name):
    (tmp_path / "x.tsv").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(FileError, match="utf-8"):
        READERS[name](tmp_path / "x.tsv")


def test_the_mark_of_some_editors_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    path.write_bytes(b"\xef\xbb\xbfa\tb\n1\t2\n")
    assert read_cells(path).header == ["a", "b"]
    assert list(read_table(path).columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "place", "cause"),
    [
        ('{"a": 1,\n "b" 2}', "line 2, column 6", "Expecting ':' delimiter"),
        (" ", "line 1, column 2", "Expecting value"),
        ("", "", "the file is empty"),
        ("[1]", "", r"expected a JSON object {…}, found a list"),
        ("[" * 100_000, "", "not readable as JSON"),
        ("{}", "key n", "is not there"),
        ('{"n": true}', "key n", "expected a whole number, found True"),
        ('{"n": "1"}', "key n", "expected a whole number, found '1'"),
        ('{"n": NaN}', "key n", "expected a whole number, found nan"),
        ('{"a": 1, "a": 2}', "", "two values for key a"),
        ('{"a": "\\ud800"}', "key a", "half of a character"),
        ('{"\\udfff": 1}', "key \\udfff", "half of a character"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "key a", "nested more than 50 levels deep"),
        ('{"a": "\0"}', "line 1", "NUL"),
    ],
)
def test_json_faults_say_where_and_why(tmp_path, text, place, cause):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(FileError, match=cause) as caught:
        read_json(path, needs={"n": int})
    assert caught.value.place == place


def test_a_key_may_be_repeated_with_its_value(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"a": {"b": 1}, "a": {"b": 1}}')
    assert read_json(path) == {"a": {"b": 1}}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_due_is_finite(tmp_path, value):
    path = tmp_path / "x.json"
    path.write_text(f'{{"tr": {value}}}')
    with pytest.raises(FileError, match="key tr: expected a finite number"):
        read_json(path, needs={"tr": float})


def test_toml_holds_no_number_that_cannot_be_told(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("a = 0x" + "f" * 9000)
    with pytest.raises(FileError, match="a whole number that no float holds"):
        read_toml(path)


@pytest.mark.parametrize("rows", ["1\t2\t3\n4\t5\t6\n", "1\t2\n4\t5\t6\n"])
def test_rows_longer_than_the_header_never_shift_its_columns(tmp_path, rows):
    path = tmp_path / "x.tsv"
    path.write_text("a\tb\n" + rows)
    with pytest.raises(FileError, match="not readable as a table"):
        read_table(path)


def test_text_in_another_encoding_has_a_way_out(tmp_path) -> None:
    path = tmp_path / "x.tsv"
    for encoding in ("latin-1", "utf-16"):
        path.write_bytes("participant_id\tname\n01\tMüller\n".encode(encoding))
        with pytest.raises(FileError, match="Save it as text in UTF-8"):
            read_cells(path)


def test_bytes_that_end_a_cell_in_silence_are_refused(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"a\tb\n1\0009\t2\n")
    for read in (read_table, read_cells):
        with pytest.raises(FileError, match="line 2: holds NUL bytes"):
            read(path)


def test_a_cell_that_is_longer_than_any_is_told(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("a\tb\n" + "x" * 140_000 + "\t1\n")
    with pytest.raises(FileError, match=r"not a readable table \(field larger than field limit"):
        read_cells(path)


def test_lines_may_end_in_any_way(tmp_path):
    path = tmp_path / "x.tsv"
    for end in ("\n", "\r\n", "\r"):
        path.write_bytes(f"a\tb{end}1\t2{end}3\t4{end}".encode())
        assert read_cells(path).rows == [["1", "2"], ["3", "4"]]
        assert read_table(path).to_numpy().tolist() == [[1, 2], [3, 4]]


def test_a_whole_number_that_no_float_holds_is_a_fault_of_its_file(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{"RepetitionTime": 1' + "0" * 400 + "}")
    with pytest.raises(FileError, match=r"one\.json: .*whole number of 401 digits"):
        read_json(path)


def test_cells_of_short_rows_are_empty_and_long_rows_are_faults(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("a\tb\n\n1\n2\t3\n")
    assert read_cells(path).by_name() == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]
    path.write_text("a\tb\n\n1\t2\t3\n")
    with pytest.raises(FileError, match=r"x\.tsv: line 3: has more cells than the header\."):
        read_cells(path)
    path.write_text("")
    with pytest.raises(FileError, match="the table is empty"):
        read_cells(path)


TABLE_READERS = {
    "cells": read_cells,
    "columns": partial(read_columns, text=["b"]),
    "pandas": read_table,
    "pandas, text": partial(read_table, dtype=str, header=None),
}
JOINED = {
    "open": ('1\t"x\n2\ty\n3\tz\n', "the quotation mark before a cell is not closed"),
    "closed within": ('1\t"x\n2\ty\n3\t"z"\n', "the quotation mark before a cell is not closed"),
    "lines": ('1\t"x\n2\ty"\n3\tz\n', "join lines 4 to 5 to one row"),
    "lines of Windows": ('1\t"x\r\n2\ty"\r\n', "join lines 4 to 5 to one row"),
    "cells": ('"1\tx"\n2\ty\n', "join cells"),
}


@pytest.mark.parametrize("read", TABLE_READERS.values(), ids=TABLE_READERS)
@pytest.mark.parametrize(("rows", "words"), JOINED.values(), ids=JOINED)
def test_quotation_marks_never_join_what_stands_apart(tmp_path, read, rows, words):
    path = tmp_path / "x.tsv"
    path.write_bytes(f"\ufeffa\tb\n0\tw\n\n{rows}".encode())
    with pytest.raises(FileError, match=rf"x\.tsv: line 4: .*{words}"):
        read(path)


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_quotation_marks_around_a_cell_are_no_part_of_it(tmp_path, suffix):
    separator = "\t" if suffix == ".tsv" else ","
    rows = (
        ("a", '"b"'),
        (0, f'"two{separator}cells"'),
        (1, 'x"'),
        (2, 'say "no"'),
        (3, '"""n"""'),
    )
    path = tmp_path / f"x{suffix}"
    path.write_text("".join(f"{a}{separator}{b}\n" for a, b in rows))
    cells = [f"two{separator}cells", 'x"', 'say "no"', '"n"']
    assert [row["b"] for row in read_cells(path).by_name()] == cells
    assert read_columns(path, text=["b"])["b"].to_pylist() == cells
    assert read_table(path, separator=separator)["b"].tolist() == cells


def test_a_table_wider_than_any_that_is_meant_is_refused(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("\t".join(map(str, range(70_001))) + "\n")
    with pytest.raises(FileError, match="found 70001 columns, expected 65536 at most"):
        read_cells(path)


def test_damaged_compression_is_a_fault_of_the_table(tmp_path):
    path = tmp_path / "x.tsv.gz"
    content = gzip.compress(b"a\tb\n" + b"1\t2\n" * 5000)
    path.write_bytes(content)
    assert len(read_table(path)) == 5000
    path.write_bytes(content[:-20])
    with pytest.raises(FileError, match="not readable as a table"):
        read_table(path)


def test_a_fault_becomes_the_callers_error_in_the_callers_words(tmp_path):
    path = tmp_path / "sub-01_bold.json"
    path.write_text("{")
    with pytest.raises(ScanError) as short, faults_as(ScanError, where=path.name, hint="Mend it."):
        read_json(path)
    assert str(short.value).startswith("sub-01_bold.json: line 1, column 2: not readable as JSON")
    assert short.value.hint == "Mend it."
    with pytest.raises(OptionsError) as long, faults_as(OptionsError, what="not settings"):
        read_json(path)
    assert "json: not settings (line 1, column 2: not readable" in long.value.message
    assert str(path) in long.value.message
    assert isinstance(long.value.__cause__, FileError)


class _ReaderError(Exception):
    """What no list of exceptions holds."""


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (_ReaderError("odd"), r"one\.bin: cannot be read \(odd\)"),
        (_ReaderError(), "_ReaderError"),
        (MemoryError(), "more memory than there is"),
        (RecursionError("maximum depth"), "nested too deeply"),
        (ValueError("a\n  b " + "x" * 999), r"a b x{196} …\)\.$"),
        (StopIteration(), "StopIteration"),
    ],
)
def test_whatever_a_reader_raises_is_a_fault_of_its_file(tmp_path, raised, said):
    with pytest.raises(FileError, match=said), reading(tmp_path / "one.bin"):
        raise raised


def test_errors_of_ours_and_interrupts_pass_through(tmp_path):
    with pytest.raises(OptionsError), faults_as(ScanError), reading(tmp_path):
        raise OptionsError("of the caller's own")
    with pytest.raises(KeyboardInterrupt), reading(tmp_path):
        raise KeyboardInterrupt


def test_nobody_waits_for_a_pipe_or_reads_a_device(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="expected a file, found a named pipe"):
        read_json(pipe)
    with pytest.raises(FileError, match="found a device"):
        read_json(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"/annex/objects/MD5E-s3--0.json\n", "a pointer of git-annex"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
        (None, "a link that leads nowhere"),
    ],
)
def test_content_that_was_never_fetched_is_named(tmp_path, content, said):
    path = tmp_path / "x.tsv"
    if content is None:
        path.symlink_to("../.git/annex/objects/none")
    else:
        path.write_bytes(content)
    with pytest.raises(FileError, match=said) as fault:
        read_cells(path)
    fetches = "git lfs pull --include" if said.endswith("git-lfs") else "datalad get"
    assert f"{fetches} x.tsv" in fault.value.hint


def test_fingerprints_tell_files_apart(tmp_path):
    path = tmp_path / "x"
    path.write_text("abc")
    assert file_sha256(path) == text_sha256("abc")
    size, mtime_ns = str(stamp(path)).split(":")
    assert (int(size), int(mtime_ns)) == (3, path.stat().st_mtime_ns)


def test_names_that_are_no_utf8_can_be_told_in_json_and_read_back(tmp_path):
    name = os.fsdecode(b"sub-\xff")
    write_whole({tmp_path / "x.json": json_bytes({name: [f"{name} is odd"]})})
    assert read_json(tmp_path / "x.json") == {r"sub-\udcff": [r"sub-\udcff is odd"]}
    assert text_sha256(name) == text_sha256(r"sub-\udcff")


def test_what_cannot_be_written_is_a_fault_too(tmp_path):
    (tmp_path / "file").write_text("in the way")
    writers = (
        lambda: write_whole({tmp_path / "file" / "x": b""}),
        lambda: new_folder(tmp_path / "file" / "x").__enter__(),
        lambda: scratch_file(tmp_path / "file").__enter__(),
    )
    for write in writers:
        with pytest.raises(ResultError, match="cannot be written") as caught:
            write()
        assert isinstance(caught.value, FileError)


def test_a_new_folder_is_whole_or_not_there_and_replaces_only_when_told(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("1")
    with pytest.raises(ResultError), new_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("2")
    assert (tmp_path / "out" / "x").read_text() == "1"
    with new_folder(tmp_path / "out", replace=True) as folder:
        (folder / "y").write_text("2")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out", replace=True) as folder:
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "y"]


@pytest.mark.parametrize("read", TABLE_READERS.values(), ids=TABLE_READERS)
def test_an_empty_file_is_called_empty_in_no_readers_own_words(tmp_path, read):
    path = tmp_path / "x.tsv"
    path.write_bytes(b"")
    with pytest.raises(FileError, match=r"x\.tsv: the (file|table) is empty\.$"):
        read(path)
