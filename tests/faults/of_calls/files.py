"""Files that an invocation as a whole rests on: descriptions, options, checkpoint, atlas."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from typing import TYPE_CHECKING

from damage import (
    BYTES,
    NO_FILE,
    NO_JSON,
    NOT_HERE,
    edit,
    edit_json,
    flipped,
    put,
    remove,
)
from faults import CallFault
from scenes import PARTICIPANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
CONFIGS: dict[str, str | bytes] = {
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
    "nul-in-a-path": 'atlas = "a\\u0000b"',
    "key-twice": "tr = 2.0\ntr = 2.0",
    "deep": "tr = " + "[" * 5000 + "]" * 5000,
    "latin-1": 'task-id = ["zürich"]'.encode("latin-1"),
    "utf-16": "tr = 2.0".encode("utf-16"),
    "nul": b"\0" * 64,
    "binary": bytes(range(256)),
    "json": '{"tr": 2.0}',
    "html": "<!DOCTYPE html>",
}
_BYTES: dict[str, Damage] = BYTES | {
    "bit-at-0.01": flipped(0.01),
    "header-of-exabytes": edit(lambda raw: b"\xff" * 8 + raw[8:]),
}


def file_faults() -> Iterator[CallFault]:
    """Yield what can be wrong with files that every scan needs."""
    yield from _description_faults()
    yield from _option_file_faults()
    yield from _checkpoint_faults()
    yield from _atlas_faults()


def _description_faults() -> Iterator[CallFault]:
    for value, damage in (NO_JSON | NO_FILE | NOT_HERE).items():
        yield CallFault(
            name=f"json/dataset_description/{value}",
            words=PARTICIPANT,
            prepare=lambda scene, d=damage: d(scene.bids / "dataset_description.json"),
            codes=frozenset({0}),
            check=_told_and_embedded,
        )
        yield CallFault(
            name=f"json/own-description/{value}",
            words=PARTICIPANT,
            embedded=True,
            prepare=lambda scene, d=damage: d(scene.out / "dataset_description.json"),
            codes=frozenset({2}),
            says=("another dataset", "dataset_description"),
            writes=False,
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
            codes=frozenset({0}),
            check=_both_embedded,
        )


def _both_embedded(_: Scene, answer: Answer) -> Iterator[str]:
    if "\n2 embedded" not in answer.text:
        yield f"not both scans were embedded: {answer.text[-200:]}"


def _told_and_embedded(scene: Scene, answer: Answer) -> Iterator[str]:
    yield from _both_embedded(scene, answer)
    if not re.search(r"WARNING.*dataset_description\.json", answer.text):
        yield f"no warning: {answer.text[-400:]}"


def _option_file_faults() -> Iterator[CallFault]:
    """Yield files that options name: the command ends before anything is read or written."""
    options = {"bids-filter-file": _FILTERS, "denoise-strategy": _STRATEGIES}
    for option, texts in options.items():
        damages = NO_JSON | NOT_HERE | {k: v for k, v in NO_FILE.items() if k != "link-loop"}
        for value, damage in (damages | {k: put(t) for k, t in texts.items()}).items():
            # An empty selection is an answer too, with a code of its own.
            code = 18 if value == "no-task-of-that-name" else 2
            yield CallFault(
                name=f"json/{option}/{value}",
                words=(*PARTICIPANT, f"--{option}", "{here}/given.json"),
                prepare=lambda scene, d=damage: _given(scene, d, "given.json"),
                codes=frozenset({code}),
                says=("filter|given|select" if option == "bids-filter-file" else "given",),
                writes=False,
            )
    damages = {k: v for k, v in (NOT_HERE | NO_FILE).items() if k != "null-device"}
    for value, damage in (damages | {k: put(t) for k, t in CONFIGS.items()}).items():
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
        "pickled-code": pickle.dumps(Evil()),
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
            check=nothing_was_run,
        )


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def nothing_was_run(scene: Scene, _: Answer) -> Iterator[str]:
    """Say whether what a file holds was executed."""
    if (scene.here / "executed").exists():
        yield "what the file holds was executed"


_WHOLE = ("a-byte-more", "last-byte-cut")
"""Behind the voxels of an atlas image, which are compared by hash"""


def _atlas_faults() -> Iterator[CallFault]:
    files = {
        "image": "tpl-MNI*/*_dseg.nii.gz", "image-json": "tpl-MNI*/*_dseg.json",
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
                codes=frozenset({0 if value in _WHOLE else 78}),
                says=("atlas|dseg",),
                check=_both_embedded if value in _WHOLE else _nothing_embedded,
            )


def _atlas(scene: Scene, pattern: str, damage: Damage) -> None:
    shutil.copytree(scene.atlas, scene.here / "atlas")
    (path,) = (scene.here / "atlas").glob(pattern)
    damage(path)


def _nothing_embedded(scene: Scene, answer: Answer) -> Iterator[str]:
    done = [path.name for path in scene.out.rglob("*_desc-scan_embedding.tsv")]
    if done and answer.code:
        yield f"embedded all the same: {done}"
