"""Slices in three planes at fixed places of the template, so that scans can be held side by side.

What a picture of a scan needs, and no more: grey values, the atlas' labels and the brain mask on
some planes, of the whole volume or of the grayordinates below the cortex; and for the cortex of
grayordinates the atlas on a surface that comes with nilearn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.networks import N_CORTEX
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_app.atlas.labels import Affine, LabelArray

STEP_MM = 2.0
BOX_MM = ((-90.0, 90.0), (-126.0, 90.0), (-72.0, 108.0))
"""First and last voxel of the templates' head along x (to the right), y (front), z (up)"""
PLANES: dict[str, tuple[int, tuple[float, ...]]] = {
    "sagittal": (0, (-54.0, -36.0, -18.0, 0.0, 18.0, 36.0, 54.0)),
    "coronal": (1, (-86.0, -68.0, -50.0, -30.0, -6.0, 16.0, 44.0)),
    "axial": (2, (-42.0, -26.0, -10.0, 6.0, 22.0, 38.0, 56.0)),
}
"""Axis that a plane stands on, and where it cuts (mm)"""
AVERAGED = 40
"""Volumes, evenly spread, of which the mean image is made: more cost time and look the same"""
BRIGHTEST = 99.5
"""Percentile of the grey values that is white"""

Sampled = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slices:
    """Planes by name, each (n, rows, columns): rows upwards or to the front, columns to the right.

    In the sagittal plane columns run to the front.
    """

    labels: Sampled
    """Parcel index 1-457 as the atlas has it there, 0 elsewhere"""
    grey: Sampled | None = None
    """1 to 255; 0 outside the image's grid. None: grayordinates have no picture"""
    mask: Sampled | None = None
    """True inside the brain mask; None: there is none"""
    surface: npt.NDArray[np.uint16] | None = None
    """(2, vertices) parcels on the left and right fsaverage5, for grayordinates alone"""

    __repr__ = shown


class MeanImage:
    """The mean of some volumes, evenly spread, taken while they are streamed."""

    def __init__(self, shape: tuple[int, int, int], skipped: npt.NDArray[np.bool_]) -> None:
        """Start with a volume (X, Y, Z); of the (T,) frames those that are skipped never enter."""
        left = np.flatnonzero(~skipped)
        few = left[np.linspace(0, left.size - 1, min(left.size, AVERAGED)).astype(int)]
        self.frames = frozenset(few.tolist())
        self.values = np.zeros(math.prod(shape), dtype=np.float32)

    def add(self, frame: int, block: npt.NDArray[Any], *, at: int) -> None:
        """Add (n,) voxels of a frame, in the order of the file, the first of them `at`."""
        if frame in self.frames:
            place = self.values[at : at + block.size]
            np.add(place, block / np.float32(len(self.frames)), out=place, casting="unsafe")


def slices_of(
    mean: npt.NDArray[np.floating],
    mask: npt.NDArray[np.bool_] | None,
    affine: Affine,
    *,
    labels: LabelArray,
    labels_affine: Affine,
) -> Slices:
    """Cut a mean image and its mask, both on the grid of `affine`, and the atlas on its own.

    Parameters
    ----------
    mean, mask
        (X, Y, Z); what is not finite is black.
    labels
        (X, Y, Z) of `labels_affine`: where the image ends, the atlas goes on.
    """
    values = np.nan_to_num(mean, nan=0.0, posinf=0.0, neginf=0.0)
    grey, inside = _sample(values, affine), _sample(np.ones(values.shape, dtype=bool), affine)
    shades = np.concatenate([plane.ravel() for plane in grey.values()])
    dark, bright = min(0.0, float(shades.min())), float(np.percentile(shades, BRIGHTEST))
    width = (bright - dark) or 1.0
    return Slices(
        labels=_sample(labels.astype(np.uint16), labels_affine),
        grey={
            name: np.where(
                inside[name], 1 + np.clip((plane - dark) / width, 0, 1) * 254, 0
            ).astype(np.uint8)
            for name, plane in grey.items()
        },
        mask=None if mask is None else _sample(mask, affine),
    )


def slices_of_labels(labels: LabelArray, affine: Affine) -> Sampled:
    """Cut the atlas alone: (n, rows, columns) parcels of each plane."""
    return _sample(labels.astype(np.uint16), affine)


def _sample(values: npt.NDArray[Any], affine: Affine) -> Sampled:
    """Take the nearest voxel of (X, Y, Z) at every point of every plane; 0 outside the grid."""
    to_index = np.linalg.inv(affine)
    found = {}
    for name, points in _points().items():
        centres = points @ to_index[:3, :3].T + to_index[:3, 3]
        nearest = np.floor(centres + 0.5 + 1e-6).astype(np.intp)
        inside = ((nearest >= 0) & (nearest < values.shape)).all(axis=-1)
        plane = np.zeros(inside.shape, dtype=values.dtype)
        plane[inside] = values[tuple(nearest[inside].T)]
        found[name] = plane
    return found


@cache
def _points() -> Mapping[str, npt.NDArray[np.float64]]:
    """(n, rows, columns, 3) places in mm."""
    axes = [np.arange(low, high + STEP_MM / 2, STEP_MM) for low, high in BOX_MM]
    points = {}
    for name, (axis, places) in PLANES.items():
        rows = 1 if axis == 2 else 2
        columns = 1 if axis == 0 else 0
        grid = np.zeros((len(places), axes[rows].size, axes[columns].size, 3))
        grid[..., axis] = np.array(places)[:, None, None]
        grid[..., rows] = axes[rows][:, None]
        grid[..., columns] = axes[columns]
        points[name] = grid
    return points


def surface_labels(labels: LabelArray, affine: Affine) -> npt.NDArray[np.uint16]:
    """(2, vertices) parcels of a volume atlas at the middle of fsaverage5's cortex, left, right.

    For pictures only: fsaverage5 lies near the MNI templates, not in them. A vertex of no
    parcel takes that of the nearest point between the cortex' surfaces.
    """
    found, to_index = [], np.linalg.inv(affine)
    for side in ("left", "right"):
        white, pial = (mesh(kind, side)[0] for kind in ("white", "pial"))
        label = np.zeros(len(white), dtype=np.uint16)
        for depth in (0.5, 0.3, 0.7, 0.1, 0.9, -0.3, 1.3):
            points = white + depth * (pial - white)
            index = points @ to_index[:3, :3].T + to_index[:3, 3]
            nearest = np.rint(index).astype(np.intp)
            inside = ((nearest >= 0) & (nearest < labels.shape)).all(axis=1) & (label == 0)
            label[inside] = labels[tuple(nearest[inside].T)]
        label[label > N_CORTEX] = 0
        found.append(label)
    return np.stack(found)


@cache
def mesh(kind: str, side: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Vertices (V, 3) and triangles (F, 3) of fsaverage5, one of the files of nilearn.

    Read without importing nilearn, which takes a second.
    """
    import nibabel as nib

    found = find_spec("nilearn")
    assert found is not None  # noqa: S101 a dependency of this package
    assert found.origin is not None  # noqa: S101
    folder = Path(found.origin).parent / "datasets/data/fsaverage5"
    points, triangles = nib.load(folder / f"{kind}_{side}.gii.gz").agg_data()
    return np.asarray(points, dtype=np.float64), np.asarray(triangles, dtype=np.intp)
