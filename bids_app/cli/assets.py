"""`semantoks assets`: install and list what the app needs beside the package."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.cli.program import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bids_app.atlas.setup.sources import Source

DESCRIPTION = (
    "457 parcels in the order of the Brain-Semantoks model input: Schaefer-400 in 7-network "
    "order (1-400), Tian subcortex S3 (401-450), Buckner-7 cerebellum (451-457). Built on this "
    "machine by semantoks assets from unmodified public files."
)
LICENCE = "Terms of each source, listed in the image's JSON under SourceFiles"


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
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Install into HOME/atlas. Default: $SEMANTOKS_HOME, else the user's cache folder.",
)
@click.option(
    "--space",
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
    from bids_app.atlas.setup import fetch as atlas_fetch
    from bids_app.atlas.setup import sources
    from bids_app.atlas.setup.build_grayordinates import (
        build_grayordinate_atlas,
        grayordinate_files,
    )
    from bids_app.atlas.setup.build_volumes import atlas_files, build_volume_atlas
    from bids_app.atlas.spaces import FSLR, SPACES
    from bids_app.files import write_all

    if download == (folder is not None):
        raise click.UsageError("give either --from DIR or --download.")
    if unknown := set(spaces) - set(SPACES):
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: one of {', '.join(SPACES)}.",
            param_hint="--space",
        )
    target = _target(home)
    chosen = [space for space in SPACES if not spaces or space in spaces]
    needed = _of_all(sources.sources_of, chosen)
    further = [] if minimal else _of_all(sources.further_sources_of, chosen)
    contents = (
        atlas_fetch.download(dict.fromkeys([*needed, *further]))
        if folder is None
        else atlas_fetch.read_from_folder(folder, needed, further=further)
    )
    images = [
        build_volume_atlas(space, resolution, contents)
        for space in chosen
        if SPACES[space].is_volume
        for resolution in sources.RESOLUTIONS
    ]
    n_densities = len(FSLR.densities) if sources.is_complete(FSLR.name, contents) else 1
    grays = [
        build_grayordinate_atlas(contents, density=d)
        for d in FSLR.densities[:n_densities]
        if FSLR.name in chosen
    ]
    files = atlas_files(images, target, description=DESCRIPTION, licence=LICENCE)
    for gray in grays:
        files |= grayordinate_files(gray, target, description=DESCRIPTION, licence=LICENCE)
    write_all(files)
    click.echo(f"Installed in {target}:")
    for image in images:
        click.echo(f"  {image.space} {image.resolution} mm: {_summary(image.absent)}")
        if image.n_overlap:
            click.echo(
                f"    {image.n_overlap} cerebellar voxels keep their cortical or subcortical label"
            )
    for gray in grays:
        click.echo(f"  {FSLR.name} {gray.density}: {_summary(gray.absent)}")
    if missing := [source.name for source in further if source not in contents]:
        click.echo(f"Not found, and what needs them left out: {', '.join(missing)}")
        click.echo("  docs/atlas.md says what that is, and where they come from.")
    click.echo("Terms of the sources:")
    for origin in dict.fromkeys(source.origin for source in contents):
        click.echo(f"  {origin.name}: {origin.licence}.\n    {origin.reference}")


@main.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Look into HOME/atlas. Default: $SEMANTOKS_HOME, else the user's cache folder.",
)
def info(home: Path | None) -> None:
    """List the installed atlases, each verified against its hash."""
    from bids_app.atlas.folder import installed_grayordinates, installed_images
    from bids_app.atlas.grayordinates import load_grayordinate_atlas
    from bids_app.atlas.volumes import load_volume_atlas

    folder = _target(home)
    paths, gray_paths = installed_images(folder), installed_grayordinates(folder)
    if not (paths or gray_paths):
        click.echo(f"No atlas in {folder}. Install it with: semantoks assets atlas --download")
    for path in paths:
        image = load_volume_atlas(path)
        click.echo(f"{image.space} {image.resolution} mm: {_summary(image.absent)}")
        click.echo(f"  {path}, voxels sha256 {image.sha256}")
    for path in gray_paths.values():
        gray = load_grayordinate_atlas(path)
        click.echo(f"{gray.space} {gray.density}: {_summary(gray.absent)}")
        click.echo(f"  {path}, labels sha256 {gray.sha256}")


def _of_all(files_of: Callable[[str], list[Source]], spaces: Iterable[str]) -> list[Source]:
    """Return the files of several spaces, each once."""
    return list(dict.fromkeys(source for space in spaces for source in files_of(space)))


def _target(home: Path | None) -> Path:
    from bids_app.atlas.folder import atlas_home

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
