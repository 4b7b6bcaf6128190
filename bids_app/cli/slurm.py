"""The command `semantoks slurm`: spread the participants of a study over a SLURM cluster."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bids_app.cli.app import ListCommand, resolve_options
from bids_app.cli.app import main as semantoks
from bids_app.embedder import names_gpu
from bids_app.logs import levels_of, set_up_logging

if TYPE_CHECKING:
    from bids_app.options import RunOptions
    from bids_app.slurm.script import Request

_NOT_SHARED = {"analysis_level", "n_cpus", "mem_mb", "dry_run", "tsv", "version"}
_CHOSEN_HERE = {"participant_label", "exclude_participant_label"}
"""Each task has its own participants."""


@click.command(
    cls=ListCommand,
)
@click.option(
    "--n-cpus",
    "--n_cpus",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="CPUs of a task: runs it processes at a time.",
)
@click.option(
    "--mem-mb",
    "--mem_mb",
    type=click.IntRange(min=1),
    help="Memory of a task. Default: estimated from the images.",
)
@click.option(
    "--time", "minutes", type=click.IntRange(min=1), help="Minutes per task. Default: estimated."
)
@click.option(
    "--participants-per-task",
    type=click.IntRange(min=1),
    help="Default: about half an hour of work.",
)
@click.option(
    "--at-a-time", type=click.IntRange(min=1), help="Tasks that may run at once. Default: all."
)
@click.option(
    "--image",
    type=click.Path(path_type=Path, exists=True),
    help="Apptainer image to run. Default: this installation, which the nodes must see.",
)
@click.option(
    "--sbatch-args",
    default="",
    metavar="TEXT",
    help="Further options of sbatch in one string, such as '--partition=long --account=x'.",
)
@click.option("--no-group", is_flag=True, help="Leave out the group step after the array.")
@click.option("--tsv", is_flag=True, help="Group step: also write the embeddings as text.")
@click.option("--dry-run", is_flag=True, help="Print the scripts; write and submit nothing.")
@click.pass_context
def main(context: click.Context, /, **arguments: Any) -> int:
    """Submit a SLURM array that embeds the selected participants, and the group step after it.

    BIDS_DIR, OUTPUT_DIR and all options of semantoks, which every task is given. Participants
    whose runs are all done are left out: the same command again resumes what failed or was cut
    off. The group step begins when every task has ended by itself.
    """
    set_up_logging(levels_of(verbose=arguments["verbose"], quiet=arguments["quiet"]))
    return _submit(context, arguments)


main.params[:0] = [option for option in semantoks.params if option.name not in _NOT_SHARED]


def _submit(context: click.Context, arguments: dict[str, Any]) -> int:
    from bids_app.slurm import script as slurm
    from bids_app.slurm.survey import survey

    image = arguments["image"]
    options = resolve_options(arguments | {"mem_mb": arguments["mem_mb"] or 1})
    found = survey(options, atlas_needed=image is None)
    click.echo(
        f"{found.n_participants} participants with {found.n_scans} runs; "
        f"{len(found.to_do)} participants have runs to do"
    )
    folder = options.output_dir.resolve() / "logs" / f"slurm-{uuid.uuid4().hex[:8]}"
    forwarded = _forwarded(context)
    program = _program(options, image, forwarded)
    scripts: dict[str, str] = {}
    if found.to_do:
        tasks = slurm.cut(
            found.to_do,
            per_task=arguments["participants_per_task"],
            n_cpus=options.n_cpus,
            at_most=slurm.largest_array(),
        )
        request = slurm.Request(
            n_cpus=options.n_cpus,
            memory_mb=arguments["mem_mb"] or found.task_memory_mb(options.n_cpus),
            minutes=arguments["minutes"] or slurm.task_minutes(tasks, n_cpus=options.n_cpus),
            sbatch_args=arguments["sbatch_args"],
        )
        words = [*program, "participant", *_limits(request), *forwarded]
        scripts["array.sh"] = slurm.array_script(
            words, request, n_tasks=len(tasks), at_a_time=arguments["at_a_time"], folder=folder
        )
        scripts["participants.txt"] = slurm.task_list(tasks)
    if not arguments["no_group"]:
        words = [*program, "group", *(["--tsv"] if arguments["tsv"] else [])]
        request = slurm.group_request(found.n_scans, sbatch_args=arguments["sbatch_args"])
        scripts["group.sh"] = slurm.group_script(words, request, folder=folder)
    if arguments["dry_run"]:
        for name, text in scripts.items():
            click.echo(f"\n==> {folder / name}\n{text}", nl=False)
    else:
        for line in slurm.submit_all(scripts, folder):
            click.echo(line)
    return 0


def _program(options: RunOptions, image: Path | None, words: list[str]) -> list[str]:
    """Return the words that start semantoks on a node, with input and output.

    In a container the files that `words` name are seen where they are outside.
    """
    bids_dir, output_dir = str(options.bids_dir.resolve()), str(options.output_dir.resolve())
    if image is None:
        # -P: nothing in the folder where a job is submitted is taken for a module.
        return [sys.executable, "-P", "-m", "bids_app", bids_dir, output_dir]
    named = (word for word in words if word.startswith("/") and Path(word).exists())
    inputs = [f"{path}:{path}:ro" for path in sorted({bids_dir, *named})]
    binds = [word for bind in (*inputs, f"{output_dir}:{output_dir}") for word in ("-B", bind)]
    return [
        "apptainer", "run", "--cleanenv", *(["--nv"] if names_gpu(options.device) else []),
        *binds, str(image.resolve()), bids_dir, output_dir,
    ]  # fmt: skip


def _limits(request: Request) -> list[str]:
    return ["--n-cpus", str(request.n_cpus), "--mem-mb", str(request.memory_mb)]


def _forwarded(context: click.Context) -> list[str]:
    """Return the options of semantoks as they were given, paths made absolute."""
    words: list[str] = []
    for option in semantoks.params:
        name = option.name or ""
        if (
            not isinstance(option, click.Option)
            or name in _NOT_SHARED | _CHOSEN_HERE
            or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE
        ):
            continue
        flag = next(opt for opt in option.opts if opt.startswith("--"))
        value = context.params[name]
        if option.is_flag:
            words.append(flag)
        elif option.count:
            words += [flag] * value
        elif option.multiple:
            words += [flag, *value]
        else:
            words += [flag, _word(value)]
    return words


def _word(value: Any) -> str:
    if value is None:
        return "none"  # a filter's edge that is switched off
    path = Path(str(value))
    return str(path.resolve() if path.exists() else value)
