"""The atlas as volumes, one label image per space and resolution, and where an atlas lies."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.atlas.labels import (
    Affine,
    LabelArray,
    check_label_table,
    check_labels,
    read_labels,
    resample_nearest,
    same_grid,
    voxel_sha256,
)
from bids_app.atlas.spaces import FSLR, atlas_key, preference
from bids_app.errors import AtlasError
from model.errors import some
from model.files.faults import faults_as, reading
from model.files.home import semantoks_home
from model.files.read import read_json
from model.networks import parcel_names, parcels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

ATLAS_LABEL = "Semantoks457"
HASH_KEY, ABSENT_KEY = "VoxelSHA256", "AbsentParcels"
VOLUME_NAME = re.compile(rf"tpl-(\w+)_atlas-{ATLAS_LABEL}_res-(\w+)_dseg\.nii\.gz")
GRAYORDINATE_NAME = re.compile(rf"tpl-{FSLR.name}_atlas-{ATLAS_LABEL}_den-(\w+)_dseg\.dlabel\.nii")


def atlas_home() -> Path:
    """Return the folder where ``semantoks assets`` installs the atlas.

    ``$SEMANTOKS_HOME/atlas``; without that variable ``semantoks/atlas`` in the user's cache
    folder (``$XDG_CACHE_HOME`` or ``~/.cache``).

    Raises
    ------
    AtlasError
        There is no home folder to look in.
    """
    home = semantoks_home()
    if home is None:
        raise AtlasError(
            "no folder for the atlas: the user has no home folder.",
            hint="Set SEMANTOKS_HOME, or name the atlas with --atlas.",
        )
    return home / "atlas"


def available_spaces(folder: Path) -> tuple[str, ...]:
    """Return the installed spaces in the order of `parcels_by_space`."""
    return tuple(parcels_by_space(folder))


def parcels_by_space(folder: Path) -> dict[str, int]:
    """Return how many parcels each installed atlas has by `atlas_key`, those with most first.

    Between equally many `bids_app.atlas.spaces.preference` decides, then the alphabet.

    Raises
    ------
    AtlasError
        A sidecar is missing or damaged.
    """
    images = {
        space: next(iter(found.values())) for space, found in installed_volumes(folder).items()
    }
    for density, path in installed_grayordinates(folder).items():
        images[atlas_key(FSLR.name, density)] = path
    present = {
        space: len(parcel_names()) - len(read_sidecar(path)[ABSENT_KEY])
        for space, path in images.items()
    }

    def order(key: str) -> tuple[int, int, str]:
        return -present[key], preference(key), key

    return {key: present[key] for key in sorted(present, key=order)}


def installed_grayordinates(folder: Path) -> dict[str, Path]:
    """Map density to the atlas on grayordinates in a folder."""
    found = sorted(folder.glob(f"tpl-{FSLR.name}/*_dseg.dlabel.nii"))
    return {name[1]: path for path in found if (name := GRAYORDINATE_NAME.fullmatch(path.name))}


def installed_images(folder: Path) -> list[Path]:
    """Return the paths of all volume images of the atlas in a folder, sorted."""
    return [path for images in installed_volumes(folder).values() for path in images.values()]


def installed_volumes(folder: Path) -> dict[str, dict[str, Path]]:
    """Map space and resolution to the label image in a folder, sorted."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob(f"tpl-*/tpl-*_atlas-{ATLAS_LABEL}_res-*_dseg.nii.gz")):
        if name := VOLUME_NAME.fullmatch(path.name):
            found.setdefault(name[1], {})[name[2]] = path
    return found


def images_gone(folder: Path) -> list[Path]:
    """Return the sidecars of images in a folder that are without their image, sorted.

    Another resolution would stand in for it, and give other numbers.
    """
    images = [*installed_images(folder), *installed_grayordinates(folder).values()]
    described = {_sidecar_of(image) for image in images}
    sidecars = sorted(folder.glob(f"tpl-*/tpl-*_atlas-{ATLAS_LABEL}_*_dseg.json"))
    return [path for path in sidecars if path not in described]


