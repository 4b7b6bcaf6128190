"""The cerebellum in a space that has no atlas of it, through TemplateFlow's transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.atlas.labels import parse_labels, resample_nearest
from bids_app.atlas.setup.itk import read_composite
from bids_app.atlas.setup.sources import CEREBELLUM, CEREBELLUM_WARP, CORTEX_SUBCORTEX, WARPED_FROM
from bids_app.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_app.atlas.labels import Affine, LabelArray
    from bids_app.atlas.setup.itk import Points
    from bids_app.atlas.setup.sources import Source


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
        Verified, uncompressed files (`bids_app.atlas.setup.sources.further_sources_of`), and the
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
