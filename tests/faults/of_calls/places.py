"""Output folders that lead elsewhere, belong to another, or are none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from damage import put
from faults import CallFault
from scenes import FIRST, PARTICIPANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scenes import Answer, Scene


def place_faults() -> Iterator[CallFault]:
    """Yield output folders that lead elsewhere, or belong to another."""
    links: dict[str, tuple[str, str]] = {
        "participant-into-input": (f"sub-{FIRST}", f"../in/sub-{FIRST}"),
        "func-into-input": (f"sub-{FIRST}/func", f"../../in/sub-{FIRST}/func"),
        "logs-into-input": ("logs", f"../in/sub-{FIRST}"),
        "participant-elsewhere": (f"sub-{FIRST}", "../elsewhere"),
        "logs-elsewhere": ("logs", "../elsewhere"),
    }
    for name, (link, target) in links.items():
        yield CallFault(
            name=f"place/{name}",
            words=PARTICIPANT,
            prepare=lambda scene, a=link, b=target: _linked(scene, a, b),
            codes=frozenset({73}),
            says=("outside the output folder",),
            check=_elsewhere_is_empty,
        )
    for name in ("dataset_description.json", "README.md", ".bidsignore", "sub-0good.html"):
        yield CallFault(
            name=f"place/file-link/{name}",
            words=tuple(word for word in PARTICIPANT if word != "--no-reports"),
            prepare=lambda scene, n=name: file_link(scene, n),
            codes=frozenset({0}),
            check=victim_is_whole,
        )
    others = {
        "of-another": put('{"Name": "mine", "GeneratedBy": [{"Name": "other"}]}'),
        "of-fmriprep": put('{"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]}'),
    }
    for name, damage in others.items():
        yield CallFault(
            name=f"place/dataset-{name}",
            words=PARTICIPANT,
            prepare=lambda scene, d=damage: (
                scene.out.mkdir(), d(scene.out / "dataset_description.json"),
            ),
            codes=frozenset({2}),
            says=("another dataset",),
            writes=False,
        )  # fmt: skip
    kinds: dict[str, tuple[Callable[[Path], object], int, str]] = {
        "a-file": (lambda path: path.write_text("x"), 2, "is a file"),
        "a-fifo": (os.mkfifo, 73, "expected a folder"),
        "a-link-nowhere": (lambda path: path.symlink_to("nowhere/at/all"), 73, "link"),
        "a-link-to-itself": (lambda path: path.symlink_to("out"), 73, "link"),
    }
    for name, (make, code, says) in kinds.items():
        yield CallFault(
            name=f"place/output-{name}",
            words=PARTICIPANT,
            prepare=lambda scene, m=make: m(scene.out),
            codes=frozenset({code}),
            says=(says,),
        )
    for name, inside in {
        "participant-a-file": f"sub-{FIRST}", "logs-a-file": "logs",
        "func-a-file": f"sub-{FIRST}/func",
    }.items():  # fmt: skip
        yield CallFault(
            name=f"place/{name}",
            words=PARTICIPANT,
            prepare=lambda scene, i=inside: _file_inside(scene, i),
            codes=frozenset({73}),
            says=("(sub-0good|logs).*cannot be written",),
        )


def _file_inside(scene: Scene, inside: str) -> None:
    path = scene.out / inside
    path.parent.mkdir(parents=True)
    path.write_text("mine")


def _linked(scene: Scene, link: str, target: str) -> None:
    (scene.here / "elsewhere").mkdir()
    path = scene.out / link
    path.parent.mkdir(parents=True)
    path.symlink_to(target, target_is_directory=True)


def _elsewhere_is_empty(scene: Scene, _: Answer) -> Iterator[str]:
    found = [path.name for path in (scene.here / "elsewhere").rglob("*")]
    if found:
        yield f"written through a link: {found[:3]}"


def file_link(scene: Scene, name: str) -> None:
    """Plant a link in the output folder that leads to a file outside it."""
    scene.out.mkdir(exist_ok=True)
    (scene.here / "victim.txt").write_text("semantoks mine")
    (scene.out / name).symlink_to("../victim.txt")


def victim_is_whole(scene: Scene, _: Answer) -> Iterator[str]:
    """Say whether that file was written to."""
    if (scene.here / "victim.txt").read_text() != "semantoks mine":
        yield "written through a link to a file"
