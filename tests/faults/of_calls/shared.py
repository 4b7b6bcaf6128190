"""What is shared: no paths of the machine, nothing that runs, nothing fetched."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import builders
from damage import NOT_HERE, edit_json, put, remove, truncated
from faults import CallFault
from scenes import GROUP, LAST, PARTICIPANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scenes import Answer, Scene, Victim

_REPORTS = tuple(word for word in PARTICIPANT if word != "--no-reports")
_ALL_WELL, _ONE_FAILED = frozenset({0}), frozenset({1})


def shared_faults() -> Iterator[CallFault]:
    """Yield invocations after which the output folder could be given to anybody."""
    yield CallFault(
        name="paths/participant/nothing-broken",
        words=_REPORTS,
        codes=_ALL_WELL,
        check=_no_paths_in_what_is_shared,
    )
    breaks: dict[str, tuple[Callable[[Victim], object], str]] = {
        "image-broken": (lambda v: put(b"x")(v.bold), "bold.nii.gz.*cannot be read"),
        "mask-broken": (lambda v: put(b"x")(v.mask), "mask.nii.gz.*cannot be read"),
        "mask-elsewhere": (lambda v: NOT_HERE["annex-link"](v.mask), "datalad get .*mask.nii.gz"),
        "sidecar-broken": (lambda v: put("{")(v.sidecar), "bold.json.*JSON"),
        "confounds-broken": (lambda v: put("x")(v.confounds), "confounds_timeseries.tsv.*empty"),
        "confounds-missing": (lambda v: remove(v.confounds), "no desc-confounds_timeseries"),
        "image-blank": (lambda v: builders.blank_image(v), "the image is empty or damaged"),
        "image-cut": (lambda v: truncated(0.5)(v.bold), "bold.nii.gz: the file is truncated"),
        "sidecar-of-another-tr": (
            lambda v: edit_json(RepetitionTime=3.0)(v.sidecar), "right one with --tr",
        ),
    }  # fmt: skip
    for name, (damage, says) in breaks.items():
        yield CallFault(
            name=f"paths/participant/{name}",
            words=_REPORTS,
            prepare=lambda scene, d=damage: d(scene.victim()),
            codes=_ONE_FAILED,
            says=(says,),
            check=_no_paths_in_what_is_shared,
        )
    yield CallFault(
        name="paths/group",
        words=GROUP,
        embedded=True,
        codes=_ALL_WELL,
        check=_no_paths_in_what_is_shared,
    )
    yield CallFault(
        name="paths/group-damaged",
        words=GROUP,
        embedded=True,
        prepare=lambda scene: [put("x")(p) for p in scene.out.glob("sub-0good/*/*embedding.tsv")],
        codes=_ONE_FAILED,
        says=("sub-0good",),
        check=_no_paths_in_what_is_shared,
    )
    yield from _inert()
    yield from _offline()


def _no_paths_in_what_is_shared(scene: Scene, _: Answer) -> Iterator[str]:
    secrets = {str(place).encode() for place in (scene.here, scene.atlas, scene.checkpoint)}
    secrets |= {str(scene.here.resolve()).encode()}
    host = socket.gethostname().encode()
    secrets |= {host} if len(host) > 6 else set()  # shorter ones stand in any picture
    home = str(Path.home()).encode()
    secrets |= {home + b"/"} if len(home) > 1 else set()
    for path in scene.out.rglob("*"):
        if path.is_file() and "logs" not in path.relative_to(scene.out).parts:
            content = path.read_bytes()
            for secret in secrets:
                place = content.find(secret)
                if place >= 0:
                    around = content[max(0, place - 60) : place + 80].decode(errors="replace")
                    yield f"{path.relative_to(scene.out)} holds {secret.decode()}: …{around}…"
    if "logs" not in (scene.out / ".bidsignore").read_text().split():
        yield "logs is not in .bidsignore"


def _inert() -> Iterator[CallFault]:
    """Yield words that a browser or a spreadsheet would act on."""
    html = "<img src=x onerror=alert(1)>"
    places: dict[str, tuple[Callable[[Scene], object], tuple[str, ...]]] = {
        "generator": (
            lambda scene: edit_json(GeneratedBy=[{"Name": html, "Version": html}])(
                scene.bids / "dataset_description.json"
            ),
            (),
        ),
        "sidecar": (
            lambda scene: edit_json(TaskName=html, RepetitionTime=html)(scene.victim().sidecar),
            ("repetition", "--tr"),
        ),
        "column": (
            lambda scene: scene.victim().confounds.write_text(f"{html}\n1\n"),
            ("confounds_timeseries.tsv: 1 row",),
        ),
        "file-beside": (
            lambda scene: (
                scene.victim().func / "sub-0good_task-<img src=x onerror=alert(1)>_bold.nii.gz"
            ).write_text("x"),
            (),
        ),
    }
    for name, (damage, says) in places.items():
        yield CallFault(
            name=f"inert/html/{name}",
            words=_REPORTS,
            prepare=damage,
            codes=_ONE_FAILED if says else _ALL_WELL,
            says=says,
            check=_no_live_html,
        )
    yield CallFault(
        name="inert/html/status",
        words=(*_REPORTS, "--reports-only"),
        embedded=True,
        prepare=lambda scene: [
            edit_json(Reason=html, Source=html, SoftwareVersion=html)(path)
            for path in scene.out.glob("sub-*/func/*_status.json")
        ],
        codes=_ALL_WELL,
        check=_no_live_html,
    )
    for value, text in {
        "equals": "=1+1", "plus": "+1", "minus": "-1+1", "at": "@SUM(A1)", "tab": "\t=1",
        "return": "\r=1", "newline": "a\n=1",
    }.items():  # fmt: skip
        yield CallFault(
            name=f"inert/cell/{value}",
            words=GROUP,
            embedded=True,
            prepare=lambda scene, t=text: [
                edit_json(Reason=t, Source=t, Status="failed")(path)
                for path in scene.out.glob("sub-0good/func/*_status.json")
            ],
            codes=_ALL_WELL,
            check=_no_formula,
        )


def _no_live_html(scene: Scene, _: Answer) -> Iterator[str]:
    pages = list(scene.out.glob("*.html"))
    for page in pages:
        text = page.read_text()
        if "<img src=x" in text:
            yield f"{page.name} holds an element of a stranger"
        outside = re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//[^"'\s>]+""", text)
        loaded = [link for link in outside if link.startswith("src")]
        if loaded or re.search(r"<(?:script|link|iframe|object|embed)[^>]+(?:src|href)=", text):
            yield f"{page.name} loads something from elsewhere: {loaded[:2]}"
    if not pages:
        yield "no report"


def _no_formula(scene: Scene, _: Answer) -> Iterator[str]:
    for table in scene.out.glob("group_*.tsv"):
        for line in table.read_text().splitlines():
            for cell in line.split("\t"):
                if cell[:1] in ("=", "@", "+") or re.match(r"-[^0-9.]", cell):
                    yield f"{table.name} holds a formula: {cell!r}"
    rows = (scene.out / "group_status.tsv").read_text().splitlines()
    if len(rows) != 3:
        yield f"{len(rows) - 1} rows of two scans"


def _offline() -> Iterator[CallFault]:
    """Yield whole ways of the program in which any use of a network is an error."""
    for name, words, embedded in (
        ("participant", _REPORTS, False),
        ("group", GROUP, True),
        ("dry-run", (*PARTICIPANT, "--dry-run"), False),
        ("reports", (*_REPORTS, "--reports-only"), True),
    ):
        yield CallFault(
            name=f"offline/{name}",
            words=words,
            embedded=embedded,
            codes=_ALL_WELL,
            offline=True,
            check=_last_is_there,
        )


def _last_is_there(scene: Scene, answer: Answer) -> Iterator[str]:
    if "dry-run" not in answer.command and not (scene.out / f"sub-{LAST}").exists():
        yield "nothing was done"
