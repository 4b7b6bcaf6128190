"""Small CIFTI series and grayordinate atlases: every parcel in a few places, nothing real.

The cortex has 200 parcels of three vertices per hemisphere beside a medial wall, the subcortex
three voxels per parcel, the cerebellum four. Voxels can be listed in both orders that fMRIPrep
has used.
"""

from __future__ import annotations

import shutil
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Literal

import nibabel as nib
import numpy as np
from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis, SeriesAxis

from bids_app.atlas.setup.build_grayordinates import GrayordinateImage, grayordinate_files
from bids_app.atlas.setup.build_volumes import atlas_files
from bids_app.atlas.setup.origins import SPHERES, VOXELS_170K
from bids_app.files import write_all
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import parcellate_grayordinates
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from bids_app.atlas.setup.origins import Source
    from bids_app.demo.tree import ScanFiles

Order = Literal["C", "F"]

N_VERTICES, MEDIAL_WALL = 660, 60
SHAPE = (12, 14, 12)
AFFINE = np.array([[-2.0, 0, 0, 151], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
LEFT, RIGHT = "CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT"
SUBCORTEX = {
    "CIFTI_STRUCTURE_HIPPOCAMPUS_RIGHT": range(401, 413),
    "CIFTI_STRUCTURE_THALAMUS_RIGHT": range(413, 426),
    "CIFTI_STRUCTURE_HIPPOCAMPUS_LEFT": range(426, 438),
    "CIFTI_STRUCTURE_THALAMUS_LEFT": range(438, 451),
}
CEREBELLUM = {
    "CIFTI_STRUCTURE_CEREBELLUM_LEFT": range(451, 458),
    "CIFTI_STRUCTURE_CEREBELLUM_RIGHT": range(451, 458),
}
# A structure without parcels, as the brain stem is.
PLAIN = {"CIFTI_STRUCTURE_BRAIN_STEM": range(1)}


def place_voxels() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.str_]]:
    """(X, Y, Z) parcel index and structure of every voxel; "" outside of all."""
    rng = np.random.default_rng(5)
    free = iter(rng.permutation(int(np.prod(SHAPE))))
    labels = np.zeros(int(np.prod(SHAPE)), dtype=np.int32)
    structure = np.zeros(labels.size, dtype="U48")
    for name, parcels in {**SUBCORTEX, **CEREBELLUM, **PLAIN}.items():
        for parcel in parcels:
            for _ in range(2 if name in CEREBELLUM else 3):
                voxel = next(free)
                labels[voxel], structure[voxel] = parcel, name
    return labels.reshape(SHAPE), structure.reshape(SHAPE)


def make_axis(order: Order = "F", *, without: Sequence[str] = ()) -> BrainModelAxis:
    """Return the brain models, voxels of each structure in C or Fortran order."""
    _, structure = place_voxels()
    parts = [
        BrainModelAxis.from_surface(np.arange(MEDIAL_WALL, N_VERTICES), N_VERTICES, name=name)
        for name in (LEFT, RIGHT)
        if name not in without
    ]
    for name in {**PLAIN, **SUBCORTEX, **CEREBELLUM}:
        if name in without:
            continue
        voxels = np.argwhere(structure == name)  # C order: the last index runs fastest
        if order == "F":
            voxels = voxels[np.lexsort(voxels.T)]
        parts.append(
            BrainModelAxis(
                np.full(len(voxels), name, dtype=object),
                voxel=voxels,
                affine=AFFINE,
                volume_shape=SHAPE,
            )
        )
    axis = parts[0]
    for part in parts[1:]:
        axis = axis + part
    return axis


def labels_on(axis: BrainModelAxis) -> npt.NDArray[np.int32]:
    """Return the parcel of each grayordinate, from where it lies: (G,)."""
    volume, _ = place_voxels()
    labels = np.zeros(len(axis), dtype=np.int32)
    for i in range(len(axis)):
        if axis.vertex[i] >= 0:
            parcel = (axis.vertex[i] - MEDIAL_WALL) // 3 + 1
            labels[i] = parcel + (200 if axis.name[i] == RIGHT else 0)
        else:
            labels[i] = volume[tuple(axis.voxel[i])]
    return labels


def make_atlas(folder: Path, *, order: Order = "F", density: str = "91k") -> Path:
    """Install the atlas of this module beside whatever is in `folder`, and return `folder`."""
    axis = make_axis(order) if density == "91k" else make_fine_axis()
    labels = labels_on(axis) if density == "91k" else fine_labels_on(axis)
    image = GrayordinateImage(density=density, axis=axis, labels=labels, absent={}, sources=())
    words = {"description": "synthetic", "licence": "CC0"}
    write_all(atlas_files([], folder, **words) | grayordinate_files(image, folder, **words))
    return folder


def source_dlabel() -> bytes:
    """Return a label file numbered as the atlas' source is: subcortex first, no cerebellum."""
    axis = make_axis("F")
    ours = labels_on(axis)
    theirs = np.where(ours > 450, 0, np.where(ours > 400, ours - 400, ours + 50))
    theirs[ours == 0] = 0
    names = ["???", *parcel_names()[400:450], *parcel_names()[:400]]
    table = {i: (name, (0.0, 0.0, 0.0, 1.0)) for i, name in enumerate(names)}
    header = (LabelAxis(["x"], [table]), axis)
    return bytes(nib.Cifti2Image(theirs[None].astype(np.float32), header).to_bytes())


