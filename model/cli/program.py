"""What every command of both programs has: options made of settings, ``-h``, one way to end."""

from __future__ import annotations

import errno
import inspect
import io
import json
import math
import os
import sys
import types
from dataclasses import MISSING, Field, fields
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import click
from click.core import ParameterSource

from model import __version__
from model.errors import ConfigError, SemantoksError, some
from model.files.content import real_path
from model.files.home import MOUNTED, checkpoint_place
from model.files.settings import Option, fits, in_words, without_options
from model.invocation import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from model.files.settings import Limits

    Decorator = Callable[[Any], Any]

T = TypeVar("T")


EXIT_CODES = {
    0: "all that was asked for is done, was done, or is deliberately excluded",
    1: "some of it failed, the rest is done; or the data cannot answer the question",
    2: "usage: unknown option or label, options that exclude one another",
    16: "the input is not a usable fMRIPrep derivative",
    17: "unknown analysis level",
    18: "the filters select nothing",
    66: "the derivative holds no BOLD series, or no confounds",
    73: "the output cannot be written",
    78: "atlas, checkpoint or scheduler missing, damaged, or for something else",
    130: "interrupted with Ctrl-C; as 143",
    143: "terminated; nothing is left half-written, a second call goes on",
}
"""How every command of both programs ends; docs/reference/exit_codes.md is made of it."""
EXIT_TERMINATED = 143
_INTERRUPTED = "semantoks: interrupted; what is done is whole, call again to go on"
_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    # --n_cpus is --n-cpus: fMRIPrep has both spellings of all its options.
    "token_normalize_func": lambda word: word.replace("_", "-"),
}


class FieldOption(click.Option):
    """An option that stands for a field of a settings class."""


