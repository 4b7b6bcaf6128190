"""The command `semantoks-importance`: what each network says with all others masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import click

from bids_app.cli.app import existing_folder, exit_with
from bids_app.cli.encoder import encoder_options, open_encoder

if TYPE_CHECKING:
    from pathlib import Path


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("output_dir", type=existing_folder)
@encoder_options
def main(output_dir: Path, **arguments: Any) -> NoReturn:
    """Embed every run in OUTPUT_DIR once per network, the tokens of all other networks masked.

    OUTPUT_DIR is what semantoks wrote at participant level. Each network gets a table of its own
    there, group_desc-only<Network>_embedding.tsv; probe each and compare (docs/blocks.md).
    """
    exit_with(lambda: _run(output_dir, arguments))


def _run(output_dir: Path, arguments: dict[str, Any]) -> int:
    from bids_app.tasks.importance import embed_networks

    for path in embed_networks(output_dir, open_encoder(arguments)):
        click.echo(path)
    return 0
