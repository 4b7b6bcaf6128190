"""Mean signal of each of the 457 parcels, in one pass over the volumes, and its coverage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from bids_app.bold import volumes
from bids_app.errors import ScanError
from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bids_app.bold import BoldImage

log = logging.getLogger(__name__)

MaskSource = Literal["file", "derived", "grayordinates"]
IntArray = npt.NDArray[np.int64]

NOT_IN_ATLAS = "not in atlas"
NO_VOXEL = "no voxel on this grid"
OUTSIDE_MASK = "outside the mask"
NOT_FINITE = "not finite"
NO_VARIANCE = "no variance"
BELOW_MIN_COVERAGE = "below min coverage"


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """How much of each parcel carries signal."""

    n_voxels_atlas: IntArray
    """(P,) voxels of the parcel on the BOLD grid"""
    n_voxels_used: IntArray
    """(P,) those inside the mask, finite, and with non-zero variance"""
    fraction: npt.NDArray[np.float64]
    """(P,) used / atlas; 0 where the parcel has no voxel"""
    reason: tuple[str, ...]
    """(P,) why a parcel is missing; empty where it is used"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parcellated:
    """Parcel means of one scan at its native TR."""

    values: npt.NDArray[np.float64]
    """(T, P); NaN throughout a column means that the parcel is missing"""
    coverage: Coverage
    mask_source: MaskSource
    """``derived``: there was no mask file, and the voxels with variance were taken;
    ``grayordinates``: the file lists gray matter only, there is no mask"""
    n_nonfinite_voxels: int
    """Voxels of atlas and mask left out because a volume holds NaN or infinity there"""
    mirror_margin: float | None = None
    """`bids_app.qc_place.mirror_margin`; None where there is no mask file"""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Voxels:
    """Voxels of a volume (flat, Fortran order), sorted by parcel."""

    flat: npt.NDArray[np.intp]
    """(V,) position in the volume"""
    parcel: npt.NDArray[np.intp]
    """(V,) 0-based parcel, ascending"""

    def keep(self, chosen: npt.NDArray[np.bool_]) -> _Voxels:
        return _Voxels(flat=self.flat[chosen], parcel=self.parcel[chosen])

    def count(self) -> IntArray:
        """(P,) voxels per parcel."""
        return np.bincount(self.parcel, minlength=len(parcel_names())).astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pass:
    """What one pass over the volumes finds, in stored values."""

    sums: npt.NDArray[np.float64]
    """(T, P) sums over the voxels that vary"""
    varies: npt.NDArray[np.bool_]
    """(V,) false where all volumes hold the same value"""
    finite: npt.NDArray[np.bool_]
    """(V,) false where some volume holds NaN or infinity; then `sums` are useless"""


def parcellate(
    bold: BoldImage,
    labels: npt.NDArray[np.integer[Any]],
    mask: npt.NDArray[np.bool_] | None,
    *,
    absent: Mapping[int, str],
    min_coverage: float,
) -> Parcellated:
    """Average the voxels of each parcel that lie in the mask and carry signal.

    Parameters
    ----------
    bold
        The image; its volumes are read once, twice where voxels are not finite.
    labels
        (X, Y, Z) parcel index 1-457 on the grid of `bold`, 0 elsewhere.
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
        Mask and atlas do not meet, a volume is mostly not finite, no voxel varies, or no
        parcel reaches `min_coverage`.

    Notes
    -----
    Sums are accumulated in float64 over stored values; slope and intercept are applied to the
    means. Voxels without variance are found in the same pass, by comparison with the first
    volume, and their constant is subtracted at the end: zeros outside the field of view would
    otherwise dilute the mean.
    """
    if labels.shape != bold.shape:
        msg = f"labels {labels.shape} are not on the grid of the image {bold.shape}"
        raise ValueError(msg)
    in_atlas = _sorted_voxels(labels)
    in_mask = in_atlas
    if mask is not None:
        in_mask = in_atlas.keep(mask.ravel(order="F")[in_atlas.flat])
    if not in_mask.flat.size:
        raise ScanError(
            f"{bold.path}: none of the atlas' {in_atlas.flat.size} voxels on this grid lies "
            "inside the brain mask.",
            hint="Are image and mask in the space that their names say?",
        )
    finite, found = _stream_finite(bold, in_mask)
    used = finite.keep(found.varies)
    if not used.flat.size:
        raise _no_variance(bold, finite.flat.size)
    coverage = _coverage(
        [in_atlas.count(), in_mask.count(), finite.count(), used.count()],
        absent=absent,
        min_coverage=min_coverage,
    )
    missing = np.array([bool(reason) for reason in coverage.reason])
    if missing.all():
        raise ScanError(
            f"{bold.path}: no parcel is covered: the best of {missing.size} has "
            f"{coverage.fraction.max():.0%} of its voxels with signal, expected at least "
            f"{min_coverage:.0%}.",
            hint="Check that image, mask and atlas are in the same space, or lower "
            "--min-coverage.",
        )
    values = np.full(found.sums.shape, np.nan)
    means = found.sums[:, ~missing] / coverage.n_voxels_used[~missing]
    values[:, ~missing] = means * bold.slope + bold.inter
    return Parcellated(
        values=values,
        coverage=coverage,
        mask_source="derived" if mask is None else "file",
        n_nonfinite_voxels=in_mask.flat.size - finite.flat.size,
    )