class CheckpointPath(click.Path):
    """A path, or the name of an installed checkpoint, which becomes its path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        return checkpoint_place(Path(os.fsdecode(super().convert(value, param, ctx))))


def options_of(*classes: type) -> Decorator:
    """Return a decorator that adds the options of settings classes, in the order of their fields.

    A field whose type is itself a settings class adds the options of that one.
    """
    decorators = [one for cls in classes for one in _decorators(cls)]

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def option_names(*classes: type) -> set[str]:
    """Return the names of the parameters that `options_of` adds for settings classes."""
    names: set[str] = set()
    for cls in classes:
        for _, kind, options in _fields(cls):
            names |= {option.name for option in options}
            if not options and hasattr(kind, "__dataclass_fields__"):
                names |= option_names(kind)
    return names


def given_options(context: click.Context) -> dict[str, click.Option]:
    """Return the options that stand on the command line itself, by name."""
    return {
        one.name: one
        for one in context.command.params
        if isinstance(one, click.Option)
        and one.name
        and context.get_parameter_source(one.name) is ParameterSource.COMMANDLINE
    }


def build(cls: type[T], arguments: Mapping[str, Any], **given: Any) -> T:
    """Make an instance of a settings class of what the command line gave.

    Parameters
    ----------
    arguments
        Values by parameter, as click passes them; those of other classes are not looked at.
    given
        Fields that are no options, or what they are where their option is not given.

    Raises
    ------
    ConfigError
        Two flags of one field.
    SemantoksError
        A value that cannot be read, or settings that exclude one another.
    """
    values = dict(given)
    for field, kind, options in _fields(cls):
        if not options and hasattr(kind, "__dataclass_fields__"):
            values[field.name] = build(kind, arguments)
        used = [option for option in options if _is_given(arguments[option.name])]
        if len(used) > 1:
            flags = " and ".join(option.flag for option in used)
            raise ConfigError(f"{flags} exclude one another.")
        for option in used:
            values[field.name] = _value(option, arguments[option.name])
    return cls(**values)


def config_file(command: Any) -> Any:
    """Add ``--config-file``, whose values stand for options that are not given."""
    return click.option(
        "--config-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help='TOML with long option names (task-id = ["rest"]); options given here come first. '
        "Each invocation writes one into its logs/ that can be given back.",
    )(command)


def config_text(context: click.Context) -> str:
    """Write all options of this call as TOML, for ``--config-file``; paths are absolute."""
    lines = []
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if isinstance(option, FieldOption) and _is_given(value):
            lines.append(f"{option.opts[0].lstrip('-')} = {_toml(value)}\n")
    return "".join(lines)


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _fields(cls: type) -> Iterator[tuple[Field[Any], Any, list[Option]]]:
    """Yield each field with its type and the options that set it."""
    hints = get_type_hints(cls, include_extras=True)
    own = inspect.get_annotations(cls)
    # Those of a class before those that it shares with others.
    for field in sorted(fields(cls), key=lambda field: field.name not in own):
        kind, options = without_options(hints[field.name])
        yield field, kind, options


def _decorators(cls: type) -> Iterator[Decorator]:
    for field, kind, options in _fields(cls):
        if not options and hasattr(kind, "__dataclass_fields__"):
            yield from _decorators(kind)
        for option in options:
            yield _decorator(option, kind, field)


def _decorator(option: Option, kind: Any, field: Field[Any]) -> Decorator:
    names = [*option.spellings.split(), option.name]
    settings: dict[str, Any] = {"cls": FieldOption, "help": option.help, "metavar": option.metavar}
    if option.value is not None or kind is bool:
        return click.option(*names, is_flag=True, **settings)
    if option.count:
        return click.option(*names, count=True, **settings)
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (one for one in get_args(kind) if one is not types.NoneType)
    if get_origin(kind) is tuple:
        kind, *others = get_args(kind)
        settings |= {"multiple": True} if others == [...] else {"nargs": 1 + len(others)}
    if field.default not in (MISSING, None, (), ""):
        settings |= {"default": field.default, "show_default": True}
    kind = _click_type(option, kind)
    return click.option(*names, type=kind, required=option.required, **settings)


def _click_type(option: Option, kind: Any) -> Any:
    kind, *limits = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    if option.choices:
        return click.Choice([*option.choices])
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if option.path == "checkpoint":
        return CheckpointPath(path_type=Path)
    if option.path or kind is Path:
        file, folder = option.path != "folder", option.path != "file"
        exists = bool(option.path)
        return click.Path(path_type=Path, exists=exists, file_okay=file, dir_okay=folder)
    if option.read is not None:
        return str
    return _within(kind, limits[0]) if limits else kind


def _within(kind: type, limits: Limits) -> click.ParamType[Any]:
    is_open = limits.low == math.ulp(0.0)  # above 0
    low = 0 if is_open else limits.low
    high = None if math.isinf(limits.high) else limits.high
    if kind is int:
        return click.IntRange(int(low), None if high is None else int(high))
    return click.FloatRange(low, high, min_open=is_open)


def _value(option: Option, words: Any) -> Any:
    if option.value is not None:
        return option.value
    return words if option.read is None else option.read(words)


def _read_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from model.files.faults import faults_as
    from model.files.read import read_toml

    with faults_as(ConfigError, where=f"--config-file {path}"):
        content = read_toml(path)
    options = {
        flag.lstrip("-"): option
        for option in context.command.params
        if isinstance(option, FieldOption)
        for flag in option.opts
        if flag.startswith("--")
    }
    context.default_map = {}
    for key, value in content.items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            import difflib

            near = difflib.get_close_matches(key.replace("_", "-"), options) or sorted(options)
            raise ConfigError(
                f"--config-file {path}: unknown key {ascii(key)[1:-1]:.60}.",
                hint=f"Known: {', '.join(near)}.",
            )
        _check_kind(option, value, where=f"--config-file {path}: {key}")
        several = option.multiple and not isinstance(value, list)
        context.default_map[option.name or ""] = [value] if several else value


def _check_kind(option: FieldOption, value: Any, *, where: str) -> None:
    """Refuse what click would make text of, or take for true; the value itself is not told."""
    if option.is_flag and not isinstance(value, bool):
        raise ConfigError(f"{where}: expected true or false, found {_kind(value)}.")
    if isinstance(value, list) and not option.multiple and option.nargs == 1:
        raise ConfigError(f"{where}: expected one value, found a list.")
    for one in value if isinstance(value, list) else [value]:
        if not option.is_flag and not fits(one, str | int | float):
            raise ConfigError(f"{where}: expected text or a finite number, found {_kind(one)}.")


def _kind(value: Any) -> str:
    if isinstance(value, bool | float):
        return str(value).lower()
    return in_words(type(value))


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Path):
        value = str(real_path(value))
    # What JSON escapes in text, TOML reads.
    return json.dumps(value, ensure_ascii=False)


class _Ends:
    """Mixed into click's commands: calls them as click does, but ends them in our way."""

    def named(
        self, words: list[str], name: str | None
    ) -> tuple[click.Command, list[str], str | None]:
        """Return the command that the words name, what is left of them, and what it is called."""
        return cast("click.Command", self), words, name

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 click's own signature
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002
        **extra: Any,
    ) -> Any:
        """Do the work of a command and exit with its code, or with that of its error."""
        command, words, name = self.named([*(sys.argv[1:] if args is None else args)], prog_name)
        call = partial(
            click.Command.main,
            command,
            words,
            name,
            complete_var,
            standalone_mode=False,
            windows_expand_args=windows_expand_args,
            **extra,
        )
        if not standalone_mode:
            return call()
        interrupts.hear()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names of files may be no UTF-8
                stream.reconfigure(errors="backslashreplace")
        try:
            code: int = call() or 0
        except BaseException as err:  # noqa: BLE001 whatever an interrupt became on its way out
            code = interrupts.exit_code() or _code_of(err)
        interrupts.ended()
        interrupted = interrupts.exit_code()
        if interrupted:
            click.echo(_INTERRUPTED, err=True)
        sys.exit(interrupted or code)


