"""What a fault is: something that is wrong, and what semantoks promises to do about it.

A promise is what the user is told in docs and issues, never what the code happens to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from scenes import Answer, Images, Scene, Victim

NEVER = (
    r"\bunexpected \w+:",
    r"Traceback",
    r"np\.float",
    r"\bNoneType\b",
    r"object has no attribute",
)
"""In no reason and on no terminal: words for our own bugs, or of Python alone."""
MOST_MIB = 1000
"""Memory that an invocation may take beyond what it begins with"""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """How a scan must end."""

    statuses: frozenset[str]
    """Of ``embedded``, ``excluded``, ``failed``; ``left out``: it has no status at all"""
    says: tuple[str, ...] = ()
    """Patterns that the reason must hold, unless it is embedded"""
    flags: tuple[str, ...] = ()
    """Patterns, each of a flag that must be raised, if it is embedded"""
    same: bool = False
    """If it is embedded, then with the numbers of the scan without the fault"""

    def broken_by(
        self, *, status: str, reason: str, flags: Iterable[str], same: bool
    ) -> list[str]:
        """Say what was not as promised."""
        if status not in self.statuses:
            wanted = " or ".join(sorted(self.statuses))
            return [f"{status}, promised {wanted}: {reason or 'no reason'}"]
        if status == "embedded":
            raised = list(flags)
            return [
                *(f"no flag like {p}: {raised}" for p in self.flags if not _any(p, raised)),
                *(["embedded with other numbers"] if self.same and not same else []),
            ]
        return [*unsaid(self.says, reason), *said_against(NEVER, reason)]


def unsaid(patterns: Iterable[str], text: str) -> list[str]:
    """Say which patterns a text lacks."""
    return [f"does not say {p!r}: {text[-400:]}" for p in patterns if not _any(p, [text])]


def said_against(patterns: Iterable[str], text: str) -> list[str]:
    """Say which patterns a text holds that it must not hold."""
    return [f"says {p!r}: {text[-400:]}" for p in patterns if _any(p, [text])]


def _any(pattern: str, texts: Iterable[str]) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for text in texts)


def named(*says: str) -> Promise:
    """It fails, with a reason that holds these patterns."""
    return Promise(statuses=frozenset({"failed"}), says=says)


def refused(*says: str) -> Promise:
    """It fails, or is excluded, with a reason that holds these patterns."""
    return Promise(statuses=frozenset({"failed", "excluded"}), says=says)


def excluded(*says: str) -> Promise:
    """It is excluded, with a reason that holds these patterns."""
    return Promise(statuses=frozenset({"excluded"}), says=says)


def harmless() -> Promise:
    """It is embedded as if nothing were wrong."""
    return Promise(statuses=frozenset({"embedded"}), same=True)


def sound(*says: str) -> Promise:
    """Refused, with a reason that holds these patterns, or harmless: never other numbers."""
    return Promise(statuses=frozenset({"embedded", "failed", "excluded"}), says=says, same=True)


def flagged(*flags: str) -> Promise:
    """It is embedded, with other numbers, and flags say so."""
    return Promise(statuses=frozenset({"embedded"}), flags=flags)


def flagged_or_refused(*flags: str) -> Promise:
    """It is embedded with flags, or refused with any reason."""
    return Promise(statuses=frozenset({"embedded", "failed", "excluded"}), flags=flags)


def anyhow(*says: str) -> Promise:
    """It ends in any way; a reason, if there is one, holds these patterns and no bug of ours."""
    return Promise(statuses=frozenset({"embedded", "failed", "excluded"}), says=says)


@dataclass(frozen=True, kw_only=True)
class ScanFault:
    """Something wrong with one scan: it costs that scan and nothing else."""

    name: str
    """``kind/file/value``"""
    damage: Callable[[Victim], object]
    promise: Promise
    words: tuple[str, ...] = ()
    """Further options of the invocation"""
    images: Images = "volume"
    alone: bool = False
    """In an invocation of its own: it might never end, or take all memory"""


@dataclass(frozen=True, kw_only=True)
class OutputFault:
    """Something wrong with what was written of a scan: the next invocation mends it."""

    name: str
    damage: Callable[[Victim, Path], object]
    """Of the victim and the output folder that holds its outputs"""
    promise: Literal["redone", "kept", "named"] = "redone"
    """``kept``: nothing is lost, and nothing is done again; ``named``: it fails, and says why"""
    inputs: bool = False
    """It is the input that was changed"""
    alone: bool = False


@dataclass(frozen=True, kw_only=True)
class CallFault:
    """Something wrong with an invocation as a whole."""

    name: str
    words: tuple[str, ...]
    """The command line, with ``{bids}``, ``{out}``, ``{atlas}``, ``{checkpoint}``, ``{here}``"""
    codes: frozenset[int]
    says: tuple[str, ...] = ()
    """Patterns that the terminal must show, unless the exit code is 0"""
    never: tuple[str, ...] = ()
    prepare: Callable[[Scene], object] | None = None
    embedded: bool = False
    """The output folder holds both scans of the scene already"""
    writes: bool = True
    """False: the output folder is left as it was"""
    check: Callable[[Scene, Answer], Iterable[str]] | None = None
    """Says what else was not as promised"""
    offline: bool = False
    """Any use of a network ends it"""
    seconds: float = 20
    program: Literal["semantoks", "semantoks-model"] = "semantoks"


Fault: TypeAlias = ScanFault | OutputFault | CallFault


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one fault."""

    fault: str
    lost: list[str] = field(default_factory=list)
    """What was not as promised; empty: all was"""
    seconds: float = 0.0
    command: str = ""
    kept: str = ""
    """Where the files lie, if they were kept"""
