"""What holds for every command of both programs."""

from __future__ import annotations

import errno
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from bids_app import __version__, errors
from bids_app.cli.app import COMMANDS
from bids_app.cli.app import main as semantoks
from model.cli.app import main as semantoks_model
from model.cli.program import EXIT_CODES
from model.errors import SemantoksError
from model.finetuning.options import FINETUNE_PRESETS
from model.probing.options import PROBE_PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for key, child in command.commands.items():
            yield from commands(child, f"{name} {key}")


EVERY = {
    **dict(commands(semantoks, "semantoks")),
    **dict(commands(semantoks_model, "semantoks-model")),
}
for word in COMMANDS:
    EVERY |= dict(commands(import_module(f"bids_app.cli.{word}").main, f"semantoks {word}"))

each_command = pytest.mark.parametrize("name", EVERY)


def call(name: str, *words: str) -> click.testing.Result:
    program, *path = name.split()
    main = semantoks if program == "semantoks" else semantoks_model
    return CliRunner().invoke(main, [*path, *words])


def options() -> Iterator[tuple[str, click.Option]]:
    for name, command in EVERY.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield name, parameter


@each_command
def test_every_command_has_help_and_version(name: str) -> None:
    assert call(name, "--version").output == f"semantoks {__version__}\n"
    assert call(name, "-h").output == call(name, "--help").output
    assert EVERY[name].help


@each_command
def test_every_command_tells_a_usage_error_in_one_way(name: str) -> None:
    answer = call(name, "--nonsense")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("semantoks: error: ")


def test_the_commands_are_listed_and_their_names_are_no_folders(tmp_path, monkeypatch) -> None:
    listed = call("semantoks", "--help").output
    assert all(f"semantoks {name}" in listed for name in COMMANDS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert call("semantoks", "demo").exit_code == 2  # the command, which needs OUT
    answer = call("semantoks", "./demo", "out", "participant", "--dry-run")
    assert answer.exit_code == 16  # the folder, which is no derivative
    assert "demo" in answer.stderr


def every_error(kind: type[SemantoksError]) -> Iterator[type[SemantoksError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from every_error(child)


def test_every_error_ends_with_a_code_of_the_table() -> None:
    assert errors.AppError in every_error(SemantoksError)
    assert {kind.exit_code for kind in every_error(SemantoksError)} <= set(EXIT_CODES)


def test_help_has_the_table_of_exit_codes() -> None:
    for name in ("semantoks", "semantoks-model"):
        listed = " ".join(call(name, "--help").output.split())
        assert all(f"{code} {text}" in listed for code, text in EXIT_CODES.items())


@pytest.mark.parametrize(
    ("command", "presets"),
    [("probe", PROBE_PRESETS), ("finetune", FINETUNE_PRESETS)],
)
def test_a_preset_sets_options_that_there_are(command, presets) -> None:
    """Of others click says nothing."""
    known = {o.name for name, o in options() if name == f"semantoks-model {command}"}
    for values in presets.values():
        assert values.keys() <= known


def test_every_option_has_a_help_text() -> None:
    assert [f"{name} {o.opts[0]}" for name, o in options() if not o.help] == []


def test_an_option_has_one_meaning_and_one_default_over_all_commands() -> None:
    found: dict[str, dict[tuple[object, ...], list[str]]] = {}
    for name, option in options():
        means = (option.help, option.type.to_info_dict()["param_type"], option.default,
                 option.multiple, option.nargs, option.is_flag)  # fmt: skip
        for flag in option.opts:
            found.setdefault(flag, {}).setdefault(means, []).append(name)
    differing = {flag: means for flag, means in found.items() if len(means) > 1}
    of_an_asset = {"--download", "--from"}  # which one, and where from: each asset has its own
    # The group level learns from everybody where there is no split; a probe never does.
    of_what_is_learned_from = {"--harmonize", "--splits"}
    assert differing.keys() == of_an_asset | of_what_is_learned_from


@pytest.mark.parametrize(
    "words",
    [
        ("semantoks-model info", "{long}"),
        ("semantoks-model pretrain", "tiny", "{long}"),
        ("semantoks-model pretrain", "tiny", "/dev/null"),
        ("semantoks-model resume", "{long}"),
        ("semantoks-model import-checkpoint", "x.pth", "{long}"),
        ("semantoks-model shards outputs", ".", "{long}"),
        ("semantoks", "{long}", "out", "participant"),
        ("semantoks", "in", "{long}", "group"),
        ("semantoks demo", "{long}"),
        ("semantoks series", "{long}", "out"),
    ],
    ids=" ".join,
)
def test_a_place_that_cannot_be_looked_at_is_named(tmp_path, monkeypatch, words) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*(word.format(long="o" * 300) for word in words))
    assert answer.exit_code in EXIT_CODES
    assert isinstance(answer.exception, SystemExit)  # and no traceback
    assert re.search(r"(?m)^semantoks: error: .*(oooo|/dev/null)", answer.stderr)
    assert len(answer.stderr) < 500


def test_a_file_that_a_container_may_lack_asks_for_its_mount() -> None:
    answer = call("semantoks", "in", "out", "participant", "--bids-filter-file", "/no.json")
    assert answer.exit_code == 2
    assert "In a container: is it mounted there?" in answer.stderr


def test_a_full_disk_behind_what_is_printed_is_told_as_one(monkeypatch) -> None:
    def full(*_words: object, **_names: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bids_app.cli.todo.start_logging", full)
    answer = CliRunner().invoke(semantoks, ["todo", "in", "out"])
    assert answer.exit_code == 73
    assert "cannot be written: No space left on device" in answer.stderr


def test_a_folder_of_another_user_is_named(monkeypatch) -> None:
    def look(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", look)
    answer = call("semantoks-model info", "/home/other/checkpoint")
    assert answer.exit_code == 78
    assert "/home/other/checkpoint: cannot be read (Permission denied)" in answer.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("semantoks bl", "plain,blocks"),
        ("semantoks bl", "dir,bl"),
        ("semantoks blocks in out --netw", "plain,--networks"),
        ("semantoks in out part", "plain,participant"),
        ("semantoks in out participant --stop-on", "plain,--stop-on-first-crash"),
        ("semantoks assets ch", "plain,checkpoint"),
        ("semantoks assets checkpoint --dow", "plain,--download"),
        ("semantoks assets checkpoint --download published:", "plain,published:seed2"),
        ("semantoks-model pret", "plain,pretrain"),
        ("semantoks-model shards sp", "plain,split"),
    ],
)
def test_shells_complete_commands_and_their_options(typed, offered) -> None:
    program, *words = typed.split()
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    environment = {"COMP_WORDS": typed, "COMP_CWORD": str(len(words)), variable: "bash_complete"}
    command = semantoks_model if program == "semantoks-model" else semantoks
    answer = CliRunner().invoke(command, prog_name=program, env=environment)
    assert offered in answer.output.splitlines()


def test_after_a_commands_own_command_its_siblings_are_not_offered() -> None:
    environment = {"COMP_WORDS": "semantoks assets checkpoint ", "COMP_CWORD": "3",
                   "_SEMANTOKS_COMPLETE": "bash_complete"}  # fmt: skip
    answer = CliRunner().invoke(semantoks, prog_name="semantoks", env=environment)
    assert "plain,verify" not in answer.output
