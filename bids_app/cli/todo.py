"""The command `semantoks todo`: what of a study is left to do, for schedulers of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bids_app.cli.app import ListsCommand, start_logging
from bids_app.errors import OptionsError
from bids_app.options import AcceptedOptions, LogOptions, RunOptions
from bids_app.workers.resources import available_memory_mb
from model.cli.program import build, config_file, options_of
from model.errors import numbered


@click.command(cls=ListsCommand)
@click.argument("bids_dir", type=click.Path(path_type=Path))
@click.argument("output_dir", type=click.Path(path_type=Path, file_okay=False))
@options_of(RunOptions)
@config_file
@options_of(LogOptions, AcceptedOptions)
def main(**arguments: Any) -> None:
    """Print the participants with scans left to do, one a line, and what a job of each needs.

    A line has the label, about how many seconds the job takes, and the memory to ask for in MB,
    with tabs between: for one CPU, or --n-cpus. Options are those that the job itself is called
    with: what is done under others is to do. Nothing is written (docs/scale.md has recipes).
    """
    from bids_app.survey import survey

    start_logging(arguments)
    options = build(
        RunOptions,
        arguments,
        bids_dir=arguments["bids_dir"],
        output_dir=arguments["output_dir"],
        n_cpus=1,
        memory_mb=available_memory_mb(),
    )
    if options.reports == "only":
        raise OptionsError("--reports-only: no scan is to do.")
    found = survey(options, atlas_needed=True)
    for line in found.lines(options.n_cpus):
        click.echo(line)
    n = len(found.to_do)
    have = "has" if n == 1 else "have"
    click.echo(
        f"{n} of {numbered(found.n_participants, 'participant')} {have} scans to do", err=True
    )
