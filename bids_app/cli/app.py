"""The command line: strings to options, outcomes to an exit code; the only place that prints."""

from __future__ import annotations

import math
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bids_app.atlas.spaces import SPACES
from bids_app.cli.encoder import ENCODER_OPTIONS, add_options
from bids_app.logs import levels_of, set_up_logging
from bids_app.workers.resources import available_cpus, available_memory_mb
from model.cli.program import Command, exit_code_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_app.options import RunOptions

EXIT_LEVEL = 17

COMMANDS = {
    "assets": "Install and list the atlas that semantoks needs.",
    "demo": "Simulate scans with a known truth, run semantoks on them, compare.",
    "series": "Embed parcel series (TSV, CSV, NPY, NPZ, HDF5) that other programs made.",
    "blocks": "Embed the task blocks of runs that are embedded already.",
    "importance": "Embed runs once per network, all other networks masked.",
    "slurm": "Submit a SLURM array over the participants, and the group step after it.",
}
"""Commands beside BIDS_DIR OUTPUT_DIR ANALYSIS_LEVEL; each is `main` in the module of its name."""


class ListCommand(Command):
    """A command whose list options take ``--flag a b`` as well as ``--flag a --flag b``.

    BIDS Apps are called in the first way, which click refuses by design; the flag is
    repeated before every further value, up to the next option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite space-separated lists, then parse as click does."""
        lists = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        rewritten: list[str] = []
        flag = None
        for word in args:
            if word.startswith("-"):
                flag = word if word in lists else None
                rewritten.append(word)
            elif flag is not None and rewritten[-1] != flag:
                rewritten += [flag, word]
            else:
                rewritten.append(word)
        try:
            return super().parse_args(ctx, rewritten)
        except click.MissingParameter as err:
            if flag is not None or rewritten != args:
                raise click.UsageError(
                    f"{err.format_message()} List options such as --participant-label go after "
                    "BIDS_DIR OUTPUT_DIR ANALYSIS_LEVEL.",
                    ctx=ctx,
                ) from err
            raise


