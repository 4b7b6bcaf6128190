"""Options with values that they cannot take, and places that are not what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults import CallFault
from scenes import PARTICIPANT

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRONG: dict[str, tuple[str, ...]] = {
    "--participant-label": (
        "",
        " ",
        "0 1",
        "sub-",
        "0goo",
        "0good,nosuch",
        "-",
        "*",
        "ü",
        "01/02",
    ),
    "--exclude-participant-label": ("", "nosuch", "a_b"),
    "--session-label": ("", "a_b", "*"),
    "--task-id": ("", "re st!", "re*t"),
    "--run-label": ("", "1.5", "-1"),
    "--space": ("", "T1w", "mni", "MNI152NLin2009casym"),
    "--bids-filter-file": ("", "/nowhere.json", "/", "/dev/null"),
    "--derivatives": ("", "/nowhere", "/etc/passwd"),
    "--atlas": ("", "/nowhere-at-all", "/etc/passwd"),
    "--denoise-strategy": ("", "nosuch", "/nowhere.json", "/", "../default", "default.json"),
    "--fd-threshold": ("", "-1", "nan", "inf", "1e999", "half", "0,5", "0.5mm"),
    "--high-pass": ("", "0", "-0.01", "nan", "inf", "1e999", "1e-12", "low", "0.2", "0,01"),
    "--low-pass": ("", "0", "-0.1", "nan", "inf", "high", "0.005"),
    "--min-coverage": ("", "-0.1", "1.1", "nan", "inf", "half"),
    "--dummy-scans": ("", "-1", "1.5", "nan", "many", "9" * 400),
    "--tr": ("", "0", "-2", "nan", "inf", "1e999", "2s", "2,0", "9" * 400),
    "--normalization": ("", "none", "Robust"),
    "--batch-size": ("", "0", "-1", "1.5", "nan", "many"),
    "--n-cpus": ("", "0", "-1", "1.5", "all"),
    "--mem": ("", "0", "-8G", "8X", "nan", "inf", "G", "8 8"),
    "--device": ("", "gpu", "cuda:x", "cuda:-1", "cuda:99", "mps", "cpu:1", "CPU0"),
    "--config-file": ("", "/nowhere.toml", "/", "/dev/null/x"),
}
_NO_USAGE = {
    ("--atlas", "/nowhere-at-all"): 78,
    ("--atlas", "/etc/passwd"): 78,
    ("--atlas", ""): 78,
}
"""Told as what they name: an atlas"""


def option_faults() -> Iterator[CallFault]:
    """Yield wrong values of options: told as usage, before anything is read or written."""
    for flag, values in _WRONG.items():
        for value in values:
            yield CallFault(
                name=f"option/{flag[2:]}/{value[:20] or 'nothing'}",
                words=(*PARTICIPANT, flag, value.replace("{", "{{")),
                codes=frozenset({_NO_USAGE.get((flag, value), 2)}),
                says=(rf"{flag}|{flag[2:].replace('-', '[-_ ]')}",),
                writes=False,
                seconds=10,
            )
    yield from _calls()


def _calls() -> Iterator[CallFault]:
    """Yield calls that are wrong as a whole."""
    more = PARTICIPANT[2:]
    usage, no_input, place, selection, checkpoint = 2, 16, 73, 18, 78
    cases: dict[str, tuple[tuple[str, ...], int, str]] = {
        "no-words": ((), usage, "BIDS_DIR"),
        "one-word": (("{bids}",), usage, "OUTPUT_DIR"),
        "no-level": (("{bids}", "{out}"), usage, "ANALYSIS_LEVEL"),
        "level-unknown": (("{bids}", "{out}", "session"), 17, "session.*participant"),
        "level-empty": (("{bids}", "{out}", ""), 17, "not one of .participant"),
        "input-nowhere": (("{here}/nowhere", "{out}", *more), no_input, "nowhere: no such folder"),
        "input-empty-name": (("", "{out}", *more), no_input, r"no sub-\* folder"),
        "input-a-file": (
            ("{bids}/dataset_description.json", "{out}", *more), no_input, "not a folder",
        ),
        "input-a-scan": (
            ("{bids}/sub-0good/func", "{out}", *more), no_input, "This one would work: .*/in$",
        ),
        "input-a-device": (("/dev/null", "{out}", *more), no_input, "not a folder"),
        "output-a-file": (
            ("{bids}", "{bids}/dataset_description.json", *more), usage, "is a file",
        ),
        "output-is-input": (("{bids}", "{bids}", *more), usage, "inside the input"),
        "output-in-a-participant": (
            ("{bids}", "{bids}/sub-0good", *more), usage, "inside the input",
        ),
        "output-in-a-func": (
            ("{bids}", "{bids}/sub-0good/func/o", *more), usage, "inside the input",
        ),
        "output-a-device": (("{bids}", "/dev/null", *more), place, "is a file"),
        "output-below-a-file": (("{bids}", "/etc/passwd/out", *more), place, "is a file"),
        "output-name-too-long": (
            ("{bids}", "{here}/" + "o" * 300, *more), place, "name too long",
        ),
        "output-path-too-long": (
            ("{bids}", "{here}" + "/oo" * 1500, *more), place, "name too long",
        ),
        "option-unknown": ((*PARTICIPANT, "--no-such-option"), usage, "--no-such-option"),
        "option-without-value": ((*PARTICIPANT, "--tr"), usage, "--tr"),
        "word-too-many": ((*PARTICIPANT, "another"), usage, "another"),
        "group-dry-run": (("{bids}", "{out}", "group", "--dry-run"), usage, "--dry-run"),
        "group-without-output": (
            ("{bids}", "{out}", "group"), no_input, "no participant outputs",
        ),
        "participant-excluded": (
            (*PARTICIPANT, "--exclude-participant-label", "0good", "zgood"), selection, "exclude",
        ),
        "task-that-is-not-there": ((*PARTICIPANT, "--task-id", "nosuch"), selection, "nosuch"),
        "checkpoint-nowhere": (
            (*PARTICIPANT, "--checkpoint", "/nowhere"), checkpoint, "/nowhere: not a checkpoint",
        ),
        "checkpoint-a-text": (
            (*PARTICIPANT, "--checkpoint", "{bids}/dataset_description.json"), checkpoint,
            "not a checkpoint",
        ),
        "checkpoint-a-folder": (
            (*PARTICIPANT, "--checkpoint", "{bids}"), checkpoint, "not a checkpoint",
        ),
        "checkpoint-nothing": (
            (*PARTICIPANT, "--checkpoint", ""), checkpoint, "not a checkpoint",
        ),
        "atlas-a-folder": ((*PARTICIPANT, "--atlas", "{bids}"), checkpoint, "no atlas"),
    }  # fmt: skip
    for name, (words, code, says) in cases.items():
        yield CallFault(
            name=f"call/participant/{name}",
            words=words,
            codes=frozenset({code}),
            says=(says,),
            writes=False,
            seconds=10,
        )
