"""The command `semantoks series`: embed parcel series that others made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bids_app.cli.app import encoding_options
from bids_app.cli.encoder import open_encoder
from bids_app.logs import levels_of, set_up_logging
from bids_app.workers.resources import available_cpus, available_memory_mb
from model.cli.program import Command

ORDERS = ("schaefer400x7", "schaefer400x7+tian50", "tian-first-450", "semantoks457")


@click.command(cls=Command)
@click.argument(
    "inputs",
    nargs=-1,
    required=True,
    metavar="INPUT...",
    type=click.Path(path_type=Path, exists=True),
)
@click.argument("output_dir", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--tr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Seconds between frames. May be left out where a JSON of the same name has it.",
)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    help="Which parcels the columns are, in files that do not name them.",
)
@click.option(
    "--atlas-label",
    metavar="LABEL",
    help="Where INPUT is a folder with series of several atlases: the label after seg- or atlas-.",
)
@click.option(
    "--ignore-other-columns",
    is_flag=True,
    help="Leave out named columns that are no parcel of the model; default: refuse the file.",
)
@encoding_options
def main(**arguments: Any) -> int:
    """Embed parcel series (TSV, CSV, NPY, NPZ, HDF5) that other programs made.

    Each INPUT is a file with one series or several, or an output folder of xcp_d or
    giga_connectome; OUTPUT_DIR receives BIDS-Derivatives as from
    semantoks, and `semantoks X OUTPUT_DIR group` makes one table of them. Columns are matched by
    the names of the parcels, or by --order; what is not certain is refused (docs/series.md).
    """
    set_up_logging(levels_of(verbose=arguments.pop("verbose"), quiet=arguments.pop("quiet")))
    return _run(arguments)


def _run(arguments: dict[str, Any]) -> int:
    from bids_app.cli.tables import outcome_lines
    from bids_app.series.find import expand_inputs
    from bids_app.series.run import SeriesOptions, run_series

    options = SeriesOptions(
        tr_s=arguments["tr"],
        order=arguments["order"],
        ignore_others=arguments["ignore_other_columns"],
        normalization=arguments["normalization"],
    )
    summary = run_series(
        expand_inputs(arguments["inputs"], atlas=arguments["atlas_label"]),
        arguments["output_dir"],
        options,
        open_encoder(arguments),
        overwrite=arguments["overwrite"],
        n_cpus=arguments["n_cpus"] or available_cpus(),
        memory_mb=arguments["mem_mb"] or available_memory_mb(),
    )
    click.echo(outcome_lines(summary.outcomes))
    return summary.exit_code
