"""Commands of `semantoks-model`: checkpoints, shards, recipes, plans and tables of people."""

from __future__ import annotations

import gzip
import pickle
import re
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import probe_builders
import shard_builders
import torch
from damage import (
    BYTES,
    NO_FILE,
    NO_JSON,
    NOT_HERE,
    edit,
    edit_json,
    put,
    remove,
)
from faults import CallFault

from of_calls.files import CONFIGS, Evil, nothing_was_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damage import Damage
    from scenes import Answer, Scene

_PTH = Path(__file__).parents[2] / "golden" / "reference_model" / "small_ckpt.pth"
_N_SUBJECTS, _N_PEOPLE = 3, 8


def method_faults() -> Iterator[CallFault]:
    """Yield what can be wrong with the files that these commands read."""
    yield from _checkpoints()
    yield from _published()
    yield from _shards()
    yield from _settings()
    yield from _people()


def _checkpoints() -> Iterator[CallFault]:
    cases = {
        **{f"card/{k}": ("card.json", d) for k, d in (NO_JSON | NO_FILE | NOT_HERE).items()},
        **{f"weights/{k}": ("weights.safetensors", d) for k, d in BYTES.items()},
        **{f"weights/{k}": ("weights.safetensors", d) for k, d in (NO_FILE | NOT_HERE).items()},
        "card/dim-of-10-to-the-9": (
            "card.json", edit_json(architecture={"dim": 10**9, "depth": 10**6}),
        ),
    }  # fmt: skip
    for name, (file, damage) in cases.items():
        yield CallFault(
            name=f"method/checkpoint/{name}",
            program="semantoks-model",
            words=("info", "{here}/mine"),
            prepare=lambda scene, f=file, d=damage: (
                shutil.copytree(scene.checkpoint, scene.here / "mine"),
                d(scene.here / "mine" / f),
            ),
            codes=frozenset({78}),
            says=("mine",),
        )


