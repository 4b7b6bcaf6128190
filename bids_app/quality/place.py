"""Does an image lie where its name and its header say? Evidence from its grid and its mask.

What the checks rest on is in docs/quality.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bids_app.atlas.labels import resample_nearest
from bids_app.atlas.spaces import SPACES
from bids_app.errors import ScanError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from bids_app.atlas.labels import Affine
    from bids_app.atlas.volumes import VolumeAtlas

TOLERANCE_MM = 2.0
"""The templates' own grids of 2 and 1.6 mm begin up to 1.8 mm from that of 1 mm."""
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


def check_space(path: Path, shape: tuple[int, int, int], affine: Affine, *, space: str) -> None:
    """Compare the grid of an image, which `path` names, with those of the templates.

    Raises
    ------
    ScanError
        It is that of another template than the name says. A grid of neither is let through.
    """
    found = space_of_grid(shape, affine)
    if found not in (None, space):
        raise ScanError(
            f"{path}: the name says space-{space}, but the grid begins where fMRIPrep's "
            f"grids of {found} begin; the atlas of {space} would mix neighbouring parcels.",
            hint="Is the file in the space that its name says? Correct the name, or rerun "
            "fMRIPrep for this scan.",
        )


def space_of_grid(shape: tuple[int, int, int], affine: Affine) -> str | None:
    """Name the template at whose corner a grid begins, in whatever orientation; None: neither."""
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape]), axis=-1).reshape(-1, 3)
    first = (corners @ affine[:3, :3].T + affine[:3, 3]).min(axis=0)
    for space in SPACES.values():
        expected = space.first_voxel_mm
        if expected is not None and np.abs(first - expected).max() <= TOLERANCE_MM:
            return space.name
    return None


def mirror_margin(atlas: VolumeAtlas, mask: npt.NDArray[np.bool_], affine: Affine) -> float | None:
    """Compare how much of the atlas, and of its mirror image, lies in the brain mask.

    Parameters
    ----------
    atlas
        Of the image's space.
    mask
        (X, Y, Z) true inside the brain.
    affine
        (4, 4) of the mask's grid.

    Returns
    -------
    Share of the atlas' voxels inside the mask minus that of the mirrored atlas: positive for
    images as they should be, since neither brains nor templates are symmetric. None where the
    grid holds nothing of one of the two.
    """
    shares = []
    for grid in (affine, MIRROR @ affine):
        inside = _inside(atlas, mask.shape, grid.tobytes())
        if not inside.any():
            return None
        shares.append(float(mask[inside].mean()))
    return shares[0] - shares[1]


@lru_cache(maxsize=4)  # the scans of a study share a grid or two
def _inside(atlas: VolumeAtlas, shape: tuple[int, ...], grid: bytes) -> npt.NDArray[np.bool_]:
    """(X, Y, Z) where the atlas is on a grid, whose (4, 4) affine is given as bytes."""
    affine = np.frombuffer(grid).reshape(4, 4)
    return np.asarray(resample_nearest(atlas.labels, atlas.affine, shape, affine) > 0)
