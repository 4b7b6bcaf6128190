"""Files of the dataset as a whole, when many jobs of a cluster begin at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bids_app.outputs.dataset import write_dataset_files

ROOT = Path(__file__).resolve().parents[3]
WRITE = """
import sys
from pathlib import Path
from bids_app.outputs.dataset import write_dataset_files
out, source = map(Path, sys.argv[1:])
for number in range(40):
    for path in write_dataset_files(out, derivative=source):
        if number % 4 == 0:
            path.unlink(missing_ok=True)  # so that there is something to write
"""


def test_many_processes_write_them_at_once_and_a_reader_never_sees_half_a_file(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    expected = {
        path.relative_to(tmp_path / "alone"): path.read_bytes()
        for path in write_dataset_files(tmp_path / "alone", derivative=source)
    }
    out = tmp_path / "out"
    command = [sys.executable, "-c", WRITE, str(out), str(source)]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(6)]
    n_reads = 0
    while any(writer.poll() is None for writer in writers):
        for name, content in expected.items():
            try:
                found = (out / name).read_bytes()
            except FileNotFoundError:
                continue
            assert found == content
            n_reads += 1
    assert [writer.returncode for writer in writers] == [0] * 6
    assert n_reads > 100
    write_dataset_files(out, derivative=source)
    assert json.loads((out / "dataset_description.json").read_text())
    assert {p.relative_to(out) for p in out.rglob("*") if p.is_file()} == set(expected)
