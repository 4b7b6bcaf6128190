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
    ("--atlas", ""),
    ("--atlas", "/nowhere-at-all"),
    ("--atlas", "/etc/passwd"),
    ("--derivatives", "/nowhere"),
}
"""Told as what they name: an atlas, an input"""


def option_faults() -> Iterator[CallFault]:
    """Yield wrong values of options: told as usage, before anything is read or written."""
    for flag, values in _WRONG.items():
        for value in values:
            yield CallFault(
                name=f"option/{flag[2:]}/{value[:20] or 'nothing'}",
                words=(*PARTICIPANT, flag, value.replace("{", "{{")),
                codes=frozenset({2, 16, 78} if (flag, value) in _NO_USAGE else {2}),
                says=(rf"{flag}|{flag[2:].replace('-', '[-_ ]')}",),
                writes=False,
                seconds=10,
            )
    yield from _calls()


def _calls() -> Iterator[CallFault]:
    """Yield calls that are wrong as a whole."""
    cases: dict[str, tuple[tuple[str, ...], set[int]]] = {
        "no-words": ((), {2}),
        "one-word": (("{bids}",), {2}),
        "no-level": (("{bids}", "{out}"), {2}),
        "level-unknown": (("{bids}", "{out}", "session"), {17}),
        "level-empty": (("{bids}", "{out}", ""), {17}),
        "input-nowhere": (("{here}/nowhere", "{out}", *PARTICIPANT[2:]), {2, 16}),
        "input-empty-name": (("", "{out}", *PARTICIPANT[2:]), {2, 16}),
        "input-a-file": (("{bids}/dataset_description.json", "{out}", *PARTICIPANT[2:]), {2, 16}),
        "input-a-scan": (("{bids}/sub-0good/func", "{out}", *PARTICIPANT[2:]), {2, 16}),
        "input-a-device": (("/dev/null", "{out}", *PARTICIPANT[2:]), {2, 16}),
        "output-a-file": (
            ("{bids}", "{bids}/dataset_description.json", *PARTICIPANT[2:]), {2, 73},
        ),
        "output-is-input": (("{bids}", "{bids}", *PARTICIPANT[2:]), {2}),
        "output-in-a-participant": (("{bids}", "{bids}/sub-0good", *PARTICIPANT[2:]), {2}),
        "output-in-a-func": (("{bids}", "{bids}/sub-0good/func/o", *PARTICIPANT[2:]), {2}),
        "output-a-device": (("{bids}", "/dev/null", *PARTICIPANT[2:]), {2, 73}),
        "output-below-a-file": (("{bids}", "/etc/passwd/out", *PARTICIPANT[2:]), {2, 73}),
        "output-name-too-long": (("{bids}", "{here}/" + "o" * 300, *PARTICIPANT[2:]), {2, 73}),
        "output-path-too-long": (("{bids}", "{here}" + "/oo" * 1500, *PARTICIPANT[2:]), {2, 73}),
        "option-unknown": ((*PARTICIPANT, "--no-such-option"), {2}),
        "option-without-value": ((*PARTICIPANT, "--tr"), {2}),
        "word-too-many": ((*PARTICIPANT, "another"), {2}),
        "group-dry-run": (("{bids}", "{out}", "group", "--dry-run"), {2}),
        "group-without-output": (("{bids}", "{out}", "group"), {2, 16}),
        "participant-excluded": (
            (*PARTICIPANT, "--exclude-participant-label", "0good", "zgood"), {18},
        ),
        "task-that-is-not-there": ((*PARTICIPANT, "--task-id", "nosuch"), {18}),
        "checkpoint-nowhere": ((*PARTICIPANT, "--checkpoint", "/nowhere"), {78}),
        "checkpoint-a-text": (
            (*PARTICIPANT, "--checkpoint", "{bids}/dataset_description.json"), {78},
        ),
        "checkpoint-a-folder": ((*PARTICIPANT, "--checkpoint", "{bids}"), {78}),
        "checkpoint-nothing": ((*PARTICIPANT, "--checkpoint", ""), {2, 78}),
        "atlas-a-folder": ((*PARTICIPANT, "--atlas", "{bids}"), {78}),
    }  # fmt: skip
    for name, (words, codes) in cases.items():
        yield CallFault(
            name=f"call/participant/{name}",
            words=words,
            codes=frozenset(codes),
            says=("error",),
            writes=False,
            seconds=10,
        )
