"""What every command of both programs has: ``-h``, ``--version``, one way to end."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from model import __version__
from model.errors import SemantoksError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

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
"""How every command of both programs ends; docs/usage.md has the same table."""

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
_INTERRUPTED = "semantoks: interrupted; what is done is whole, call again to go on"
_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    # --n_cpus is --n-cpus: fMRIPrep has both spellings of all its options.
    "token_normalize_func": lambda word: word.replace("_", "-"),
}


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
        signal.signal(signal.SIGTERM, _terminate)
        try:
            code: int = call() or 0
        except click.Abort:  # made of KeyboardInterrupt
            click.echo(_INTERRUPTED, err=True)
            code = EXIT_INTERRUPTED
        except click.ClickException as err:
            context = getattr(err, "ctx", None)
            hint = f"{context.command_path} --help lists what it takes." if context else ""
            code = _told(err.format_message(), hint, code=err.exit_code)
        except SemantoksError as err:
            code = _told(err.message, err.hint, code=err.exit_code)
        sys.exit(code)


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
        super().__init__(*args, **settings)
        _equip(self)


def exit_code_text() -> str:
    """Return `EXIT_CODES` as the last lines of a help text."""
    return "\b\nExit codes:\n" + "\n".join(f"{c:>5}  {text}" for c, text in EXIT_CODES.items())


def _equip(command: click.Command) -> None:
    command.context_settings = {**_SETTINGS, **command.context_settings}
    click.version_option(__version__, message="semantoks %(version)s")(command)


def _told(message: str, hint: str, *, code: int) -> int:
    click.echo(f"semantoks: error: {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    return code


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    # Raised where the work stands, so that temporary files are removed on the way out.
    click.echo(_INTERRUPTED, err=True)
    sys.exit(EXIT_TERMINATED)
