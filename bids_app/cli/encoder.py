"""Options of every command that embeds: which encoder, where it runs, how much at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bids_app.embedder import Embedder

    Option = Callable[[Callable[..., Any]], Callable[..., Any]]

ENCODER_OPTIONS = (
    click.option(
        "--checkpoint",
        type=click.Path(path_type=Path, exists=True),
        help="Folder with weights and card, or a published .pth. Default: the bundled one.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]",
        help="Where the encoder runs; auto takes a GPU if there is one.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=16,
        show_default=True,
        help="Windows per forward pass; results do not depend on it.",
    ),
)


def add_options(command: Callable[..., Any], options: Iterable[Option]) -> Callable[..., Any]:
    """Add options to a command, in the order in which its help shall list them."""
    for option in reversed([*options]):
        command = option(command)
    return command


def encoder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that embed what is prepared already."""
    return add_options(command, ENCODER_OPTIONS)


def open_encoder(arguments: dict[str, Any]) -> Embedder:
    """Open the checkpoint that the options name, as `bids_app.embedder.open_embedder` does."""
    from bids_app.embedder import open_embedder

    return open_embedder(
        arguments["checkpoint"],
        device=arguments["device"],
        batch_size=arguments["batch_size"],
    )
