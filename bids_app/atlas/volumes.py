"""The atlas as volumes: one label image per space and resolution, checked label by label."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from bids_app.atlas.folder import ABSENT_KEY, ATLAS_LABEL, HASH_KEY, VOLUME_NAME, read_sidecar
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
from bids_app.errors import AtlasError
from model.errors import some
from model.networks import parcel_names, parcels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)


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
            f"{sidecar[HASH_KEY]}, found {found}.",
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
