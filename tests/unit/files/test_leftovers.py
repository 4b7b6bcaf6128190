"""Temporary names: short, locked while in use, cleared once their process is gone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from model.files import write
from model.files.write import (
    ResultError,
    clear_leftovers,
    new_folder,
    replacing,
    scratch_file,
    scratch_folder,
    write_whole,
)

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from pathlib import Path
from model.files import write
folder = Path(sys.argv[1])
with write.replacing(folder / "x") as file, write.scratch_folder(folder) as scratch:
    file.write_bytes(b"half")
    (scratch / "inner").mkdir()
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def killed(tmp_path):
    """Leave what a killed process leaves; a call before it is killed finds it at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"holding\n"

    def kill() -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    yield kill
    kill()
    process.stdout.close()


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*.part"))


def test_what_a_process_uses_stays_and_what_it_left_goes(tmp_path, killed) -> None:
    before = parts(tmp_path)
    assert len(before) == 2
    clear_leftovers(tmp_path)
    assert parts(tmp_path) == before
    killed()
    assert parts(tmp_path) == before
    clear_leftovers(tmp_path)
    assert parts(tmp_path) == []


@pytest.mark.parametrize(
    "work",
    [
        lambda folder: write_whole({folder / "y": b"1"}),
        lambda folder: scratch_folder(folder).__enter__(),
        lambda folder: scratch_file(folder).__enter__(),
        lambda folder: new_folder(folder / "new").__enter__(),
    ],
    ids=["files", "scratch folder", "scratch file", "new folder"],
)
def test_whoever_writes_into_a_folder_clears_it(tmp_path, killed, work) -> None:
    killed()
    before = set(parts(tmp_path))
    work(tmp_path)
    assert not before & set(parts(tmp_path))


def test_a_folder_that_was_left_before_it_was_locked_goes(tmp_path, monkeypatch) -> None:
    folder = tmp_path / f".{write._kernel()}-0123456789ab.part"
    folder.mkdir()
    clear_leftovers(tmp_path)
    assert parts(tmp_path) == []
    # And one whose process was about to lock it makes another.
    make, made = os.open, []

    def late(path, *words, **more):
        if not made:
            made.append(path)
            clear_leftovers(tmp_path)
        return make(path, *words, **more)

    monkeypatch.setattr(os, "open", late)
    with scratch_folder(tmp_path) as scratch:
        assert (scratch / "lock").exists()
    assert parts(tmp_path) == []


def test_what_another_kernel_left_is_cleared_after_a_day(tmp_path, killed, monkeypatch) -> None:
    killed()
    monkeypatch.setattr(write, "_kernel", lambda: "0" * 8)
    clear_leftovers(tmp_path)
    old, new = parts(tmp_path)
    os.utime(tmp_path / old, ns=(1, 1))
    clear_leftovers(tmp_path)
    assert parts(tmp_path) == [new]


def test_what_cannot_be_locked_is_left(tmp_path, killed, monkeypatch) -> None:
    killed()
    before = parts(tmp_path)

    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(write.fcntl, "flock", no_locks)
    clear_leftovers(tmp_path)
    assert parts(tmp_path) == before
    write_whole({tmp_path / "y": b"1"})
    assert (tmp_path / "y").read_bytes() == b"1"


def test_names_of_others_are_left(tmp_path) -> None:
    names = [".x.part", "0123abcd-0123456789ab.part", f".{'0' * 8}-{'g' * 12}.part", ".part"]
    for name in names:
        (tmp_path / name).touch()
    link = tmp_path / f".{write._kernel()}-{'1' * 12}.part"
    link.symlink_to(tmp_path / "else")
    (tmp_path / "else").mkdir()
    clear_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {*names, "else"}


def test_a_name_as_long_as_names_can_be_is_written(tmp_path) -> None:
    path = tmp_path / ("x" * 255)
    with replacing(path) as temporary:
        temporary.write_bytes(b"1")
        assert re.fullmatch(r"\.[0-9a-f-]{21}\.part", temporary.name)
    with new_folder(tmp_path / ("y" * 255)) as folder:
        (folder / "z").touch()
    assert {one.name for one in tmp_path.iterdir()} == {"x" * 255, "y" * 255}


def test_one_that_is_cleared_before_it_is_locked_is_made_again(tmp_path, monkeypatch) -> None:
    lock, calls = write.fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if not calls:
            calls.append(handle)
            for path in tmp_path.glob(".*.part"):
                path.unlink()
        lock(handle, how)

    monkeypatch.setattr(write.fcntl, "flock", late)
    with replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
    assert calls


def test_a_temporary_file_may_lie_elsewhere(tmp_path) -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        replacing(tmp_path / "a" / "x", scratch=tmp_path / "b") as temporary,
    ):
        assert temporary.parent == tmp_path / "b"
        raise KeyboardInterrupt
    assert parts(tmp_path / "b") == []
    write_whole({tmp_path / "a" / "x": b"1"}, scratch=tmp_path / "b")
    assert (tmp_path / "a" / "x").read_bytes() == b"1"


def test_a_device_is_never_replaced_and_a_pipe_never_waited_for(tmp_path) -> None:
    device, pipe = tmp_path / "null", tmp_path / "pipe"
    os.mkfifo(pipe)
    assert write_whole({pipe: b""}) == [pipe]
    assert pipe.is_file()
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, Path("/dev/null").stat().st_rdev)
    except OSError:
        pytest.skip("no device may be made here")
    for content in (b"", b"text"):
        with pytest.raises(ResultError, match=r"null: .*found a device"):
            write_whole({device: content})
    assert stat.S_ISCHR(device.lstat().st_mode)
