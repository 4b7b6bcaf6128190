"""Parcel means of one scan, and how much of each parcel carries signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.images.slices import Slices

MaskSource = Literal["file", "derived", "grayordinates"]
IntArray = npt.NDArray[np.int64]

NOT_IN_ATLAS = "not in atlas"
NO_VOXEL = "no voxel on this grid"
OUTSIDE_MASK = "outside the mask"
NOT_FINITE = "not finite"
NO_VARIANCE = "no variance"
BELOW_MIN_COVERAGE = "below min coverage"

SAMPLED_VOXELS = 20_000
"""Looked at in each volume to tell whether it is blank: a share is known to 0.2 %."""
NOT_FINITE_SHARE = 0.05
"""Of the voxels, in a volume beyond what is usual in the scan"""
MAGNITUDES = (1e-12, 1e12)
"""Of the largest parcel mean: what follows squares values in float32, which ends at 1e38."""


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

    __repr__ = shown


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
    blank: npt.NDArray[np.float64]
    """(T,) share of the used voxels that are zero; 1 where a volume is not finite in so many
    that it was left out instead of them: there, `values` mean nothing"""
    mirror_margin: float | None = None
    """`bids_app.images.nifti_parcels.mirror_margin`; None where there is no mask file"""
    mean_image: npt.NDArray[np.float32] | None = None
    """(X, Y, Z) mean of some volumes, as stored; None: grayordinates have none"""
    slices: Slices | None = None
    """What a picture of the scan needs; None until the image adds it"""

    __repr__ = shown


def volumes_not_finite(n_bad: IntArray, *, n_voxels: int) -> npt.NDArray[np.bool_]:
    """(T,) true where so many voxels are not finite that the volume is left out, not they.

    Parameters
    ----------
    n_bad
        (T,) voxels that are NaN or infinite. What is usual in the scan lies outside the field
        of view.
    """
    return np.asarray(n_bad > np.median(n_bad) + NOT_FINITE_SHARE * n_voxels)


def sampling(n_voxels: int) -> int:
    """Return of how many voxels one is looked at, to tell whether a volume is blank."""
    return max(1, n_voxels // SAMPLED_VOXELS)


def within_reach(path: Path, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (T, P) parcel means if they are numbers that can be computed with.

    Raises
    ------
    ScanError
        They are not finite, or larger or smaller than any image has them.
    """
    smallest, largest = MAGNITUDES
    found = float(np.abs(values).max())
    if not smallest <= found <= largest:  # nor where it is NaN
        raise ScanError(
            f"{path}: the values reach {found:g}; expected {smallest:g} to {largest:g}.",
            hint="The image is damaged, or wrongly scaled; rerun fMRIPrep for this scan.",
        )
    return values


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
