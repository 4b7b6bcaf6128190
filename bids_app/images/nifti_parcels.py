"""Mean signal of each of the 457 parcels, in one pass over the voxels, and its coverage.

Also whether the image lies where its name and its header say, from its grid and its mask.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.atlas.labels import resample_nearest
from bids_app.atlas.spaces import SPACES
from bids_app.errors import ScanError
from bids_app.images.nifti import blocks
from bids_app.images.parcels import (
    NO_VOXEL,
    NOT_FINITE,
    NOT_IN_ATLAS,
    OUTSIDE_MASK,
    Coverage,
    Parcellated,
    judge_coverage,
    sampling,
    volumes_not_finite,
    within_reach,
)
from bids_app.images.slices import MeanImage
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.atlas.labels import Affine
    from bids_app.atlas.volumes import VolumeAtlas
    from bids_app.images.nifti import NiftiFile

log = logging.getLogger(__name__)

TOLERANCE_MM = 1.9
"""The templates' own grids of 2 and 1.6 mm begin up to 1.8 mm from that of 1 mm; one that begins
2 mm or more away was laid by somebody else, and tells nothing of its space."""
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Voxels:
    """Voxels of a volume (flat, Fortran order), block after block, each sorted by parcel."""

    flat: npt.NDArray[np.intp]
    """(V,) position in the volume"""
    parcel: npt.NDArray[np.intp]
    """(V,) 0-based parcel"""

    def keep(self, chosen: npt.NDArray[np.bool_]) -> _Voxels:
        return _Voxels(flat=self.flat[chosen], parcel=self.parcel[chosen])

    def count(self) -> IntArray:
        """(P,) voxels per parcel."""
        return np.bincount(self.parcel, minlength=len(parcel_names())).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Those of some `_Voxels` that lie in one block."""

    span: slice
    """Their place among the V voxels"""
    place: npt.NDArray[np.intp]
    """(v,) position in the block"""
    present: npt.NDArray[np.intp]
    """(p,) 0-based parcels that they belong to, ascending"""
    starts: npt.NDArray[np.intp]
    """(p,) where in `place` each parcel begins"""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pass:
    """What one pass over the volumes finds, in stored values."""

    sums: npt.NDArray[np.float64]
    """(T, P) sums over the voxels that vary"""
    varies: npt.NDArray[np.bool_]
    """(V,) false where all volumes hold the same value"""
    finite: npt.NDArray[np.bool_]
    """(V,) false where some volume holds NaN or infinity; then `sums` are useless"""
    n_bad: IntArray
    """(T,) voxels that are NaN or infinite"""
    blank: npt.NDArray[np.float64]
    """(T,) share of the voxels that vary which are zero; 1 where a volume was skipped"""
    mean: npt.NDArray[np.float32]
    """(all voxels,) mean of some volumes, in the order of the file"""