def _sorted_voxels(labels: npt.NDArray[np.integer[Any]]) -> _Voxels:
    flat_labels = labels.ravel(order="F")
    flat = np.flatnonzero(flat_labels)
    order = np.argsort(flat_labels[flat], kind="stable")
    flat = flat[order]
    return _Voxels(flat=flat, parcel=flat_labels[flat].astype(np.intp) - 1)


def _stream_finite(bold: BoldImage, voxels: _Voxels) -> tuple[_Voxels, _Pass]:
    """Stream over the voxels that are finite throughout; a second pass only where some are not."""
    found = _stream(bold, voxels)
    n_bad = int((~found.finite).sum())
    if not n_bad:
        return voxels, found
    if n_bad == voxels.flat.size:
        raise ScanError(
            f"{bold.path}: each of the {n_bad} voxels of atlas and mask is NaN or infinite in "
            "some volume.",
            hint="The image is damaged; rerun fMRIPrep for this scan.",
        )
    log.warning(
        "%s: %d of %d voxels are not finite in some volume and are left out",
        bold.path.name,
        n_bad,
        voxels.flat.size,
    )
    finite = voxels.keep(found.finite)
    return finite, _stream(bold, finite)


def _stream(bold: BoldImage, voxels: _Voxels) -> _Pass:
    """Sum stored values per parcel, volume by volume; memory does not grow with T."""
    present, starts = np.unique(voxels.parcel, return_index=True)
    sums = np.zeros((bold.n_volumes, len(parcel_names())))
    first: npt.NDArray[Any] | None = None
    varies = np.zeros(voxels.flat.size, dtype=bool)
    finite = np.ones(voxels.flat.size, dtype=bool)
    for t, volume in enumerate(volumes(bold)):
        stored = volume.ravel(order="F").take(voxels.flat)
        if first is None:
            first = stored
        varies |= stored != first
        # A NaN is meant to spread into its parcel's sum: that is how it is noticed.
        with np.errstate(invalid="ignore", over="ignore"):
            sums[t, present] = np.add.reduceat(stored, starts, dtype=np.float64)
        if not np.isfinite(sums[t]).all():
            finite &= _finite_voxels(stored, bold, volume_index=t)
    if first is None or not finite.all():
        return _Pass(sums=sums, varies=varies, finite=finite)
    constant = np.bincount(
        voxels.parcel[~varies], weights=first[~varies].astype(np.float64), minlength=sums.shape[1]
    )
    return _Pass(sums=sums - constant, varies=varies, finite=finite)


def _finite_voxels(
    stored: npt.NDArray[Any], bold: BoldImage, *, volume_index: int
) -> npt.NDArray[np.bool_]:
    finite: npt.NDArray[np.bool_] = np.isfinite(stored)
    n_bad = int((~finite).sum())
    if n_bad > stored.size / 2:
        raise ScanError(
            f"{bold.path}: volume {volume_index} (counted from 0) of {bold.n_volumes} is NaN or "
            f"infinite in {n_bad} of {stored.size} voxels of atlas and mask.",
            hint="The image is damaged; rerun fMRIPrep for this scan.",
        )
    return finite


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


def judge_coverage(
    in_atlas: IntArray,
    used: IntArray,
    *,
    lost: Mapping[str, npt.NDArray[np.bool_]],
    min_coverage: float,
) -> Coverage:
    """Give each parcel its share of used elements, and the first reason why it is missing.

    Parameters
    ----------
    in_atlas, used
        (P,) voxels or grayordinates of the parcel, and those of them that carry signal.
    lost
        Reason to (P,) parcels that a step left nothing of, in the order of the steps; no
        variance and too little coverage come after them.
    min_coverage
        Share below which a parcel is missing.
    """
    fraction = np.divide(used, in_atlas, out=np.zeros(used.size), where=in_atlas > 0)
    reasons = {**lost, NO_VARIANCE: used == 0, BELOW_MIN_COVERAGE: fraction < min_coverage}
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return Coverage(
        n_voxels_atlas=in_atlas,
        n_voxels_used=used,
        fraction=fraction,
        reason=tuple(reason.tolist()),
    )


def _no_variance(bold: BoldImage, n_voxels: int) -> ScanError:
    if bold.n_volumes == 1:
        return ScanError(f"{bold.path}: expected a time series, found a single volume.")
    return ScanError(
        f"{bold.path}: none of {n_voxels} voxels of atlas and mask changes over "
        f"{bold.n_volumes} volumes: the image is constant there (all zero?).",
        hint="The image is empty or damaged; rerun fMRIPrep for this scan.",
    )
