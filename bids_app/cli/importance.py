"""The command `semantoks importance`: what each network says with all others masked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bids_app.options import EncoderOptions
from model.cli.program import Command, build, options_of


@click.command(cls=Command)
@click.argument("semantoks_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options_of(EncoderOptions)
def main(semantoks_dir: Path, **arguments: Any) -> None:
    """Embed every scan in SEMANTOKS_DIR once per network, the tokens of all others masked.

    SEMANTOKS_DIR is what semantoks wrote at participant level. Each network gets a table of its
    own there, group_desc-only<Network>_embedding.tsv; probe each and compare (docs/blocks.md).
    """
    from bids_app.embedder import open_embedder
    from bids_app.logs import levels_of, set_up_logging
    from bids_app.tasks.importance import embed_networks

    set_up_logging(levels_of(verbose=0, quiet=False))
    embedder = open_embedder(**vars(build(EncoderOptions, arguments)))
    for path in embed_networks(semantoks_dir, embedder):
        click.echo(path)
