"""Build the atlas on grayordinates from its sources, and lay it out beside the volumes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.grayordinates import labels_of_cifti, tables_of
from bids_app.atlas.labels import check_labels, parse_labels, resample_nearest
from bids_app.atlas.setup.build_volumes import (
    add_cerebellum,
    check_names,
    cortex_first,
    source_records,
)
from bids_app.atlas.setup.origins import (
    CEREBELLUM,
    GRAYORDINATES,
    SPHERES,
    VOLUME_OF_GRAYORDINATES,
    VOXELS_170K,
    further_sources_of,
)
from bids_app.atlas.spaces import FSLR
from bids_app.atlas.volumes import ABSENT_KEY, ATLAS_LABEL, HASH_KEY
from bids_app.errors import AtlasError
from bids_app.files import json_bytes
from model.networks import parcels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.atlas.labels import LabelArray
    from bids_app.atlas.setup.origins import Source

CEREBELLAR = "CIFTI_STRUCTURE_CEREBELLUM_"
Places = npt.NDArray[np.float64]

STRUCTURES = {
    "ACCUMBENS": (26, 58),
    "AMYGDALA": (18, 54),
    "BRAIN_STEM": (16,),
    "CAUDATE": (11, 50),
    "CEREBELLUM": (8, 47),
    "DIENCEPHALON_VENTRAL": (28, 60),
    "HIPPOCAMPUS": (17, 53),
    "PALLIDUM": (13, 52),
    "PUTAMEN": (12, 51),
    "THALAMUS": (10, 49),
}
"""CIFTI structure to FreeSurfer's numbers of its left and right side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GrayordinateImage:
    """An atlas on grayordinates, ready to be installed."""

    density: str
    axis: Any
    """nibabel's ``BrainModelAxis`` of length G"""
    labels: LabelArray
    """(G,) parcel index 1-457, 0 elsewhere"""
    absent: Mapping[int, str]
    sources: tuple[Source, ...]

    __repr__ = shown


def build_grayordinate_atlas(
    contents: Mapping[Source, bytes], *, density: str
) -> GrayordinateImage:
    """Join cortex, subcortex and cerebellum on the grayordinates of the CIFTI standard.

    Parameters
    ----------
    contents
        Verified, uncompressed files (``sources_of("fsLR")``; for 170k `further_sources_of`).
    density
        ``91k`` or ``170k``.

    Raises
    ------
    AtlasError
        A source does not hold the labels that it should.

    Notes
    -----
    The source has the cortex on the surface and the subcortex in voxels, numbered as in the
    volume images. The voxels are those of the 2 mm MNI152NLin6Asym grid, so the cerebellum of
    that space is sampled at their centres, in the structures of the cerebellum only. There is
    no source on the 170k grayordinates; their labels are those of the nearest of the 91k.
    """
    import nibabel as nib

    image: Any = nib.Cifti2Image.from_bytes(contents[GRAYORDINATES])
    axis, combined = labels_of_cifti(image, source=GRAYORDINATES.name)
    names = {str(key): name for key, (name, _) in image.header.get_axis(0).label[0].items()}
    check_names(names, source=GRAYORDINATES.name)
    labels = cortex_first(combined, source=GRAYORDINATES.name)
    sources = [GRAYORDINATES]
    if density != FSLR.densities[0]:
        axis, labels = onto_170k(axis, labels, contents)
        sources += further_sources_of(FSLR.name)
    source = CEREBELLUM[VOLUME_OF_GRAYORDINATES]
    cerebellum, grid = parse_labels(contents[source], source=source.name)
    sampled = resample_nearest(cerebellum, grid, axis.volume_shape, axis.affine)
    inside = np.array([name.startswith(CEREBELLAR) for name in axis.name])
    networks = np.zeros_like(labels)
    networks[inside] = sampled[tuple(axis.voxel[inside].T)]
    labels, _ = add_cerebellum(labels, networks)
    check_labels(labels, absent={}, source=f"{FSLR.name}, {density}")
    return GrayordinateImage(
        density=density, axis=axis, labels=labels, absent={}, sources=(*sources, source)
    )


