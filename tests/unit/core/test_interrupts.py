"""Ctrl-C and SIGTERM end a command with its code, wherever they meet it; the second at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import sys, time
import click
from model.invocation import interrupts
from model.cli.program import Command

@click.command(cls=Command)
def main():
    work()

def wait(seconds):
    print("waiting", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

"""
WAYS = {
    "between": """
def work():
    wait(30)
""",
    "lost": """
def work():
    try:
        wait(30)
    except BaseException:
        pass
""",
    "made into another": """
def work():
    try:
        wait(30)
    except BaseException as err:
        raise RuntimeError("a library's own words") from err
""",
    "shielded, then a safe point": """
def work():
    with interrupts.shielded():
        try:
            wait(2)
        except BaseException:
            print("raised", flush=True)
        interrupts.check()
    print("not reached", flush=True)
""",
    "shielded to the end": """
def work():
    with interrupts.shielded(), interrupts.shielded():
        wait(2)
        print("whole", flush=True)
    print("not reached", flush=True)
""",
}


@pytest.fixture
def start():
    begun = []

    def call(work: str, *, ignored: bool = False) -> subprocess.Popen:
        def listen() -> None:
            # A shell that runs the tests in the background has them ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)

        process = subprocess.Popen(
            [sys.executable, "-c", f"{BEGIN}{work}\nmain([])"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=listen,
        )
        begun.append(process)
        assert process.stdout.readline() == "waiting\n"
        return process

    yield call
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("way", WAYS)
def test_what_was_heard_is_never_lost(start, way, number, code) -> None:
    process = start(WAYS[way])
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "call again to go on" in errors
    assert out == ("whole\n" if way == "shielded to the end" else "")


SHIELDED = """
def work():
    with interrupts.shielded():
        wait(60)
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_ends_at_once(start, first) -> None:
    process = start(SHIELDED)
    process.send_signal(first)
    assert "Ctrl-C again" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130


def test_a_second_sigterm_changes_nothing(start) -> None:
    process = start(SHIELDED.replace("60", "2"))
    process.send_signal(signal.SIGTERM)
    assert "Ctrl-C again" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143


def test_an_interrupt_that_is_ignored_stays_ignored(start) -> None:
    process = start(SHIELDED.replace("60", "2"), ignored=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def test_an_error_while_nothing_was_heard_is_what_it_was(start) -> None:
    process = start("def work():\n    wait(0)\n    raise RuntimeError('of ours')\n")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RuntimeError: of ours" in errors
