"""The reference, made of the code when the site is built: nothing of it is written by hand.

A page asks for a part with a fence, whose words are the name of a function here and what it is
given::

    ```{generated} options semantoks
    ```
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "../README.md": "/index.md",
    "../CONTRIBUTING.md": "/repository/contributing.md",
    "../CHANGELOG.md": "/repository/changes.md",
    "../SECURITY.md": "/repository/security.md",
    "../experiments/LOG.md": "/repository/experiments.md",
}
"""Where the site has what lies outside of its folder in the repository."""
FENCE = re.compile(r"^```\{generated\} (.+)\n```$", re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill the fences of every page as it is read."""
    app.add_config_value("semantoks_example", "", "env", str)
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    def part(found: re.Match[str]) -> str:
        name, *words = found[1].split()
        if name in OF_EXAMPLE:
            words = [app.config.semantoks_example, *words]
        return PARTS[name](*words)

    for outside, page in PAGES.items():
        source[0] = source[0].replace(f"]({outside}", f"]({page}")
    source[0] = FENCE.sub(part, source[0])
    if FENCE.search(source[0]):
        raise ValueError(f"{docname}: a part of the reference asks for another one")


# Options


def options(program: str) -> str:
    """Return every command of a program with its arguments and options."""
    return "\n\n".join(
        _command(command, name) for name, command in _commands(program) if not _is_group(command)
    )


def _commands(program: str) -> Iterator[tuple[str, click.Command]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"][program].partition(":")
    home = importlib.import_module(module)
    yield from _below(program, getattr(home, function))
    for name in getattr(home, "COMMANDS", ()):
        main = importlib.import_module(f"{home.__package__}.{name}").main
        yield from _below(f"{program} {name}", main)


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for key, child in sorted(getattr(command, "commands", {}).items()):
        yield from _below(f"{name} {key}", child)


def _is_group(command: click.Command) -> bool:
    return isinstance(command, click.Group)


def _command(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context)).replace("[OPTIONS]", "[options]")
    # `\b` marks, for click, what must not be wrapped.
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    lines = [f"## {name}", f"```text\n{name} {usage}\n```", plain(text)]
    lines += [f"```{{program}} {name}\n```"]
    for title, some in _sections(command, name):
        lines += [f"### {title}"] if title else []
        lines += [_option(option, context) for option in some]
    return "\n\n".join(lines)


def _option(option: click.Option, context: click.Context) -> str:
    help_record = option.get_help_record(context)
    spelled = ", ".join([*option.opts, *option.secondary_opts])
    takes = "" if option.is_flag or option.count else f" {option.make_metavar(context)}"
    # What click adds in brackets: default, range, required.
    text = (help_record[1] if help_record else option.help) or ""
    return f":::{{option}} {spelled}{takes}\n{plain(text)}\n:::"


def _sections(command: click.Command, name: str) -> Iterator[tuple[str, list[click.Option]]]:
    """Divide the options of the app by the settings class that each belongs to."""
    all_options = [one for one in command.params if isinstance(one, click.Option)]
    all_options = [one for one in all_options if not one.hidden]
    if name != "semantoks":
        yield "", all_options
        return
    from bids_app import options as app
    from bids_app.group.options import GroupOptions
    from bids_app.inputs.selection import Selection
    from model.cli.program import option_names

    left = {one.name: one for one in all_options}
    for title, cls in {
        "Which scans": Selection,
        "How they are cleaned": app.SignalOptions,
        "Encoder": app.EncoderOptions,
        "Work and output": app.InvocationOptions,
        "Input, atlas, confounds": app.RunOptions,
        "Group level": GroupOptions,
        "Messages": app.LogOptions,
        "Accepted, without effect": app.AcceptedOptions,
    }.items():
        yield title, [left.pop(key) for key in [*left] if key in option_names(cls)]
    yield "Other", [*left.values()]


# Exit codes


def exit_codes() -> str:
    """Return the exit codes with the errors that end so."""
    from bids_app import errors as of_app
    from bids_app.cli.app import UnknownLevelError
    from model import errors as of_model
    from model.cli.program import EXIT_CODES
    from model.errors import SemantoksError

    kinds: dict[int, list[str]] = {UnknownLevelError.exit_code: [_first_line(UnknownLevelError)]}
    for module in (of_model, of_app):
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, SemantoksError):
                of_one_scan = kind.__name__.startswith("Scan")
                is_own = "exit_code" in vars(kind) and kind is not SemantoksError
                if is_own and kind.__module__ == module.__name__ and not of_one_scan:
                    kinds.setdefault(kind.exit_code, []).append(_first_line(kind))
    rows = [(code, text, " ".join(kinds.get(code, []))) for code, text in EXIT_CODES.items()]
    return table(("code", "meaning", "errors that end so"), rows)


def _first_line(thing: object) -> str:
    return inspect.getdoc(thing).split("\n")[0]  # type: ignore[union-attr]


# Strategies


def strategies() -> str:
    """Return the named strategies with all that they say."""
    from bids_app.signal.strategy import Strategy, available_strategies, load_strategy

    loaded = [load_strategy(name) for name in available_strategies()]
    loaded.sort(key=lambda one: (one.name != "default", one.name.lower()))
    rows = [(f"`{one.name}`", one.description) for one in loaded]
    keys = [field for field in fields(Strategy) if field.name not in ("name", "description")]
    told = [
        (f"`{one.name}`", *(_setting(getattr(one, key.name)) for key in keys)) for one in loaded
    ]
    return "\n\n".join(
        [
            table(("strategy", "what it does"), rows),
            "## Every key",
            table(("strategy", *(f"`{key.name}`" for key in keys)), told),
        ]
    )