class Program(ListCommand):
    """The BIDS App; a first word that is one of `COMMANDS` calls that command instead."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse what was given, as the BIDS App or as the command that is named first."""
        name = args[0] if args else ""
        if name not in COMMANDS:
            return super().make_context(info_name, args, parent, **extra)
        command: click.Command = import_module(f"bids_app.cli.{name}").main
        return command.make_context(f"{info_name} {name}", args[1:], parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Do the work of the command that was parsed."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the other commands."""
        super().format_options(ctx, formatter)
        with formatter.section("Other commands (a folder of such a name is given as ./NAME)"):
            formatter.write_dl([(f"semantoks {name}", text) for name, text in COMMANDS.items()])


class UnknownLevelError(click.BadParameter):
    """An analysis level other than participant and group."""

    exit_code = EXIT_LEVEL


class AnalysisLevel(click.Choice[str]):
    """The two levels; an unknown one has an exit code of its own."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the level or stop with exit code 17."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as err:
            raise UnknownLevelError(err.message, ctx=ctx, param=param) from err


class Cutoff(click.ParamType[float | None]):
    """A frequency in Hz, or ``none``."""

    name = "HZ|none"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return the frequency; None where the filter is switched off."""
        if value is None or str(value).lower() == "none":
            return None
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 < number < math.inf:
            self.fail(f"{value!r} is neither a positive frequency in Hz nor 'none'", param, ctx)
        return number


existing_folder = click.Path(path_type=Path, exists=True, file_okay=False)
existing_file = click.Path(path_type=Path, exists=True, dir_okay=False)


_ENCODING_OPTIONS = (
    *ENCODER_OPTIONS,
    click.option(
        "--normalization",
        type=click.Choice(["robust", "zscore"]),
        help="Per-scan normalization. Default: as the checkpoint was trained.",
    ),
    click.option(
        "--n-cpus",
        "--n_cpus",
        "--nprocs",
        "--nthreads",
        type=click.IntRange(min=1),
        help="Runs processed at a time, each by a process of one thread. Default: the CPUs this "
        "job may use.",
    ),
    click.option(
        "--mem-mb",
        "--mem_mb",
        type=click.IntRange(min=1),
        help="Memory for all processes together, by which fewer may run at a time. Default: what "
        "this job may use.",
    ),
    click.option(
        "--omp-nthreads",
        "--omp_nthreads",
        "unused_threads",
        type=click.IntRange(min=1),
        help="Accepted for compatibility: each process has one thread.",
    ),
    click.option("--overwrite", "--force", is_flag=True, help="Redo what is done already."),
    click.option("-v", "--verbose", count=True, help="More log lines (-vv: libraries' too)."),
    click.option("-q", "--quiet", is_flag=True, help="Errors only."),
)


def encoding_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that embeds scans: encoder, processes, output, log."""
    return add_options(command, _ENCODING_OPTIONS)


@click.command(cls=Program, epilog=exit_code_text())
@click.argument("bids_dir", type=click.Path(path_type=Path))
@click.argument("output_dir", type=click.Path(path_type=Path, file_okay=False))
@click.argument("analysis_level", type=AnalysisLevel(["participant", "group"]))
@click.option(
    "--participant-label",
    "--participant_label",
    multiple=True,
    metavar="LABEL ...",
    help="Participants, with or without 'sub-', or a text file with one per line.",
)
@click.option(
    "--exclude-participant-label",
    "--exclude_participant_label",
    multiple=True,
    metavar="LABEL ...",
    help="Participants to leave out.",
)
@click.option(
    "--session-label",
    "--session_label",
    "--session-id",
    multiple=True,
    metavar="LABEL ...",
    help="Sessions, with or without 'ses-'.",
)
@click.option(
    "-t",
    "--task-id",
    "--task_id",
    "--task-label",
    "--task",
    multiple=True,
    metavar="LABEL ...",
    help="Tasks, with or without 'task-'.",
)
@click.option(
    "--run-label",
    "--run_label",
    "--run-id",
    multiple=True,
    metavar="LABEL ...",
    help="Runs, with or without 'run-'; 1 selects 01 too.",
)
@click.option(
    "--space",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *SPACES]),
    help="Space of the BOLD series, fsLR for CIFTI; auto takes, for each run, the one whose "
    "atlas covers most parcels.",
)
@click.option(
    "--bids-filter-file",
    "--bids_filter_file",
    type=existing_file,
    help="JSON of pybids filters in fMRIPrep's format; its 'bold' entry is used.",
)
@click.option(
    "--derivatives",
    "-d",
    type=existing_folder,
    help="fMRIPrep derivative, if it is not BIDS_DIR itself or below it.",
)
@click.option(
    "--atlas",
    type=existing_folder,
    help="Folder of an installed 457-parcel atlas. Default: where 'semantoks assets' "
    "puts it ($SEMANTOKS_HOME/atlas).",
)
@click.option(
    "--denoise-strategy",
    "--denoise_strategy",
    "--nuisance-regressors",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="Named strategy of semantoks, giga_connectome or xcp_d, 'none', or a JSON "
    "file of your own (docs/denoising.md).",
)
@click.option(
    "--high-pass",
    type=Cutoff(),
    default="0.01",
    show_default=True,
    help="Lower edge of the band-pass.",
)
@click.option(
    "--low-pass",
    type=Cutoff(),
    default="0.1",
    show_default=True,
    help="Upper edge of the band-pass.",
)
@click.option(
    "--no-despike",
    is_flag=True,
    help="Do not bridge spikes of one or two volumes in single parcels before the filter.",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of a parcel's voxels that must carry signal; below, it is missing.",
)
@click.option(
    "--dummy-scans",
    type=click.IntRange(min=0),
    help="Leading volumes to drop. Default: fMRIPrep's non-steady-state columns.",
)
@click.option(
    "--tr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Repetition time, overriding sidecar and header.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print which runs were found, chosen and refused, with reasons, and stop.",
)
@click.option(
    "--stop-on-first-crash",
    "--stop_on_first_crash",
    is_flag=True,
    help="Stop at the first run that fails.",
)
@click.option(
    "--tsv",
    is_flag=True,
    help="Group level: also write the table of embeddings as text, beside Parquet.",
)
@click.option(
    "--skip-bids-validation",
    "--skip_bids_validation",
    "--skip_bids_validator",
    "--notrack",
    "no_op",
    is_flag=True,
    help="Accepted for compatibility: nothing is validated online or tracked.",
)
@click.option(
    "-w",
    "--work-dir",
    "--work_dir",
    "unused_work_dir",
    type=click.Path(path_type=Path),
    help="Accepted for compatibility: no working files are kept.",
)
@encoding_options
def main(**arguments: Any) -> int:
    """Turn fMRIPrep derivatives into parcel series, tokens and embeddings.

    BIDS_DIR is the fMRIPrep derivative, or a BIDS dataset that holds it under derivatives/.
    OUTPUT_DIR receives BIDS-Derivatives; nothing is written to BIDS_DIR. ANALYSIS_LEVEL is
    'participant' (embed scans) or 'group' (export one table of all scans in OUTPUT_DIR; reads
    only OUTPUT_DIR). Put list options such as --participant-label after the positionals.
    """
    set_up_logging(levels_of(verbose=arguments.pop("verbose"), quiet=arguments.pop("quiet")))
    if arguments["analysis_level"] == "group":
        from bids_app.group.export import export_group

        for path in export_group(arguments["output_dir"], tsv=arguments["tsv"]):
            click.echo(path)
        return 0
    options = resolve_options(arguments)
    from bids_app.cli.tables import discovery_lines, outcome_lines
    from bids_app.participant import discover, run_participants

    if arguments["dry_run"]:
        _, discovery = discover(options)
        if discovery.files:
            click.echo(discovery_lines(discovery))
        discovery.require_usable(confounds=options.strategy.needs_table)
        return 0
    summary = run_participants(options)
    click.echo(outcome_lines(summary.outcomes))
    return summary.exit_code


def resolve_options(arguments: dict[str, Any]) -> RunOptions:
    """Turn the parsed command line into the frozen options of a run."""
    from bids_app.inputs.selection import Selection
    from bids_app.options import RunOptions, SignalOptions
    from bids_app.signal.strategy import load_strategy

    selection = Selection.build(
        participant_labels=arguments["participant_label"],
        exclude_participant_labels=arguments["exclude_participant_label"],
        session_labels=arguments["session_label"],
        task_ids=arguments["task_id"],
        run_labels=arguments["run_label"],
        space=arguments["space"],
        bids_filter_file=arguments["bids_filter_file"],
    )
    return RunOptions(
        bids_dir=arguments["bids_dir"],
        output_dir=arguments["output_dir"],
        derivatives=arguments["derivatives"],
        selection=selection,
        atlas=arguments["atlas"],
        checkpoint=arguments["checkpoint"],
        strategy=load_strategy(arguments["denoise_strategy"]),
        signal=SignalOptions(
            high_pass_hz=arguments["high_pass"],
            low_pass_hz=arguments["low_pass"],
            min_coverage=arguments["min_coverage"],
            despike=not arguments["no_despike"],
            dummy_scans=arguments["dummy_scans"],
            tr_s=arguments["tr"],
            normalization=arguments["normalization"],
        ),
        device=arguments["device"],
        batch_size=arguments["batch_size"],
        n_cpus=arguments["n_cpus"] or available_cpus(),
        memory_mb=arguments["mem_mb"] or available_memory_mb(),
        overwrite=arguments["overwrite"],
        stop_on_first_crash=arguments["stop_on_first_crash"],
        reports="with",
        command=shlex.join(sys.argv),
    )
