"""Series of others (`semantoks series`): what is wrong with one file costs that file."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from typing import TYPE_CHECKING

import h5py
import numpy as np
from damage import NO_FILE, NO_JSON, NOT_HERE, edit, put, sparse, truncated
from faults import CallFault
from scenes import statuses

from model.networks import parcel_names
from of_calls.files import Evil, nothing_was_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from damage import Damage
    from scenes import Answer, Scene

_FRAMES = 120
_CALL = (
    "--checkpoint", "{checkpoint}", "--n-cpus", "1", "--no-reports", "--tr", "2.0",
    "--order", "schaefer400x7",
)  # fmt: skip


def _values() -> np.ndarray:
    return np.random.default_rng(0).normal(100.0, 2.0, size=(_FRAMES, 400)).round(3)


def _write(path: Path) -> None:
    """Write a sound file of the kind that its name says."""
    values = _values()
    if path.suffix in (".tsv", ".csv"):
        separator = "\t" if path.suffix == ".tsv" else ","
        lines = [parcel_names()[:400], *values.astype(str)]
        path.write_text("".join(separator.join(line) + "\n" for line in lines))
    elif path.suffix == ".npy":
        np.save(path, values.astype("f4"))
    elif path.suffix == ".npz":
        np.savez_compressed(path, **{path.name.partition("_")[0]: values})
    else:
        with h5py.File(path, "w") as store:
            store["long_subject_id"] = [b"bad"]
            store["timeseries/schaefer400"] = values.T[None]


def _cell(text: str) -> Damage:
    """Put a text in place of the last number of a table."""
    return edit(lambda raw: raw[: raw.rstrip().rfind(b"\t") + 1] + text.encode() + b"\n")


def _array(make: Callable[[np.ndarray], object]) -> Damage:
    return lambda path: np.save(path, make(_values()), allow_pickle=True)


def _header(text: str) -> Damage:
    """Write an array's header that claims this, and few values."""
    raw = text.encode() + b" " * (117 - len(text)) + b"\n"
    return put(b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(4000))


def _archive(**members: bytes) -> Damage:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return put(out.getvalue())


def _bomb() -> bytes:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 400), }"
    raw = header.encode() + b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + bytes(10**8)


def _hdf5(change: Callable[[h5py.File], object]) -> Damage:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as store:
            change(store)

    return damage


def _replace(store: h5py.File, name: str, value: object) -> None:
    del store[name]
    store[name] = value


_ANY: dict[str, Damage] = {
    "empty": put(b""),
    "text": put("no series\n" * 50),
    "binary": put(bytes(range(256)) * 20),
    "half": truncated(0.5),
    **NOT_HERE,
    **{name: damage for name, damage in NO_FILE.items() if name != "folder"},
}
_CASES: dict[str, dict[str, Damage]] = {
    "tsv": {
        "header-only": edit(lambda raw: raw.partition(b"\n")[0] + b"\n"),
        "without-header": edit(lambda raw: raw.partition(b"\n")[2].replace(b"\t", b"x\t", 1)),
        "a-cell-less": edit(lambda raw: raw[: raw.rstrip().rfind(b"\t")] + b"\n"),
        "a-cell-more": edit(lambda raw: raw.rstrip() + b"\t1.0\n"),
        "cell-text": _cell("no"),
        "cell-infinite": _cell("inf"),
        "cell-1e308": _cell("1e308"),
        "cell-digits-5000": _cell("9" * 5000),
        "column-unknown": edit(lambda raw: raw.replace(b"Vis_", b"Abc_", 1)),
        "column-twice": edit(lambda raw: raw.replace(b"_Vis_2\t", b"_Vis_1\t", 1)),
        "not-utf-8": edit(lambda raw: b"\xff" + raw),
        "utf-16": edit(lambda raw: raw.decode().encode("utf-16")),
        "nul-bytes": edit(lambda raw: raw.replace(b"\n", b"\0\n")),
        "gzip": edit(gzip.compress),
        "sparse-3-GB": sparse(3 * 10**9),
    },
    "npy": {
        "object": _array(lambda values: np.array([Evil(), values], dtype=object)),
        "text": _array(lambda values: values.astype(str)),
        "complex": _array(lambda values: values * 1j),
        "bool": _array(lambda values: values > 100),
        "one-axis": _array(lambda values: values[0]),
        "three-axes": _array(lambda values: values[None]),
        "no-frames": _array(lambda values: values[:0]),
        "other-columns": _array(lambda values: values[:, :333]),
        "nan": _array(lambda values: np.full_like(values, np.nan)),
        "infinite": _array(lambda values: np.full_like(values, np.inf)),
        "constant": _array(np.ones_like),
        "claims-terabytes": _header(
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 400), }"
        ),
        "claims-negative": _header(
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 400), }"
        ),
        "header-deep": _header("(" * 100),
        "header-calls": _header("{'descr': __import__('os').system('touch executed')}"),
        "pickle": put(pickle.dumps(Evil())),
    },
    "npz": {
        "no-member": _archive(),
        "member-text": _archive(bad=b"no array"),
        "member-outside": _archive(**{"../../bad": b"no array"}),
        "bomb": _archive(bad=_bomb()),
    },
    "h5": {
        "nothing": _hdf5(lambda store: [store.__delitem__(name) for name in list(store)]),
        "no-names": _hdf5(lambda store: store.__delitem__("long_subject_id")),
        "no-series": _hdf5(lambda store: store.__delitem__("timeseries")),
        "names-more": _hdf5(lambda store: _replace(store, "long_subject_id", [b"a", b"b"])),
        "series-text": _hdf5(
            lambda store: _replace(store, "timeseries/schaefer400", [b"a"])
        ),
        "series-of-other-atlas": _hdf5(
            lambda store: _replace(store, "timeseries/schaefer400", np.ones((1, 33, 120)))
        ),
        "external-link": _hdf5(
            lambda store: _replace(
                store, "timeseries/schaefer400", h5py.ExternalLink("/etc/passwd", "x")
            )
        ),
        "soft-link-loop": _hdf5(
            lambda store: _replace(store, "timeseries", h5py.SoftLink("/timeseries"))
        ),
        "claims-terabytes": _hdf5(
            lambda store: (
                store.__delitem__("timeseries/schaefer400"),
                store.create_dataset("timeseries/schaefer400", (1, 400, 10**10), "f4"),
            )
        ),
    },
}  # fmt: skip
_SIDECARS: dict[str, Damage] = NO_JSON | {
    name: damage for name, damage in (NO_FILE | NOT_HERE).items() if name != "folder"
}


