"""`semantoks assets`: install, list and verify what the app needs beside the package."""

from __future__ import annotations

import logging
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.cli.program import Group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from model.spec import CheckpointCard

    Check = Callable[[], list[str]]
    """Verifies one asset and tells what it is, in lines; raises where it is damaged."""

_HOME = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Assets are in HOME/atlas and HOME/checkpoints. Default: $SEMANTOKS_HOME, else the "
    "user's cache folder.",
)


@click.group(cls=Group)
def main() -> None:
    """Install, list and verify the atlas that semantoks needs, and the weights of the paper."""
    # It tells, of every CIFTI file, that there are no voxel sizes in the NIfTI part.
    logging.getLogger("nibabel").setLevel(logging.ERROR)


@main.command(short_help="Build the atlas from its public sources.")
@click.option(
    "--from",
    "origin",
    metavar="FOLDER|URL",
    help="Build from source files found by their original names anywhere below this folder; or "
    "fetch them from this address, where they lie side by side.",
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
    origin: str | None,
    download: bool,
    minimal: bool,
    home: Path | None,
    spaces: tuple[str, ...],
) -> None:
    """Build the 457-parcel atlas from its public sources, verified by sha256.

    With --from FOLDER, files of TemplateFlow are taken where they are: below it, or in
    TemplateFlow's own folder. What needs them is left out where they are not.
    """
    from bids_app.atlas.setup.install import install_atlas
    from bids_app.atlas.spaces import FSLR, SPACES
    from bids_app.weights.install import is_address, refuse_names

    if download == (origin is not None):
        raise click.UsageError("give either --from FOLDER|URL or --download.")
    place = origin if origin is None or is_address(origin) else Path(origin)
    if isinstance(place, str):
        refuse_names(place)
    elif place is not None and not place.is_dir():
        raise click.BadParameter(
            f"{origin}: no such folder, and no http address.", param_hint="--from"
        )
    if unknown := set(spaces) - set(SPACES):
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: one of {', '.join(SPACES)}.",
            param_hint="--for-space",
        )
    target = _home(home) / "atlas"
    chosen = [space for space in SPACES if not spaces or space in spaces]
    done = install_atlas(target, chosen, origin=place, minimal=minimal)
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
    for terms in done.origins:
        click.echo(f"  {terms.name}: {terms.licence}.\n    {terms.reference}")


@main.command(short_help="Install the weights of the paper.")
@click.option(
    "--download",
    "weights",
    type=click.Choice(["published", "published:seed2", "published:seed3"]),
    help="The weights of the paper, of the first pretraining seed or another, from the model hub.",
)
@click.option(
    "--from",
    "origin",
    metavar="FILE|URL",
    help="Not from the hub, but this file, this address of a file (.pth), or a mirror that speaks "
    "the hub's paths. Without --download: published.",
)
@click.option(
    "--revision",
    metavar="COMMIT",
    help="Of the hub's repository. Default: its newest commit, which the card then names.",
)
@click.option(
    "--sha256",
    metavar="HASH",
    help="What the file must hash to. Default: as the hub says, which is asked for it.",
)
@click.option(
    "--heads",
    type=click.IntRange(min=1),
    help="Attention heads, if the file does not tell.",
)
@click.option(
    "--accept-licence",
    "--accept-license",
    "accepted",
    is_flag=True,
    help="Do not ask: source and licence position are known and accepted.",
)
@_HOME
def checkpoint(
    *,
    weights: str | None,
    origin: str | None,
    revision: str | None,
    sha256: str | None,
    heads: int | None,
    accepted: bool,
    home: Path | None,
) -> None:
    """Install the weights of the paper, verified by sha256, for --checkpoint published.

    Source, hash and licence position are shown, and consent is asked for. A download that was
    cut off goes on with the same command; a file with another hash is removed. What the weights
    can be expected to do is on docs/howto/published_weights.md.
    """
    from bids_app.errors import OptionsError
    from bids_app.weights.install import install_weights, installed, make_offer
    from model.files.content import real_path
    from model.files.home import CHECKPOINTS, checkpoint_folder, semantoks_home

    if weights is None and origin is None:
        raise click.UsageError("give --download published, or --from FILE|URL.")
    weights = weights or "published"
    place = _home(home) / CHECKPOINTS
    card = installed(weights, place)
    if card is not None:
        others = [word for word in (revision, sha256) if word and word.lower() not in card.source]
        if others:
            raise OptionsError(
                f"{place / checkpoint_folder(weights)} holds other weights: {card.source}.",
                hint="Remove that folder first, if these are to take its place.",
            )
        click.echo(f"Installed already, and as they should be: {card.source}")
    else:
        offer = make_offer(weights, origin=origin, revision=revision, sha256=sha256)
        for line in offer.lines():
            click.echo(line, err=True)
        if not (accepted or _agreed()):
            raise OptionsError(
                "nothing was installed: source and licence position were not accepted.",
                hint="Where nobody can be asked: --accept-licence.",
            )
        card = install_weights(offer, place, heads=heads)
        click.echo(f"Installed: {card.source}")
    click.echo(f"  {place / checkpoint_folder(weights)}, licence {card.licence}")
    click.echo(f"  {_contract(card)}")
    named = checkpoint_folder(weights)
    if home is not None and real_path(home) != real_path(semantoks_home() or Path()):
        named = str((place / named).absolute())  # the name is looked for in the default home
    click.echo(f"To use them: --checkpoint {shlex.quote(named)}")


