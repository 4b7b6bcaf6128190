"""The command `semantoks-model`: look at checkpoints, import them, store series, pretrain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.errors import SemantoksError
from model.shards_cli import shards_group

if TYPE_CHECKING:
    from collections.abc import Callable

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

    _announce(resume_pretraining(out, device=device, report=_progress))


main.add_command(shards_group)


def _announce(checkpoint: Path) -> None:
    """Print the result once, however many processes ``torchrun`` started."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(checkpoint)


def _progress(line: str) -> None:
    click.echo(line, err=True)


@main.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True),
    help="Other embeddings of the same scans; differences are taken subject by subject.",
)
@click.option(
    "--across",
    type=click.Path(path_type=Path, exists=True),
    help="The same scans by another pipeline: identify one with the other.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="What made the outputs of SOURCE (or the word bundled): adds random weights.",
)
@click.option(
    "--robustness",
    is_flag=True,
    help="Perturb the series of SOURCE and embed them again; needs --checkpoint. Takes minutes.",
)
@click.option("--connectivity/--no-connectivity", default=True, show_default=True)
@click.option("--subject-column", default="participant_id", show_default=True)
@click.option("--session-column", default="session_id", show_default=True)
@click.option("--pipeline-column", help="Column that says by which pipeline a row was made.")
@click.option("--window-column", help="Column with the number of a window: rows are windows.")
@click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", help="Use only such rows; repeatable."
)
@click.option("--features", metavar="REGEX", help="Names of the columns that are the vector.")
@click.option("--motion-column", help="Mean motion: how much of it do the vectors predict?")
@click.option("--site-column", help="Site or scanner: how often do the vectors predict it?")
@click.option("--n-resamples", type=click.IntRange(min=100), default=2000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def evaluate(source: Path, out: Path, where: tuple[str, ...], **options: Any) -> None:
    """Measure embeddings without labels: who is who across sessions; write tables into OUT.

    SOURCE is an output folder of semantoks, or a table (.tsv, .csv, .parquet) with a row per scan.
    """
    from model.evaluation.command import EvaluationOptions, run_evaluation
    from model.evaluation.report import identification_lines
    from model.evaluation.source import SourceOptions

    pairs = [text.partition("=") for text in where]
    if not all(column and equals for column, equals, _ in pairs):
        raise click.BadParameter("expected COLUMN=VALUE.", param_hint="--where")
    columns = ("subject_column", "session_column", "pipeline_column", "window_column", "features")
    found, notes = run_evaluation(
        source,
        out,
        EvaluationOptions(
            source=SourceOptions(
                where=tuple((column, value) for column, _, value in pairs),
                **{name: options.pop(name) for name in columns},
            ),
            **options,
        ),
    )
    for note in notes:
        click.echo(note, err=True)
    click.echo(identification_lines(found))


@main.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def scale(config: Path, out: Path) -> None:
    """Train and measure a grid of data sizes and seeds, as the TOML file CONFIG says, into OUT.

    A call that was stopped is continued by the same call; rows that failed are tried again.
    """
    from model.scaling.command import run_scaling

    rows = run_scaling(config, out)
    n_failed = sum(row["status"] == "failed" for row in rows)
    click.echo(out / "scaling.tsv")
    if n_failed:
        raise click.ClickException(f"{n_failed} of {len(rows)} rows failed; see their JSON.")


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


@main.command()
@_protocol_options
@click.option("--site", metavar="COLUMN", help="Test on each site in turn, train on the others.")
@click.option("--repetitions", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--method", "methods", multiple=True, help="Repeat for more; default: all.")
def probe(data: Path, participants: Path, out: Path, **options: Any) -> None:
    """Predict a column of PARTICIPANTS from DATA by a linear probe, and by baselines beside it.

    DATA is an output folder of semantoks (series: all methods), or the table of its group level
    (embeddings: probe and linear). OUT is a new folder for results.json, results.tsv,
    predictions.tsv and results.svg. docs/probing.md describes methods and numbers.
    """
    from model.probing.command import run_probe
    from model.probing.config import ProbeConfig

    _log_to_stderr()
    checkpoint, device = options.pop("checkpoint"), options.pop("device")
    config = ProbeConfig(**options)
    text, rows = run_probe(data, participants, out, config, checkpoint=checkpoint, device=device)
    click.echo(text)
    failed = [f"{row.method}, {row.split}: {row.reason}" for row in rows if row.status == "failed"]
    if failed:
        raise click.ClickException(f"{len(failed)} fits failed:\n" + "\n".join(failed))


@main.command()
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
    from model.finetuning.command import run_finetune
    from model.finetuning.config import FinetuneConfig

    _log_to_stderr()
    checkpoint, device = options.pop("checkpoint"), options.pop("device")
    config = FinetuneConfig(**options)
    click.echo(run_finetune(data, participants, out, config, checkpoint=checkpoint, device=device))


@main.command()
@click.argument("output_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("root", type=click.Path(path_type=Path, file_okay=False))
@click.option("--name", required=True, help="Name of the data set.")
@click.option(
    "--participants",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table with participant_id and the target.",
)
@click.option("--target", required=True, metavar="COLUMN", help="Column with the classes.")
@click.option(
    "--desc",
    "description",
    type=click.Choice(["denoised", "model"]),
    default="denoised",
    show_default=True,
    help="model: what the encoder saw; semantoks-series writes no other.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split by subject.")
def brainmarks(output_dir: Path, root: Path, **options: Any) -> None:
    """Export the series in OUTPUT_DIR as a data set of brainmarks below ROOT.

    ROOT is BRAINMARKS_DATA_ROOT for `python -m brainmarks.main_logistic` (docs/brainmarks.md).
    """
    from model.brainmarks_export import ExportOptions, export_brainmarks

    for part, n_scans in export_brainmarks(output_dir, root, ExportOptions(**options)).items():
        click.echo(f"{part}\t{n_scans} scans")


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")


def _card_of(card: CheckpointCard | None) -> CheckpointCard:
    assert card is not None, "an encoder that was loaded has a card"  # noqa: S101 - our guarantee
    return card