def _setting(value: object) -> str:
    if value in (None, False, 0, ()):
        return "no"
    return "yes" if value is True else str(value)


# Outputs, as the example has them


def files(example: str) -> str:
    """Return every kind of file that a scan has, as its sidecar describes it."""
    parts = []
    for ending, path in _files_of_a_scan(Path(example)):
        sidecar = json.loads(path.with_suffix(".json").read_text())
        parts += [f"## {ending}", plain(sidecar["Description"])]
        parts += [_columns(path, sidecar)] if path.suffix == ".tsv" else []
        keys = [key for key in sidecar if key[0].isupper() and key != "Description"]
        parts += [f"**Keys of its JSON**: {', '.join(f'`{key}`' for key in keys)}."]
    return "\n\n".join(parts)


def group_columns(example: str) -> str:
    """Return the columns of the group tables."""
    path = Path(example) / "semantoks" / "group_status.tsv"
    return _columns(path, json.loads(path.with_suffix(".json").read_text()))


def _files_of_a_scan(example: Path) -> list[tuple[str, Path]]:
    status = min(example.glob("semantoks/sub-*/**/*_status.json"))
    stem = status.name.removesuffix("status.json")
    found = [p for p in status.parent.glob(f"{stem}*") if p.suffix in (".tsv", ".npy")]
    return sorted((p.name.removeprefix(stem), p) for p in found)


def _columns(path: Path, sidecar: Mapping[str, Any]) -> str:
    """Describe the columns of a table; families of numbered or named ones in a row each."""
    with path.open(encoding="utf-8") as lines:
        header = next(lines).rstrip("\n").split("\t")
    described = {key: about for key, about in sidecar.items() if isinstance(about, dict)}
    rows, seen = [], set()
    for column in header:
        about = described.get(column, {})
        if column in described or not _is_family(column, header):
            text = about.get("Description", "")
            levels = "; ".join(f"`{k}`: {v}" for k, v in about.get("Levels", {}).items())
            rows.append(
                (f"`{column}`", " ".join(filter(None, [text, levels])), about.get("Units", ""))
            )
            continue
        family = _family(column, header)
        if family not in seen:
            seen.add(family)
            rows.append((family, _about_family(family, sidecar), ""))
    return table(("column", "content", "unit"), rows)


def _is_family(column: str, header: Sequence[str]) -> bool:
    return re.search(r"_\d{3}$", column) is not None or len(header) == N_PARCELS


N_PARCELS = 457


def _family(column: str, header: Sequence[str]) -> str:
    if len(header) == N_PARCELS:
        return f"`{header[0]}` … `{header[-1]}`"
    part = column[:-4]
    last = max(one for one in header if one.startswith(f"{part}_"))
    return f"`{part}_000` … `{last}`"


def _about_family(family: str, sidecar: Mapping[str, Any]) -> str:
    part = family[1:].partition("_000`")[0]
    parts = sidecar.get("Parts", {})
    return parts.get(part, "the parcel of that name, in the order of the atlas")


# Names of `import semantoks`


def api() -> str:
    """Return the public names, documented by their docstrings."""
    import semantoks

    lines = []
    for name in semantoks.__all__:
        thing = getattr(semantoks, name)
        lines += [f"## {name}", _documented(name, thing)]
    return "\n\n".join(lines)


def _documented(name: str, thing: object) -> str:
    if isinstance(thing, str | tuple):
        return f"`{thing!r}`"
    kind, members = "function", ""
    if inspect.isclass(thing):
        kind = "exception" if issubclass(thing, BaseException) else "class"
        members = "   :members:\n"
    return f"```{{eval-rst}}\n.. auto{kind}:: semantoks.{name}\n{members}```"


# Text


# The tree


def tree() -> str:
    """Return rooms and files of the code, one a line."""
    command = [sys.executable, str(ROOT / "tools/house.py"), "tree"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"```text\n{said}```"


def plain(text: str) -> str:
    """Return text of the code as MyST that shows it as it stands, but for links to pages."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    escaped = [re.sub(r"([\\`*_$<>\[\]#|~{}])", r"\\\1", part) for part in paragraphs]
    linked = [re.sub(r"docs/((?:\w|\\_)+)\.md", _link, part) for part in escaped]
    return "\n\n".join(re.sub(r"(?<!\S)(--?[a-z][a-z-]*)", r"`\1`", part) for part in linked)


def _link(found: re.Match[str]) -> str:
    page = found[1].replace("\\", "")
    return f"[{page}.md](/{page}.md)"


def table(header: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of Markdown; cells may hold Markdown."""
    lines = [f"| {' | '.join(header)} |"]
    lines.append("|" + "---|" * (lines[0].count(" | ") + 1))
    lines += [
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    ]
    return "\n".join(lines)


PARTS: dict[str, Callable[..., str]] = {
    "options": options,
    "exit_codes": exit_codes,
    "strategies": strategies,
    "files": files,
    "group_columns": group_columns,
    "api": api,
    "tree": tree,
}
OF_EXAMPLE = {"files", "group_columns"}
"""Made of what `semantoks demo` wrote: what a sidecar says stands in the code once."""
