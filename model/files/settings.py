"""Settings, taken strictly: annotations say what each may be, and all faults are told at once.

How a setting is given on a command line is declared at its field too:

    tr_s: Annotated[Positive | None, Option("--tr", "Seconds between frames.")] = None

`model.cli.program` makes the command line of such fields, and of what was given an instance.
"""

from __future__ import annotations

import math
import sys
from dataclasses import KW_ONLY, MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_T = TypeVar("_T", bound="Strict")
_WORDS = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    NoneType: "nothing",
    Path: "a path",
    dict: "an object",
    list: "a list",
}
_KEYS, _KEY = 8, 40
"""Unknown keys in a message, and characters of each: the file may be none of settings."""


@dataclass(frozen=True)
class Option:
    """A flag and what may follow it."""

    spellings: str
    """With dashes, separated by blanks; the first is the name in messages and files."""
    help: str
    _: KW_ONLY
    metavar: str | None = None
    value: Any = None
    """What the field is where the flag is given; None: what follows the flag."""
    choices: Iterable[str] = ()
    """Of a field whose type does not name them."""
    path: Literal["", "any", "file", "folder", "checkpoint"] = ""
    """What a path must lead to; empty: it need not exist, or is no path. A checkpoint is a path,
    or the name of an installed one."""
    read: Callable[[Any], Any] | None = None
    """Makes the field's value of the words; may raise a `SemantoksError` that names the flag."""
    required: bool = False
    count: bool = False
    """The flag may be repeated, and the field is how often it was."""

    @property
    def flag(self) -> str:
        """Such as ``--task-id``."""
        return self.spellings.split()[0]

    @property
    def name(self) -> str:
        """Such as ``task_id``."""
        return self.flag.lstrip("-").replace("-", "_")


def without_options(annotation: Any) -> tuple[Any, list[Option]]:
    """Return the annotation of a field without its options, and these."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    kind, *extras = get_args(annotation)
    for extra in extras:
        kind = kind if isinstance(extra, Option) else Annotated[kind, extra]
    return kind, [extra for extra in extras if isinstance(extra, Option)]


class Limits(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float
    words: str


Count = Annotated[int, Limits(1, math.inf, "at least 1")]
CountOrZero = Annotated[int, Limits(0, math.inf, "at least 0")]
Seed = Annotated[int, Limits(0, (1 << 63) - 1, "from 0 to 2^63 - 1")]
Share = Annotated[float, Limits(0, 1, "from 0 to 1")]
NotNegative = Annotated[float, Limits(0, math.inf, "at least 0")]
Positive = Annotated[float, Limits(math.ulp(0.0), math.inf, "above 0")]


class Strict:
    """Base of frozen dataclasses that hold what their annotations say, whoever fills them in.

    A list may stand for a tuple, which it becomes, and a whole number for any number; numbers
    are finite and within the limits that `typing.Annotated` gives them.

    Raises
    ------
    ConfigError
        Names every field that holds something else.
    """

    def __post_init__(self) -> None:
        wrong = []
        settings: type = type(self)
        for name, (kind, shown) in _kinds(settings).items():
            value = getattr(self, name)
            if isinstance(value, list) and get_origin(kind) is tuple:
                value = tuple(value)
                object.__setattr__(self, name, value)
            if not fits(value, kind):
                wrong.append(f"{shown} {value!r:.80} (expected {in_words(kind)})")
        if wrong:
            raise ConfigError(f"found {', '.join(wrong)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return what a file holds of them; `from_dict` makes them of it again."""
        own: Any = self
        return {f.name: _plain(getattr(self, f.name)) for f in fields(own)}


def _plain(value: Any) -> Any:
    if isinstance(value, Strict):
        return value.to_dict()
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


def from_dict(kind: type[_T], values: Any, *, where: str) -> _T:
    """Build settings from what a file holds.

    Parameters
    ----------
    values
        Mapping of the fields; anything else is refused.
    where
        Begins the message.

    Raises
    ------
    ConfigError
        Names every key that is unknown or missing, or else every one that is of another kind.
    """
    check_keys(kind, values, where=where)
    try:
        return kind(**{name: _built(kind, name, value) for name, value in values.items()})
    except ConfigError as err:
        raise ConfigError(f"{where}: {err.message}", hint=err.hint) from err


def _built(settings: Any, name: str, value: Any) -> Any:
    """Build the settings that a list of mappings stands for; anything else stays as it is."""
    kind, _ = _kinds(settings)[name]
    member: Any = get_args(kind)[0] if get_origin(kind) is tuple else None
    holds_settings = isinstance(member, type) and issubclass(member, Strict)
    if not (holds_settings and isinstance(value, list | tuple)):
        return value
    return tuple(
        from_dict(member, one, where=f"{name}, number {i}") if isinstance(one, dict) else one
        for i, one in enumerate(value, start=1)
    )


def check_keys(kind: type, values: Any, *, where: str) -> None:
    """Refuse what is no mapping, and keys that a dataclass does not have or that it needs.

    Raises
    ------
    ConfigError
        Names every one.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected keys with values, found {in_words(type(values))}.")
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(values) - set(known))
    missing = [
        f.name
        for f in known.values()
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    told = [key[:_KEY] for key in unknown[:_KEYS]]
    more = f" and {len(unknown) - _KEYS} more" if len(unknown) > _KEYS else ""
    problems = [f"unknown keys {told}{more}"] if unknown else []
    problems += [f"missing keys {missing}"] if missing else []
    if problems:
        raise ConfigError(f"{where}: {', '.join(problems)}.", hint=f"Known keys: {sorted(known)}.")


@cache
def _kinds(settings: Any) -> dict[str, tuple[Any, str]]:
    """Return, by field, its annotation and its name in messages: the flag, if it has one."""
    kinds = {}
    for name, hint in get_type_hints(settings, include_extras=True).items():
        kind, options = without_options(hint)
        kinds[name] = kind, options[0].flag if options else name
    return kinds


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of an annotation's kind and within its limits."""
    low, high = -math.inf, math.inf
    if get_origin(kind) is Annotated:
        kind, (low, high, _) = get_args(kind)
    origin, members = get_origin(kind), get_args(kind)
    if origin is Literal:
        return isinstance(value, str) and value in members
    if origin in (UnionType, Union):
        return any(fits(value, member) for member in members)
    if origin in (tuple, list):
        if not isinstance(value, origin):
            return False
        repeated = origin is list or members[-1] is ...
        kinds = members[:1] * len(value) if repeated else members
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if kind in (int, float) and not isinstance(value, bool):  # an int to Python only
        number = isinstance(value, int) or (kind is float and isinstance(value, float))
        return number and abs(value) <= sys.float_info.max and low <= value <= high
    return isinstance(value, origin or kind) and (kind is bool or not isinstance(value, bool))


def in_words(kind: Any) -> str:
    """Say what a value of an annotation is."""
    origin, members = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{in_words(members[0])} {members[1].words}"
    if origin is Literal:
        return f"one of {', '.join(map(repr, members))}"
    if origin in (UnionType, Union):
        return " or ".join(map(in_words, members))
    if origin in (tuple, list):
        each = "each" if origin is list or members[-1] is ... else f"{len(members)} of"
        return f"a list, {each} {in_words(members[0])}"
    return _WORDS.get(kind, getattr(origin or kind, "__name__", str(kind)))
