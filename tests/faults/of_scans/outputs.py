"""What was written, damaged afterwards: the next invocation makes it whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from damage import (
    edit,
    edit_json,
    fifo,
    folder,
    link_nowhere,
    link_to_itself,
    put,
    remove,
    truncated,
    unix_socket,
)
from faults import OutputFault
from scenes import FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from damage import Damage
    from scenes import Victim

ENDINGS = (
    "desc-denoised_timeseries.tsv", "desc-denoised_timeseries.json", "desc-model_timeseries.tsv",
    "desc-model_timeseries.json", "coverage.tsv", "coverage.json", "desc-scan_embedding.tsv",
    "desc-scan_embedding.json", "desc-windows_embedding.tsv", "desc-windows_embedding.json",
    "desc-tokens_embedding.npy", "desc-tokens_embedding.json", "outliers.tsv", "outliers.json",
    "status.json",
)  # fmt: skip
_DAMAGES: dict[str, Damage] = {
    "missing": remove,
    "emptied": put(b""),
    "truncated": truncated(0.6),
    "last-byte-cut": edit(lambda raw: raw[:-1]),
    "a-byte-more": edit(lambda raw: raw + b"\n"),
    "a-digit-edited": edit(lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]),
    "zeroed": edit(lambda raw: bytes(len(raw))),
    "replaced-by-text": put("hello"),
    "link-nowhere": link_nowhere,
    "link-to-itself": link_to_itself,
    "fifo": fifo,
    "socket": unix_socket,
}
_ALONE = ("fifo",)
_STATUSES: dict[str, dict[str, object] | bytes] = {
    "status-banana": {"Status": "banana"},
    "status-failed": {"Status": "failed", "Reason": "by hand"},
    "status-a-number": {"Status": 1},
    "outputs-a-number": {"Outputs": 7},
    "outputs-a-list": {"Outputs": ["a"]},
    "outputs-none": {"Outputs": {}},
    "outputs-elsewhere": {"Outputs": {"../../../in/dataset_description.json": {"Size": 1}}},
    "outputs-huge": {"Outputs": {"x.tsv": {"Size": 10**400, "SHA256": "0"}}},
    "inputs-a-list": {"Inputs": []},
    "inputs-a-text": {"Inputs": "x"},
    "inputs-none": {"Inputs": {}},
    "inputs-null": {"Inputs": None},
    "configuration-other": {"ConfigurationHash": "0" * 16 + "-00000000"},
    "configuration-a-number": {"ConfigurationHash": 5},
    "configuration-null": {"ConfigurationHash": None},
    "entities-a-list": {"Entities": []},
    "entities-of-another": {"Entities": {"sub": "other"}},
    "source-a-list": {"Source": []},
    "qc-a-list": {"QC": []},
    "empty-object": b"{}",
    "list": b"[]",
    "nan": b"NaN",
    "deep": b"[" * 200_000,
    "not-utf-8": b"\xff\xfe{",
}


def output_faults() -> Iterator[OutputFault]:
    """Yield what can happen to outputs between two invocations."""
    for ending in ENDINGS:
        for value, damage in _DAMAGES.items():
            if ending == "status.json" and "byte" in value:
                continue  # the last line break: the status says the same
            yield OutputFault(
                name=f"output/{ending}/{value}",
                damage=_on(ending, damage),
                alone=value in _ALONE,
            )
        yield OutputFault(
            name=f"output/{ending}/touched", damage=_on(ending, os.utime), promise="kept"
        )
        if ending.endswith(".json"):  # the numbers of both scans are the same
            yield OutputFault(
                name=f"output/{ending}/link-to-anothers",
                damage=lambda victim, out, ending=ending: _link_to_anothers(victim, out, ending),
            )
    for ending in ENDINGS[::5]:
        yield OutputFault(
            name=f"output/{ending}/folder",
            damage=_on(ending, folder),
            promise="named",
            alone=True,
        )
    for value, change in _STATUSES.items():
        yield OutputFault(name=f"status/{value}", damage=_on("status.json", _written(change)))
    yield from _around()


def _around() -> Iterator[OutputFault]:
    """Yield what can happen to the folder and to the input."""
    cases: dict[str, Callable[[Victim, Path], object]] = {
        "all-removed": lambda victim, out: [p.unlink() for p in _folder(victim, out).iterdir()],
        "sidecar-of-the-input": lambda victim, _: edit_json()(victim.sidecar),
        "inherited-sidecar-added": lambda victim, _: victim.file("bold.json").write_text(
            '{"RepetitionTime": 2.0}'
        ),
        "confounds-touched": lambda victim, _: os.utime(victim.confounds),
        "image-touched": lambda victim, _: os.utime(victim.bold),
        "mask-touched": lambda victim, _: os.utime(victim.mask),
    }
    for value, damage in cases.items():
        yield OutputFault(name=f"between/{value}", damage=damage, inputs=value != "all-removed")
    yield OutputFault(name="between/nothing", damage=lambda _victim, _out: None, promise="kept")
    yield OutputFault(
        name="between/stranger-beside",
        damage=lambda victim, out: (_folder(victim, out) / "notes.txt").write_text("mine"),
        promise="kept",
    )


def _folder(victim: Victim, out: Path) -> Path:
    return out / f"sub-{victim.sub}" / "func"


def _file(victim: Victim, out: Path, ending: str) -> Path:
    (path,) = _folder(victim, out).glob(f"*_{ending}")
    return path


def _on(ending: str, damage: Damage) -> Callable[[Victim, Path], object]:
    return lambda victim, out: damage(_file(victim, out, ending))


def _written(change: dict[str, object] | bytes) -> Damage:
    return put(change) if isinstance(change, bytes) else edit_json(**change)


def _link_to_anothers(victim: Victim, out: Path, ending: str) -> None:
    path = _file(victim, out, ending)
    theirs = out / f"sub-{FIRST}" / "func" / path.name.replace(victim.sub, FIRST)
    path.unlink()
    path.symlink_to(theirs)
