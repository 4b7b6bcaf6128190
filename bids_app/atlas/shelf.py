"""The installed atlas as the scans of an invocation need it: each image and grid once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bids_app.atlas.grayordinates import find_gray_atlas
from bids_app.atlas.volume import find_image, load_atlas, on_grid

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.atlas.grayordinates import GrayAtlas
    from bids_app.atlas.labels import Affine, LabelArray
    from bids_app.atlas.volume import Atlas

_GRIDS_KEPT = 4
"""A study has one or two grids; 4 bytes per voxel each."""


@dataclass(frozen=True, eq=False)
class AtlasShelf:
    """A folder with an atlas, and what was read of it."""

    folder: Path
    _volumes: dict[Path, Atlas] = field(default_factory=dict, init=False)
    _gray: dict[str, GrayAtlas] = field(default_factory=dict, init=False)
    _grids: dict[tuple[str, tuple[int, ...], bytes], LabelArray] = field(
        default_factory=dict, init=False
    )

    def volume(self, space: str, *, affine: Affine) -> Atlas:
        """Return the image of a space that suits a BOLD grid.

        Raises
        ------
        AtlasError
            As `bids_app.atlas.volume.find_atlas` does.
        """
        path = find_image(self.folder, space, affine=affine)
        if path not in self._volumes:
            self._volumes[path] = load_atlas(path)
        return self._volumes[path]

    def grayordinates(self, density: str) -> GrayAtlas:
        """Return the atlas on the grayordinates of a density, such as ``91k``.

        Raises
        ------
        AtlasError
            As `bids_app.atlas.grayordinates.find_gray_atlas` does.
        """
        if density not in self._gray:
            self._gray[density] = find_gray_atlas(self.folder, density)
        return self._gray[density]

    def labels(self, atlas: Atlas, shape: tuple[int, int, int], affine: Affine) -> LabelArray:
        """Return the labels on a grid: (X, Y, Z), 0 outside the atlas."""
        key = atlas.sha256, shape, affine.tobytes()
        if key not in self._grids:
            if len(self._grids) == _GRIDS_KEPT:
                self._grids.clear()
            self._grids[key] = on_grid(atlas, shape, affine)
        return self._grids[key]

    def __reduce__(self) -> tuple[type[AtlasShelf], tuple[Path]]:
        """Send the folder's name to another process, not the images."""
        return AtlasShelf, (self.folder,)
