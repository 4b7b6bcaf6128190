"""The cerebellum in a space that has no atlas of it, through TemplateFlow's transform.

The transform is a composite file of ITK (``.h5``), as ANTs writes and TemplateFlow keeps them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.labels import parse_labels, resample_nearest
from bids_app.atlas.setup.origins import CEREBELLUM, CEREBELLUM_WARP, CORTEX_SUBCORTEX, WARPED_FROM
from bids_app.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bids_app.atlas.labels import Affine, LabelArray, PointMap, Points
    from bids_app.atlas.setup.origins import Source

RAS_TO_LPS = np.array([[-1.0], [-1.0], [1.0]])
"""ITK counts millimetres to the left and to the back; NIfTI, and we, to the right and front."""


def warped_cerebellum(
    space: str, contents: Mapping[Source, bytes], shape: tuple[int, ...], affine: Affine
) -> tuple[LabelArray, dict[str, Any]]:
    """Bring the cerebellum of `WARPED_FROM` to a grid of another space, label by label.

    Each voxel centre of the grid is taken through the transform, and has the label that stands
    there: nothing is interpolated, so that no label is invented.

    Parameters
    ----------
    space
        One of `CEREBELLUM_WARP`.
    contents
        Verified, uncompressed files (`bids_app.atlas.setup.origins.further_sources_of`), and the
        1 mm label image of the space.
    shape, affine
        The grid.

    Returns
    -------
    (X, Y, Z) networks 1-7, and what the image's sidecar tells of the transform.

    Raises
    ------
    AtlasError
        The transform does not bring the parcels that both spaces have nearer to one another, as
        one in the wrong direction does not.
    """
    source, original = CEREBELLUM_WARP[space], CEREBELLUM[WARPED_FROM]
    through = read_composite(contents[source], source=source.name)
    here, there = (_centroids(name, contents) for name in (space, WARPED_FROM))
    before = float(np.median(np.linalg.norm(here - there, axis=0)))
    after = float(np.median(np.linalg.norm(through(here) - there, axis=0)))
    if not after < before:
        raise AtlasError(
            f"{source.name}: expected to bring the parcels of {space} nearer to those of "
            f"{WARPED_FROM}; the median distance of their centres goes from {before:.2f} mm to "
            f"{after:.2f} mm.",
            hint=f"Is it a transform of the opposite direction? Take the original: {source.url}",
        )
    cerebellum, grid = parse_labels(contents[original], source=original.name)
    told = {
        "Transform": source.name,
        "From": WARPED_FROM,
        "Interpolation": "nearest",
        "MedianParcelDistanceBefore": round(before, 3),
        "MedianParcelDistanceAfter": round(after, 3),
    }
    return resample_nearest(cerebellum, grid, shape, affine, through=through), told


def _centroids(space: str, contents: Mapping[Source, bytes]) -> Points:
    """(3, 450) centres of the cortical and subcortical parcels in millimetres."""
    source = CORTEX_SUBCORTEX[space, "1"]
    labels, affine = parse_labels(contents[source], source=source.name)
    places = np.argwhere(labels > 0).T
    parcel = labels[labels > 0]
    sums = np.stack([np.bincount(parcel, weights=index)[1:] for index in places])
    return np.asarray(affine[:3, :3] @ (sums / np.bincount(parcel)[1:]) + affine[:3, 3:])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Linear:
    matrix: npt.NDArray[np.float64]
    centre: Points
    translation: Points

    def __call__(self, points: Points) -> Points:
        return self.matrix @ (points - self.centre) + self.centre + self.translation


@dataclass(frozen=True, kw_only=True, eq=False)
class _Field:
    displacement: npt.NDArray[np.float32]
    """(3, X, Y, Z) mm"""
    lattice: Affine
    """(4, 4) voxel indices to mm"""

    def __call__(self, points: Points) -> Points:
        from scipy.ndimage import map_coordinates

        to_index = np.linalg.inv(self.lattice)
        index = to_index[:3, :3] @ points + to_index[:3, 3:]
        last = np.array(self.displacement.shape[1:])[:, None] - 1
        inside = ((index >= -0.5) & (index <= last + 0.5)).all(axis=0)
        moved = points.copy()
        for axis, component in enumerate(self.displacement):
            moved[axis] += inside * map_coordinates(component, index, order=1, mode="nearest")
        return moved


def read_composite(content: bytes, *, source: str) -> PointMap:
    """Read a composite of affine transforms and displacement fields.

    Parameters
    ----------
    content
        The file.
    source
        Names it in errors.

    Returns
    -------
    The map from points of the space that images are resampled *to* ("fixed") to points of the
    space they come *from* ("moving"), in RAS millimetres.

    Raises
    ------
    AtlasError
        It is no such file, is damaged, or holds other kinds of transforms.

    Notes
    -----
    ITK applies the stages of a composite from the last to the first. Displacements are
    interpolated linearly; points outside a field stay where they are.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            group = file["TransformGroup"]
            kinds = [_kind(group[str(i)]) for i in range(len(group))]
            if kinds[0] != "CompositeTransform" or not set(kinds[1:]) <= set(_READERS):
                raise AtlasError(
                    f"{source}: expected a composite of {' and '.join(_READERS)}, found "
                    f"{', '.join(kinds)}."
                )
            stages = [_READERS[kind](group[str(i)]) for i, kind in enumerate(kinds[1:], start=1)]
    except AtlasError:
        raise
    except Exception as err:
        raise AtlasError(f"{source}: not a composite transform of ITK ({err}).") from err

    def through(points: Points) -> Points:
        points = points * RAS_TO_LPS
        for stage in reversed(stages):
            points = stage(points)
        return np.asarray(points * RAS_TO_LPS)

    return through


def _linear(group: Any) -> _Linear:
    parameters = _numbers(group, "Parameters").astype(np.float64)
    return _Linear(
        matrix=parameters[:9].reshape(3, 3),
        translation=parameters[9:].reshape(3, 1),
        centre=_numbers(group, "FixedParameters").astype(np.float64).reshape(3, 1),
    )


def _field(group: Any) -> _Field:
    fixed = _numbers(group, "FixedParameters").astype(np.float64)
    size, origin, spacing, direction = fixed[:3], fixed[3:6], fixed[6:9], fixed[9:]
    lattice = np.eye(4)
    lattice[:3, :3] = direction.reshape(3, 3) * spacing
    lattice[:3, 3] = origin
    # The vector's components run fastest in the file, then x, y and z.
    values = _numbers(group, "Parameters").astype(np.float32)
    field = values.reshape((3, *size.astype(int)), order="F")
    return _Field(displacement=np.ascontiguousarray(field), lattice=lattice)


_READERS: dict[str, Callable[[Any], PointMap]] = {
    "AffineTransform": _linear,
    "DisplacementFieldTransform": _field,
}


def _kind(group: Any) -> str:
    """Return such as ``AffineTransform`` for ``AffineTransform_double_3_3``."""
    return str(group["TransformType"][0].decode().partition("_")[0])


def _numbers(group: Any, what: str) -> npt.NDArray[Any]:
    name = f"Transform{what}"
    # ITK wrote "Tranform…" for years, and TemplateFlow's files have it.
    return np.asarray(group[name if name in group else f"Tranform{what}"])
