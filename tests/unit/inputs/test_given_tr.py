"""Repetition times that the user gives for scans with certain labels."""

from types import SimpleNamespace

import pytest

from bids_app.errors import OptionsError, ScanError
from bids_app.inputs.entities import Entities
from bids_app.inputs.given_tr import given_tr, read_given_trs, without_scan


def scan(**labels):
    return SimpleNamespace(name="sub-1", entities=Entities(sub="1", **labels))


REST, FAST, RUN = scan(task="rest"), scan(task="rest", acq="fast"), scan(task="x", run="01")


@pytest.mark.parametrize(
    ("words", "times"),
    [
        ([], (None, None, None)),
        (["task-rest=2"], (2.0, 2.0, None)),
        (["task-rest=2", "acq-fast_task-rest=0.8"], (2.0, 0.8, None)),
        (["sub-1=3", "acq-fast_task-rest=.8", "run-1_task-x=1.5"], (3.0, 0.8, 1.5)),
        (["sub-1_run-001=1.5", "sub-2=3"], (None, None, 1.5)),
    ],
)
def test_the_one_with_most_labels_is_taken(words, times):
    given = read_given_trs(words)
    assert tuple(given_tr(given, one) for one in (REST, FAST, RUN)) == times


def test_two_that_are_equally_near_are_a_fault_of_the_scan_unless_they_agree():
    with pytest.raises(ScanError, match=r"--tr-for task-rest=2 and --tr-for acq-fast=0\.8"):
        given_tr(read_given_trs(["task-rest=2", "acq-fast=0.8"]), FAST)
    assert given_tr(read_given_trs(["task-rest=2", "acq-fast=2.0"]), FAST) == 2.0


@pytest.mark.parametrize(
    "word",
    [
        "", "2.0", "=2", "task-x=two", "task-x=2s", "task-x=2,0", "task-x=1_0", "task-x=nan",
        "task-x=1e999", "task-x=-2", "task-x=0.01", "task-x=900", "task-x=" + "9" * 400,
        "rest=2", "task-=2", "task-a.b=2", "Task-rest=2", "foo-rest=2", "task-rest=",
        "task-rest=2=3", "task-rest,acq-x=2", "task-rest 2",
    ],
)  # fmt: skip
def test_any_other_word_is_a_usage_error(word):
    with pytest.raises(OptionsError, match="--tr-for") as caught:
        read_given_trs([word])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("words", [["task-a=2", "task-a=2"], ["task-a_run-1=2", "run-1_task-a=2"]])
def test_the_same_scans_cannot_be_given_twice(words):
    with pytest.raises(OptionsError, match="twice"):
        read_given_trs(words)


def test_labels_that_no_scan_has_are_known():
    given = read_given_trs(["task-rest=2", "task-rset=3"])
    assert [str(one) for one in without_scan(given, [REST, FAST])] == ["task-rset=3"]