@main.command("list", short_help="List what is installed, and what it is made of.")
@click.option(
    "--addresses", is_flag=True, help="Addresses alone, one a line, such as for: wget -i FILE."
)
@_HOME
def list_(*, addresses: bool, home: Path | None) -> None:
    """List what is installed, and every file that assets are made of: hash, name, address.

    Any of these files may be put into a folder, or under one address, by its name, for --from.
    Nothing is fetched, written or verified.
    """
    from bids_app.atlas.setup.origins import all_sources
    from bids_app.weights.hub import FOLDERS, HUB, REPOSITORY

    sources = all_sources()
    if addresses:
        for source in sources:
            click.echo(source.url)
        return
    place = _home(home)
    for line in _installed_lines(place):
        click.echo(line)
    click.echo(
        "\nFiles that they are made of, by sha256 (of the content without .gz), name, address:"
    )
    for source in sources:
        click.echo(f"{source.sha256}\t{source.path.rpartition('/')[2]}\t{source.url}")
    for weights, folder in FOLDERS.items():
        name = f"{folder}*.pth"
        click.echo(f"{'as the hub says at download':<64}\t{name}\t{HUB}/{REPOSITORY}\t{weights}")


@main.command(short_help="Verify what is installed against its hashes.")
@_HOME
def verify(home: Path | None) -> None:
    """Verify all that is installed against its hashes; what is damaged ends with exit code 78."""
    from bids_app.errors import AtlasError
    from model.errors import SemantoksError

    place = _home(home)
    damaged = []
    checks = [*_atlas_checks(place / "atlas"), *_checkpoint_checks(place)]
    for check in checks:
        try:
            click.echo("\n".join(check()))
        except SemantoksError as err:
            damaged.append(err)
            click.echo(f"DAMAGED: {err}", err=True)
    if damaged:
        raise AtlasError(
            f"{len(damaged)} of {len(checks)} assets in {place} are damaged.",
            hint="Install them again; a checkpoint's folder is removed first.",
        )
    if not checks:
        raise AtlasError(
            f"no atlas and no checkpoint in {place}.",
            hint="Install the atlas with: semantoks assets atlas --download",
        )


def _atlas_checks(folder: Path) -> list[Check]:
    from bids_app.atlas.grayordinates import load_grayordinate_atlas
    from bids_app.atlas.volumes import (
        images_gone,
        installed_grayordinates,
        installed_images,
        load_volume_atlas,
    )
    from bids_app.errors import AtlasError

    def volume(path: Path) -> list[str]:
        image = load_volume_atlas(path)
        return [
            f"{image.space} {image.resolution} mm: {_summary(image.absent)}",
            f"  {path}, voxels sha256 {image.sha256}",
        ]

    def grayordinates(path: Path) -> list[str]:
        atlas = load_grayordinate_atlas(path)
        return [
            f"{atlas.space} {atlas.density}: {_summary(atlas.absent)}",
            f"  {path}, labels sha256 {atlas.sha256}",
        ]

    def gone(path: Path) -> list[str]:
        raise AtlasError(f"{path}: the image that this file describes is not there.")

    densities = installed_grayordinates(folder).values()
    return [
        *(partial(gone, path) for path in images_gone(folder)),
        *(partial(volume, path) for path in installed_images(folder)),
        *(partial(grayordinates, path) for path in densities),
    ]


def _checkpoint_checks(home: Path) -> list[Check]:
    from model.files.home import installed_checkpoints
    from model.spec import read_card

    def weights(folder: Path) -> list[str]:
        card = read_card(folder)
        return [
            f"checkpoint {folder.name}: {card.source}",
            f"  {folder}, weights sha256 {card.weights_sha256}, licence {card.licence}",
        ]

    return [partial(weights, folder) for folder in installed_checkpoints(home)]


def _installed_lines(home: Path) -> list[str]:
    from bids_app.atlas.volumes import parcels_by_space
    from bids_app.errors import AtlasError
    from model.files.home import CHECKPOINTS, installed_checkpoints

    try:
        spaces = parcels_by_space(home / "atlas")
        lines = [f"  atlas       {space}: {n} parcels" for space, n in spaces.items()]
    except AtlasError as err:
        lines = [f"  atlas       DAMAGED: {err.message}"]
    lines += [f"  checkpoint  {folder.name}" for folder in installed_checkpoints(home)]
    for path in sorted((home / CHECKPOINTS).glob(".*.incomplete")):
        n_bytes = path.stat().st_size
        lines.append(
            f"  cut off     {path}, {n_bytes:,} bytes: the same --download goes on from there"
        )
    if not lines:
        return [
            f"Nothing is installed in {home}.",
            "Install the atlas with: semantoks assets atlas --download",
        ]
    return [f"Installed in {home}:", *lines]


def _agreed() -> bool:
    """Ask; where nobody can answer, that is no."""
    try:
        return click.confirm("Fetch and import them?", err=True)
    except click.Abort:
        return False


def _contract(card: CheckpointCard) -> str:
    taken = card.input
    return (
        f"input: {taken.normalization} within the scan, {taken.band_hz[0]:g} to "
        f"{taken.band_hz[1]:g} Hz, TR {taken.tr_s:g} s, windows of {taken.window_samples} samples"
    )


def _home(home: Path | None) -> Path:
    from bids_app.atlas.volumes import atlas_home

    return atlas_home().parent if home is None else home


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
