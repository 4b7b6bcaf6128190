"""The commands that predict a target, and that compare what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.cli.program import Command, build, options_of
from model.comparison.options import CompareOptions, ImportanceOptions
from model.errors import SemantoksError
from model.files.shared_options import CheckpointOptions
from model.finetuning.options import FINETUNE_PRESETS, FinetuneConfig
from model.probing.options import PROBE_PRESETS, ProbeConfig, ResultOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PEOPLE = click.Path(path_type=Path, exists=True, allow_dash=True)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
THERE = click.Path(path_type=Path, exists=True)


def _preset(presets: Mapping[str, Mapping[str, Any]]) -> Callable[[Any], Any]:
    """Add ``--preset``, whose values stand for options that are not given."""

    def take(context: click.Context, _parameter: click.Parameter, name: str | None) -> None:
        if name is not None:
            context.default_map = dict(presets[name])

    return click.option(
        "--preset",
        type=click.Choice(list(presets)),
        is_eager=True,
        expose_value=False,
        callback=take,
        help="Settings of the paper, where options do not say otherwise (docs/probing.md).",
    )


def _places(command: Any) -> Any:
    """Add the positionals that both commands have."""
    for argument in (
        click.argument("out", type=click.Path(path_type=Path)),
        click.argument("participants", type=PEOPLE),
        click.argument("data", type=THERE),
    ):
        command = argument(command)
    return command


@click.command(cls=Command)
@_places
@_preset(PROBE_PRESETS)
@options_of(ProbeConfig, CheckpointOptions, ResultOptions)
def probe(data: Path, participants: Path, out: Path, **arguments: Any) -> None:
    """Predict a column of PARTICIPANTS from DATA by a linear probe, and by baselines beside it.

    DATA is an output folder of semantoks (series: all methods), or a table of embeddings in it:
    of scans, blocks, conditions or single networks (probe and linear). OUT is a new folder for
    results.json, results.tsv, predictions.tsv and results.svg; a call that was stopped is
    continued by the same call. docs/probing.md describes methods and numbers.
    """
    from model.probing.probe import run_probe

    config = build(ProbeConfig, arguments)
    text, rows = run_probe(data, participants, out, config, **_others(arguments))
    click.echo(text)
    failed = [f"{row.method}, {row.split}: {row.reason}" for row in rows if row.status == "failed"]
    if failed:
        raise SemantoksError(f"{len(failed)} fits failed:\n" + "\n".join(failed))


@click.command(cls=Command)
@click.argument("semantoks_dir", type=FOLDER)
@click.argument("participants", type=PEOPLE)
@click.argument("out", type=click.Path(path_type=Path))
@options_of(ProbeConfig, ImportanceOptions, ResultOptions)
def importance(semantoks_dir: Path, participants: Path, out: Path, **arguments: Any) -> None:
    """Tell which network predicts a column of PARTICIPANTS best by itself, over a cohort.

    SEMANTOKS_DIR holds the tables of `semantoks importance` and of the group level, or of
    `semantoks blocks --networks`. All are probed on the same splits. OUT is a new folder for
    importance.tsv, importance.svg and the results. docs/blocks.md describes it.
    """
    from model.comparison.importance import run_importance

    config, options = build(ProbeConfig, arguments), build(ImportanceOptions, arguments)
    overwrite = build(ResultOptions, arguments).overwrite
    click.echo(
        run_importance(semantoks_dir, participants, out, config, options, overwrite=overwrite)
    )


@click.command(cls=Command)
@click.argument("results", nargs=-1, required=True, type=FOLDER)
@click.argument("out", type=click.Path(path_type=Path))
def average(results: tuple[Path, ...], out: Path) -> None:
    """Average the RESULTS of `probe` over several checkpoints, split by split, into OUT.

    The checkpoints, such as those of three seeds, were probed on the same people, labels and
    splits. OUT is a new folder for results.json and results.tsv.
    """
    from model.comparison.average import average as average_results

    click.echo(average_results(results, out))


@click.command(cls=Command)
@click.argument("results", nargs=-1, required=True, type=FOLDER)
@click.argument("out", type=click.Path(path_type=Path))
@options_of(CompareOptions)
def compare(results: tuple[Path, ...], out: Path, **arguments: Any) -> None:
    """Test whether one method is better than others over tasks: Wilcoxon, corrected by Holm.

    RESULTS are folders that `probe` wrote, one for each task. OUT is a new folder for
    comparison.tsv and comparison.json. docs/probing.md describes it.
    """
    from model.comparison.tasks import run_comparison

    click.echo(run_comparison(results, out, build(CompareOptions, arguments)))


@click.command(cls=Command)
@_places
@_preset(FINETUNE_PRESETS)
@options_of(FinetuneConfig, CheckpointOptions, ResultOptions)
def finetune(data: Path, participants: Path, out: Path, **arguments: Any) -> None:
    """Train encoder and head on a column of PARTICIPANTS, from the series in DATA.

    DATA is an output folder of semantoks. OUT is a new folder for checkpoint/ (for --checkpoint
    anywhere), the head, results.json and the course of the training. docs/probing.md describes it.
    """
    from model.finetuning.finetune import run_finetune

    config = build(FinetuneConfig, arguments)
    click.echo(run_finetune(data, participants, out, config, **_others(arguments)))


def _others(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what does not belong to the question."""
    return vars(build(CheckpointOptions, arguments)) | vars(build(ResultOptions, arguments))
