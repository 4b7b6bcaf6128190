"""Names and neighbours of a scan's files: long, odd, doubled, misplaced, linked."""

from __future__ import annotations

import gzip
import os
import shutil
from typing import TYPE_CHECKING

from builders import SPACE
from damage import fifo, folder, link_nowhere, link_to_itself, unix_socket
from faults import Promise, ScanFault, anyhow, harmless, named, sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scenes import Victim

_ANY_END = Promise(statuses=frozenset({"embedded", "excluded", "failed", "left out"}))
_TOLD = Promise(statuses=frozenset({"embedded", "failed", "left out"}), says=("sub-f",))
_STRANGERS = {
    "not-utf-8": b"stray-\xff\xfe.txt",
    "not-utf-8-bold": b"sub-\xff_task-rest_bold.nii.gz",
    "newline": b"new\nline.json",
    "tab": b"a\tb.tsv",
    "html": b"<script>alert(1)<.json",
    "formula": b"=cmd|' !A0.tsv",
    "dash": b"-rf",
    "blanks": b"   ",
    "long": b"n" * 255,
    "emoji": "\U0001f9e0.nii.gz".encode(),
    "apple": b"._sub-01_task-rest_bold.nii.gz",
    "ds-store": b".DS_Store",
    "thumbs": b"Thumbs.db",
    "copy": b"sub-01_task-rest_bold (1).nii.gz",
    "part": b"sub-01_task-rest_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz.part",
    "backup": b"sub-01_task-rest_bold.nii.gz~",
    "of-another": f"sub-other_task-rest_space-{SPACE}_desc-preproc_bold.nii.gz".encode(),
    "dataset_description": b"dataset_description.json",
    "brackets": b"sub-[01]_task-rest_bold.json",
    "percent": b"%s%n.json",
    "braces": b"{0.__class__}.json",
}
"""Files beside those of a scan, which concern nobody"""
_LABELS = {
    **{f"task-of-{n}": "t" * n for n in (40, 80, 100, 120, 140, 160, 185)},
    "plus": "+1+1",
    "dot": "re.st",
    "hyphen": "re-st",
    "umlaut": "rüst",
    "blank": "re st",
    "digits": "007",
    "upper": "REST",
}


def name_faults() -> Iterator[ScanFault]:
    """Yield what can be odd about names and neighbours."""
    for value, name in _STRANGERS.items():
        yield ScanFault(
            name=f"stranger/in-func/{value}", damage=_stranger(name, "func"), promise=harmless()
        )
        yield ScanFault(
            name=f"stranger/in-participant/{value}",
            damage=_stranger(name, "."),
            promise=harmless(),
        )
    for value, make in {
        "folder": folder, "fifo": fifo, "socket": unix_socket, "link-nowhere": link_nowhere,
        "link-to-itself": link_to_itself,
    }.items():  # fmt: skip
        yield ScanFault(
            name=f"stranger/of-kind/{value}",
            damage=lambda victim, make=make: make(victim.file("events.tsv")),
            promise=harmless(),
        )
    for value, label in _LABELS.items():
        legal = label.replace("+", "").isascii() and label.replace("+", "").isalnum()
        yield ScanFault(
            name=f"label/task/{value}",
            damage=lambda victim, label=label: _rename(victim, "task-rest", f"task-{label}"),
            promise=_TOLD if legal else _ANY_END,
        )
    yield from _doubled()
    yield from _moved()


