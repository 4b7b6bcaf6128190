"""Install the atlas of some spaces: fetch their sources, build every image, write one folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.atlas.setup.build_grayordinates import build_grayordinate_atlas, grayordinate_files
from bids_app.atlas.setup.build_volumes import atlas_files, build_volume_atlas
from bids_app.atlas.setup.fetch import download, read_from_folder
from bids_app.atlas.setup.origins import RESOLUTIONS, further_sources_of, is_complete, sources_of
from bids_app.atlas.spaces import SPACES
from bids_app.files import write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from bids_app.atlas.setup.build_grayordinates import GrayordinateImage
    from bids_app.atlas.setup.build_volumes import VolumeImage
    from bids_app.atlas.setup.origins import Origin, Source

DESCRIPTION = (
    "457 parcels in the order of the Brain-Semantoks model input: Schaefer-400 in 7-network "
    "order (1-400), Tian subcortex S3 (401-450), Buckner-7 cerebellum (451-457). Built on this "
    "machine by semantoks assets from unmodified public files."
)
LICENCE = "Terms of each source, listed in the image's JSON under SourceFiles"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What was installed, and what was not."""

    volumes: tuple[VolumeImage, ...]
    grayordinates: tuple[GrayordinateImage, ...]
    origins: tuple[Origin, ...]
    """Whose terms apply"""
    left_out: tuple[str, ...]
    """Names of the files that would have completed it"""


def install_atlas(
    target: Path, spaces: Collection[str], *, origin: Path | str | None, minimal: bool
) -> Installation:
    """Build the atlases of some spaces and write them.

    Parameters
    ----------
    target
        Folder of the atlas, such as `bids_app.atlas.volumes.atlas_home`.
    spaces
        Of `bids_app.atlas.spaces.SPACES`.
    origin
        Folder where the sources lie, or the address of a mirror; None: they are fetched from
        where they were published.
    minimal
        Leave out what needs files of TemplateFlow.

    Raises
    ------
    AtlasError
        A source is missing, cannot be fetched, or is not the file that it should be.
    OutputError
        The target cannot be written.
    """
    needed = _of_all(sources_of, spaces)
    further = [] if minimal else _of_all(further_sources_of, spaces)
    contents = (
        read_from_folder(origin, needed, further=further)
        if isinstance(origin, Path)
        else download(dict.fromkeys([*needed, *further]), mirror=origin)
    )
    volumes = [
        build_volume_atlas(space, resolution, contents)
        for space in spaces
        if SPACES[space].is_volume
        for resolution in RESOLUTIONS
    ]
    grayordinates = [
        build_grayordinate_atlas(contents, density=density)
        for space in spaces
        for density in _densities(space, contents)
    ]
    files = atlas_files(volumes, target, description=DESCRIPTION, licence=LICENCE)
    for image in grayordinates:
        files |= grayordinate_files(image, target, description=DESCRIPTION, licence=LICENCE)
    write_all(files)
    return Installation(
        volumes=tuple(volumes),
        grayordinates=tuple(grayordinates),
        origins=tuple(dict.fromkeys(source.origin for source in contents)),
        left_out=tuple(source.name for source in further if source not in contents),
    )


def _densities(space: str, contents: Mapping[Source, bytes]) -> tuple[str, ...]:
    """Return the densities that can be built; of volumes: none."""
    densities = SPACES[space].densities
    return densities if is_complete(space, contents) else densities[:1]


def _of_all(files_of: Callable[[str], list[Source]], spaces: Iterable[str]) -> list[Source]:
    """Return the files of several spaces, each once."""
    return list(dict.fromkeys(source for space in spaces for source in files_of(space)))
