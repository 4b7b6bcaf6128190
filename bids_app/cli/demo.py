"""The command `semantoks demo`: simulated scans with a known truth, the app, the comparison."""

from __future__ import annotations

from pathlib import Path

import click

from bids_app.cli.app import main as semantoks
from model.cli.program import Command


@click.command(cls=Command)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def main(out: Path) -> int:
    """Write simulated scans to OUT, run semantoks on them, compare with the truth.

    OUT must be empty or absent. It receives fmriprep/ (two subjects, five scans, in fMRIPrep's
    layout), atlas/ (a synthetic atlas), truth/ (the signals that were put in) and semantoks/
    (the app's output): about 100 MB. Nothing is downloaded. Exits with 1 if the extracted
    series do not agree with the truth.
    """
    from bids_app.demo import recovery

    if out.exists() and any(out.iterdir()):
        raise click.BadParameter(f"{out} is not empty; name a new folder.", param_hint="OUT")
    click.echo(f"Simulating {len(recovery.RUNS)} scans in {out} ...")
    scans = recovery.write_example(out)
    for level in ("participant", "group"):
        if code := _run_app(out, level):
            click.echo(f"semantoks ended with exit code {code}", err=True)
            return code
    recoveries = [recovery.measure_recovery(out, scan) for scan in scans]
    click.echo(recovery.report(out, recoveries))
    return 0 if all(r.good for r in recoveries) else 1


def _run_app(out: Path, level: str) -> int:
    """Run the app in this process; return its exit code."""
    words = [str(out / "fmriprep"), str(out / "semantoks"), level]
    if level == "participant":
        words += ["--atlas", str(out / "atlas")]
    click.echo(f"\n$ semantoks {' '.join(words)}")
    code: int = semantoks(words, standalone_mode=False)
    return code
