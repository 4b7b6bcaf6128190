"""The program `semantoks`: words to options, outcomes to an exit code; only this room prints."""

from __future__ import annotations

import os
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from bids_app.cli.preview import dry_run_lines, explained_lines
from bids_app.errors import OptionsError
from bids_app.group.options import GroupOptions
from bids_app.options import AcceptedOptions, LogOptions, RunOptions
from bids_app.workers.resources import available_cpus, available_memory_mb
from model.cli.program import (
    Command,
    build,
    config_file,
    config_text,
    exit_code_text,
    given_options,
    option_names,
    options_of,
)
from model.files.cells import aligned
from model.files.content import real_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bids_app.invocation import Summary
    from bids_app.outputs.status import ScanOutcome

EXIT_LEVEL = 17

COMMANDS = {
    "assets": "Install, list and verify the atlas that semantoks needs, and other weights.",
    "demo": "Simulate scans with a known truth, run semantoks on them, compare.",
    "series": "Embed parcel series (TSV, CSV, NPY, NPZ, HDF5) that other programs made.",
    "blocks": "Embed the task blocks of scans that are embedded already.",
    "importance": "Embed scans once per network, all other networks masked.",
    "slurm": "Submit a SLURM array over the participants, and the group step after it.",
    "todo": "Print the participants with scans left to do, for other schedulers.",
}
"""Commands beside BIDS_DIR OUTPUT_DIR ANALYSIS_LEVEL; each is `main` in the module of its name."""


_OF_ANY_LEVEL = option_names(LogOptions, AcceptedOptions) | {
    "config_file", "n_cpus", "mem", "no_reports", "dry_run",
}  # fmt: skip
"""Whoever calls BIDS Apps gives these to each level; the group's needs one CPU."""


class ListsCommand(Command):
    """A command whose list options take ``--flag a b`` as well as ``--flag a --flag b``.

    BIDS Apps are called in the first way, which click refuses by design; the flag is repeated
    before every further value, up to the next option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite space-separated lists, then parse as click does."""
        rewritten: list[str] = []
        for flag, *values in self.divided(args):
            rewritten += [word for value in values for word in (flag, value)] or [flag]
        has_lists = rewritten != args  # before click takes words from it
        try:
            return super().parse_args(ctx, rewritten)
        except click.MissingParameter as err:
            if has_lists:
                raise click.UsageError(
                    f"{err.format_message()} List options such as --participant-label go after "
                    "the positionals.",
                    ctx=ctx,
                ) from err
            raise

    def divided(self, args: Iterable[str]) -> list[list[str]]:
        """Divide words into list options, each with all its values, and other words alone."""
        flags = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        parts: list[list[str]] = []
        in_list = False
        for word in args:
            if in_list and not word.startswith("-"):
                parts[-1].append(word)
            else:
                parts.append([word])
                in_list = word.replace("_", "-") in flags
        return parts


class Program(ListsCommand):
    """The BIDS App; a first word that is one of `COMMANDS` calls that command instead."""

    def named(
        self, words: list[str], name: str | None
    ) -> tuple[click.Command, list[str], str | None]:
        """Return this command, or the one that is named first."""
        # What a shell completes it tells in the environment; the last word may not be whole yet.
        line = os.environ.get("COMP_WORDS", "")
        first, *_ = [*words, *line.rpartition(" ")[0].split()[1:], ""]
        if first not in COMMANDS:
            return self, words, name
        command: click.Command = import_module(f"bids_app.cli.{first}").main
        if words:
            return command, words[1:], f"{name or 'semantoks'} {first}"
        os.environ["COMP_WORDS"] = line.replace(f" {first}", "", 1)
        number = os.environ.get("COMP_CWORD", "")
        if number.isdecimal():  # fish gives the word itself
            os.environ["COMP_CWORD"] = str(int(number) - 1)
        return command, words, name

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the other commands."""
        super().format_options(ctx, formatter)
        with formatter.section("Other commands (a folder of such a name is given as ./NAME)"):
            formatter.write_dl([(f"semantoks {name}", text) for name, text in COMMANDS.items()])


def first_words(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Complete the first word: a folder, or one of `COMMANDS`."""
    commands = [CompletionItem(name) for name in COMMANDS if name.startswith(begun)]
    return [CompletionItem(begun, type="dir"), *commands]


