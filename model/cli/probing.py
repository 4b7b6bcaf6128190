"""The commands `semantoks-model probe` and `finetune`: predict a column of a table of people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.cli.program import Command

if TYPE_CHECKING:
    from collections.abc import Callable


def _protocol_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what `probe` and `finetune` share: data, labels, subjects, splits."""
    folder = click.Path(path_type=Path, exists=True)
    for decorate in (
        click.option("--allow-missing", is_flag=True, help="Leave subjects without label out."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
        click.option("--splits", type=folder, help="TSV: participant_id, split (train, ...)."),
        click.option("--shares", nargs=3, type=float, default=(0.6, 0.2, 0.2), show_default=True),
        click.option("--n-crops", type=click.IntRange(min=1), default=8, show_default=True),
        click.option("--readout", multiple=True, type=click.Choice(["mean", "cls", "networks"])),
        click.option("--entity", "entities", multiple=True, help="Only scans with task-rest, ..."),
        click.option("--checkpoint", type=folder, help="Default: the bundled one."),
        click.option("--task", type=click.Choice(["classification", "regression"]), required=True),
        click.option("--target", required=True, metavar="COLUMN", help="What to predict."),
        click.argument("out", type=click.Path(path_type=Path)),
        click.argument("participants", type=folder),
        click.argument("data", type=folder),
    ):
        command = decorate(command)
    return command


@click.command(cls=Command)
@_protocol_options
@click.option("--site", metavar="COLUMN", help="Test on each site in turn, train on the others.")
@click.option(
    "--repetitions",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Of drawn splits; --site and --splits have a number of their own.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=50, show_default=True)
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Such as probe or fc-svm; repeat for more; default: all.",
)
def probe(data: Path, participants: Path, out: Path, **options: Any) -> None:
    """Predict a column of PARTICIPANTS from DATA by a linear probe, and by baselines beside it.

    DATA is an output folder of semantoks (series: all methods), or the table of its group level
    (embeddings: probe and linear). OUT is a new folder for results.json, results.tsv,
    predictions.tsv and results.svg. docs/probing.md describes methods and numbers.
    """
    from model.probing.config import ProbeConfig
    from model.probing.probe import run_probe

    checkpoint, device = options.pop("checkpoint"), options.pop("device")
    config = ProbeConfig(**options)
    text, rows = run_probe(data, participants, out, config, checkpoint=checkpoint, device=device)
    click.echo(text)
    failed = [f"{row.method}, {row.split}: {row.reason}" for row in rows if row.status == "failed"]
    if failed:
        raise click.ClickException(f"{len(failed)} fits failed:\n" + "\n".join(failed))


@click.command(cls=Command)
@_protocol_options
@click.option("--repetition", type=click.IntRange(min=0), default=0, help="Split of that number.")
@click.option("--epochs", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--frozen-epochs", type=click.IntRange(min=0), default=5, show_default=True)
@click.option("--patience", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=2), default=16, show_default=True)
@click.option("--learning-rate", type=float, default=1e-4, show_default=True)
@click.option("--layer-decay", type=float, default=0.9, show_default=True)
@click.option("--weight-decay", type=float, default=0.05, show_default=True)
@click.option("--lora-rank", type=click.IntRange(min=0), default=0, help="0: all weights learn.")
def finetune(data: Path, participants: Path, out: Path, **options: Any) -> None:
    """Train encoder and head on a column of PARTICIPANTS, from the series in DATA.

    DATA is an output folder of semantoks. OUT is a new folder for checkpoint/ (for --checkpoint
    anywhere), the head, results.json and the course of the training. docs/probing.md describes it.
    """
    from model.finetuning.finetune import run_finetune
    from model.finetuning.train import FinetuneConfig

    checkpoint, device = options.pop("checkpoint"), options.pop("device")
    config = FinetuneConfig(**options)
    click.echo(run_finetune(data, participants, out, config, checkpoint=checkpoint, device=device))