def _doubled() -> Iterator[ScanFault]:
    """Yield files of which there is more, or less, than one."""
    cases: dict[str, tuple[Callable[[Victim], object], Promise]] = {
        "bold-nii-and-gz": (lambda v: _unzipped(v, "bold"), harmless()),
        "mask-nii-and-gz": (lambda v: _unzipped(v, "mask"), harmless()),
        "both-nii-and-gz": (
            lambda v: (_unzipped(v, "bold"), _unzipped(v, "mask")), harmless(),
        ),
        "bold-nii-a-dangling-link": (
            lambda v: link_nowhere(v.bold.with_suffix("")), harmless(),
        ),
        "bold-gz-a-dangling-link": (
            lambda v: (_unzipped(v, "bold"), link_nowhere(v.bold)), harmless(),
        ),
        "mask-nii-a-dangling-link": (
            lambda v: link_nowhere(v.mask.with_suffix("")), harmless(),
        ),
        "bold-nii-of-other-content": (
            lambda v: v.bold.with_suffix("").write_bytes(b"other"), sound("bold"),
        ),
        "confounds-also-gz": (
            lambda v: v.confounds.with_suffix(".tsv.gz").write_bytes(
                gzip.compress(v.confounds.read_bytes())
            ),
            sound("confounds"),
        ),
        "confounds-also-regressors": (
            lambda v: shutil.copy(v.confounds, v.file("desc-confounds_regressors.tsv")),
            sound("confounds"),
        ),
        "mask-also-label-brain": (
            lambda v: shutil.copy(v.mask, v.file(f"space-{SPACE}_label-brain_mask.nii.gz")),
            sound("mask"),
        ),
        "without-mask": (lambda v: v.mask.unlink(), anyhow()),
        "without-confounds": (lambda v: v.confounds.unlink(), named("confounds")),
        "without-components": (lambda v: v.confounds_metadata.unlink(), anyhow()),
        "without-bold": (lambda v: v.bold.unlink(), _ANY_END),
        "part-mag": (lambda v: _rename(v, "_space", "_part-mag_space"), anyhow()),
        "part-phase": (lambda v: _rename(v, "_space", "_part-phase_space"), _ANY_END),
        "echo": (lambda v: _rename(v, "_space", "_echo-1_space"), _ANY_END),
        "res-2": (lambda v: _rename(v, f"space-{SPACE}", f"space-{SPACE}_res-2"), anyhow()),
        "res-native": (
            lambda v: _rename(v, f"space-{SPACE}", f"space-{SPACE}_res-native"), anyhow(),
        ),
        "cohort": (
            lambda v: _rename(v, f"space-{SPACE}", f"space-{SPACE}_cohort-1"), _ANY_END,
        ),
        "order-of-entities": (
            lambda v: _rename(v, f"task-rest_space-{SPACE}", f"space-{SPACE}_task-rest"), _ANY_END,
        ),
        "entity-twice": (lambda v: _rename(v, "task-rest", "task-rest_task-rest"), _ANY_END),
        "entity-unknown": (lambda v: _rename(v, "task-rest", "task-rest_foo-bar"), _ANY_END),
        "entity-empty": (lambda v: _rename(v, "task-rest", "task-"), _ANY_END),
        "without-task": (lambda v: _rename(v, "_task-rest", ""), _ANY_END),
        "upper-ending": (
            lambda v: v.bold.rename(v.bold.with_name(v.bold.name.replace(".nii.gz", ".NII.GZ"))),
            _ANY_END,
        ),
        "another-participant": (lambda v: _rename(v, f"sub-{v.sub}", "sub-other"), _ANY_END),
        "two-runs-of-one": (
            lambda v: [
                shutil.copy(p, p.with_name(p.name.replace("task-rest", "task-rest_run-1")))
                for p in list(v.func.iterdir())
            ],
            _ANY_END,
        ),
    }  # fmt: skip
    for value, (damage, promise) in cases.items():
        yield ScanFault(name=f"files/{value}", damage=damage, promise=promise)


def _moved() -> Iterator[ScanFault]:
    """Yield folders that are not where, or what, they should be."""
    cases: dict[str, tuple[Callable[[Victim], object], Promise]] = {
        "func-a-link": (_func_linked, harmless()),
        "participant-a-link": (_participant_linked, harmless()),
        "func-a-link-to-itself": (
            lambda v: (shutil.rmtree(v.func), v.func.symlink_to("func")), _ANY_END,
        ),
        "func-a-file": (lambda v: (shutil.rmtree(v.func), v.func.write_text("x")), _ANY_END),
        "func-empty": (lambda v: [p.unlink() for p in v.func.iterdir()], _ANY_END),
        "func-upper": (lambda v: v.func.rename(v.func.with_name("Func")), _ANY_END),
        "in-anat": (lambda v: v.func.rename(v.func.with_name("anat")), _ANY_END),
        "in-a-session": (
            lambda v: (v.func.parent / "ses-1").mkdir()
            or v.func.rename(v.func.parent / "ses-1/func"),
            _ANY_END,
        ),
        "func-below-itself": (
            lambda v: (v.func / "func").symlink_to("..", target_is_directory=True), harmless(),
        ),
        "session-of-dots": (lambda v: (v.func.parent / "ses-1.2" / "func").mkdir(parents=True),
                            harmless()),
    }  # fmt: skip
    for value, (damage, promise) in cases.items():
        yield ScanFault(name=f"folder/{value}", damage=damage, promise=promise)


def _stranger(name: bytes, where: str) -> Callable[[Victim], object]:
    def plant(victim: Victim) -> None:
        place = os.fsencode(victim.func if where == "func" else victim.func.parent)
        with open(place + b"/" + name, "wb") as file:  # noqa: PTH123 a name that is no text
            file.write(b"{")

    return plant


def _rename(victim: Victim, old: str, new: str) -> None:
    for path in list(victim.func.iterdir()):
        path.rename(path.with_name(path.name.replace(old, new)))


def _unzipped(victim: Victim, kind: str) -> None:
    path = victim.bold if kind == "bold" else victim.mask
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))


def _func_linked(victim: Victim) -> None:
    elsewhere = victim.root.parent / f"store-{victim.sub}"
    victim.func.rename(elsewhere)
    victim.func.symlink_to(elsewhere)


def _participant_linked(victim: Victim) -> None:
    elsewhere = victim.root.parent / f"store-{victim.sub}"
    victim.func.parent.rename(elsewhere)
    (victim.root / f"sub-{victim.sub}").symlink_to(elsewhere)
