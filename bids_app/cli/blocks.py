"""The command `semantoks blocks`: embed the task blocks of runs that are embedded already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bids_app.cli.app import existing_folder
from bids_app.cli.encoder import encoder_options, open_encoder
from model.cli.program import Command

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = click.FloatRange(min=0)


@click.command(cls=Command)
@click.argument("output_dir", type=existing_folder)
@click.argument("bids_dir", type=existing_folder)
@click.option(
    "--construction",
    required=True,
    type=click.Choice(["pad", "continuous", "concatenated"]),
    help="Responding samples, then zeros; 40 s from the first one on; or two blocks in one patch.",
)
@click.option(
    "--hrf-delay",
    type=SECONDS,
    metavar="SECONDS",
    help="The response is the block, this much later. This or --double-gamma.",
)
@click.option(
    "--double-gamma",
    is_flag=True,
    help="The response is where the block convolved with the canonical HRF exceeds 0.1.",
)
@click.option(
    "--place",
    type=click.Choice(["first", "last"]),
    default="first",
    show_default=True,
    help="Patch of the window that holds the block; the other four are masked.",
)
@click.option(
    "--merge-gap",
    type=SECONDS,
    metavar="SECONDS",
    help="Trials of one condition that follow within this time are one block. "
    "Default: each row of events.tsv is a block.",
)
@click.option(
    "--condition", multiple=True, metavar="TRIAL_TYPE", help="Use only these; repeatable."
)
@encoder_options
def main(output_dir: Path, bids_dir: Path, **arguments: Any) -> int:
    """Embed the task blocks that BIDS_DIR's events.tsv name, of the runs in OUTPUT_DIR.

    OUTPUT_DIR is what semantoks wrote at participant level. One row per block goes to
    group_desc-blocks_embedding.tsv there, one per run and condition to
    group_desc-conditions_embedding.tsv (docs/blocks.md).
    """
    return _run(output_dir, bids_dir, arguments)


def _run(output_dir: Path, bids_dir: Path, arguments: dict[str, Any]) -> int:
    from bids_app.errors import OptionsError
    from bids_app.tasks.blocks import BlockOptions, embed_blocks
    from model.tasks.block_windows import Response

    if (arguments["hrf_delay"] is None) == (not arguments["double_gamma"]):
        raise OptionsError(
            "expected --hrf-delay SECONDS or --double-gamma, and one of them only.",
            hint="The paper used an HRF-convolved regressor: --double-gamma.",
        )
    options = BlockOptions(
        response=Response(delay_s=arguments["hrf_delay"], double_gamma=arguments["double_gamma"]),
        construction=arguments["construction"],
        place=arguments["place"],
        merge_gap_s=arguments["merge_gap"],
        conditions=arguments["condition"],
    )
    summary = embed_blocks(output_dir, bids_dir, options, open_encoder(arguments))
    for path in summary.paths:
        click.echo(path)
    click.echo(
        f"{summary.n_blocks} blocks of {summary.n_runs} runs; {summary.n_left_out} runs or "
        "events left out, see the status table.",
        err=True,
    )
    return 0
