"""Label images and label tables of the atlas: reading, checking, hashing, resampling."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import AtlasError
from model.errors import some
from model.files.faults import faults_as, reading
from model.files.tables import read_cells
from model.networks import parcel_names, parcels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


LabelArray = npt.NDArray[np.int32]
Affine = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]
PointMap = Callable[[Points], Points]
"""Takes (3, N) millimetres in one space to their places in another."""

LABEL_COLUMNS = ("index", "name", "network", "hemisphere")
HIGHEST_LABEL = 1 << 31
MOST_VOXELS = 1 << 25
"""Of an atlas: one of 0.7 mm has 22 million"""
GRID_TOLERANCE_MM = 1e-3
"""Displacement of a corner voxel up to which two grids are the same (float32 headers)."""


def read_labels(path: Path) -> tuple[LabelArray, Affine]:
    """Read a label image: (X, Y, Z) whole numbers, read-only, and the affine.

    Raises
    ------
    AtlasError
        The image cannot be read, is not 3-D, or holds values that are not whole numbers.
    """
    with reading_atlas(path):
        return labels_of(_load(path), source=str(path))


def parse_labels(content: bytes, *, source: str) -> tuple[LabelArray, Affine]:
    """Return labels (X, Y, Z) and affine (4, 4) of the bytes of a NIfTI label image.

    `source` names it in errors.

    Raises
    ------
    AtlasError
        It is not 3-D, or holds values that are not whole numbers.
    """
    import nibabel as nib

    return labels_of(nib.Nifti1Image.from_bytes(content), source=source)


def read_affine(path: Path) -> Affine:
    """Read the affine of an image without its voxels.

    Raises
    ------
    AtlasError
        The image cannot be read.
    """
    with reading_atlas(path):
        return np.array(_load(path).affine, dtype=np.float64)


def labels_of(image: Any, *, source: str) -> tuple[LabelArray, Affine]:
    """Return labels (X, Y, Z) and affine (4, 4) of a loaded nibabel image.

    `source` names it in errors.

    Raises
    ------
    AtlasError
        The image is not 3-D, or holds values that are not whole numbers.
    """
    if len(image.shape) != 3:
        raise AtlasError(f"{source}: expected a 3-D label image, found shape {image.shape}.")
    check_grid(image.shape, source=source)
    values = np.asarray(image.dataobj)
    whole = (np.rint(values) == values) & (np.abs(values) < HIGHEST_LABEL)
    if not whole.all():
        raise AtlasError(
            f"{source}: labels must be whole numbers; {(~whole).sum()} voxels are not, such as "
            f"{values[~whole][0]}.",
            hint="The image was resampled by interpolation; nearest neighbour keeps labels.",
        )
    labels = values.astype(np.int32)
    labels.setflags(write=False)
    return labels, np.array(image.affine, dtype=np.float64)


def check_grid(shape: tuple[int, ...], *, source: str) -> None:
    """Refuse a grid (X, Y, Z) that no label image has, before memory is taken for it.

    Raises
    ------
    AtlasError
        It has no voxels, or more than `MOST_VOXELS`.
    """
    n_voxels = math.prod(map(int, shape))
    if min(shape) < 1 or n_voxels > MOST_VOXELS:
        raise AtlasError(
            f"{source}: expected a grid of at most {MOST_VOXELS} voxels, found {n_voxels} "
            f"({' x '.join(map(str, shape))})."
        )


@contextlib.contextmanager
def reading_atlas(path: Path) -> Iterator[None]:
    """Read an image of an installed atlas with whatever library.

    Raises
    ------
    AtlasError
        The file is absent or damaged.
    """
    hint = "Install the atlas again."
    with faults_as(AtlasError, hint=hint), reading(path, "the atlas image cannot be read"):
        yield


def _load(path: Path) -> Any:
    import nibabel as nib

    return nib.load(path)


def check_labels(labels: LabelArray, *, absent: Mapping[int, str], source: str) -> None:
    """Check that exactly the parcels that should be there are in labels of any shape, (X, Y, Z).

    Raises
    ------
    AtlasError
        Names the labels out of range, the parcels without a voxel, and those declared absent
        that have some.
    """
    found = set(np.unique(labels).tolist()) - {0}
    expected = {p.index: p.name for p in parcels() if p.index not in absent}
    problems = []
    if missing := [f"{i} {name}" for i, name in expected.items() if i not in found]:
        problems.append(f"without a voxel: {some(missing)}")
    if surplus := [str(i) for i in sorted(found - set(expected))]:
        problems.append(f"not expected: {some(surplus)}")
    if problems:
        raise AtlasError(
            f"{source}: expected {len(expected)} parcels; labels {'; labels '.join(problems)}.",
            hint="Install the atlas again with: semantoks assets atlas",
        )


def check_label_table(path: Path) -> None:
    """Compare an atlas' label table with the model's parcels: index, name and order.

    Raises
    ------
    AtlasError
        Names the first rows that differ.
    """
    with faults_as(
        AtlasError,
        what="the atlas' label table cannot be read",
        hint="Install the atlas again, or name a complete one with --atlas.",
    ):
        rows = read_cells(path).by_name()
    found = [tuple(row.get(column, "") for column in LABEL_COLUMNS) for row in rows]
    expected = [(str(p.index), p.name, p.network, p.hemisphere) for p in parcels()]
    if found == expected:
        return
    names = [row[1] for row in found]
    problems = [f"missing {name}" for name in parcel_names() if name not in names]
    problems += [f"unknown {name!r}" for name in names if name not in parcel_names()]
    problems += [
        f"row {number} should be {' '.join(row)}, not {' '.join(other)}"
        for number, (row, other) in enumerate(zip(expected, found, strict=False), start=1)
        if row != other
    ]
    raise AtlasError(
        f"{path}: the labels are not the model's {len(expected)} in their order (found "
        f"{len(found)} rows): {some(problems or ['rows repeated at the end'])}.",
        hint="Columns would carry wrong names; use the atlas that semantoks assets builds.",
    )


def voxel_sha256(labels: LabelArray, affine: Affine) -> str:
    """Hash what determines the series: shape, affine (4, 4), and labels (X, Y, Z) in C order."""
    digest = hashlib.sha256(np.array(labels.shape, dtype="<i4").tobytes())
    digest.update(affine.astype("<f4").tobytes())
    digest.update(labels.astype("<i4").tobytes())
    return digest.hexdigest()


def same_grid(
    shape: tuple[int, ...],
    affine: npt.NDArray[np.float64],
    other_shape: tuple[int, ...],
    other_affine: npt.NDArray[np.float64],
) -> bool:
    """Tell whether grids (shape, affine (4, 4)) are alike and put every voxel in one place."""
    if tuple(shape) != tuple(other_shape):
        return False
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape]), axis=-1).reshape(-1, len(shape))
    difference = (affine - other_affine)[:3]
    moved = corners @ difference[:, :3].T + difference[:, 3]
    return bool(np.linalg.norm(moved, axis=1).max() <= GRID_TOLERANCE_MM)


def resample_nearest(
    labels: LabelArray,
    affine: Affine,
    to_shape: tuple[int, ...],
    to_affine: Affine,
    *,
    through: PointMap | None = None,
) -> LabelArray:
    """Sample labels at the voxel centres of another grid; 0 where that lies outside.

    Parameters
    ----------
    labels, affine
        (X, Y, Z) labels, and their voxel indices to millimetres.
    to_shape, to_affine
        The other grid.
    through
        Takes points of the other grid's space to that of the labels; None: it is the same.
    """
    from_mm = np.linalg.inv(affine)
    result = np.zeros(to_shape, dtype=np.int32)
    j, k = np.indices(to_shape[1:]).reshape(2, -1)
    for i in range(to_shape[0]):  # slabs bound the memory of the coordinates
        centres = to_affine[:3, :3] @ np.stack([np.full(j.size, i), j, k]) + to_affine[:3, 3:]
        if through is not None:
            centres = through(centres)
        centres = from_mm[:3, :3] @ centres + from_mm[:3, 3:]
        # The small number keeps exact halves from falling either way by rounding error.
        nearest = np.floor(centres + 0.5 + 1e-6).astype(np.intp)
        inside = ((nearest >= 0) & (nearest < np.array(labels.shape)[:, None])).all(axis=0)
        slab = result[i].reshape(-1)
        slab[inside] = labels[tuple(nearest[:, inside])]
    return result