def _sidecar_of(image: Path) -> Path:
    return image.with_name(image.name.partition(".")[0] + ".json")


def read_sidecar(image: Path) -> dict[str, Any]:
    """Read the sidecar of an installed image; keys of absent parcels become numbers.

    Raises
    ------
    AtlasError
        It is missing or damaged.
    """
    path = _sidecar_of(image)
    with faults_as(
        AtlasError,
        what=f"expected the atlas' sidecar with {HASH_KEY} and {ABSENT_KEY}",
        hint="Install the atlas again, or name a complete one with --atlas.",
    ):
        content = read_json(path, needs={HASH_KEY: str, ABSENT_KEY: dict})
        with reading(path):
            content[ABSENT_KEY] = {int(i): str(why) for i, why in content[ABSENT_KEY].items()}
    return content


def how_to_install(folder: Path, space: str) -> str:
    """Return the command that installs a space, for error messages."""
    where = f" --home {folder.parent}" if folder.name == "atlas" else ""
    return (
        f"Install it once with: semantoks assets atlas --download --for-space {space}{where} "
        f"(or --from DIR for source files on disk), or name another folder with --atlas."
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeAtlas:
    """One image of the atlas, complete and in model order."""

    name: str
    space: str
    resolution: str
    """The ``res-`` label: ``1`` or ``2`` (mm)"""
    labels: LabelArray
    """(X, Y, Z) parcel index 1-457, 0 outside; read-only"""
    affine: Affine
    """(4, 4) voxel indices to millimetres"""
    absent: Mapping[int, str]
    """Parcel index -> why this space does not have it"""
    sha256: str
    """Of shape, affine and labels: two atlases with the same hash give the same series"""
    path: Path

    __repr__ = shown


def load_volume_atlas(path: Path) -> VolumeAtlas:
    """Load one image of an installed atlas and check it against model, table and hash.

    Raises
    ------
    AtlasError
        Names in the table are missing, swapped or others than the model's; labels are not
        whole numbers, out of range, missing or changed since installation.
    """
    name = VOLUME_NAME.fullmatch(path.name)
    if name is None:
        raise AtlasError(
            f"{path}: expected a name like tpl-<space>_atlas-{ATLAS_LABEL}_res-2_dseg.nii.gz."
        )
    check_label_table(path.parents[1] / f"atlas-{ATLAS_LABEL}_dseg.tsv")
    sidecar = read_sidecar(path)
    absent: dict[int, str] = sidecar[ABSENT_KEY]
    labels, affine = read_labels(path)
    check_labels(labels, absent=absent, source=str(path))
    found = voxel_sha256(labels, affine)
    if found != sidecar[HASH_KEY]:
        raise AtlasError(
            f"{path}: the voxels are not those that were installed: expected {HASH_KEY} "
            f"{sidecar[HASH_KEY]:.80}, found {found}.",
            hint="The file was changed or damaged; install the atlas again.",
        )
    return VolumeAtlas(
        name=ATLAS_LABEL,
        space=name[1],
        resolution=name[2],
        labels=labels,
        affine=affine,
        absent=MappingProxyType(absent),
        sha256=found,
        path=path,
    )


def on_grid(atlas: VolumeAtlas, shape: tuple[int, int, int], affine: Affine) -> LabelArray:
    """Bring the labels to another grid by nearest neighbour: (X, Y, Z), 0 outside the atlas.

    The identical grid returns the labels as they are. A voxel centre midway between two atlas
    voxels takes the one with the higher index of the atlas' axis, so that the result does not
    depend on the orientation in which the BOLD image is stored.
    """
    if same_grid(shape, affine, atlas.labels.shape, atlas.affine):
        return atlas.labels
    labels = resample_nearest(atlas.labels, atlas.affine, shape, affine)
    present = np.bincount(labels.ravel(), minlength=len(parcel_names()) + 1) > 0
    gone = [p.name for p in parcels() if not present[p.index] and p.index not in atlas.absent]
    if gone:
        log.warning(
            "%d parcels of the atlas have no voxel on this grid (too small, or outside the "
            "image): %s",
            len(gone),
            some(gone),
        )
    return labels
