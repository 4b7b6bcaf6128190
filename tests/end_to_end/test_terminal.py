"""What is seen on a terminal, and what of it never gets into a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress

import builders
import pytest


@pytest.fixture
def command(tmp_path, atlas, checkpoint) -> list[str]:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    words = [sys.executable, "-m", "bids_app", data.root, tmp_path / "out", "participant"]
    words += ["--atlas", atlas, "--checkpoint", checkpoint, "--n-cpus", 1]
    return [str(word) for word in words]


def last_lines(command: list[str]) -> str:
    """What an invocation ends with on any stream: counts, flags, and where to look."""
    output_dir = command[command.index("participant") - 1]
    return (
        f"2 embedded (2 with flags: few_degrees_of_freedom 2)\nreports: {output_dir}/sub-*.html\n"
    )


def on_terminal(command: list[str]) -> str:
    """Run a command whose three streams are a terminal, and return all that it shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how the end of a terminal is told
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def test_on_a_terminal_a_bar_counts_scans_and_no_list_is_printed(command) -> None:
    shown = on_terminal(command)
    assert "\r0/2 |" in shown
    assert "\r2/2 |" in shown
    assert "left |" in shown
    assert "sub-01_" not in shown
    assert shown.replace("\r\n", "\n").endswith(last_lines(command))


def test_in_a_pipe_there_are_lines_and_no_control_characters(command) -> None:
    done = subprocess.run(command, capture_output=True, check=True)
    told = done.stderr.decode()
    assert all(letter.isprintable() or letter == "\n" for letter in told)
    for number, sub in enumerate(("01", "02"), start=1):
        (line,) = [line for line in told.splitlines() if f"sub-{sub}_" in line]
        assert f"[{number}/2" in line
    assert done.stdout.decode() == last_lines(command)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_quiet(command, terminal) -> None:
    if terminal:
        assert on_terminal([*command, "--quiet"]).replace("\r\n", "\n") == last_lines(command)
    else:
        assert not subprocess.run([*command, "--quiet"], capture_output=True, check=True).stderr
