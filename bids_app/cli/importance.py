"""The command `semantoks importance`: what each network says with all others masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bids_app.cli.app import existing_folder
from bids_app.cli.encoder import encoder_options, open_encoder
from model.cli.program import Command

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=Command)
@click.argument("output_dir", type=existing_folder)
@encoder_options
def main(output_dir: Path, **arguments: Any) -> int:
    """Embed every run in OUTPUT_DIR once per network, the tokens of all other networks masked.

    OUTPUT_DIR is what semantoks wrote at participant level. Each network gets a table of its own
    there, group_desc-only<Network>_embedding.tsv; probe each and compare (docs/blocks.md).
    """
    return _run(output_dir, arguments)


def _run(output_dir: Path, arguments: dict[str, Any]) -> int:
    from bids_app.tasks.importance import embed_networks

    for path in embed_networks(output_dir, open_encoder(arguments)):
        click.echo(path)
    return 0
