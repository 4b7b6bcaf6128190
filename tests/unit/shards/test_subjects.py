"""Lists of subjects: explicit, complete, disjoint, hashed; divisions repeat."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.shards.subjects import (
    LISTS,
    SubjectsError,
    first_subjects,
    read_lists,
    split_subjects,
    write_lists,
)

KNOWN = {"a", "b", "c", "d"}


def lists(folder, **content: str):
    paths = {name: folder / f"{name}.txt" for name in LISTS}
    for name, path in paths.items():
        text = ({"train": "a\nb\n", "validation": "c\n", "test": "d\n"} | content)[name]
        if text is not None:
            path.write_text(text)
    return paths


def test_lists_are_read_in_order_and_hashed(tmp_path):
    found = read_lists(lists(tmp_path, train="b\n\n a \n"), KNOWN)
    assert found["train"].subjects == ("b", "a")
    assert found["train"].sha256 == hashlib.sha256(b"b\n\n a \n").hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"validation": None}, "lists of subjects are missing: validation"),
        ({"test": "b\nd\n"}, r"train and test share b \(1\)"),
        ({"train": "a\nx\n"}, r"train names without data x \(1\)"),
        ({"test": "\n"}, "test is empty"),
        ({"train": "a\na\n"}, r"train names twice a \(1\)"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path, content, message):
    with pytest.raises(SubjectsError, match=message):
        read_lists(lists(tmp_path, **content), KNOWN)


def test_all_problems_are_told_at_once(tmp_path):
    with pytest.raises(SubjectsError, match=r"without data x .*; .*share c"):
        read_lists(lists(tmp_path, train="x\nc\n"), KNOWN)


@given(n=st.integers(3, 80), seed=st.integers(0, 5))
def test_a_division_is_complete_disjoint_and_repeats(n, seed):
    subjects = [f"s{i}" for i in range(n)]
    parts = split_subjects(subjects, validation=0.1, test=0.2, seed=seed)
    assert sorted(s for part in parts.values() for s in part) == sorted(subjects)
    assert parts == split_subjects(subjects[::-1], validation=0.1, test=0.2, seed=seed)
    assert all(parts.values())


def test_shares_that_leave_nobody_to_train_are_refused():
    with pytest.raises(SubjectsError, match="cannot be divided"):
        split_subjects(["a", "b", "c"], validation=0.5, test=0.5, seed=0)


def test_lists_that_exist_are_not_replaced(tmp_path):
    lists(tmp_path)
    with pytest.raises(SubjectsError, match="held out stays held out"):
        write_lists(tmp_path, {"train": ["x"]})
    assert (tmp_path / "train.txt").read_text() == "a\nb\n"


def test_blank_lines_line_ends_and_the_mark_of_an_editor_do_not_matter(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\n b \r\n")
    assert read_lists({"train": path}, ["a", "b"])["train"].subjects == ("a", "b")


def test_a_share_that_is_no_number_is_refused():
    with pytest.raises(SubjectsError, match="nan for validation"):
        split_subjects(["a", "b", "c"], validation=float("nan"), test=0.2, seed=0)


def test_more_subjects_hold_the_fewer_and_a_seed_chooses_others():
    everybody = [f"sub-{i:02d}" for i in range(20)]
    few, more = (first_subjects(everybody, n, seed=1) for n in (5, 12))
    assert set(few) < set(more) < set(everybody)
    assert list(more) == sorted(more)
    assert first_subjects(everybody, 5, seed=2) != few
    assert first_subjects(everybody, 20, seed=1) == tuple(everybody)
    with pytest.raises(SubjectsError, match="at least 21 subjects to choose from, found 20"):
        first_subjects(everybody, 21, seed=1)