def _edit_state(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        change(content["model_state_dict"])
        torch.save(content, path)

    return damage


def _dense_alone(state: dict[str, torch.Tensor]) -> None:
    for key in [key for key in state if ".branches.1." in key]:
        del state[key]


def _one_group(state: dict[str, torch.Tensor]) -> None:
    for key in [key for key in state if re.search(r"schaefer400\.[1-8]\.", key)]:
        del state[key]


def _packed(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)


def _published() -> Iterator[CallFault]:
    cases: dict[str, tuple[Damage, str]] = {
        **{name: (damage, "mine.pth") for name, damage in (BYTES | NO_FILE | NOT_HERE).items()},
        "pickled-code": (put(pickle.dumps(Evil())), "refused, "),
        "pickled-list": (put(pickle.dumps([1])), "mine.pth"),
        "compressed": (_packed, "compressed"),
        "gzip": (edit(gzip.compress), "mine.pth"),
        "dense-alone": (_edit_state(_dense_alone), "found the dense convolution alone"),
        "one-group": (_edit_state(_one_group), "expected 9 networks"),
        "nothing-of-ours": (_edit_state(dict.clear), "0 live keys"),
    }
    for quiet in ("a-byte-more", "last-byte-cut"):  # behind the archive's end, or its comment
        del cases[quiet]
    for name, (damage, says) in cases.items():
        yield CallFault(
            name=f"method/pth/{name}",
            program="semantoks-model",
            words=("import-checkpoint", "{here}/mine.pth", "{here}/made", "--heads", "4"),
            prepare=lambda scene, d=damage: (
                shutil.copy(_PTH, scene.here / "mine.pth"), d(scene.here / "mine.pth"),
            ),
            codes=frozenset({78}),
            says=(says,),
            check=_nothing_made,
        )  # fmt: skip
    yield CallFault(
        name="method/pth/heads-not-told",
        program="semantoks-model",
        words=("import-checkpoint", str(_PTH), "{here}/made"),
        codes=frozenset({78}),
        says=(r"import-checkpoint .*small_ckpt\.pth FOLDER --heads N",),
        check=_nothing_made,
    )


def _nothing_made(scene: Scene, answer: Answer) -> Iterator[str]:
    yield from nothing_was_run(scene, answer)
    if (scene.here / "made").exists():
        yield "something was written"


def _shards() -> Iterator[CallFault]:
    lists = {"empty", "text"} & set(BYTES)
    cases = {
        **{
            f"shards.json/{k}": ("shards.json", d)
            for k, d in (NO_JSON | NO_FILE | NOT_HERE | {"missing": remove}).items()
        },
        **{f"index.tsv/{k}": ("index.tsv", d) for k, d in (BYTES | NO_FILE | NOT_HERE).items()},
        **{f"values/{k}": ("shard-00000.npy", d) for k, d in (BYTES | NO_FILE | NOT_HERE).items()},
        **{f"list/{k}": ("train.txt", BYTES[k]) for k in sorted(lists)},
        "list/of-a-stranger": ("train.txt", put("sub-77\n")),
        "list/twice": ("train.txt", edit(lambda raw: raw + raw)),
    }
    for name, (file, damage) in cases.items():
        yield CallFault(
            name=f"method/shards/{name}",
            program="semantoks-model",
            words=("shards", "check", "{here}/shards"),
            prepare=lambda scene, f=file, d=damage: (
                shard_builders.make_shards(scene.here / "shards", _N_SUBJECTS),
                d(scene.here / "shards" / f),
            ),
            codes=frozenset({1}),
            says=(re.escape(file.partition(".")[0]) + "|shards",),
        )


_RECIPE = 'recipe = "tiny"\nsizes = [8, 16]\nseeds = [0]\n'
_WRONG = {
    "unknown-section": "[nosuch]\na = 1",
    "unknown-key": "[run]\nstepps = 1",
    "steps-negative": "[run]\nsteps = -1",
    "steps-a-text": '[run]\nsteps = "many"',
    "dim-odd": "[encoder]\ndim = 17",
    "dim-of-10-to-the-12": "[encoder]\ndim = 1000000000000",
    "data-a-number": "[data]\nfolder = 5",
    "run-a-number": "run = 5",
}


def _settings() -> Iterator[CallFault]:
    """Yield recipes and plans that are none: told before anything is made."""
    damages = {k: d for k, d in (NOT_HERE | NO_FILE).items() if k != "null-device"}
    texts = {k: put(text) for k, text in (CONFIGS | _WRONG).items()}
    for command in ("pretrain", "scale"):
        for value, damage in (damages | texts).items():
            yield CallFault(
                name=f"method/{command}/{value}",
                program="semantoks-model",
                words=(command, "{here}/given.toml", "{here}/made"),
                prepare=lambda scene, d=damage: (
                    (scene.here / "given.toml").write_text(_RECIPE),
                    d(scene.here / "given.toml"),
                ),
                codes=frozenset({2}),
                says=(r"given\.toml|CONFIG",),
                check=_nothing_made,
            )


@cache
def _cohort() -> Path:
    """Return an output folder of a few people; do not change it."""
    values = probe_builders.simulate_cohort(_N_PEOPLE, n_sessions=1)
    return probe_builders.write_cohort(Path(tempfile.mkdtemp()), values)


def _people() -> Iterator[CallFault]:
    """Yield tables of participants, and tables of vectors, that are none."""
    people = "participant_id\tgroup\n" + "".join(
        f"sub-{n:02}\t{'ab'[n % 2]}\n" for n in range(_N_PEOPLE)
    )
    vectors = "participant_id\tsession_id\tVis_000\tVis_001\n" + "".join(
        f"sub-{n:02}\t{session}\t{n}.5\t{session}.25\n"
        for n in range(_N_PEOPLE)
        for session in (1, 2)
    )
    cases: dict[str, Damage] = {
        **{k: d for k, d in (NOT_HERE | NO_FILE).items() if k not in ("annex-link", "link-loop")},
        "empty": put(b""),
        "header-only": edit(lambda raw: raw.partition(b"\n")[0] + b"\n"),
        "binary": put(bytes(range(256))),
        "not-utf-8": edit(lambda raw: b"\xff" + raw),
        "a-cell-more": edit(lambda raw: raw.rstrip() + b"\tx\n"),
        "no-id": edit(lambda raw: raw.replace(b"participant_id", b"who")),
        "column-twice": edit(
            lambda raw: raw.replace(b"session_id", b"participant_id").replace(
                b"\tgroup", b"\tparticipant_id"
            )
        ),
        "id-blank": edit(lambda raw: raw.replace(b"sub-01", b"")),
        "html": put("<!DOCTYPE html>"),
    }
    for command, good, words in (
        ("evaluate", vectors, ("evaluate", "{here}/people.tsv", "{here}/made")),
        (
            "probe",
            people,
            ("probe", "{here}/cohort", "{here}/people.tsv", "{here}/made", "--target", "group",
             "--kind", "classification"),
        ),
    ):  # fmt: skip
        for value, damage in cases.items():
            yield CallFault(
                name=f"method/{command}/{value}",
                program="semantoks-model",
                words=words,
                prepare=lambda scene, d=damage, g=good: (
                    (scene.here / "people.tsv").write_text(g),
                    shutil.copytree(_cohort(), scene.here / "cohort"),
                    d(scene.here / "people.tsv"),
                ),
                codes=frozenset({1}),
                says=(r"people\.tsv", *(("datalad get",) if value in NOT_HERE else ())),
                check=_nothing_made,
            )