class UnknownLevelError(click.BadParameter):
    """An analysis level other than participant and group."""

    exit_code = EXIT_LEVEL


class AnalysisLevel(click.Choice[str]):
    """The two levels; an unknown one has an exit code of its own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the level or stop with exit code 17."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as err:
            raise UnknownLevelError(err.message, ctx=ctx, param=param) from err


@click.command(cls=Program, epilog=exit_code_text())
@click.argument("bids_dir", type=click.Path(path_type=Path), shell_complete=first_words)
@click.argument("output_dir", type=click.Path(path_type=Path, file_okay=False))
@click.argument("analysis_level", type=AnalysisLevel(["participant", "group"]))
@options_of(RunOptions)
@options_of(GroupOptions)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, and why; do nothing.",
)
@click.option(
    "--list-missing",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --dry-run: write the files that the chosen scans need and that were not fetched, "
    "one a line, relative to the derivative, for: xargs datalad get < FILE.",
)
@click.option(
    "--explain",
    metavar="RUN",
    help="Say in a few lines why a run is used or not, by its name or a part of it; do nothing.",
)
@config_file
@options_of(LogOptions, AcceptedOptions)
@click.pass_context
def main(context: click.Context, /, **arguments: Any) -> int:
    """Turn fMRIPrep derivatives into parcel series, tokens and embeddings.

    BIDS_DIR is the fMRIPrep derivative, or a BIDS dataset that holds it under derivatives/.
    OUTPUT_DIR receives BIDS-Derivatives; nothing is written to BIDS_DIR. ANALYSIS_LEVEL is
    'participant' (embed scans) or 'group' (export one table of all scans in OUTPUT_DIR; reads
    only OUTPUT_DIR). Put list options such as --participant-label after the positionals.
    """
    start_logging(arguments)
    refuse_ignored(context)
    if arguments["analysis_level"] == "group":
        return _export_group(arguments)
    options = resolve_options(arguments, config=config_text(context))
    asked = (arguments["explain"], arguments["list_missing"])
    if arguments["dry_run"] or asked != (None, None):
        return _preview(options, arguments)
    from bids_app.participant import run_participants

    summary = run_participants(options)
    tell_summary(summary, options.output_dir)
    return summary.exit_code


def refuse_ignored(context: click.Context) -> None:
    """Refuse options that stand on the command line and have no effect on the level.

    Those of a file are of all levels: one written by the participant level serves the group's.

    Raises
    ------
    OptionsError
        Names them all.
    """
    level, given = context.params["analysis_level"], given_options(context)
    of_group = option_names(GroupOptions)
    if level == "participant":
        ignored = of_group & given.keys()
        hint = "They are of the group level."
    else:
        ignored = given.keys() - of_group - _OF_ANY_LEVEL
        hint = (
            "It makes one table of all that lies in OUTPUT_DIR: what was embedded, and how, was "
            "said at the participant level."
        )
    if ignored:
        flags = ", ".join(given[name].opts[0] for name in given if name in ignored)
        raise OptionsError(f"the {level} level takes no {flags}.", hint=hint)


def start_logging(arguments: Mapping[str, Any]) -> None:
    """Log as loudly as the command line says."""
    from bids_app.logs import levels_of, set_up_logging

    options = build(LogOptions, arguments)
    set_up_logging(levels_of(verbose=options.verbose, quiet=options.quiet))


def resolve_options(arguments: Mapping[str, Any], *, config: str = "") -> RunOptions:
    """Turn the parsed command line into the frozen options of an invocation."""
    return build(
        RunOptions,
        arguments,
        bids_dir=arguments["bids_dir"],
        output_dir=arguments["output_dir"],
        config=config,
        **granted(),
    )


def granted() -> dict[str, Any]:
    """Return what this job may use, for where the command line does not say."""
    return {"n_cpus": available_cpus(), "memory_mb": available_memory_mb()}


def outcome_lines(outcomes: Sequence[ScanOutcome]) -> str:
    """Return a line for each scan that was not embedded, then how many ended in which way.

    All of them, with what was done earlier, stand in the log folder's ``status.tsv``.
    """
    rows = [(o.status, o.scan.name, o.reason) for o in outcomes if o.status != "embedded"]
    ends: dict[str, list[ScanOutcome]] = {}
    for one in outcomes:
        ends.setdefault(one.status if one.fresh else f"{one.status} earlier", []).append(one)
    told = [f"{len(its)} {end}{_flagged(its)}" for end, its in ends.items()]
    return "\n".join([*(aligned(rows) if rows else []), ", ".join(told)])


def _flagged(outcomes: Iterable[ScanOutcome]) -> str:
    flags = [[*flags] for o in outcomes if (flags := o.record.qc.get("flags"))]
    n_each = Counter(flag for its in flags for flag in its).most_common()
    told = ", ".join(f"{flag} {n}" for flag, n in n_each)
    return f" ({len(flags)} with flags: {told})" if flags else ""


def tell_summary(summary: Summary, output_dir: Path) -> None:
    """Print how the scans ended, and where the reports are."""
    from bids_app.outputs.paths import report_path

    if summary.outcomes:
        click.echo(outcome_lines(summary.outcomes))
    if summary.reported:
        only = len(summary.reported) == 1
        named = report_path(output_dir, summary.reported[0] if only else "*")
        click.echo(f"{'report' if only else 'reports'}: {named}")


def _export_group(arguments: Mapping[str, Any]) -> int:
    from bids_app.group.export import export_group, preview_group

    options = build(GroupOptions, arguments)
    page = not arguments["no_reports"]
    if options.umap and not page:
        raise OptionsError("--umap draws in group.html, which --no-reports leaves out.")
    if arguments["dry_run"]:
        preview = preview_group(arguments["output_dir"], options, page=page)
        for line in preview.lines:
            click.echo(line)
        return 1 if preview.n_damaged else 0
    export = export_group(arguments["output_dir"], options, page=page)
    for path in export.paths:
        click.echo(path)
    return 1 if export.n_damaged else 0


def _refuse_place_of_list(file: Path, source: Path) -> None:
    """Refuse a place in the input, or one of something else than a file: it would be replaced."""
    if str(file) == "-":
        raise OptionsError(
            "--list-missing -: expected the name of a file: the dry run itself is printed.",
            hint="A file of that name is ./-",
        )
    if real_path(file).is_relative_to(real_path(source)):
        raise OptionsError(f"--list-missing {file}: nothing is ever written to the input.")
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        raise OptionsError(
            f"--list-missing {str(file)!r}: expected the name of a file, found something else: "
            "a link, a folder, a pipe or a device."
        )


def _preview(options: RunOptions, arguments: Mapping[str, Any]) -> int:
    """Print what would be done; end as the real run would."""
    from bids_app.dry_run import dry_run, explain, missing_files
    from bids_app.files import write_bytes
    from model.files.write import text_bytes

    name, file = arguments["explain"], arguments["list_missing"]
    if file is not None and (name is not None or not arguments["dry_run"]):
        raise OptionsError("--list-missing goes with --dry-run, and not with --explain.")
    if file is not None:
        _refuse_place_of_list(file, options.bids_dir)
    if name is not None and not name.strip():
        raise OptionsError("--explain: expected the name of a run or a part of it, found nothing.")
    if name is not None:
        found, explanations = explain(options, name)
        for one in explanations:
            click.echo("\n".join(explained_lines(one)))
    else:
        found = dry_run(options)
        for line in dry_run_lines(found, verbose=bool(arguments["verbose"])):
            click.echo(line)
    if file is not None:
        _refuse_place_of_list(file, found.discovery.root)
        paths = missing_files(found.discovery)
        write_bytes(file, text_bytes("".join(f"{path}\n" for path in paths)))
        click.echo(f"to fetch: {len(paths)}, listed in {file}")
    if found.stopped_by is not None:
        raise found.stopped_by
    return 0 if name is not None else found.exit_code
