"""Files that an invocation as a whole rests on, and places where it writes."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
from damage import (
    NO_FILE,
    NO_JSON,
    NOT_HERE,
    edit,
    edit_json,
    fifo,
    flipped,
    folder,
    put,
    remove,
    sparse,
    truncated,
)
from faults import CallFault
from scenes import FIRST, GROUP, LAST, PARTICIPANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from damage import Damage
    from scenes import Answer, Scene

_FILTERS = {
    "regex-open": '{"bold": {"task": "re(st", "regex_search": true}}',
    "empty-list": '{"bold": {"task": []}}',
    "drop-invalid": '{"bold": {"invalid_filters": "drop", "nosuch": 1}}',
    "unknown-entity": '{"bold": {"nosuch": "x"}}',
    "upper-part": '{"Bold": {"task": "nosuch"}}',
    "part-a-list": '{"bold": []}',
    "part-a-text": '{"bold": "task"}',
    "value-an-object": '{"bold": {"task": {"a": 1}}}',
    "value-deep": '{"bold": {"task": ' + "[" * 500 + "]" * 500 + "}}",
    "value-digits": '{"bold": {"run": ' + "9" * 401 + "}}",
    "value-surrogate": '{"bold": {"task": "\\ud800"}}',
    "value-true": '{"bold": {"task": true}}',
    "scope": '{"bold": {"scope": "nosuch"}}',
    "return-type": '{"bold": {"return_type": "object"}}',
    "target": '{"bold": {"target": "nosuch"}}',
    "no-task-of-that-name": '{"bold": {"task": "nosuch"}}',
}
_STRATEGIES = {
    "unknown-key": '{"motoin": "full"}',
    "wrong-word": '{"motion": "complete"}',
    "a-number-for-text": '{"motion": 24}',
    "true-for-a-number": '{"motion": "full", "fd_threshold_mm": true}',
    "negative": '{"motion": "full", "fd_threshold_mm": -1}',
    "nan": '{"motion": "full", "fd_threshold_mm": NaN}',
    "beyond-float": '{"motion": "full", "fd_threshold_mm": 1e999}',
    "digits-401": '{"motion": "full", "n_compcor": ' + "9" * 401 + "}",
    "columns-a-text": '{"columns": "trans_x"}',
    "columns-of-numbers": '{"columns": [1]}',
    "columns-surrogate": '{"columns": ["\\ud800"]}',
    "list": "[]",
}
_CONFIGS: dict[str, str | bytes] = {
    "empty-key": '= "a"',
    "open-text": 'task-id = ["rest',
    "unknown-key": 'taks-id = ["rest"]',
    "wrong-kind": "tr = true",
    "a-text-for-a-number": 'tr = "two"',
    "a-table": "[tr]\na = 1",
    "list-for-one": "tr = [2.0, 2.0]",
    "nan": "tr = nan",
    "infinity": "tr = inf",
    "digits-401": "dummy-scans = " + "9" * 401,
    "digits-5000": "dummy-scans = " + "9" * 5000,
    "beyond-float": "tr = 1e999",
    "date": "tr = 2020-01-01",
    "key-twice": "tr = 2.0\ntr = 2.0",
    "deep": "tr = " + "[" * 5000 + "]" * 5000,
    "latin-1": 'task-id = ["zürich"]'.encode("latin-1"),
    "utf-16": "tr = 2.0".encode("utf-16"),
    "nul": b"\0" * 64,
    "binary": bytes(range(256)),
    "json": '{"tr": 2.0}',
    "html": "<!DOCTYPE html>",
}
_BYTES: dict[str, Damage] = {
    "empty": put(b""),
    "text": put("no weights\n" * 100),
    "cut-in-half": truncated(0.5),
    "last-byte-cut": edit(lambda raw: raw[:-1]),
    "a-byte-more": edit(lambda raw: raw + b"\0"),
    "bit-at-0.9": flipped(0.9),
    "bit-at-0.01": flipped(0.01),
    "header-of-exabytes": edit(lambda raw: b"\xff" * 8 + raw[8:]),
    "zeros": edit(lambda raw: bytes(len(raw))),
    "missing": remove,
}


def call_faults() -> Iterator[CallFault]:
    """Yield what can be wrong with files that every scan needs, and with the output folder."""
    yield from _description_faults()
    yield from _option_file_faults()
    yield from _checkpoint_faults()
    yield from _atlas_faults()
    yield from _place_faults()
    yield from _group_faults()
    yield from _dry_runs()


def _description_faults() -> Iterator[CallFault]:
    for value, damage in (NO_JSON | NO_FILE | NOT_HERE).items():
        yield CallFault(
            name=f"json/dataset_description/{value}",
            words=PARTICIPANT,
            prepare=lambda scene, d=damage: d(scene.bids / "dataset_description.json"),
            codes=frozenset({0, 16}),
            says=("dataset_description", "datalad get" if value in NOT_HERE else "description"),
        )
        yield CallFault(
            name=f"json/own-description/{value}",
            words=PARTICIPANT,
            embedded=True,
            prepare=lambda scene, d=damage: d(scene.out / "dataset_description.json"),
            codes=frozenset({0, 2, 73}),
            says=("dataset_description",),
        )
    for name, keys in {
        "generated-by-a-text": {"GeneratedBy": "fMRIPrep"},
        "generated-by-numbers": {"GeneratedBy": [1, None]},
        "generated-by-deep": {"GeneratedBy": b"[" * 900 + b"]" * 900},
        "name-surrogate": {"Name": b'"\\ud800"'},
        "generator-surrogate": {"GeneratedBy": b'[{"Name": "\\ud800", "Version": "1"}]'},
        "generator-html": {"GeneratedBy": [{"Name": "<script>", "Version": "<b>"}]},
        "generator-digits": {
            "GeneratedBy": b'[{"Name": "fMRIPrep", "Version": ' + b"9" * 401 + b"}]"
        },
        "version-nan": {"GeneratedBy": b'[{"Name": "fMRIPrep", "Version": NaN}]'},
        "type-raw": {"DatasetType": "raw"},
        "bids-version-a-list": {"BIDSVersion": []},
    }.items():
        yield CallFault(
            name=f"description/{name}",
            words=PARTICIPANT,
            prepare=lambda scene, k=keys: edit_json(**k)(scene.bids / "dataset_description.json"),
            codes=frozenset({0, 16}),
            says=("description",),
        )


def _option_file_faults() -> Iterator[CallFault]:
    """Yield files that options name: the command ends before anything is read or written."""
    options = {"bids-filter-file": _FILTERS, "denoise-strategy": _STRATEGIES}
    for option, texts in options.items():
        damages = NO_JSON | NOT_HERE | {k: v for k, v in NO_FILE.items() if k != "link-loop"}
        for value, damage in (damages | {k: put(t) for k, t in texts.items()}).items():
            # An empty selection is an answer too, with a code of its own.
            codes = {2, 18} if option == "bids-filter-file" else {2}
            yield CallFault(
                name=f"json/{option}/{value}",
                words=(*PARTICIPANT, f"--{option}", "{here}/given.json"),
                prepare=lambda scene, d=damage: _given(scene, d, "given.json"),
                codes=frozenset(codes),
                says=("filter|given|select" if option == "bids-filter-file" else "given",),
                writes=False,
            )
    damages = {k: v for k, v in (NOT_HERE | NO_FILE).items() if k != "null-device"}
    for value, damage in (damages | {k: put(t) for k, t in _CONFIGS.items()}).items():
        yield CallFault(
            name=f"toml/config-file/{value}",
            words=(*PARTICIPANT, "--config-file", "{here}/given.toml"),
            prepare=lambda scene, d=damage: _given(scene, d, "given.toml"),
            codes=frozenset({2}),
            says=("given|config|--tr",),
            writes=False,
        )
    line = "root:secret-of-another-file:0:0"
    for option in ("participant-label", "exclude-participant-label", "config-file",
                   "bids-filter-file", "denoise-strategy"):  # fmt: skip
        for value, text in {
            "plain": line,
            "lines": f"x\n{line}\ny: z\n",
            "json": f'["{line}"]',
        }.items():
            if (option, value) == ("config-file", "json"):
                continue  # the name of a TOML table: a key that nobody knows is named
            yield CallFault(
                name=f"echo/{option}/{value}",
                words=(*PARTICIPANT, f"--{option}", "{here}/secret.txt"),
                prepare=lambda scene, t=text: (scene.here / "secret.txt").write_text(t),
                codes=frozenset({2}),
                says=("secret.txt",),
                never=("secret-of-another-file",),
                writes=False,
            )


def _given(scene: Scene, damage: Damage, name: str) -> None:
    path = scene.here / name
    path.write_text('{"RepetitionTime": 2.0}')
    damage(path)


def _checkpoint_faults() -> Iterator[CallFault]:
    cases: dict[str, tuple[str, Damage]] = {
        **{f"card/{k}": ("card.json", d) for k, d in (NO_JSON | NO_FILE | NOT_HERE).items()},
        **{f"weights/{k}": ("weights.safetensors", d) for k, d in _BYTES.items()},
        **{f"weights/{k}": ("weights.safetensors", d) for k, d in (NO_FILE | NOT_HERE).items()},
        "card/missing": ("card.json", remove),
        **{
            f"card/{name}": ("card.json", edit_json(**keys))
            for name, keys in {
                "architecture-a-list": {"architecture": []},
                "architecture-null": {"architecture": None},
                "input-null": {"input": None},
                "readout-unknown": {"readout": ["nosuch"]},
                "readout-a-text": {"readout": "networks"},
                "unknown-key": {"nosuch": 1},
                "sha-of-another": {"weights_sha256": "0" * 64},
                "sha-a-number": {"weights_sha256": 1},
            }.items()
        },
    }
    for name, (file, damage) in cases.items():
        yield CallFault(
            name=f"checkpoint/{name}",
            words=(*PARTICIPANT, "--checkpoint", "{here}/mine"),
            prepare=lambda scene, f=file, d=damage: (
                shutil.copytree(scene.checkpoint, scene.here / "mine"),
                d(scene.here / "mine" / f),
            ),
            codes=frozenset({78}),
            says=(re.escape(file.partition(".")[0]) + "|mine|checkpoint",),
            writes=False,
        )
    for name, content in {
        "pickled-code": pickle.dumps(_Evil()),
        "pickled-list": pickle.dumps([1]),
        "zip": b"PK\x05\x06" + bytes(18),
        "empty": b"",
        "text": b"weights",
    }.items():
        yield CallFault(
            name=f"checkpoint/pth/{name}",
            words=(*PARTICIPANT, "--checkpoint", "{here}/mine.pth"),
            prepare=lambda scene, c=content: (scene.here / "mine.pth").write_bytes(c),
            codes=frozenset({78}),
            says=("mine.pth",),
            writes=False,
            check=_nothing_was_run,
        )


class _Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def _nothing_was_run(scene: Scene, _: Answer) -> Iterator[str]:
    if (scene.here / "executed").exists():
        yield "what the file holds was executed"


def _atlas_faults() -> Iterator[CallFault]:
    files = {
        "image": "tpl-*/*_dseg.nii.gz", "image-json": "tpl-*/*_dseg.json",
        "table": "atlas-*_dseg.tsv",
    }  # fmt: skip
    for kind, pattern in files.items():
        damages = _BYTES | NO_FILE | NOT_HERE
        if kind.endswith("json"):
            damages = NO_JSON | NO_FILE | NOT_HERE | {"missing": remove}
        for value, damage in damages.items():
            if value in ("a-byte-more", "last-byte-cut", "bit-at-0.01") and kind == "table":
                continue  # the last line break, or the same words
            yield CallFault(
                name=f"atlas/{kind}/{value}",
                words=(*PARTICIPANT, "--atlas", "{here}/atlas"),
                prepare=lambda scene, p=pattern, d=damage: _atlas(scene, p, d),
                # Of the image the voxels are compared by hash: what is behind them is none.
                codes=frozenset({0, 78} if "byte" in value else {78}),
                says=("atlas|dseg",),
                check=_nothing_embedded,
            )


def _atlas(scene: Scene, pattern: str, damage: Damage) -> None:
    shutil.copytree(scene.atlas, scene.here / "atlas")
    (path,) = (scene.here / "atlas").glob(pattern)
    damage(path)


def _nothing_embedded(scene: Scene, answer: Answer) -> Iterator[str]:
    done = [path.name for path in scene.out.rglob("*_desc-scan_embedding.tsv")]
    if done and answer.code:
        yield f"embedded all the same: {done}"


def _place_faults() -> Iterator[CallFault]:
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
            codes=frozenset({1, 2, 73}),
            says=("link",),
            check=_elsewhere_is_empty,
        )
    for name in ("dataset_description.json", "README.md", ".bidsignore", "sub-0good.html"):
        yield CallFault(
            name=f"place/file-link/{name}",
            words=tuple(word for word in PARTICIPANT if word != "--no-reports"),
            prepare=lambda scene, n=name: _file_link(scene, n),
            codes=frozenset({0, 2, 73}),
            says=("link",),
            check=_victim_is_whole,
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
    kinds: dict[str, Callable[[Path], object]] = {
        "a-file": lambda path: path.write_text("x"),
        "a-fifo": os.mkfifo,
        "a-link-nowhere": lambda path: path.symlink_to("nowhere/at/all"),
        "a-link-to-itself": lambda path: path.symlink_to("out"),
    }
    for name, make in kinds.items():
        yield CallFault(
            name=f"place/output-{name}",
            words=PARTICIPANT,
            prepare=lambda scene, m=make: m(scene.out),
            codes=frozenset({0, 2, 73}),
            says=("out",),
        )
    for name, inside in {
        "participant-a-file": f"sub-{FIRST}", "logs-a-file": "logs",
        "func-a-file": f"sub-{FIRST}/func",
    }.items():  # fmt: skip
        yield CallFault(
            name=f"place/{name}",
            words=PARTICIPANT,
            prepare=lambda scene, i=inside: _file_inside(scene, i),
            codes=frozenset({1, 2, 73}),
            says=("sub-0good|logs",),
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


def _file_link(scene: Scene, name: str) -> None:
    scene.out.mkdir()
    (scene.here / "victim.txt").write_text("semantoks mine")
    (scene.out / name).symlink_to("../victim.txt")


def _victim_is_whole(scene: Scene, _: Answer) -> Iterator[str]:
    if (scene.here / "victim.txt").read_text() != "semantoks mine":
        yield "written through a link to a file"


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


def _group_faults() -> Iterator[CallFault]:
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
            codes=frozenset({1, 2, 16} | ({0} if name.startswith("status/qc") else set())),
            says=(rf"sub-{FIRST}|different",),
            check=_no_row_but_a_good_one,
            seconds=15,
        )
    yield CallFault(
        name="group/participant-twice",
        words=GROUP,
        embedded=True,
        prepare=lambda scene: shutil.copytree(scene.out / f"sub-{FIRST}", scene.out / "sub-copy"),
        codes=frozenset({1, 2, 16}),
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
                    d(scene.out / f) if d else _file_link_in(scene, f)
                ),
                codes=frozenset({0, 73} if value in ("folder", "link") else {0}),
                says=(re.escape(file),),
                check=_victim_is_whole if value == "link" else None,
            )


def _file_link_in(scene: Scene, name: str) -> None:
    (scene.here / "victim.txt").write_text("semantoks mine")
    (scene.out / name).symlink_to("../victim.txt")


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


def _dry_runs() -> Iterator[CallFault]:
    """Yield dry runs of what is known without voxels: they end as the real run would."""
    cases: dict[str, tuple[Callable[[Scene], object], set[int], tuple[str, ...]]] = {
        "confounds-missing": (lambda s: s.victim().confounds.unlink(), {1}, ()),
        "confounds-empty": (lambda s: put(b"")(s.victim().confounds), {1}, ()),
        "confounds-a-row-less": (
            lambda s: edit(lambda raw: raw[: raw.rstrip().rfind(b"\n") + 1])(s.victim().confounds),
            {1}, (),
        ),
        "confounds-pointer": (lambda s: NOT_HERE["annex-pointer"](s.victim().confounds), {1}, ()),
        "image-pointer": (lambda s: NOT_HERE["annex-pointer"](s.victim().bold), {1}, ()),
        "image-fifo": (lambda s: fifo(s.victim().bold), {1}, ()),
        "image-empty": (lambda s: put(b"")(s.victim().bold), {1}, ()),
        "sidecar-no-json": (lambda s: put("{")(s.victim().sidecar), {1}, ()),
        "tr-2000": (lambda s: edit_json(RepetitionTime=2000)(s.victim().sidecar), {1}, ()),
        "mask-dangling": (lambda s: NOT_HERE["annex-link"](s.victim().mask), {1}, ()),
        "atlas-absent": (lambda _: None, {78}, ("--atlas", "{here}/no-atlas")),
        "checkpoint-nowhere": (lambda _: None, {78}, ("--checkpoint", "{here}/nowhere")),
        "output-of-another": (
            lambda s: (s.out.mkdir(), put('{"Name": "x"}')(s.out / "dataset_description.json")),
            {2}, (),
        ),
        "nothing": (lambda _: None, {0}, ()),
    }  # fmt: skip
    for name, (prepare, codes, more) in cases.items():
        yield CallFault(
            name=f"dry-run/{name}",
            words=(*PARTICIPANT, "--dry-run", *more),
            prepare=prepare,
            codes=frozenset(codes | ({2, 78} if "atlas" in name else set())),
            says=(".",),
            writes=False,
        )