FINE_AFFINE = np.array([[-1.0, 0, 0, 151.5], [0, 1, 0, -0.5], [0, 0, 1, -0.5], [0, 0, 0, 1]])
N_FINE = 3 * N_VERTICES
CODES = {
    "CIFTI_STRUCTURE_HIPPOCAMPUS_RIGHT": 53,
    "CIFTI_STRUCTURE_THALAMUS_RIGHT": 49,
    "CIFTI_STRUCTURE_HIPPOCAMPUS_LEFT": 17,
    "CIFTI_STRUCTURE_THALAMUS_LEFT": 10,
    "CIFTI_STRUCTURE_CEREBELLUM_LEFT": 8,
    "CIFTI_STRUCTURE_CEREBELLUM_RIGHT": 47,
    "CIFTI_STRUCTURE_BRAIN_STEM": 16,
}


def finer_sources() -> dict[Source, bytes]:
    """Return what leads to 170k: each vertex has three beside it, each voxel eight within."""
    contents = {}
    for side in ("LEFT", "RIGHT"):
        rng = np.random.default_rng(len(side))
        coarse = rng.normal(size=(N_VERTICES, 3))
        coarse /= np.linalg.norm(coarse, axis=1, keepdims=True)
        fine = np.repeat(coarse, 3, axis=0) + rng.normal(scale=1e-4, size=(N_FINE, 3))
        for density, points in (("32k", coarse), ("59k", fine)):
            array = nib.gifti.GiftiDataArray(
                (100 * points).astype(np.float32), intent="NIFTI_INTENT_POINTSET"
            )
            source = SPHERES[f"CIFTI_STRUCTURE_CORTEX_{side}", density]
            contents[source] = nib.GiftiImage(darrays=[array]).to_bytes()
    _, structure = place_voxels()
    numbers = np.vectorize(lambda name: CODES.get(name, 0))(structure).astype(np.int16)
    contents[VOXELS_170K] = nib.Nifti1Image(refined(numbers), FINE_AFFINE).to_bytes()
    return contents


def refined(volume: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Halve the voxels of a volume."""
    for axis in range(3):
        volume = volume.repeat(2, axis=axis)
    return volume


def make_fine_axis() -> BrainModelAxis:
    """Return the brain models that `finer_sources` lead to, without the medial wall."""
    _, structure = place_voxels()
    parts = [
        BrainModelAxis.from_surface(np.arange(3 * MEDIAL_WALL, N_FINE), N_FINE, name=name)
        for name in (LEFT, RIGHT)
    ]
    parts += [
        BrainModelAxis(
            np.full(len(voxels), name, dtype=object),
            voxel=voxels,
            affine=FINE_AFFINE,
            volume_shape=tuple(2 * n for n in SHAPE),
        )
        for name in CODES
        for voxels in [np.argwhere(refined(structure == name))]
    ]
    return reduce(add, parts)


def fine_labels_on(axis: BrainModelAxis) -> npt.NDArray[np.int32]:
    """Return the parcel of each of these grayordinates: (G,)."""
    volume, _ = place_voxels()
    parcel = (axis.vertex // 3 - MEDIAL_WALL) // 3 + 1 + np.where(axis.name == RIGHT, 200, 0)
    voxels = np.where(axis.volume_mask[:, None], axis.voxel, 0) // 2
    return np.where(axis.volume_mask, volume[tuple(voxels.T)], parcel).astype(np.int32)


def write_series(
    path: Path,
    values: npt.NDArray[np.floating],
    axis: BrainModelAxis,
    *,
    tr_s: float = 2.0,
    unit: str = "SECOND",
    dtype: type = np.float32,
) -> Path:
    """Write (T, G) values as a dense series."""
    time = SeriesAxis(0.0, tr_s, len(values), unit)
    image = nib.Cifti2Image(values.astype(dtype), (time, axis))
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SERIES")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_scan(root: Path, sub: str, like: ScanFiles, *, n_volumes: int) -> Path:
    """Write noise as a scan on grayordinates, with sidecar and confounds of another; its image."""
    func = root / f"sub-{sub}" / "func"
    axis = make_axis()
    values = 100 + np.random.default_rng(1).normal(size=(n_volumes, len(axis)))
    path = func / f"sub-{sub}_task-rest_space-fsLR_den-91k_bold.dtseries.nii"
    write_series(path, values, axis)
    shutil.copy2(like.sidecar, path.with_name(path.name.replace(".dtseries.nii", ".json")))
    for source in (like.confounds, like.confounds_metadata):
        _, _, ending = source.name.partition("_desc-")
        shutil.copy2(source, func / f"sub-{sub}_task-rest_desc-{ending}")
    return path


def coded(axis, n_volumes=9):
    """Parcel p is p, 2p, 3p … in every place: exact in float32, and no two parcels alike."""
    return np.arange(1, n_volumes + 1)[:, None] * labels_on(axis)[None, :]


def expected(n_volumes=9):
    return np.arange(1, n_volumes + 1)[:, None] * np.arange(1, len(parcel_names()) + 1)[None, :]


def written(folder, axis=None, values=None, **options):
    axis = make_axis() if axis is None else axis
    values = coded(axis) if values is None else values
    return write_series(folder / "x_bold.dtseries.nii", values, axis, **options)


def extracted(path, atlas, *, min_coverage=0.5):
    return parcellate_grayordinates(open_cifti(path), atlas, min_coverage=min_coverage)
