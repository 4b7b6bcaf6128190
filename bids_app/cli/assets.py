"""`semantoks assets`: install and list what the app needs beside the package."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.cli.program import Group

if TYPE_CHECKING:
    from collections.abc import Mapping


_HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The atlas is in HOME/atlas. Default: $SEMANTOKS_HOME, else the user's cache folder.",
)


@click.group(cls=Group)
def main() -> None:
    """Install and list the atlas that semantoks needs."""
    # It tells, of every CIFTI file, that there are no voxel sizes in the NIfTI part.
    logging.getLogger("nibabel").setLevel(logging.ERROR)


@main.command()
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Build from source files found by their original names anywhere below this folder.",
)
@click.option("--download", is_flag=True, help="Fetch the source files from the internet.")
@click.option(
    "--without-templateflow",
    "minimal",
    is_flag=True,
    help="Leave out what needs files of TemplateFlow (a download of 215 MB): the cerebellum in "
    "MNI152NLin2009cAsym, and CIFTI at 170k.",
)
@_HOME
@click.option(
    "--for-space",
    "spaces",
    multiple=True,
    metavar="SPACE",
    help="MNI152NLin6Asym, MNI152NLin2009cAsym or fsLR (CIFTI); repeatable. Default: all.",
)
def atlas(
    *,
    folder: Path | None,
    download: bool,
    minimal: bool,
    home: Path | None,
    spaces: tuple[str, ...],
) -> None:
    """Build the 457-parcel atlas from its public sources, verified by sha256.

    With --from, files of TemplateFlow are taken where they are: below DIR, or in TemplateFlow's
    own folder. What needs them is left out where they are not.
    """
    from bids_app.atlas.setup.install import install_atlas
    from bids_app.atlas.spaces import FSLR, SPACES

    if download == (folder is not None):
        raise click.UsageError("give either --from DIR or --download.")
    if unknown := set(spaces) - set(SPACES):
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: one of {', '.join(SPACES)}.",
            param_hint="--for-space",
        )
    target = _target(home)
    chosen = [space for space in SPACES if not spaces or space in spaces]
    done = install_atlas(target, chosen, folder=folder, minimal=minimal)
    click.echo(f"Installed in {target}:")
    for image in done.volumes:
        click.echo(f"  {image.space} {image.resolution} mm: {_summary(image.absent)}")
        if image.n_overlap:
            click.echo(
                f"    {image.n_overlap} cerebellar voxels keep their cortical or subcortical label"
            )
    for grayordinates in done.grayordinates:
        click.echo(f"  {FSLR.name} {grayordinates.density}: {_summary(grayordinates.absent)}")
    if done.left_out:
        click.echo(f"Not found, and what needs them left out: {', '.join(done.left_out)}")
        click.echo("  docs/atlas.md says what that is, and where they come from.")
    click.echo("Terms of the sources:")
    for origin in done.origins:
        click.echo(f"  {origin.name}: {origin.licence}.\n    {origin.reference}")


@main.command()
@_HOME
def info(home: Path | None) -> None:
    """List the installed atlases, each verified against its hash."""
    from bids_app.atlas.grayordinates import load_grayordinate_atlas
    from bids_app.atlas.volumes import installed_grayordinates, installed_images, load_volume_atlas

    folder = _target(home)
    paths, densities = installed_images(folder), installed_grayordinates(folder)
    if not (paths or densities):
        click.echo(f"No atlas in {folder}. Install it with: semantoks assets atlas --download")
    for path in paths:
        image = load_volume_atlas(path)
        click.echo(f"{image.space} {image.resolution} mm: {_summary(image.absent)}")
        click.echo(f"  {path}, voxels sha256 {image.sha256}")
    for path in densities.values():
        atlas = load_grayordinate_atlas(path)
        click.echo(f"{atlas.space} {atlas.density}: {_summary(atlas.absent)}")
        click.echo(f"  {path}, labels sha256 {atlas.sha256}")


def _target(home: Path | None) -> Path:
    from bids_app.atlas.volumes import atlas_home

    return atlas_home() if home is None else home / "atlas"


def _summary(absent: Mapping[int, str]) -> str:
    from model.networks import parcel_names

    n_parcels = len(parcel_names())
    if not absent:
        return f"{n_parcels} parcels"
    reasons = ", ".join(sorted(set(absent.values())))
    return (
        f"{n_parcels - len(absent)} of {n_parcels} parcels; {len(absent)} missing ({reasons}), "
        "masked for the model"
    )
