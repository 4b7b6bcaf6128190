"""The installed atlas on grayordinates: vertices of the cortex, voxels of everything below it.

Labels are kept by structure and vertex, or by structure and voxel. The order in which a file
lists its grayordinates plays no part: fMRIPrep up to 23.1.3 and later versions list the voxels
of the same structures in different orders, so that row by row 80 % of the subcortex is wrong.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.labels import (
    HIGHEST_LABEL,
    Affine,
    LabelArray,
    check_grid,
    check_label_table,
    check_labels,
    reading_atlas,
)
from bids_app.atlas.spaces import FSLR
from bids_app.atlas.volumes import (
    ABSENT_KEY,
    ATLAS_LABEL,
    GRAYORDINATE_NAME,
    HASH_KEY,
    read_sidecar,
)
from bids_app.errors import AtlasError
from model.errors import some
from model.networks import parcel_names
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOST_VERTICES = 1 << 20
"""Of a surface: the finest in use has 163,842"""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTables:
    """Parcel index 1-457 by place, 0 where there is none."""

    surfaces: Mapping[str, LabelArray]
    """Structure to (V,) label of each of its surface's vertices"""
    structures: tuple[str, ...]
    """Names of the structures made of voxels, sorted"""
    structure: npt.NDArray[np.int8]
    """(X, Y, Z) position in `structures`, counted from 1; 0 outside of all"""
    labels: LabelArray
    """(X, Y, Z)"""
    affine: Affine
    """(4, 4) voxel indices to millimetres"""

    __repr__ = shown

    def count(self) -> npt.NDArray[np.int64]:
        """(P,) grayordinates of each parcel."""
        n_labels = len(parcel_names()) + 1
        every = np.concatenate([*self.surfaces.values(), self.labels.ravel()])
        return np.bincount(every, minlength=n_labels)[1:].astype(np.int64)

    def sha256(self) -> str:
        """Hash what determines the series: which place has which label."""
        digest = hashlib.sha256()
        for name, table in sorted(self.surfaces.items()):
            digest.update(f"{name} {table.size}".encode() + table.astype("<i4").tobytes())
        labelled = np.where(self.labels > 0, self.structure, 0)
        digest.update(f"{self.structures} {self.labels.shape}".encode())
        digest.update(self.affine.astype("<f4").tobytes() + labelled.astype("<i1").tobytes())
        digest.update(self.labels.astype("<i4").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class GrayordinateAtlas:
    """The atlas on grayordinates, complete and in model order."""

    name: str
    space: str
    density: str
    """The ``den-`` label, such as ``91k``"""
    tables: LabelTables
    absent: Mapping[int, str]
    """Parcel index -> why this space does not have it"""
    sha256: str
    """Two atlases with the same hash give the same series"""
    path: Path


def load_grayordinate_atlas(path: Path) -> GrayordinateAtlas:
    """Load a grayordinate atlas and check it against model, table and hash.

    Raises
    ------
    AtlasError
        Names in the table are missing, swapped or others than the model's; labels are out of
        range, missing or changed since installation.
    """
    name = GRAYORDINATE_NAME.fullmatch(path.name)
    if name is None:
        raise AtlasError(
            f"{path}: expected a name like tpl-{FSLR.name}_atlas-{ATLAS_LABEL}_den-91k_"
            "dseg.dlabel.nii."
        )
    check_label_table(path.parents[1] / f"atlas-{ATLAS_LABEL}_dseg.tsv")
    sidecar = read_sidecar(path)
    axis, labels = _read(path)
    check_labels(labels, absent=sidecar[ABSENT_KEY], source=str(path))
    tables = tables_of(axis, labels)
    found = tables.sha256()
    if found != sidecar[HASH_KEY]:
        raise AtlasError(
            f"{path}: the labels are not those that were installed: expected {HASH_KEY} "
            f"{sidecar[HASH_KEY]:.80}, found {found}.",
            hint="The file was changed or damaged; install the atlas again.",
        )
    return GrayordinateAtlas(
        name=ATLAS_LABEL,
        space=FSLR.name,
        density=name[1],
        tables=tables,
        absent=MappingProxyType(sidecar[ABSENT_KEY]),
        sha256=found,
        path=path,
    )


def tables_of(axis: Any, labels: LabelArray) -> LabelTables:
    """Sort labels by the place of their grayordinates.

    Parameters
    ----------
    axis
        nibabel's ``BrainModelAxis`` of length G, with voxels.
    labels
        (G,) parcel index 1-457, 0 elsewhere.
    """
    structures = tuple(sorted(set(axis.name[axis.volume_mask].tolist())))
    surfaces: dict[str, LabelArray] = {}
    structure = np.zeros(axis.volume_shape, dtype=np.int8)
    volume = np.zeros(axis.volume_shape, dtype=np.int32)
    for name, rows, part in axis.iter_structures():
        if name in structures:
            place = tuple(part.voxel.T)
            structure[place] = structures.index(name) + 1
            volume[place] = labels[rows]
        else:
            empty = np.zeros(part.nvertices[name], dtype=np.int32)
            surfaces.setdefault(name, empty)[part.vertex] = labels[rows]
    for table in (structure, volume, *surfaces.values()):
        table.setflags(write=False)
    return LabelTables(
        surfaces=MappingProxyType(surfaces),
        structures=structures,
        structure=structure,
        labels=volume,
        affine=np.array(axis.affine, dtype=np.float64),
    )


def labels_of_cifti(image: Any, *, source: str) -> tuple[Any, LabelArray]:
    """Return the brain models and the (G,) labels of a loaded ``dlabel`` image with one map.

    Raises
    ------
    AtlasError
        It is no such image, lists no voxels, or holds labels that are not whole numbers.
    """
    import nibabel as nib
    from nibabel.cifti2.cifti2_axes import BrainModelAxis

    axis = image.header.get_axis(1) if isinstance(image, nib.Cifti2Image) else None
    if not isinstance(axis, BrainModelAxis) or image.shape != (1, len(axis)):
        raise AtlasError(f"{source}: expected a CIFTI label file with one map of grayordinates.")
    if axis.affine is None:
        raise AtlasError(f"{source}: expected surfaces and voxels, found surfaces only.")
    values = np.asarray(image.dataobj)[0]
    if not ((np.rint(values) == values) & (np.abs(values) < HIGHEST_LABEL)).all():
        raise AtlasError(f"{source}: labels must be whole numbers.")
    return axis, values.astype(np.int32)


def _read(path: Path) -> tuple[Any, LabelArray]:
    import nibabel as nib

    with reading_atlas(path):
        axis, labels = labels_of_cifti(nib.load(path), source=str(path))
    _check_places(axis, source=str(path))
    return axis, labels


def _check_places(axis: Any, *, source: str) -> None:
    """Refuse surfaces and grids that none has, and places outside of them."""
    check_grid(tuple(axis.volume_shape), source=source)
    voxels = axis.voxel[axis.volume_mask]
    outside = (voxels < 0) | (voxels >= np.array(axis.volume_shape))
    surfaces = {name: int(n) for name, n in axis.nvertices.items()}
    most = max(surfaces.values(), default=0)
    within = {n: axis.vertex[axis.name == n] for n in surfaces}
    beyond = [n for n, v in within.items() if v.size and not 0 <= v.min() <= v.max() < surfaces[n]]
    if outside.any() or most > _MOST_VERTICES or beyond:
        raise AtlasError(
            f"{source}: the brain models name places that are not there ("
            f"{int(outside.any(axis=1).sum())} voxels; vertices of {some(beyond) or 'none'})."
        )
