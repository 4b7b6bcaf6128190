"""The installed atlas as the scans of an invocation need it: each image and grid once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bids_app.atlas.grayordinates import load_grayordinate_atlas
from bids_app.atlas.labels import read_affine
from bids_app.atlas.spaces import FSLR
from bids_app.atlas.volumes import (
    ATLAS_LABEL,
    how_to_install,
    installed_grayordinates,
    installed_volumes,
    load_volume_atlas,
    on_grid,
)
from bids_app.errors import AtlasError
from model.series import shown

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.atlas.grayordinates import GrayordinateAtlas
    from bids_app.atlas.labels import Affine, LabelArray
    from bids_app.atlas.volumes import VolumeAtlas

_GRIDS_KEPT = 4
"""A study has one or two grids; 4 bytes per voxel each."""


@dataclass(frozen=True, eq=False)
class InstalledAtlas:
    """A folder with an atlas, and what was read of it."""

    folder: Path
    _volumes: dict[Path, VolumeAtlas] = field(default_factory=dict, init=False)
    _grayordinates: dict[str, GrayordinateAtlas] = field(default_factory=dict, init=False)
    _grids: dict[tuple[str, tuple[int, ...], bytes], LabelArray] = field(
        default_factory=dict, init=False
    )

    __repr__ = shown

    def volume(self, space: str, *, affine: Affine) -> VolumeAtlas:
        """Return the image of a space that suits a BOLD grid, as `find_image` names it.

        Raises
        ------
        AtlasError
            The space is not installed, or its atlas is incomplete, in another order, or changed.
        """
        return self._volume(find_image(self.folder, space, affine=affine))

    def grayordinates(self, density: str | None) -> GrayordinateAtlas:
        """Return the atlas on the grayordinates of a density, ``91k`` where a name has none.

        Raises
        ------
        AtlasError
            None is installed, or it is incomplete, in another order, or changed.
        """
        density = density or FSLR.densities[0]
        if density not in self._grayordinates:
            installed = installed_grayordinates(self.folder)
            if density not in installed:
                raise AtlasError(
                    f"no {ATLAS_LABEL} atlas for space {FSLR.name} at {density} in {self.folder} "
                    f"(installed: {', '.join(installed) or 'none'}).",
                    hint=how_to_install(self.folder, FSLR.name),
                )
            self._grayordinates[density] = load_grayordinate_atlas(installed[density])
        return self._grayordinates[density]

    def only(self, space: str, *, density: str | None) -> VolumeAtlas | GrayordinateAtlas | None:
        """Return the atlas of a space where there is one; None: the grid of a scan decides.

        Raises
        ------
        AtlasError
            It is incomplete, in another order, or changed.
        """
        if space == FSLR.name:
            return self.grayordinates(density)
        images = list(installed_volumes(self.folder).get(space, {}).values())
        return self._volume(images[0]) if len(images) == 1 else None

    def coarsest(self) -> VolumeAtlas | None:
        """Return the smallest volume image of any space, for pictures; None: there is none."""
        found = installed_volumes(self.folder).values()
        images = {grid: path for images in found for grid, path in images.items()}
        return self._volume(images[max(images)]) if images else None

    def labels(
        self, atlas: VolumeAtlas, shape: tuple[int, int, int], affine: Affine
    ) -> LabelArray:
        """Return the labels on a grid: (X, Y, Z), 0 outside the atlas."""
        key = atlas.sha256, shape, affine.tobytes()
        if key not in self._grids:
            if len(self._grids) == _GRIDS_KEPT:
                self._grids.clear()
            self._grids[key] = on_grid(atlas, shape, affine)
        return self._grids[key]

    def _volume(self, path: Path) -> VolumeAtlas:
        if path not in self._volumes:
            self._volumes[path] = load_volume_atlas(path)
        return self._volumes[path]

    def __reduce__(self) -> tuple[type[InstalledAtlas], tuple[Path]]:
        """Send the folder's name to another process, not the images."""
        return InstalledAtlas, (self.folder,)


def find_image(folder: Path, space: str, *, affine: Affine) -> Path:
    """Name the image of a space that suits a BOLD grid.

    That is the one whose voxels lie where the BOLD's lie: same size, centres on centres, in
    any orientation. Where there is none, the finest installed, for nearest-neighbour sampling.

    Raises
    ------
    AtlasError
        The space is not installed.
    """
    installed = installed_volumes(folder)
    images = installed.get(space)
    if not images:
        raise AtlasError(
            f"no {ATLAS_LABEL} atlas for space {space} in {folder} "
            f"(installed: {', '.join(installed) or 'none'}).",
            hint=how_to_install(folder, space),
        )
    grids = {resolution: read_affine(path) for resolution, path in images.items()}
    fitting = [r for r, grid in grids.items() if _same_lattice(grid, affine)]
    finest = min(grids, key=lambda r: (abs(np.linalg.det(grids[r][:3, :3])), r))
    return images[min(fitting, default=finest)]


def _same_lattice(grid: Affine, other: Affine) -> bool:
    """Tell whether voxel centres fall on voxel centres, axes flipped or swapped at most."""
    to_index = np.linalg.inv(grid) @ other
    axes = np.abs(to_index[:3, :3])
    is_permutation = np.allclose(axes, np.rint(axes), atol=1e-4) and bool(
        (np.rint(axes).sum(axis=0) == 1).all() and (np.rint(axes).sum(axis=1) == 1).all()
    )
    offset = to_index[:3, 3]
    return is_permutation and np.allclose(offset, np.rint(offset), atol=1e-3)