def onto_170k(axis: Any, labels: LabelArray, contents: Mapping[Source, bytes]) -> tuple[Any, Any]:
    """Carry labels of the 91k grayordinates to the 170k, each from the nearest place.

    Vertices are compared on the registered spheres of both densities, voxels by their
    centres within the same structure, so that no label leaves its structure.

    Parameters
    ----------
    axis
        nibabel's ``BrainModelAxis`` of length G.
    labels
        (G,) parcel index, 0 elsewhere.
    contents
        Verified, uncompressed files (``further_sources_of("fsLR")``).

    Returns
    -------
    The ``BrainModelAxis`` of the other grayordinates, and their labels. A vertex whose nearest
    one is in the medial wall is not among them.

    Raises
    ------
    AtlasError
        A sphere or the image of structures is not that of these grayordinates.
    """
    voxels, affine = parse_labels(contents[VOXELS_170K], source=VOXELS_170K.name)
    parts, carried = [], []
    for name, rows, part in axis.iter_structures():
        if name in part.nvertices:
            new, values = _on_surface(name, part, labels[rows], contents)
        else:
            indices = np.argwhere(voxels == _number(name))
            if not indices.size:
                raise AtlasError(f"{VOXELS_170K.name}: no voxel of {name}.")
            old, centres = (_mm(a, v) for a, v in ((part.affine, part.voxel), (affine, indices)))
            values = labels[rows][_nearest(old, centres)]
            new = type(axis)(
                np.full(len(indices), name, dtype=object),
                voxel=indices,
                affine=affine,
                volume_shape=voxels.shape,
            )
        parts.append(new)
        carried.append(values)
    return reduce(add, parts), np.concatenate(carried)


def _on_surface(
    name: str, part: Any, labels: LabelArray, contents: Mapping[Source, bytes]
) -> tuple[Any, LabelArray]:
    """Return the brain model of a denser surface, and the labels of its vertices."""
    coarse, fine = (_sphere(SPHERES[name, density], contents) for density in ("32k", "59k"))
    if len(coarse) != part.nvertices[name]:
        raise AtlasError(
            f"{SPHERES[name, '32k'].name}: expected {part.nvertices[name]} vertices, found "
            f"{len(coarse)}."
        )
    outside = -1
    every = np.full(len(coarse), outside, dtype=np.int32)
    every[part.vertex] = labels
    carried = every[_nearest(coarse, fine)]
    listed = np.flatnonzero(carried != outside)
    return type(part).from_surface(listed, len(fine), name=name), carried[listed]


def _sphere(source: Source, contents: Mapping[Source, bytes]) -> Places:
    """(V, 3) vertices on the sphere of radius 1."""
    import nibabel as nib

    points = nib.GiftiImage.from_bytes(contents[source]).agg_data("pointset")
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float64)


def _nearest(places: Places, targets: Places) -> npt.NDArray[np.intp]:
    """(N,) row of `places` nearest to each of the (N, 3) targets."""
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(places).query(targets)[1], dtype=np.intp)


def _mm(affine: Places, indices: npt.NDArray[Any]) -> Places:
    return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3])


def _number(structure: str) -> int:
    """Return FreeSurfer's number of a CIFTI structure."""
    name, _, side = structure.removeprefix("CIFTI_STRUCTURE_").rpartition("_")
    if side not in ("LEFT", "RIGHT"):
        name, side = f"{name}_{side}", "LEFT"
    return STRUCTURES[name][side == "RIGHT"]


def grayordinate_files(
    image: GrayordinateImage, folder: Path, *, description: str, licence: str
) -> dict[Path, bytes]:
    """Lay out a grayordinate atlas; `build_volumes.atlas_files` adds the label table.

    Returns
    -------
    Path to content, for `bids_app.files.write_all`; equal images give equal bytes.
    """
    stem = f"tpl-{FSLR.name}_atlas-{ATLAS_LABEL}_den-{image.density}_dseg"
    path = folder / f"tpl-{FSLR.name}" / stem
    sidecar = {
        "Name": ATLAS_LABEL,
        "Description": description,
        "License": licence,
        "SpatialReference": f"fsLR surfaces; voxels: {VOLUME_OF_GRAYORDINATES}",
        "Density": f"{image.labels.size} grayordinates",
        **source_records(image.sources),
        ABSENT_KEY: {str(index): reason for index, reason in image.absent.items()},
        HASH_KEY: tables_of(image.axis, image.labels).sha256(),
    }
    return {
        path.with_name(f"{stem}.dlabel.nii"): _cifti_bytes(image),
        path.with_name(f"{stem}.json"): json_bytes(sidecar),
    }


def _cifti_bytes(image: GrayordinateImage) -> bytes:
    import nibabel as nib
    from nibabel.cifti2.cifti2_axes import LabelAxis

    clear, grey = (0.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 1.0)
    table = {0: ("???", clear)} | {p.index: (p.name, grey) for p in parcels()}
    maps = LabelAxis([ATLAS_LABEL], [table])
    cifti = nib.Cifti2Image(image.labels[None].astype(np.float32), (maps, image.axis))
    cifti.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_LABELS")
    return bytes(cifti.to_bytes())
