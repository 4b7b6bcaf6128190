"""The command `semantoks-model`: look at checkpoints, import them, store series, pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.errors import SemantoksError
from model.shards_cli import shards_group

if TYPE_CHECKING:
    from model.spec import CheckpointCard


class _Group(click.Group):
    """The one boundary where errors become messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SemantoksError as err:
            message = f"{err.message}\n{err.hint}".rstrip()
            raise click.ClickException(message) from err


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Checkpoints and training of the encoder; arrays only, no BIDS."""


@main.command()
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
def info(checkpoint: Path | None) -> None:
    """Load CHECKPOINT strictly and print its card.

    CHECKPOINT is a folder with card.json and weights.safetensors, or a published .pth; the
    checkpoint that comes with the package where none is named.
    """
    # torch is imported inside commands, so that --help need not wait for it.
    from model.checkpoint import load_encoder

    encoder = load_encoder(checkpoint)
    n_parameters = sum(p.numel() for p in encoder.parameters())
    click.echo(f"{n_parameters:,} parameters; hash, keys and shapes fit.", err=True)
    click.echo(_card_of(encoder.card).to_json(), nl=False)


@main.command("import-checkpoint")
@click.argument("pth", type=click.Path(path_type=Path))
@click.argument("out_folder", type=click.Path(path_type=Path))
@click.option("--heads", type=click.IntRange(min=1), help="Attention heads, if PTH does not tell.")
def import_checkpoint(pth: Path, out_folder: Path, heads: int | None) -> None:
    """Convert the published checkpoint PTH to OUT_FOLDER (card.json, weights.safetensors).

    Nothing in PTH is executed. Only the teacher encoder is kept; what is dropped is listed by
    name in the card.
    """
    from model.checkpoint import import_published, save_checkpoint

    encoder = import_published(pth, heads=heads)
    card = _card_of(encoder.card)
    save_checkpoint(
        out_folder,
        encoder,
        name=card.name,
        version=card.version,
        input=card.input,
        readout=card.readout,
        source=card.source,
        licence=card.licence,
        training=card.training,
        dropped_keys=card.dropped_keys,
    )
    click.echo(out_folder)
    click.echo(f"{len(card.dropped_keys)} keys or parts dropped; see its card.json.", err=True)


_DEVICE = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda",
    help="Where to train; auto takes a GPU if there is one.",
)


@main.command()
@click.argument("recipe", required=False)
@click.argument("out", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--init", metavar="bundled|CHECKPOINT", help="Start from these weights.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Adapt to a cohort: OUTPUT_DIR of the participant level, or a folder of shards.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one value of RECIPE; repeat for more.",
)
@_DEVICE
def pretrain(
    recipe: str | None,
    out: Path | None,
    init: str | None,
    data: Path | None,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    """Pretrain an encoder as RECIPE says, into the folder OUT.

    RECIPE is a TOML file, or the name of one that comes with the package (tiny, bundled,
    published, adapt). With --data, RECIPE may be left out (adapt) and OUT too (./adapted).
    The same command in the same folder goes on where a killed run stopped.
    """
    if data is not None and out is None:
        recipe, out = "adapt", Path(recipe or "adapted")
    if recipe is None or out is None:
        raise click.UsageError("RECIPE and OUT are needed, unless --data is given.")
    if init is not None:
        overrides = (*overrides, f"run.init={init}")
    from model.pretraining.command import run_pretraining

    click.echo(run_pretraining(recipe, out, overrides, data=data, device=device, report=_progress))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@_DEVICE
def resume(out: Path, device: str) -> None:
    """Go on with the killed run in the folder OUT, with the settings it was started with."""
    from model.pretraining.command import resume_pretraining

    click.echo(resume_pretraining(out, device=device, report=_progress))


main.add_command(shards_group)


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _card_of(card: CheckpointCard | None) -> CheckpointCard:
    assert card is not None, "an encoder that was loaded has a card"  # noqa: S101 - our guarantee
    return card
