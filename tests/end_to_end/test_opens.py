"""How often an invocation opens, lists, makes and renames: what a shared file system feels."""

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
log = os.open(os.environ["EVENTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, args):
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove"):
        os.write(log, f"{event}\\t{args[0]}\\n".encode())
sys.addaudithook(note)
"""


def events(tmp_path: Path, *words: object) -> Counter[tuple[str, str]]:
    """Run ``semantoks`` and count what it did with each file and folder below `tmp_path`."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    listed = tmp_path / "events.txt"
    listed.write_text("")
    answer = subprocess.run(
        [sys.executable, "-m", "bids_app", *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "EVENTS": str(listed)},
    )
    assert answer.returncode == 0, answer.stderr
    lines = (line.split("\t") for line in listed.read_text().splitlines())
    inside = f"{tmp_path}/"
    return Counter(
        ("list" if event in ("os.listdir", "os.scandir") else event.removeprefix("os."),
         path.removeprefix(inside))
        for event, path in lines if path.startswith(inside)
    )  # fmt: skip


def opens(tmp_path: Path, *words: object) -> Counter[str]:
    """Count how often each image was opened."""
    images = ("_bold.nii.gz", "_bold.dtseries.nii")
    return Counter({
        path.rpartition("/")[2]: n
        for (event, path), n in events(tmp_path, *words).items()
        if event == "open" and path.endswith(images)
    })  # fmt: skip


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


def test_no_file_is_opened_and_no_folder_listed_more_often_than_it_must(
    tmp_path, atlas, checkpoint
) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    words = (data.root, tmp_path / "out", "participant", "--atlas", atlas, "--checkpoint",
             checkpoint, "--n-cpus", 1)  # fmt: skip

    def of_second(found: Counter[tuple[str, str]], event: str, top: str) -> Counter[str]:
        """Of the second participant: to judge the folder as a whole the first is looked at."""
        inside = f"{top}/sub-02"
        return Counter({
            path.removeprefix(inside): n
            for (what, path), n in found.items()
            if what == event and path.startswith(inside)
        })  # fmt: skip

    first = events(tmp_path, *words, "--no-reports")
    # Once for the space of the study, once for its scans.
    assert of_second(first, "list", "in") == {"": 2, "/func": 2}
    written = {path.name for path in (tmp_path / "out" / "sub-02" / "func").iterdir()}
    assert sum(of_second(first, "rename", "out").values()) == len(written)
    # The folder that lies above is missing too.
    assert sum(of_second(first, "mkdir", "out").values()) == 3
    # One for its lock, one to write.
    assert set(of_second(first, "open", "out").values()) == {2}
    assert sum(of_second(first, "open", "out").values()) == 2 * len(written)

    reports = events(tmp_path, *words, "--reports-only")
    assert of_second(reports, "list", "in") == {"": 1, "/func": 1}
    read = of_second(reports, "open", "out")
    # To compare it with its hash; to see that it is no pointer; an array's kind; to read it.
    assert max(n for path, n in read.items() if path.removeprefix("/func/") in written) == 4
    assert sum(of_second(reports, "mkdir", "out").values()) == 1

    again = events(tmp_path, *words)
    assert not of_second(again, "open", "in").keys() & {f"/func/{s.bold.name}" for s in data.scans}
    read = of_second(again, "open", "out")
    assert {n for path, n in read.items() if not path.endswith(("_status.json", ".html"))} == {1}
    assert not of_second(again, "mkdir", "out")
    assert not of_second(again, "rename", "out")

    group = events(tmp_path, data.root, tmp_path / "out", "group")
    endings = ("_status.json", "_desc-scan_embedding.tsv", "_desc-scan_embedding.json")
    read = of_second(group, "open", "out")
    assert all(path.endswith((*endings, ".html")) for path in read)
    assert max(read.values()) <= 2
    assert not of_second(group, "open", "in")
