"""How often an invocation opens an image: once where it is embedded, in whichever process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import builders
import grayordinate_builders as gray
import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Loaded by every Python process that is started with its folder on PYTHONPATH.
HOOK = """
import os, sys
log = os.open(os.environ["OPENS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, args):
    if event == "open" and str(args[0]).endswith(("_bold.nii.gz", "_bold.dtseries.nii")):
        os.write(log, (str(args[0]) + "\\n").encode())
sys.addaudithook(note)
"""


def opens(tmp_path: Path, *words: object) -> Counter[str]:
    """Run ``semantoks`` and count how often each image was opened."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    listed = tmp_path / "opens.txt"
    listed.write_text("")
    answer = subprocess.run(
        [sys.executable, "-m", "bids_app", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "OPENS": str(listed)},
    )
    assert answer.returncode == 0, answer.stderr
    return Counter(line.rpartition("/")[2] for line in listed.read_text().splitlines())


@pytest.mark.parametrize("n_processes", [1, 2])
def test_every_image_is_opened_once_and_not_at_all_where_it_is_done(
    tmp_path, atlas, checkpoint, n_processes
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    words = (data.root, tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint",
             checkpoint, "--n-cpus", n_processes)  # fmt: skip
    assert opens(tmp_path, *words) == {scan.bold.name: 1 for scan in data.scans}
    assert not opens(tmp_path, *words)
    assert opens(tmp_path, *words, "--low-pass", "0.09") == {s.bold.name: 1 for s in data.scans}


def test_where_two_images_of_the_atlas_fit_the_space_a_done_scan_is_opened_to_tell_which(
    tmp_path, checkpoint
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    atlas = builders.make_atlas(tmp_path / "atlas")
    (image,) = atlas.rglob("*_res-*_dseg.nii.gz")
    for path in (image, image.with_name(image.name.replace(".nii.gz", ".json"))):
        before, _, after = path.name.partition("_dseg")
        path.with_name(f"{before}0_dseg{after}").write_bytes(path.read_bytes())
    words = (data.root, tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint",
             checkpoint, "--n-cpus", 1)  # fmt: skip
    once = {data.scans[0].bold.name: 1}
    assert [opens(tmp_path, *words) for _ in range(2)] == [once, once]


def test_the_xml_of_grayordinates_is_read_once(tmp_path, checkpoint) -> None:
    data = builders.make_dataset(tmp_path / "in", n_volumes=100)
    axis = gray.make_axis()
    values = 1000 + data.scans[0].truth[:, gray.labels_on(axis) - 1]
    name = "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii"
    gray.write_series(data.scans[0].bold.with_name(name), values, axis, tr_s=2.0)
    atlas = gray.make_atlas(tmp_path / "atlas")
    words = (data.root, tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint",
             checkpoint, "--space", "fsLR", "--n-cpus", 1)  # fmt: skip
    assert opens(tmp_path, *words) == {name: 1}
    assert not opens(tmp_path, *words)
