"""One protocol for the images of scans: NIfTI volumes and CIFTI grayordinates."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

from bids_app.errors import AtlasError
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import match, parcellate_grayordinates
from bids_app.images.nifti import check_mask, load_mask, open_nifti
from bids_app.images.nifti_parcels import check_space, mirror_margin, parcellate
from bids_app.images.slices import Slices, slices_of, slices_of_labels, surface_labels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from bids_app.atlas.grayordinates import GrayordinateAtlas
    from bids_app.atlas.installed import InstalledAtlas
    from bids_app.atlas.labels import Affine, LabelArray
    from bids_app.atlas.volumes import VolumeAtlas
    from bids_app.images.cifti import CiftiFile
    from bids_app.images.nifti import NiftiFile
    from bids_app.images.parcels import Parcellated
    from bids_app.inputs.scan import Scan


class Image(Protocol):
    """The open image of a scan, with the atlas that fits it."""

    @property
    def kind(self) -> Literal["NIfTI", "CIFTI"]:
        """Format of the file, for messages."""

    @property
    def n_frames(self) -> int:
        """Volumes that were acquired."""

    @property
    def tr_header_s(self) -> float | None:
        """Repetition time in seconds; None where the header gives none that means anything."""

    @property
    def atlas(self) -> VolumeAtlas | GrayordinateAtlas:
        """The atlas on its grid or surface."""

    def check_mask(self, mask: Path | None) -> None:
        """Refuse a brain mask that does not fit the image, by its header.

        Raises
        ------
        ScanError
            It cannot be opened, or lies on another grid.
        """

    def parcels(self, mask: Path | None, *, min_coverage: float) -> Parcellated:
        """Read the values, once, and average them by parcel.

        Parameters
        ----------
        mask
            Brain mask of a scan, where it has one.
        min_coverage
            Share of a parcel's places (0 to 1) below which it counts as missing.

        Raises
        ------
        ScanError
            The file ends early, or nothing in it can be used.
        """


@contextmanager
def open_image(scan: Scan, installed: InstalledAtlas) -> Iterator[Image]:
    """Open the image of a scan: its only opening, the values are read from the same handle.

    Raises
    ------
    ScanError
        The image cannot be read, or is not what its name says.
    AtlasError
        The atlas is not installed, or damaged.
    """
    if scan.is_cifti:
        series = open_cifti(scan.sources.data)
        with series.stored.stream:
            atlas = installed.grayordinates(scan.entities.den)
            # Before any value is read: a dry run tells what does not fit, too.
            labels = match(series, atlas.tables)
            yield CiftiImage(file=series, atlas=atlas, labels=labels, installed=installed)
        return
    volumes = open_nifti(scan.sources.data)
    with volumes.stored.stream:
        check_space(volumes.path, volumes.shape, volumes.affine, space=scan.space)
        grid = installed.volume(scan.space, affine=volumes.affine)
        yield NiftiImage(file=volumes, atlas=grid, installed=installed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _OpenImage:
    """What every `Image` knows from its header."""

    file: NiftiFile | CiftiFile

    @property
    def n_frames(self) -> int:
        """Volumes that were acquired."""
        return self.file.n_frames

    @property
    def tr_header_s(self) -> float | None:
        """Repetition time in seconds, by the header."""
        return self.file.tr_header_s


@dataclass(frozen=True, kw_only=True, eq=False)
class NiftiImage(_OpenImage):
    """An `Image` of volumes."""

    file: NiftiFile
    atlas: VolumeAtlas
    installed: InstalledAtlas
    kind: Literal["NIfTI"] = "NIfTI"

    def check_mask(self, mask: Path | None) -> None:
        """Compare the grids of mask and image."""
        if mask is not None:
            check_mask(mask, self.file)

    def parcels(self, mask: Path | None, *, min_coverage: float) -> Parcellated:
        """Average the voxels of each parcel (`bids_app.images.nifti_parcels.parcellate`)."""
        file, atlas = self.file, self.atlas
        labels = self.installed.labels(atlas, file.shape, file.affine)
        inside = None if mask is None else load_mask(mask, file)
        found = parcellate(file, labels, inside, absent=atlas.absent, min_coverage=min_coverage)
        if inside is not None:
            found = replace(found, mirror_margin=mirror_margin(atlas, inside, file.affine))
        return replace(found, mean_image=None, slices=_slices(found, inside, file.affine, atlas))


@dataclass(frozen=True, kw_only=True, eq=False)
class CiftiImage(_OpenImage):
    """An `Image` of grayordinates."""

    __repr__ = shown

    file: CiftiFile
    atlas: GrayordinateAtlas
    labels: LabelArray
    """(G,) parcel of each grayordinate"""
    installed: InstalledAtlas
    kind: Literal["CIFTI"] = "CIFTI"

    def check_mask(self, mask: Path | None) -> None:
        """Do nothing: a mask of volumes says nothing about grayordinates."""

    def parcels(self, mask: Path | None, *, min_coverage: float) -> Parcellated:  # noqa: ARG002
        """Average the grayordinates of each parcel; all lie in gray matter, whatever the mask."""
        found = parcellate_grayordinates(
            self.file, self.atlas, min_coverage=min_coverage, labels=self.labels
        )
        tables = self.atlas.tables
        below = slices_of_labels(tables.labels, tables.affine)
        return replace(found, slices=Slices(labels=below, surface=_surface(self.installed)))


def _slices(
    found: Parcellated, mask: npt.NDArray[np.bool_] | None, affine: Affine, atlas: VolumeAtlas
) -> Slices:
    assert found.mean_image is not None  # noqa: S101 volumes always have one
    return slices_of(
        found.mean_image, mask, affine, labels=atlas.labels, labels_affine=atlas.affine
    )


@lru_cache(maxsize=1)
def _surface(installed: InstalledAtlas) -> npt.NDArray[np.uint16] | None:
    """(2, vertices) parcels on fsaverage5; None: no volume of the atlas is there to look in."""
    with contextlib.suppress(AtlasError):  # told where a scan needs that image
        atlas = installed.coarsest()
        return None if atlas is None else surface_labels(atlas.labels, atlas.affine)
    return None
