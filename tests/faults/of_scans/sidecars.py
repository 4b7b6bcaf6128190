"""Sidecars of images: what is no JSON, and values that no sidecar should hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from damage import NO_FILE, NO_JSON, NOT_HERE, edit_json, put, remove, sparse
from faults import Promise, ScanFault, harmless, named, refused, sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from damage import Damage
    from scenes import Victim

TR = r"RepetitionTime|repetition time|\bTR\b"
_TIMES: dict[str, tuple[object, Promise]] = {
    "text": ("2.0", harmless()),
    "text-with-unit": ("2.0 s", sound(TR)),
    "text-comma": ("2,0", named(TR)),
    "text-word": ("two", named(TR)),
    "list-of-one": ([2.0], harmless()),
    "list-of-two": ([2.0, 2.0], sound(TR)),
    "list-of-other": ([1.0, 3.0], named(TR)),
    "list-empty": ([], named(TR)),
    "object": ({"value": 2.0}, named(TR)),
    "whole-number": (2, harmless()),
    "true": (True, named(TR)),
    "null": (None, sound(TR)),
    "zero": (0, named(TR)),
    "negative": (-2.0, named(TR)),
    "tiny": (1e-300, named(TR)),
    "denormal": (5e-324, named(TR)),
    "milliseconds": (2000, named(TR)),
    "huge": (1e308, named(TR)),
    "beyond-float": (b"1e999", named(TR)),
    "nan": (b"NaN", named(TR)),
    "infinity": (b"Infinity", named(TR)),
    "digits-401": (b"2" * 401, named(f"{TR}|digits")),
    "digits-300": (b"2" * 300, named(TR)),
    "fraction-of-401-digits": (b"2." + b"0" * 401, harmless()),
    "another": (3.0, named(TR, "header")),
    "surrogate": (b'"\\ud800"', named(TR)),
    "empty-text": ("", named(TR)),
}
_STARTS: dict[str, tuple[object, Promise]] = {
    "text": ("1.0", sound("StartTime")),
    "list-of-one": ([1.0], sound("StartTime")),
    "word": ("half", named("StartTime")),
    "null": (None, Promise(statuses=frozenset({"embedded", "failed"}), says=("StartTime",))),
    "true": (True, named("StartTime")),
    "nan": (b"NaN", named("StartTime")),
    "infinity": (b"-Infinity", named("StartTime")),
    "beyond-float": (b"1e999", named("StartTime")),
    "digits-401": (b"1" * 401, named("StartTime|digits")),
    "object": ({}, named("StartTime")),
}
_OTHERS: dict[str, tuple[dict[str, object], Promise]] = {
    "VolumeTiming/list": ({"VolumeTiming": [0, 2, 9]}, refused("VolumeTiming|sparse")),
    "TaskName/surrogate": ({"TaskName": b'"\\ud800"'}, sound()),
    "TaskName/html": ({"TaskName": "<script>alert(1)</script>"}, sound()),
    "TaskName/nul": ({"TaskName": "a\0b"}, sound()),
    "TaskName/number": ({"TaskName": 7}, sound()),
    "SkullStripped/nan": ({"SkullStripped": b"NaN"}, sound("SkullStripped")),
    "SkullStripped/surrogate": ({"SkullStripped": b'"\\udfff"'}, sound("SkullStripped")),
    "SkullStripped/text": ({"SkullStripped": "yes"}, sound("SkullStripped")),
    "SkullStripped/null": ({"SkullStripped": None}, sound("SkullStripped")),
    "SkullStripped/list": ({"SkullStripped": []}, sound("SkullStripped")),
    "SkullStripped/digits-401": ({"SkullStripped": b"1" * 401}, sound("SkullStripped|digits")),
    "SliceTimingCorrected/nan": ({"SliceTimingCorrected": b"NaN"}, sound()),
    "SliceTimingCorrected/text": ({"SliceTimingCorrected": "no"}, sound()),
    "SliceTiming/text": ({"SliceTiming": "0, 1"}, sound()),
    "Sources/deep": ({"Sources": b"[" * 900 + b"]" * 900}, sound()),
    "AnyKey/beyond-float": ({"FlipAngle": b"1e999"}, sound()),
    "AnyKey/digits-401": ({"FlipAngle": b"9" * 401}, sound("digits|number")),
    "AnyKey/nan": ({"FlipAngle": b"NaN"}, sound()),
    "AnyKey/long-text": ({"Long": "x" * 3_000_000}, sound()),
}


def sidecar_faults() -> Iterator[ScanFault]:
    """Yield what can be wrong with the sidecars of an image."""
    for name, damage in (NO_JSON | NOT_HERE | NO_FILE).items():
        alone = name in ("fifo", "zeros-without-end", "deep-value", "deep-objects")
        says = "datalad get" if name in NOT_HERE else r"bold\.json"
        yield ScanFault(
            name=f"json/sidecar/{name}",
            damage=_on_sidecar(damage),
            promise=named(r"bold\.json", says),
            alone=alone,
        )
        yield ScanFault(
            name=f"json/inherited-sidecar/{name}",
            damage=_inherited(damage),
            promise=named(r"task-rest_bold\.json", says),
            alone=alone,
        )
    yield ScanFault(
        name="json/sidecar/sparse-3-GB",
        damage=_on_sidecar(sparse(3 * 10**9)),
        promise=named(r"bold\.json"),
        alone=True,
    )
    yield ScanFault(
        name="json/sidecar/byte-order-mark",
        damage=_on_sidecar(lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())),
        promise=harmless(),
    )
    yield ScanFault(
        name="json/sidecar/carriage-returns",
        damage=_on_sidecar(
            lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        ),
        promise=harmless(),
    )
    yield ScanFault(
        name="json/sidecar/missing",
        damage=_on_sidecar(remove),
        promise=_own_start(),
    )
    for key, values in {"RepetitionTime": _TIMES, "StartTime": _STARTS}.items():
        for name, (value, promise) in values.items():
            yield ScanFault(
                name=f"value/{key}/{name}",
                damage=_on_sidecar(edit_json(**{key: value})),
                promise=promise,
            )
    for name, (keys, promise) in _OTHERS.items():
        yield ScanFault(
            name=f"value/{name}", damage=_on_sidecar(edit_json(**keys)), promise=promise
        )
    yield from _rescued()
    yield ScanFault(
        name="value/AcquisitionDuration/without-tr",
        damage=_on_sidecar(put(json.dumps({"AcquisitionDuration": 1.0, "VolumeTiming": [0, 2]}))),
        promise=refused("VolumeTiming|sparse"),
    )
    yield ScanFault(
        name="value/RepetitionTime/inherited-other",
        damage=_inherited(put('{"RepetitionTime": 3.0}')),
        promise=harmless(),  # the nearer sidecar leads
    )


def _rescued() -> Iterator[ScanFault]:
    """Yield what ``--tr`` makes good."""
    for name in ("text-word", "list-of-other", "zero", "milliseconds", "another", "null", "nan"):
        value, _ = _TIMES[name]
        yield ScanFault(
            name=f"value/RepetitionTime/{name}-with-option",
            damage=_on_sidecar(edit_json(RepetitionTime=value)),
            promise=harmless(),
            words=("--tr", "2.0"),
        )


def _own_start() -> Promise:
    """Promise no numbers: without StartTime the series begins elsewhere, as documented."""
    return Promise(statuses=frozenset({"embedded"}))


def _on_sidecar(damage: Damage):
    return lambda victim: damage(victim.sidecar)


def _inherited(damage: Damage):
    def plant(victim: Victim) -> None:
        path = victim.file("bold.json")
        path.write_text('{"RepetitionTime": 2.0}')
        damage(path)

    return plant
