"""Runs in several processes: the same files, whatever happens to one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import builders
import jobs
import pytest
from outputs import contents

from bids_app import participant

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = ("01", "02", "03")


def test_one_process_and_three_write_the_same_bytes(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=SUBJECTS, runs=("1", "2"))
    builders.blank_image(data.scans[1])
    one = semantoks(data.root, tmp_path / "one")
    three = semantoks(data.root, tmp_path / "three", "participant", "--n-cpus", "3")
    assert one.exit_code == three.exit_code == 1
    assert one.stdout.replace("/one/", "/three/") == three.stdout
    first, second = contents(tmp_path / "one"), contents(tmp_path / "three")
    assert first == second
    assert {"sub-01.html", "sub-02.html", "sub-03.html"} <= set(first)


def test_a_killed_process_costs_its_scan_and_leaves_nothing_half_written(
    tmp_path, semantoks, monkeypatch
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=SUBJECTS)
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(participant, "run_scan", jobs.deadly)
        answer = semantoks(data.root, out, "participant", "--n-cpus", "2")
    assert answer.exit_code == 1
    failed, ends, reports = answer.stdout.splitlines()
    assert "sub-02_task-rest_space-MNI152NLin2009cAsym_desc-preproc  its process was" in failed
    assert ends.startswith("2 embedded (2 with flags: ")
    assert ends.endswith("), 1 failed")
    assert reports == f"reports: {out}/sub-*.html"
    assert "SIGKILL, as the system does when memory runs out" in answer.stdout
    assert not list(out.rglob("*.part"))
    assert (out / "sub-02.html").exists()
    answer = semantoks(data.root, out)
    assert answer.exit_code == 0
    assert answer.stdout.startswith("2 embedded earlier (2 with flags: ")
    assert "), 1 embedded (1 with flags: " in answer.stdout


def test_the_first_crash_stops_what_has_not_begun(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=tuple("abcdefgh"))
    builders.blank_image(data.scans[0])
    words = ("--stop-on-first-crash", "--n-cpus", "2")
    assert semantoks(data.root, tmp_path / "out", "participant", *words).exit_code == 1
    ended = [path.name[:5] for path in (tmp_path / "out").rglob("*_status.json")]
    assert "sub-a" in ended
    assert len(ended) < 8
    assert len(list((tmp_path / "out").glob("*.html"))) == len(ended)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_leaves_no_partial_file_and_no_process(
    tmp_path, atlas, checkpoint, number, code
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=tuple("abcdefgh"))
    out = tmp_path / "out"
    command = [
        sys.executable, str(ROOT / "entrypoint.py"), str(data.root), str(out), "participant",
        "--atlas", str(atlas), "--checkpoint", str(checkpoint), "--n-cpus", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: list(out.rglob("*_status.json")))
    os.killpg(process.pid, number)  # as a terminal and a scheduler do: to all of them
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors.decode()
    assert b"Traceback" not in errors
    assert not list(out.rglob("*.part"))
    wait_until(lambda: not in_session(process.pid))


def test_when_all_is_done_torch_is_not_loaded(tmp_path, semantoks, atlas, checkpoint) -> None:
    data = builders.make_dataset(tmp_path / "in")
    semantoks(data.root, tmp_path / "out")
    words = [data.root, tmp_path / "out", "participant", "--atlas", atlas]
    words += ["--checkpoint", checkpoint]
    code = (
        "import sys\nfrom bids_app.cli.app import main\n"
        f"try:\n    main({[str(word) for word in words]})\n"
        "except SystemExit as stop:\n    print(stop.code, 'torch' in sys.modules)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "1 embedded" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "0 False"


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_session(leader: int) -> list[str]:
    """Return the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(path.parent.name)
    return found
