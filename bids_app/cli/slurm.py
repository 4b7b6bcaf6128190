"""The command `semantoks slurm`: spread the participants of a study over a SLURM cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bids_app.cli.app import main as semantoks
from bids_app.cli.app import resolve_options, start_logging
from bids_app.errors import OptionsError
from bids_app.group.options import GroupOptions
from bids_app.slurm.options import JobOptions
from model.cli.program import Command, build, option_names, options_of
from model.errors import numbered
from model.files.content import real_path

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from bids_app.options import RunOptions
    from bids_app.slurm.plan import Call


@click.command(cls=Command, context_settings={"allow_interspersed_args": False})
@options_of(JobOptions)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and why; do nothing.")
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="-- BIDS_DIR OUTPUT_DIR participant [OPTIONS OF semantoks]",
)
def main(words: tuple[str, ...], **arguments: Any) -> None:
    """Submit a SLURM array that embeds the selected participants, and the group step after it.

    What stands after -- is a call of semantoks, and what each task is called with, word for
    word, but for the participants: each task has its own. --n-cpus and --mem there are what a
    task asks the cluster for (default: 4 CPUs, and memory estimated from the images).
    Participants whose scans are all done are left out: the same command again resumes what
    failed or was cut off. The group step begins when every task has ended by itself.
    """
    from bids_app.outputs.paths import new_log_folder
    from bids_app.slurm.plan import plan_jobs
    from bids_app.slurm.script import submit_all

    call = _call(words)
    folder = new_log_folder(real_path(call.options.output_dir), kind="slurm-")
    found, scripts = plan_jobs(call, build(JobOptions, arguments), folder)
    n = len(found.to_do)
    click.echo(
        f"{numbered(found.n_participants, 'participant')} with {numbered(found.n_scans, 'scan')}; "
        f"{numbered(n, 'participant')} {'has' if n == 1 else 'have'} scans to do"
    )
    if arguments["dry_run"]:
        for name, text in scripts.items():
            click.echo(f"\n==> {folder / name}\n{text}", nl=False)
    else:
        for line in submit_all(scripts, folder):
            click.echo(line)


def _call(words: tuple[str, ...]) -> Call:
    """Understand the words that stand for a call of semantoks."""
    from bids_app.slurm.plan import Call

    context = semantoks.make_context("semantoks", [*words])
    given = context.params
    if given["analysis_level"] != "participant":
        raise click.UsageError("the array is of the participant level; the group step follows it.")
    if given["dry_run"] or (given["explain"], given["list_missing"]) != (None, None):
        raise click.UsageError(
            "--dry-run goes before --; tasks that embed nothing are no use, nor with --explain."
        )
    start_logging(given)
    options = resolve_options(given)
    if options.reports == "only":
        raise OptionsError(
            "--reports-only: tasks that embed nothing are no use.",
            hint="Once, without slurm: semantoks BIDS_DIR OUTPUT_DIR participant --reports-only.",
        )
    of_group = option_names(GroupOptions)
    kept = _with_place(without_options(words, {"participant_label", *of_group}), options)
    return Call(
        options=options,
        words=kept,
        named=_named(kept, given),
        positionals=(str(given["bids_dir"]), str(given["output_dir"])),
        group_words=option_words(context, of_group),
        n_cpus=given["n_cpus"],
        memory_mb=options.memory_mb if given["mem"] else None,
    )


def _named(words: Sequence[str], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all that may name a file: words, and values of options, also from a file of them."""
    values: list[Any] = [*words, *(word.partition("=")[2] for word in words)]
    for value in given.values():
        values += value if isinstance(value, tuple) else (value,)
    return tuple(sorted({str(one) for one in values if isinstance(one, str | Path)} - {""}))


def _with_place(words: list[str], options: RunOptions) -> list[str]:
    """Put the folder of an installed checkpoint in the place of its name.

    A node, or a container, may have another home, and sees the folders that are named.
    """
    place = options.checkpoint
    if place is None or not place.is_absolute():
        return words
    if any(word.rpartition("=")[2] == str(place) for word in words):
        return words
    return [*without_options(words, {"checkpoint"}), "--checkpoint", str(place)]


def without_options(words: Iterable[str], names: Container[str]) -> list[str]:
    """Take the words of a call without some options and what is given to them."""
    options = {flag: o for o in semantoks.params if o.name in names for flag in o.opts}
    kept: list[str] = []
    its_value = False
    for part in semantoks.divided(words):
        flag, assigned, _ = part[0].partition("=")
        option = options.get(flag.replace("_", "-"))
        if isinstance(option, click.Option):
            its_value = not (assigned or option.is_flag or option.multiple)
        elif its_value:
            its_value = False
        else:
            kept += part
    return kept


def option_words(context: click.Context, names: Container[str]) -> list[str]:
    """Write again what was given for some options, on the command line or in a file."""
    words: list[str] = []
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if option.name in names and value not in (None, False, ()):
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            words += [option.opts[0], *map(str, values)]
    return words