class Command(_Ends, click.Command):
    """A command that ends with a code of `EXIT_CODES`; its callback returns one, or nothing."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        _equip(self)


class Group(_Ends, click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **settings: Any) -> None:
        # The help is no error message.
        super().__init__(*args, **{"no_args_is_help": False, **settings})
        _equip(self)


def exit_code_text() -> str:
    """Return `EXIT_CODES` as the last lines of a help text."""
    return "\b\nExit codes:\n" + "\n".join(f"{c:>5}  {text}" for c, text in EXIT_CODES.items())


def _equip(command: click.Command) -> None:
    command.context_settings = {**_SETTINGS, **command.context_settings}
    click.version_option(__version__, message="semantoks %(version)s")(command)


def _code_of(err: BaseException) -> int:
    """Tell an error that a user can act on; any other goes its way."""
    if isinstance(err, click.ClickException):
        context = getattr(err, "ctx", None)
        hint = f"{context.command_path} --help lists what it takes." if context else ""
        if isinstance(err, click.BadParameter) and err.message.endswith(" does not exist."):
            hint = f"{MOUNTED} {hint}"
        return _told(err.format_message(), hint, code=err.exit_code)
    if isinstance(err, SemantoksError):
        return _told(err.message, err.hint, code=err.exit_code)
    if isinstance(err, OSError) and err.filename is not None and err.errno in _OF_THE_PLACE:
        hint = "Check the name, who may read or write there, and whether there is room."
        code = 73 if err.errno in _NOT_WRITABLE else 2
        return _told(f"{some([os.fsdecode(err.filename)])}: {err.strerror}.", hint, code=code)
    if isinstance(err, OSError) and err.filename is None and err.errno in _NOT_WRITABLE:
        return _told(
            f"what is printed, or a file, cannot be written: {err.strerror}.", "", code=73
        )
    raise err


# What a place can have against being looked at, or written to: nothing that we could have done.
_NOT_WRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_OF_THE_PLACE = {
    *_NOT_WRITABLE, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP,
    errno.EIO, errno.ESTALE,
}  # fmt: skip


def _told(message: str, hint: str, *, code: int) -> int:
    click.echo(f"semantoks: error: {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    return code
