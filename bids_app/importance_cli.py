"""The command `semantoks-importance`: what each network says with all others masked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bids_app import __version__
from bids_app.cli import existing_folder, exit_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_app.embedder import Embedder

_OPTIONS = (
    click.option(
        "--checkpoint",
        type=click.Path(path_type=Path, exists=True),
        help="Folder with weights and card, or a published .pth. Default: the bundled one.",
    ),
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]"),
    click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True),
    click.version_option(__version__, message="semantoks %(version)s"),
)


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that embed what is prepared already."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load(arguments: dict[str, Any]) -> Embedder:
    """Load the encoder that the options name."""
    from bids_app.embedder import open_embedder

    return open_embedder(
        arguments["checkpoint"],
        device=arguments["device"],
        batch_size=arguments["batch_size"],
    )


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
    from bids_app.importance_run import embed_networks

    for path in embed_networks(output_dir, load(arguments)):
        click.echo(path)
    return 0
