"""The command `semantoks blocks`: embed the task blocks of scans that are embedded already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bids_app.options import EncoderOptions
from bids_app.tasks.options import BlockOptions
from model.cli.program import Command, build, options_of
from model.errors import numbered

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command(cls=Command)
@click.argument("bids_dir", type=FOLDER)
@click.argument("semantoks_dir", type=FOLDER)
@options_of(BlockOptions, EncoderOptions)
def main(bids_dir: Path, semantoks_dir: Path, **arguments: Any) -> None:
    """Embed the task blocks that BIDS_DIR's events.tsv name, of the scans in SEMANTOKS_DIR.

    SEMANTOKS_DIR is what semantoks wrote at participant level. One row per block goes to
    group_desc-blocks_embedding.tsv there, one per scan and condition to
    group_desc-conditions_embedding.tsv (docs/blocks.md).
    """
    from bids_app.embedder import open_embedder
    from bids_app.logs import levels_of, set_up_logging
    from bids_app.tasks.blocks import embed_blocks

    options = build(BlockOptions, arguments)
    set_up_logging(levels_of(verbose=0, quiet=False))
    embedder = open_embedder(**vars(build(EncoderOptions, arguments)))
    summary = embed_blocks(semantoks_dir, bids_dir, options, embedder)
    for path in summary.paths:
        click.echo(path)
    click.echo(
        f"{numbered(summary.n_blocks, 'block')} of {numbered(summary.n_scans, 'scan')}; "
        f"scans or events left out: {summary.n_left_out}, see the status table.",
        err=True,
    )