def parcellate(
    image: NiftiFile,
    labels: npt.NDArray[np.integer[Any]],
    mask: npt.NDArray[np.bool_] | None,
    *,
    absent: Mapping[int, str],
    min_coverage: float,
) -> Parcellated:
    """Average the voxels of each parcel that lie in the mask and carry signal.

    Parameters
    ----------
    image
        The open image; its volumes are read once, twice where voxels are not finite.
    labels
        (X, Y, Z) parcel index 1-457 on the grid of `image`, 0 elsewhere.
    mask
        (X, Y, Z) true inside the brain; None: the voxels with variance are taken.
    absent
        Parcel indices that the atlas does not have in this space.
    min_coverage
        Share of a parcel's voxels (0 to 1) below which it counts as missing.

    Returns
    -------
    Always 457 columns in model order; those without signal are NaN, with a reason.

    Raises
    ------
    ScanError
        Mask and atlas do not meet, no voxel is finite, none varies, or no
        parcel reaches `min_coverage`.

    Notes
    -----
    Sums are accumulated in float64 over stored values; slope and intercept are applied to the
    means. Voxels without variance are found in the same pass, by comparison with the first
    volume, and their constant is subtracted at the end: zeros outside the field of view would
    otherwise dilute the mean.
    """
    if labels.shape != image.shape:
        msg = f"labels {labels.shape} are not on the grid of the image {image.shape}"
        raise ValueError(msg)
    in_atlas = _sorted_voxels(labels, per_block=image.block_voxels)
    in_mask = in_atlas
    if mask is not None:
        in_mask = in_atlas.keep(mask.ravel(order="F")[in_atlas.flat])
    if not in_mask.flat.size:
        raise ScanError(
            f"{image.path}: none of the atlas' {in_atlas.flat.size} voxels on this grid lies "
            "inside the brain mask.",
            hint="Are image and mask in the space that their names say?",
        )
    finite, found = _stream_finite(image, in_mask)
    used = finite.keep(found.varies)
    if not used.flat.size:
        raise _no_variance(image, finite.flat.size)
    coverage = _coverage(
        [in_atlas.count(), in_mask.count(), finite.count(), used.count()],
        absent=absent,
        min_coverage=min_coverage,
    )
    missing = np.array([bool(reason) for reason in coverage.reason])
    if missing.all():
        raise ScanError(
            f"{image.path}: no parcel is covered: the best of {missing.size} has "
            f"{coverage.fraction.max():.0%} of its voxels with signal, expected at least "
            f"{min_coverage:.0%}.",
            hint="Check that image, mask and atlas are in the same space, or lower "
            "--min-coverage.",
        )
    values = np.full(found.sums.shape, np.nan)
    means = found.sums[:, ~missing] / coverage.n_voxels_used[~missing]
    values[:, ~missing] = within_reach(image.path, image.stored.header.scaled(means))
    return Parcellated(
        values=values,
        coverage=coverage,
        mask_source="derived" if mask is None else "file",
        n_nonfinite_voxels=in_mask.flat.size - finite.flat.size,
        blank=found.blank,
        mean_image=image.stored.header.scaled(found.mean)
        .astype(np.float32)
        .reshape(image.shape, order="F"),
    )


