"""From the 91k grayordinates to the 170k: 59k vertices per hemisphere, voxels of 1.6 mm."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.labels import parse_labels
from bids_app.atlas.setup.sources import SPHERES, VOXELS_170K
from bids_app.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_app.atlas.labels import LabelArray
    from bids_app.atlas.setup.sources import Source

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


def denser(axis: Any, labels: LabelArray, contents: Mapping[Source, bytes]) -> tuple[Any, Any]:
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
