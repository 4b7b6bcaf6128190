"""Play faults and judge what became of them; scans with faults share an invocation."""

from __future__ import annotations

import re
import shutil
import warnings
from typing import TYPE_CHECKING

from faults import (
    MOST_MIB,
    NEVER,
    CallFault,
    OutputFault,
    ScanFault,
    Verdict,
    said_against,
    unsaid,
)
from scenes import FIRST, LAST, PARTICIPANT, look, numbers, statuses, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from faults import Fault
    from scenes import Answer, Images, Look, Scene, Stage

_TOGETHER = 60
"""Scans with faults in one invocation"""


def play_all(faults: Sequence[Fault], stage: Stage, *, keep: bool = False) -> Iterator[Verdict]:
    """Yield a verdict for every fault.

    Parameters
    ----------
    keep
        Leave the files of faults that were lost where they are.
    """
    for fault in faults:
        if isinstance(fault, CallFault):
            yield _call(fault, stage, keep=keep)
    for batch in _batches([fault for fault in faults if not isinstance(fault, CallFault)]):
        yield from _together(batch, stage, keep=keep)


def _batches(faults: Sequence[ScanFault | OutputFault]) -> Iterator[list[ScanFault | OutputFault]]:
    """Divide faults into those that can share an invocation."""
    open_batches: dict[object, list[ScanFault | OutputFault]] = {}
    for fault in faults:
        if fault.alone:
            yield [fault]
            continue
        key = (type(fault), _of_call(fault))
        batch = open_batches.setdefault(key, [])
        batch.append(fault)
        if len(batch) == _TOGETHER:
            yield open_batches.pop(key)
    yield from open_batches.values()


def _together(
    faults: Sequence[ScanFault | OutputFault], stage: Stage, *, keep: bool
) -> Iterator[Verdict]:
    """Play faults in one invocation; where it ends as a whole, in halves, to find which did it."""
    play = _play_scans if isinstance(faults[0], ScanFault) else _play_outputs
    scene, answer, verdicts = play(faults, stage)  # type: ignore[arg-type]
    normal = stage.embedded(*_of_call(faults[0]))
    common = _common(scene, answer, normal, several=len(faults) > 1)
    if common and len(faults) > 1:
        shutil.rmtree(scene.here, ignore_errors=True)
        half = len(faults) // 2
        yield from _together(faults[:half], stage, keep=keep)
        yield from _together(faults[half:], stage, keep=keep)
        return
    kept = keep and (common or any(verdict.lost for verdict in verdicts))
    for verdict in verdicts:
        lost = common or verdict.lost
        yield Verdict(
            fault=verdict.fault,
            lost=lost,
            seconds=answer.seconds / len(faults),
            command=answer.command,
            kept=str(scene.here) if kept and lost else "",
        )
    if not kept:
        shutil.rmtree(scene.here, ignore_errors=True)


def _of_call(fault: ScanFault | OutputFault) -> tuple[tuple[str, ...], Images]:
    """Return what faults must share to be played in one invocation: options and kind of images."""
    return (fault.words, fault.images) if isinstance(fault, ScanFault) else ((), "volume")