def _sorted_voxels(labels: npt.NDArray[np.integer[Any]], *, per_block: int) -> _Voxels:
    flat_labels = labels.ravel(order="F")
    flat = np.flatnonzero(flat_labels)
    # Numbers of 16 bits are sorted several times as fast.
    found = flat_labels[flat].astype(np.int16)
    order = np.lexsort((found, (flat // per_block).astype(np.uint16)))
    return _Voxels(flat=flat[order], parcel=found[order].astype(np.intp) - 1)


def _parts(voxels: _Voxels, *, per_block: int, n_blocks: int) -> list[_Part]:
    """Return the voxels of each block; a block may have none."""
    edges = np.searchsorted(voxels.flat // per_block, np.arange(n_blocks + 1)).tolist()
    parts = []
    for number, (begin, end) in enumerate(pairwise(edges)):
        span = slice(begin, end)
        present, starts = np.unique(voxels.parcel[span], return_index=True)
        place = voxels.flat[span] - number * per_block
        parts.append(_Part(span=span, place=place, present=present, starts=starts))
    return parts


def _stream_finite(image: NiftiFile, voxels: _Voxels) -> tuple[_Voxels, _Pass]:
    """Stream over the voxels that are finite throughout; again only where some are not.

    First volumes that are mostly not finite are left out, then voxels that still are not.
    """
    skipped = np.zeros(image.n_frames, dtype=bool)
    found = _stream(image, voxels, skipped)
    if found.finite.all():
        return voxels, found
    skipped = volumes_not_finite(found.n_bad, n_voxels=voxels.flat.size)
    if skipped.any():
        log.warning("%s: frames that are not finite: %d", image.path.name, skipped.sum())
        found = _stream(image, voxels, skipped)
    n_bad = int((~found.finite).sum())
    if not n_bad:
        return voxels, found
    if n_bad == voxels.flat.size:
        raise ScanError(
            f"{image.path}: each of the {n_bad} voxels of atlas and mask is NaN or infinite in "
            "some volume.",
            hint="The image is damaged; rerun fMRIPrep for this scan.",
        )
    log.warning(
        "%s: %d of %d voxels are not finite in some volume and are left out",
        image.path.name,
        n_bad,
        voxels.flat.size,
    )
    finite = voxels.keep(found.finite)
    return finite, _stream(image, finite, skipped)


def _stream(image: NiftiFile, voxels: _Voxels, skipped: BoolArray) -> _Pass:
    """Sum stored values per parcel, block by block; memory does not grow with T.

    Volumes that are `skipped` (T,) count as blank, whatever is in them.
    """
    per_block = image.block_voxels
    n_blocks = math.ceil(math.prod(image.shape) / per_block)
    parts = _parts(voxels, per_block=per_block, n_blocks=n_blocks)
    sums = np.zeros((image.n_frames, len(parcel_names())))
    first = np.zeros(voxels.flat.size, dtype=image.dtype)
    begin = int(skipped.argmin())
    # Of each part those that have not varied yet: soon few, and only they are compared.
    constant = [np.arange(part.place.size) for part in parts]
    finite = np.ones(voxels.flat.size, dtype=bool)
    n_bad = np.zeros(image.n_frames, dtype=np.int64)
    every, zero = sampling(voxels.flat.size), image.stored.header.stored_zero
    n_filled, mean = np.zeros(image.n_frames, dtype=np.int64), MeanImage(image.shape, skipped)
    # A NaN is meant to spread into its parcel's sum: that is how it is noticed.
    with np.errstate(invalid="ignore", over="ignore"):
        for t, number, block in blocks(image):
            if skipped[t]:
                continue
            mean.add(t, block, at=number * per_block)
            part = parts[number]
            stored = block.take(part.place)
            if t == begin:
                first[part.span] = stored
            left = constant[number]
            constant[number] = left[stored[left] == first[part.span][left]]
            found = np.add.reduceat(stored, part.starts, dtype=np.float64)
            sums[t, part.present] += found
            n_filled[t] += _n_other_than(zero, stored[::every])
            if not np.isfinite(found).all():
                bad = ~np.isfinite(stored)
                finite[part.span] &= ~bad
                n_bad[t] += bad.sum()
    varies = np.ones(voxels.flat.size, dtype=bool)
    sampled = np.zeros(voxels.flat.size, dtype=bool)
    for part, left in zip(parts, constant, strict=True):
        varies[part.span][left] = False
        sampled[part.span][::every] = True
    # Voxels outside the field of view are zero throughout, and no sign of a blank volume.
    n_looked_at = int((sampled & varies).sum())
    n_filled -= _n_other_than(zero, first[sampled & ~varies])
    blank = np.where(skipped, 1.0, 1.0 - n_filled / max(n_looked_at, 1))
    if finite.all():
        without_signal = np.bincount(
            voxels.parcel[~varies],
            weights=first[~varies].astype(np.float64),
            minlength=sums.shape[1],
        )
        sums -= without_signal
    sums[skipped] = 0
    return _Pass(
        sums=sums, varies=varies, finite=finite, n_bad=n_bad, blank=blank, mean=mean.values
    )


def _n_other_than(zero: float, stored: npt.NDArray[Any]) -> int:
    return int(np.count_nonzero(stored if zero == 0 else stored != zero))


def _coverage(
    counts: list[IntArray], *, absent: Mapping[int, str], min_coverage: float
) -> Coverage:
    """Compare voxel counts after each step: on the grid, in the mask, finite, with variance."""
    in_atlas, in_mask, finite, used = counts
    steps = {
        NOT_IN_ATLAS: np.isin(np.arange(1, used.size + 1), list(absent)),
        NO_VOXEL: in_atlas == 0,
        OUTSIDE_MASK: in_mask == 0,
        NOT_FINITE: finite == 0,
    }
    return judge_coverage(in_atlas, used, lost=steps, min_coverage=min_coverage)


def _no_variance(image: NiftiFile, n_voxels: int) -> ScanError:
    if image.n_frames == 1:
        return ScanError(f"{image.path}: expected a time series, found a single volume.")
    return ScanError(
        f"{image.path}: none of {n_voxels} voxels of atlas and mask changes over "
        f"{image.n_frames} volumes: the image is constant there (all zero?).",
        hint="The image is empty or damaged; rerun fMRIPrep for this scan.",
    )