def series_faults() -> Iterator[CallFault]:
    """Yield what can be wrong with one of two files of series."""
    for kind, damages in _CASES.items():
        for value, damage in (_ANY | damages).items():
            yield _one_of_two(f"series/{kind}/{value}", f"bad_task-rest.{kind}", damage)
    for value, damage in _SIDECARS.items():
        yield CallFault(
            name=f"series/sidecar/{value}",
            words=("series", "{here}/good.tsv", "{here}/bad.tsv", "{out}", *_CALL[:-4]),
            prepare=lambda scene, d=damage: _with_sidecars(scene, d),
            codes=frozenset({1}),
            says=("bad",),
            check=_good_is_embedded,
        )
    for name, inputs, code, says in (
        ("nowhere", ("{here}/nowhere.tsv",), 2, "nowhere.tsv"),
        ("an-empty-folder", ("{here}/empty",), 16, "empty"),
        ("folder-named-as-a-file", ("{here}/folder.tsv",), 16, "folder.tsv: expected sub-"),
        ("the-same-twice", ("{here}/good.tsv", "{here}/good.tsv"), 2, "would both be called"),
        ("output-in-place-of-input", (), 2, "INPUT"),
    ):
        yield CallFault(
            name=f"series/call/{name}",
            words=("series", *inputs, "{out}", *_CALL),
            prepare=_plain_inputs,
            codes=frozenset({code}),
            says=(says,),
            writes=False,
        )


def _one_of_two(name: str, file: str, damage: Damage) -> CallFault:
    def prepare(scene: Scene) -> None:
        _plain_inputs(scene)
        _write(scene.here / file)
        damage(scene.here / file)

    return CallFault(
        name=name,
        words=("series", "{here}/good.tsv", "{here}/" + file, "{out}", *_CALL),
        prepare=prepare,
        codes=frozenset({1}),
        says=("bad",),
        check=_good_is_embedded,
    )


def _plain_inputs(scene: Scene) -> None:
    _write(scene.here / "good.tsv")
    (scene.here / "empty").mkdir()
    (scene.here / "folder.tsv").mkdir()


def _with_sidecars(scene: Scene, damage: Damage) -> None:
    _plain_inputs(scene)
    _write(scene.here / "bad.tsv")
    for name in ("good", "bad"):
        (scene.here / f"{name}.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    damage(scene.here / "bad.json")


def _good_is_embedded(scene: Scene, answer: Answer) -> Iterator[str]:
    yield from nothing_was_run(scene, answer)
    found = {label: status["Status"] for label, status in statuses(scene.out).items()}
    if found.get("good") != "embedded":
        yield f"the file without a fault was not embedded: {found}"
    if "embedded" in [status for label, status in found.items() if label != "good"]:
        yield "the file with a fault was embedded"
