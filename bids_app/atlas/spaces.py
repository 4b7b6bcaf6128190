"""The spaces that can be processed, one row each. Every other module looks here.

A new space is a row here and its files in `bids_app.atlas.setup.origins`; docs/atlas.md says
what else it takes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Space:
    """A standard space: what images in it are, and which atlases it has."""

    name: str
    """The ``space-`` label of a scan, the ``tpl-`` label of its atlas"""
    first_voxel_mm: tuple[float, float, float] | None = None
    """Of volumes: centre of the leftmost, hindmost, lowest voxel of TemplateFlow's 1 mm grid;
    fMRIPrep begins its grids there for any voxel size. None: scans are CIFTI grayordinates"""
    densities: tuple[str, ...] = ()
    """Of grayordinates: the ``den-`` labels, each with an atlas of its own; a file that names
    none is of the first"""

    @property
    def is_volume(self) -> bool:
        """Whether scans in it are NIfTI volumes; otherwise they are CIFTI grayordinates."""
        return self.first_voxel_mm is not None


FSLR = Space(name="fsLR", densities=("91k", "170k"))

SPACES = {
    space.name: space
    for space in (
        Space(name="MNI152NLin6Asym", first_voxel_mm=(-91.0, -126.0, -72.0)),
        FSLR,
        Space(name="MNI152NLin2009cAsym", first_voxel_mm=(-96.0, -132.0, -78.0)),
    )
}
"""By name. Where a scan could be taken in several with equally many parcels, the first wins:
published models were trained on volumes in MNI152NLin6Asym."""


def atlas_key(space: str, density: str | None = None) -> str:
    """Name one of the atlases of a space: ``MNI152NLin6Asym``, ``fsLR``, ``fsLR_den-170k``."""
    further = SPACES[space].densities[1:] if space in SPACES else ()
    return f"{space}_den-{density}" if density in further else space


def preference(key: str) -> int:
    """Rank an `atlas_key` by the order of `SPACES` and their densities; others come last."""
    keys = [atlas_key(s.name, d) for s in SPACES.values() for d in s.densities or (None,)]
    return keys.index(key) if key in keys else len(keys)