def _play_scans(faults: Sequence[ScanFault], stage: Stage) -> tuple[Scene, Answer, list[Verdict]]:
    labels = [f"f{number:03}" for number in range(len(faults))]
    scene = stage.scene(labels, faults[0].images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers beyond their type are meant
        for fault, label in zip(faults, labels, strict=True):
            fault.damage(scene.victim(label))
    before = look(scene.bids)
    words = (*PARTICIPANT, *faults[0].words)
    answer = stage.play(words, scene, seconds=14 + 0.5 * len(faults))
    after = look(scene.bids)
    ended, normal = (
        statuses(scene.out),
        numbers(written(stage.embedded(*_of_call(faults[0])), FIRST)),
    )
    verdicts = []
    for fault, label in zip(faults, labels, strict=True):
        found = ended.get(label, {"Status": "left out", "Reason": _lines_on(label, answer)})
        lost = fault.promise.broken_by(
            status=found["Status"],
            reason=str(found["Reason"]),
            flags=[name for name, on in (found.get("QC", {}).get("flags") or {}).items() if on],
            same=numbers(written(scene.out, label)) == normal,
        )
        lost += _changed_inputs(before, after, label)
        if len(faults) == 1:
            lost += _greedy(answer)
        verdicts.append(Verdict(fault=fault.name, lost=lost))
    return scene, answer, verdicts


def _play_outputs(
    faults: Sequence[OutputFault], stage: Stage
) -> tuple[Scene, Answer, list[Verdict]]:
    labels = [f"f{number:03}" for number in range(len(faults))]
    scene = stage.scene(labels)
    first = stage.play(PARTICIPANT, scene, seconds=120)
    if first.code != 0:
        raise RuntimeError(first.text)
    whole = {label: written(scene.out, label) for label in labels}
    for fault, label in zip(faults, labels, strict=True):
        fault.damage(scene.victim(label), scene.out)
    before = look(scene.bids)
    answer = stage.play(PARTICIPANT, scene, seconds=15 + 0.5 * len(faults))
    after = look(scene.bids)
    logs = sorted(scene.out.glob("logs/*/status.tsv"), key=lambda path: path.stat().st_mtime_ns)
    ended = logs[-1].read_text()
    verdicts = []
    for fault, label in zip(faults, labels, strict=True):
        (line,) = re.findall(rf"(?m)^sub-{label}_.*$", ended)[-1:] or [""]
        ending = {
            "redone": "embedded\tnow", "kept": "embedded\tearlier", "named": "failed\tnow"
        }  # fmt: skip
        lost = unsaid([ending[fault.promise]], line) + said_against(NEVER, line)
        now = whole[label] if fault.promise == "named" else written(scene.out, label)
        # What is not ours is not compared, nor are the times of inputs that were touched.
        differing = sorted(n for n, sha in whole[label].items() if now.get(n) != sha)
        if fault.inputs:
            differing = [name for name in differing if not name.endswith("_status.json")]
        lost += [f"differs from the first invocation: {', '.join(differing)}"] if differing else []
        lost += _changed_inputs(before, after, label)
        verdicts.append(Verdict(fault=fault.name, lost=lost))
    return scene, answer, verdicts


def _common(scene: Scene, answer: Answer, normal: Path, *, several: bool) -> list[str]:
    """Say what an invocation as a whole did not do as promised."""
    if answer.code is None:
        return [f"did not end within {answer.seconds:.0f} s"]
    ended = statuses(scene.out)
    failed = any(found["Status"] == "failed" for found in ended.values())
    # What has no status may be one that was asked for all the same.
    all_known = len(ended) == len(list(scene.bids.glob("sub-*")))
    lost = []
    if answer.code != int(failed) and (all_known or answer.code != 1):
        lost.append(f"exit code {answer.code}: {answer.text[-500:]}")
    lost += [
        f"sub-{label}, which has no fault, was not done as without the others"
        for label in (FIRST, LAST)
        if written(scene.out, label) != written(normal, label)
    ]
    lost += said_against((r"Traceback \(most",), answer.text)
    lost += [f"left behind: {path.name}" for path in scene.out.rglob("*.part")]
    if several and answer.mib > 1500:  # one of them took it
        lost.append(f"took {answer.mib:.0f} MiB")
    return lost


def _call(fault: CallFault, stage: Stage, *, keep: bool) -> Verdict:
    scene = stage.scene(())
    if fault.embedded:
        # Times are not part of what a status compares; hard links would let damage spread.
        shutil.copytree(stage.embedded(), scene.out, symlinks=True)
    if fault.prepare is not None:
        fault.prepare(scene)
    places = [scene.bids] if fault.writes else [scene.bids, scene.out]
    before = {place: look(place) for place in places if place.exists()}
    answer = stage.play(
        fault.words, scene, seconds=fault.seconds, program=fault.program, offline=fault.offline
    )
    lost = []
    if answer.code is None:
        lost.append(f"did not end within {answer.seconds:.0f} s: {answer.text[-300:]}")
    elif answer.code not in fault.codes:
        wanted = " or ".join(map(str, sorted(fault.codes)))
        lost.append(f"exit code {answer.code}, promised {wanted}: {answer.text[-500:]}")
    elif answer.code:
        lost += unsaid(fault.says, answer.text)
    lost += said_against((*NEVER, *fault.never), answer.text)
    for place in places:
        lost += _changes(before.get(place, {}), look(place) if place.exists() else {})
    lost += [f"left behind: {path.name}" for path in scene.out.rglob("*.part")]
    lost += _greedy(answer)
    if fault.check is not None:
        lost += fault.check(scene, answer)
    kept = keep and bool(lost)
    if not kept:
        shutil.rmtree(scene.here, ignore_errors=True)
    return Verdict(
        fault=fault.name,
        lost=lost,
        seconds=answer.seconds,
        command=answer.command,
        kept=str(scene.here) if kept else "",
    )


def _greedy(answer: Answer) -> list[str]:
    return [f"took {answer.mib:.0f} MiB"] if answer.mib > MOST_MIB else []


def _changed_inputs(before: Look, after: Look, label: str) -> list[str]:
    paths = [path for path in before if f"sub-{label}" in path and _differ(before, after, path)]
    return [f"the input was changed: {path}" for path in paths]


def _changes(before: Look, after: Look) -> list[str]:
    paths = sorted({*before, *after})
    return [f"changed: {path}" for path in paths if _differ(before, after, path)][:3]


def _differ(before: Look, after: Look, path: str) -> bool:
    return before.get(path) != after.get(path)


def _lines_on(label: str, answer: Answer) -> str:
    lines = [line for line in answer.text.splitlines() if f"sub-{label}" in line]
    return "; ".join(lines) or f"not a word; the invocation said: {answer.text[-300:]}"
