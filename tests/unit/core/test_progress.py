from __future__ import annotations

import logging
import sys
from io import StringIO

import pytest

from model.invocation import progress
from model.invocation.progress import Progress, counted, duration_text, listening, say_share


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> list[float]:
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def test_time_left_follows_the_size(clock) -> None:
    seen = Progress(n_items=4, n_done=1, size=80)
    assert seen.text() == "1/4"
    clock[0] = 30.0
    seen.tell("one", size=20, failed=False)
    assert seen.text() == "2/4"  # 30 s for the first: how much of it was starting is not known
    clock[0] = 34.0
    seen.at_work(10)
    assert seen.text() == "2/4, 20 s left"  # 50 left at 10 per 4 s
    seen.tell("two", size=50, failed=False)
    seen.tell("three", size=10, failed=True)
    assert seen.text() == "4/4"


def test_what_is_at_work_counts_and_never_falls_back(clock) -> None:
    seen = Progress(n_items=2, size=100)
    clock[0] = 60.0  # so long that starting is little of it
    seen.at_work(25)
    assert seen.text() == "0/2, 3 min left"
    seen.at_work(10)  # read a second time
    assert seen.text() == "0/2, 3 min left"
    seen.tell("one", size=50)
    assert seen.text() == "1/2, 60 s left"


def test_a_long_item_says_once_a_minute_that_it_is_at_work(clock, caplog) -> None:
    caplog.set_level(logging.INFO)
    with Progress(n_items=1, size=100) as seen:
        for second in range(0, 151, 10):
            clock[0] = float(second)
            seen.at_work(second / 2)
    lines = [record.message for record in caplog.records]
    assert lines == ["[0/1, 2 min left] at work", "[0/1, 60 s left] at work"]


def test_many_small_items_are_a_line_every_ten_seconds(clock, caplog) -> None:
    caplog.set_level(logging.INFO)
    done = []
    for item in counted(range(8), "encoding scans"):
        clock[0] += 6.0
        done.append(item)
    assert done == list(range(8))
    assert [record.message for record in caplog.records] == [
        "encoding scans: 8",
        "[2/8, 36 s left] encoding scans",
        "[4/8, 24 s left] encoding scans",
        "[6/8, 12 s left] encoding scans",
        "[8/8] encoding scans",
    ]


def test_shares_are_heard_only_by_who_listens() -> None:
    heard: list[float] = []
    say_share(0.1)
    with listening(heard.append):
        say_share(0.5)
    say_share(1.0)
    assert heard == [0.5]


def told(monkeypatch, caplog, stream: StringIO) -> list[str]:
    monkeypatch.setattr(sys, "stderr", stream)
    caplog.set_level(logging.INFO)
    with Progress(n_items=2, size=2) as seen:
        seen.tell("sub-01: embedded", size=1, failed=False)
        seen.tell("sub-02: failed", size=1, failed=True)
    return [record.message for record in caplog.records]


def test_without_a_terminal_each_item_is_a_line(monkeypatch, caplog) -> None:
    stream = StringIO()
    lines = told(monkeypatch, caplog, stream)
    assert lines == ["[1/2] sub-01: embedded", "[2/2] sub-02: failed"]
    assert not stream.getvalue()


def test_on_a_terminal_a_bar_moves_and_failures_are_lines(monkeypatch, caplog) -> None:
    stream = Terminal()
    lines = told(monkeypatch, caplog, stream)
    assert lines == ["[2/2] sub-02: failed"]
    assert "2/2" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (150, "2 min"), (12_000, "3 h 20 min"), (260_000, "3 d 0 h")],
)
def test_durations_have_two_units_at_most(seconds, text) -> None:
    assert duration_text(seconds) == text
