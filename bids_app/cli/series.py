"""The command `semantoks series`: embed parcel series that others made."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from bids_app.cli.app import granted, start_logging, tell_summary
from bids_app.options import InvocationOptions, LogOptions
from bids_app.series.options import SeriesOptions
from model.cli.program import Command, FieldOption, build, config_file, config_text, options_of


@click.command(cls=Command)
@click.argument(
    "inputs",
    nargs=-1,
    required=True,
    metavar="INPUT...",
    type=click.Path(path_type=Path),
)
@click.argument("output_dir", type=click.Path(path_type=Path, file_okay=False))
@options_of(SeriesOptions)
@click.option(
    "--atlas-label",
    cls=FieldOption,  # into the file of options too
    metavar="LABEL",
    help="Where INPUT is a folder with series of several atlases: the label after seg- or atlas-.",
)
@options_of(InvocationOptions)
@config_file
@options_of(LogOptions)
@click.pass_context
def main(context: click.Context, /, **arguments: Any) -> int:
    """Embed parcel series (TSV, CSV, NPY, NPZ, HDF5) that other programs made.

    Each INPUT is a file with one series or several, or an output folder of xcp_d or
    giga_connectome; OUTPUT_DIR receives BIDS-Derivatives as from
    semantoks, and `semantoks X OUTPUT_DIR group` makes one table of them. Columns are matched by
    the names of the parcels, or by --order; what is not certain is refused (docs/series.md).
    """
    from bids_app.embedder import open_embedder
    from bids_app.series.find import expand_inputs
    from bids_app.series.run import run_series

    start_logging(arguments)
    options = build(InvocationOptions, arguments, config=config_text(context), **granted())
    embedder = open_embedder(
        options.checkpoint, device=options.device, batch_size=options.batch_size
    )
    summary = run_series(
        expand_inputs(arguments["inputs"], atlas=arguments["atlas_label"]),
        arguments["output_dir"],
        build(SeriesOptions, arguments),
        embedder,
        invocation=options,
    )
    tell_summary(summary, arguments["output_dir"])
    if summary.outcomes:
        place = shlex.quote(str(arguments["output_dir"]))
        click.echo(
            f"Written to {place}. One table of all: semantoks {place} {place} group", err=True
        )
    return summary.exit_code
