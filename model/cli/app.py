"""The command `semantoks-model`: look at checkpoints, import them, store series, pretrain."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import click

from model.brainmarks.options import ExportOptions
from model.cli.probing import average, compare, finetune, importance, probe
from model.cli.program import EXIT_TERMINATED, Group, build, exit_code_text, options_of
from model.cli.shards import shards_group
from model.errors import SemantoksError
from model.evaluation.options import EvaluationOptions
from model.files.shared_options import DeviceOptions


class TerminatedError(SemantoksError):
    """A training was told to end, and can go on from its last saved state."""

    exit_code = EXIT_TERMINATED


@click.group(cls=Group, epilog=exit_code_text())
def main() -> None:
    """Checkpoints and training of the encoder; arrays only, no BIDS."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


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
    click.echo(encoder.own_card().to_json(), nl=False)


@main.command("import-checkpoint")
@click.argument("pth", type=click.Path(path_type=Path))
@click.argument("out_folder", type=click.Path(path_type=Path))
@click.option(
    "--heads", type=click.IntRange(min=1), help="Attention heads, if the file does not tell."
)
def import_checkpoint(pth: Path, out_folder: Path, heads: int | None) -> None:
    """Convert the published checkpoint PTH to OUT_FOLDER (card.json, weights.safetensors).

    Nothing in PTH is executed. Only the teacher encoder is kept; what is dropped is listed by
    name in the card.
    """
    from model.checkpoint import convert_published
    from model.files.write import refuse_occupied

    refuse_occupied(out_folder)
    card = convert_published(pth, out_folder, heads=heads)
    click.echo(out_folder)
    click.echo(f"{len(card.dropped_keys)} keys or parts dropped; see its card.json.", err=True)


@main.command("partition")
@click.argument("words", nargs=-1, required=True, metavar="PARTITION...")
def partition_table(words: tuple[str, ...]) -> None:
    """Print the groups of parcels of one or more PARTITIONs as a table: to look at, or to edit.

    PARTITION is brain, networks, hemispheres, components, parcels, or such a table; with :7
    behind it every group has seven tokens (docs/partitions.md).
    """
    from model.partition.groups import check_groups, row_names
    from model.partition.named import partition
    from model.partition.table import table_of

    groups = partition(words)
    check_groups(groups)
    for row in table_of(groups):
        click.echo("\t".join(row))
    click.echo(f"{len(groups)} groups, {len(row_names(groups))} rows of tokens", err=True)


@main.command()
@click.argument("recipe", required=False)
@click.argument("out", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--init", metavar="bundled|CHECKPOINT", help="Start from these weights.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Adapt to a cohort: an output folder of semantoks, or a folder of shards.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace one value of RECIPE; repeat for more.",
)
@options_of(DeviceOptions)
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
    from model.pretraining.pretrain import run_pretraining

    _end_when_told_to(out)
    _announce(run_pretraining(recipe, out, overrides, data=data, device=device, report=_progress))


@main.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@options_of(DeviceOptions)
def resume(out: Path, device: str) -> None:
    """Go on with the killed run in the folder OUT, with the settings it was started with."""
    from model.pretraining.pretrain import resume_pretraining

    _end_when_told_to(out)
    _announce(resume_pretraining(out, device=device, report=_progress))


main.add_command(shards_group)
main.add_command(probe)
main.add_command(average)
main.add_command(finetune)
main.add_command(importance)
main.add_command(compare)


def _end_when_told_to(out: Path) -> None:
    """Let SIGTERM, of a cluster or of ``torchrun``, end a training with a message."""

    def end(_signal: int, _frame: object) -> None:
        raise TerminatedError(
            "the training was told to end (SIGTERM).",
            hint=f"semantoks-model resume {out} goes on from the last saved state.",
        )

    signal.signal(signal.SIGTERM, end)


def _announce(checkpoint: Path) -> None:
    """Print the result once, however many processes ``torchrun`` started."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(checkpoint)


def _progress(line: str) -> None:
    click.echo(line, err=True)


@main.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@options_of(EvaluationOptions)
def evaluate(source: Path, out: Path, **arguments: Any) -> None:
    """Measure embeddings without labels: who is who across sessions; write tables into OUT.

    SOURCE is an output folder of semantoks, or a table (.tsv, .csv, .parquet) with a row per scan.
    """
    options = build(EvaluationOptions, arguments)
    from model.evaluation.evaluate import run_evaluation
    from model.evaluation.results import identification_lines

    found, notes = run_evaluation(source, out, options)
    for note in notes:
        click.echo(note, err=True)
    click.echo(identification_lines(found))


@main.command()
@click.argument("config", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@options_of(DeviceOptions)
def scale(config: Path, out: Path, device: str) -> None:
    """Train and measure a grid of data sizes and seeds, as the TOML file CONFIG says, into OUT.

    A call that was stopped is continued by the same call; rows that failed are tried again.
    """
    from model.scaling.scale import run_scaling

    rows = run_scaling(config, out, device=device)
    n_failed = sum(row["status"] == "failed" for row in rows)
    click.echo(out / "scaling.tsv")
    if n_failed:
        raise SemantoksError(f"{n_failed} of {len(rows)} rows failed; see their JSON.")


@main.command()
@click.argument("semantoks_dir", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("root", type=click.Path(path_type=Path, file_okay=False))
@options_of(ExportOptions)
def brainmarks(semantoks_dir: Path, root: Path, **arguments: Any) -> None:
    """Export the series in SEMANTOKS_DIR as a data set of brainmarks below ROOT.

    ROOT is BRAINMARKS_DATA_ROOT for `python -m brainmarks.main_logistic` (docs/brainmarks.md).
    """
    options = build(ExportOptions, arguments)
    from model.brainmarks.arrow import export_brainmarks

    for part, n_scans in export_brainmarks(semantoks_dir, root, options).items():
        click.echo(f"{part}\t{n_scans} scans")
