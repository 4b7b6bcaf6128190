"""Damaged outputs and statuses that the group level meets, and earlier tables of its own."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
from damage import NO_FILE, NO_JSON, NOT_HERE, edit, edit_json, fifo, folder, put, remove, sparse
from faults import CallFault
from scenes import FIRST, GROUP, LAST

from of_calls.places import file_link, victim_is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from damage import Damage
    from scenes import Answer, Scene

_STATUS_CHANGES: dict[str, dict[str, object]] = {
    "banana": {"Status": "banana"},
    "status-a-list": {"Status": []},
    "entities-a-list": {"Entities": []},
    "entities-of-another": {"Entities": {"sub": "other", "task": "rest"}},
    "entities-numbers": {"Entities": {"sub": 1}},
    "configuration-of-another": {"ConfigurationHash": "0" * 16 + "-00000000"},
    "configuration-a-number": {"ConfigurationHash": 5},
    "qc-a-list": {"QC": []},
    "qc-of-texts": {"QC": {"n_volumes": "many", "flags": "none"}},
    "qc-nested": {"QC": {"n_volumes": {"a": 1}}},
    "qc-huge": {"QC": {"n_volumes": 10**300}},
    "outputs-a-number": {"Outputs": 7},
    "outputs-empty": {"Outputs": {}},
    "outputs-elsewhere": {"Outputs": {"../../../in/dataset_description.json": {}}},
    "source-a-number": {"Source": 5},
    "reason-a-list": {"Reason": []},
}
_TABLES: dict[str, Damage] = {
    "empty": put(b""),
    "header-only": edit(lambda raw: raw.partition(b"\n")[0] + b"\n"),
    "two-rows": edit(lambda raw: raw + raw.partition(b"\n")[2]),
    "a-cell-less": edit(lambda raw: raw[: raw.rfind(b"\t")] + b"\n"),
    "a-cell-more": edit(lambda raw: raw[:-1] + b"\t1.0\n"),
    "infinity": edit(lambda raw: raw[: raw.rfind(b"\t")] + b"\tinf\n"),
    "all-missing": edit(
        lambda raw: (
            raw.partition(b"\n")[0]
            + b"\n"
            + b"\t".join([b"n/a"] * (raw.partition(b"\n")[0].count(b"\t") + 1))
            + b"\n"
        )
    ),
    "text": edit(lambda raw: raw[: raw.rfind(b"\t")] + b"\tno\n"),
    "digits-5000": edit(lambda raw: raw[: raw.rfind(b"\t")] + b"\t" + b"9" * 5000 + b"\n"),
    "a-digit-edited": edit(lambda raw: raw[:-4] + bytes([raw[-4] ^ 1]) + raw[-3:]),
    "other-column-name": edit(lambda raw: raw.replace(b"Vis_000", b"Vis_xxx", 1)),
    "not-utf-8": put(b"\xff\xfe" * 100),
    "sparse-2-GB": sparse(2 * 10**9),
    "missing": remove,
}


def group_faults() -> Iterator[CallFault]:
    """Yield damaged outputs of one of two scans: no row of it, and the file is named."""
    scan, sidecar, status = "desc-scan_embedding.tsv", "desc-scan_embedding.json", "status.json"
    cases: dict[str, tuple[str, Damage]] = {
        **{f"embedding/{k}": (scan, d) for k, d in (_TABLES | NO_FILE | NOT_HERE).items()},
        **{
            f"sidecar/{k}": (sidecar, d)
            for k, d in (NO_JSON | NO_FILE | NOT_HERE | {"missing": remove}).items()
        },
        "sidecar/size-10-to-the-12": (sidecar, edit_json(EmbeddingDimension=10**12)),
        "sidecar/size-negative": (sidecar, edit_json(EmbeddingDimension=-1)),
        "sidecar/size-a-text": (sidecar, edit_json(EmbeddingDimension="16")),
        "sidecar/size-nan": (sidecar, edit_json(EmbeddingDimension=b"NaN")),
        "sidecar/configuration-of-another": (sidecar, edit_json(ConfigurationHash="0-0")),
        "sidecar/model-of-another": (sidecar, edit_json(Model={"Name": "other"})),
        "sidecar/scan-vector-a-number": (sidecar, edit_json(ScanVector=1)),
        **{f"status/{k}": (status, d) for k, d in (NO_JSON | NO_FILE | NOT_HERE).items()},
        **{f"status/{k}": (status, edit_json(**change)) for k, change in _STATUS_CHANGES.items()},
    }
    for name, (ending, damage) in cases.items():
        yield CallFault(
            name=f"group/{name}",
            words=GROUP,
            embedded=True,
            prepare=lambda scene, e=ending, d=damage: d(_output(scene, FIRST, e)),
            codes=frozenset({1}),
            says=(rf"sub-{FIRST}|different",),
            check=_no_row_but_a_good_one,
            seconds=15,
        )
    yield CallFault(
        name="group/participant-twice",
        words=GROUP,
        embedded=True,
        prepare=lambda scene: shutil.copytree(scene.out / f"sub-{FIRST}", scene.out / "sub-copy"),
        codes=frozenset({1}),
        says=("sub-copy",),
        check=_no_row_but_a_good_one,
    )
    for name, file in {
        "parquet": "group_desc-scan_embedding.parquet", "status": "group_status.tsv",
        "tsv": "group_desc-scan_embedding.tsv", "json": "group_desc-scan_embedding.json",
    }.items():  # fmt: skip
        for value, damage in {"damaged": put(b"no table"), "fifo": fifo, "folder": folder,
                              "link": None}.items():  # fmt: skip
            yield CallFault(
                name=f"group/earlier-{name}/{value}",
                words=GROUP,
                embedded=True,
                prepare=lambda scene, f=file, d=damage: (
                    d(scene.out / f) if d else file_link(scene, f)
                ),
                codes=frozenset({73} if value == "folder" else {0}),
                says=(re.escape(file),) if value == "folder" else (),
                check=victim_is_whole if value == "link" else None,
            )


def _output(scene: Scene, sub: str, ending: str) -> Path:
    (path,) = (scene.out / f"sub-{sub}" / "func").glob(f"*_{ending}")
    return path


def _no_row_but_a_good_one(scene: Scene, _: Answer) -> Iterator[str]:
    """Compare the rows of the table with what was embedded: a row is right, or is not there."""
    table = scene.out / "group_desc-scan_embedding.tsv"
    if not table.exists():
        return
    header, *rows = [line.split("\t") for line in table.read_text().splitlines()]
    first = next(n for n, name in enumerate(header) if name.endswith("_000"))
    good = _output(scene, LAST, "desc-scan_embedding.tsv").read_text().splitlines()[1]
    expected = np.array([float(x) if x != "n/a" else np.nan for x in good.split("\t")])
    for row in rows:
        found = np.array([float(x) if x != "n/a" else np.nan for x in row[first:]])
        if not np.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True):
            yield f"a row of other numbers: {row[:3]}"
    if len(rows) > 2:
        yield f"{len(rows)} rows of two scans"
    if not any(f"sub-{LAST}" in row for row in rows) and not any(LAST in row for row in rows):
        yield "the scan without a fault has no row"
