"""How a setting is given on a command line: declared at the field, beside its type and default.

    tr_s: Annotated[Positive | None, Option("--tr", "Seconds between frames.")] = None

`model.cli.options` makes the command line of such fields, and of what was given an instance.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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
    path: Literal["", "any", "file", "folder"] = ""
    """What a path must lead to; empty: it need not exist, or is no path."""
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
