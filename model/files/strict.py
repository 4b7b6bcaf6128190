"""Settings from files, taken strictly: known keys, right kinds, numbers within their limits."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from model.errors import ConfigError

_T = TypeVar("_T")
_WORDS = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    NoneType: "nothing",
}


class Limits(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float
    words: str


COUNT = Limits(1, math.inf, "at least 1")
NOT_NEGATIVE = Limits(0, math.inf, "at least 0")
POSITIVE = Limits(math.ulp(0.0), math.inf, "above 0")
SHARE = Limits(0, 1, "from 0 to 1")
SEED = Limits(0, (1 << 63) - 1, "from 0 to 2^63 - 1")


def from_dict(kind: type[_T], values: Any, *, where: str) -> _T:
    """Build a flat dataclass from what a file holds.

    Parameters
    ----------
    kind
        Its annotations say what each value must be; a list may stand for a tuple, a whole
        number for any number.
    values
        Mapping of the fields; anything else is refused.
    where
        Begins the message.

    Raises
    ------
    ConfigError
        Names every key that is unknown, missing or of another kind.
    """
    check_keys(kind, values, where=where)
    kinds = get_type_hints(kind)
    wrong = [
        f"{name} {value!r:.80} (expected {_in_words(kinds[name])})"
        for name, value in values.items()
        if not _fits(value, kinds[name])
    ]
    if wrong:
        raise ConfigError(f"{where}: found {', '.join(wrong)}.")
    return kind(**values)


def check_keys(kind: type, values: Any, *, where: str) -> None:
    """Refuse what is no mapping, and keys that a dataclass does not have or that it needs.

    Raises
    ------
    ConfigError
        Names every one.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: expected keys with values, found {values!r:.80}.")
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(values) - set(known))
    missing = [
        f.name
        for f in known.values()
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    problems = [f"unknown keys {unknown}"] if unknown else []
    problems += [f"missing keys {missing}"] if missing else []
    if problems:
        raise ConfigError(f"{where}: {', '.join(problems)}.", hint=f"Known keys: {sorted(known)}.")


def check_limits(section: str, settings: object, **limits: Limits) -> None:
    """Refuse numbers, and members of tuples, outside their limits; None is no number.

    Raises
    ------
    ConfigError
        Names every one, as ``section.name``.
    """
    wrong = []
    for name, (low, high, words) in limits.items():
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(number is None or low <= number <= high for number in numbers):
            wrong.append(f"{section}.{name} {value!r} (expected {words})")
    if wrong:
        raise ConfigError(f"found {', '.join(wrong)}.")


def _fits(value: object, kind: Any) -> bool:
    """Tell whether a value from TOML or JSON is of an annotation's kind."""
    origin, members = get_origin(kind), get_args(kind)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    if origin is Literal:
        return isinstance(value, str) and value in members
    if origin is UnionType:
        return any(_fits(value, member) for member in members)
    if origin in (tuple, list):
        return isinstance(value, tuple | list) and _fit_each(value, kind)
    # A bool is an int to Python and a mistake in a file: the very type is compared.
    return type(value) is (origin or kind)


def _fit_each(values: tuple[Any, ...] | list[Any], kind: Any) -> bool:
    members = get_args(kind)
    if get_origin(kind) is list or members[-1] is ...:
        return all(_fits(value, members[0]) for value in values)
    return len(values) == len(members) and all(map(_fits, values, members))


def _in_words(kind: Any) -> str:
    origin, members = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(repr, members))}"
    if origin is UnionType:
        return " or ".join(map(_in_words, members))
    if origin in (tuple, list):
        each = "each" if origin is list or members[-1] is ... else f"{len(members)} of"
        return f"a list, {each} {_in_words(members[0])}"
    return _WORDS.get(kind, getattr(origin or kind, "__name__", str(kind)))
