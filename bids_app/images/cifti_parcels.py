"""Mean signal of each of the 457 parcels over grayordinates, and its coverage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError
from bids_app.images.cifti import blocks
from bids_app.images.parcels import (
    NOT_FINITE,
    NOT_IN_ATLAS,
    Coverage,
    Parcellated,
    judge_coverage,
    sampling,
    volumes_not_finite,
    within_reach,
)
from model.networks import parcel_names

if TYPE_CHECKING:
    from bids_app.atlas.grayordinates import GrayordinateAtlas, LabelTables
    from bids_app.atlas.labels import LabelArray
    from bids_app.images.cifti import CiftiFile

log = logging.getLogger(__name__)

LATTICE_TOLERANCE = 1e-2
"""Distance from a voxel centre of the atlas, in voxels, beyond which the grids differ."""
NOT_IN_FILE = "not among the file's grayordinates"


def match(series: CiftiFile, tables: LabelTables) -> LabelArray:
    """Look up the parcel of each grayordinate by structure and vertex, or structure and voxel.

    Returns
    -------
    (G,) parcel index 1-457, 0 elsewhere. A grayordinate of a structure that the atlas does not
    have, or that it has in another structure, has no parcel.

    Raises
    ------
    ScanError
        A surface has another number of vertices than the atlas', voxel centres do not fall on
        those of the atlas, or no place has a parcel.
    """
    labels = np.zeros(len(series.axis), dtype=np.int32)
    listed = dict.fromkeys([*tables.surfaces, *tables.structures], np.zeros(0, dtype=np.int64))
    for name, rows, part in series.axis.iter_structures():
        if name not in listed:
            continue
        listed[name] = np.append(listed[name], _places(part))
        if np.unique(listed[name]).size < listed[name].size:
            raise ScanError(f"{series.path}: the header lists places of {name} twice.")
        if name in tables.surfaces:
            table = tables.surfaces[name]
            if part.nvertices.get(name) != table.size:
                raise ScanError(
                    f"{series.path}: {name} has {part.nvertices.get(name)} vertices; expected "
                    f"{table.size}, those of the atlas.",
                    hint="Does the file have the density that its name says (den-)? If not, rerun "
                    "fMRIPrep with --cifti-output 91k, or use the volumes.",
                )
            if part.vertex.max() >= table.size:
                raise ScanError(
                    f"{series.path}: {name} lists vertex {part.vertex.max()}, of {table.size}."
                )
            labels[rows] = table[part.vertex]
        elif name in tables.structures and part.volume_mask.all():
            labels[rows] = _labels_of_voxels(series, name, part, tables)
    if not labels.any():
        raise ScanError(
            f"{series.path}: none of its {labels.size} grayordinates lies in a parcel.",
            hint="Is the file in fsLR, as its name says?",
        )
    return labels


def parcellate_grayordinates(
    series: CiftiFile,
    atlas: GrayordinateAtlas,
    *,
    min_coverage: float,
    labels: LabelArray | None = None,
) -> Parcellated:
    """Average the grayordinates of each parcel that carry signal.

    Parameters
    ----------
    series
        The file; its values are read once.
    atlas
        Which place belongs to which parcel.
    min_coverage
        Share of a parcel's grayordinates (0 to 1) below which it counts as missing.
    labels
        (G,) parcel of each, as `match` finds them; None: find them.

    Returns
    -------
    Always 457 columns in model order; those without signal are NaN, with a reason. Coverage is
    relative to the atlas' own grayordinates, which exclude the medial wall: what the file
    does not list is not covered.

    Raises
    ------
    ScanError
        The file ends early, atlas and file do not meet, no grayordinate is finite, none
        varies, or no parcel reaches `min_coverage`.

    Notes
    -----
    The file stores series after series, so one pass decides on each grayordinate as a whole.
    Sums are accumulated in float64 over stored values; slope and intercept are applied to the
    means.
    """
    labels = match(series, atlas.tables) if labels is None else labels
    found = _stream_finite(series, labels)
    if not found.used.any():
        raise _no_variance(series, int(found.finite.sum()))
    coverage = _coverage(labels, found, atlas, min_coverage=min_coverage)
    missing = np.array([bool(reason) for reason in coverage.reason])
    if missing.all():
        raise ScanError(
            f"{series.path}: no parcel is covered: the best of {missing.size} has "
            f"{coverage.fraction.max():.0%} of its grayordinates with signal, expected at least "
            f"{min_coverage:.0%}.",
            hint="Rerun fMRIPrep for this scan, or lower --min-coverage.",
        )
    values = np.full(found.sums.shape, np.nan)
    means = found.sums[:, ~missing] / coverage.n_voxels_used[~missing]
    values[:, ~missing] = within_reach(series.path, series.stored.header.scaled(means))
    n_bad = int((labels > 0).sum() - found.finite.sum())
    if n_bad:
        log.warning(
            "%s: %d grayordinates are not finite in some volume and are left out",
            series.path.name,
            n_bad,
        )
    return Parcellated(
        values=values,
        coverage=coverage,
        mask_source="grayordinates",
        n_nonfinite_voxels=n_bad,
        blank=found.blank,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pass:
    """What one pass over the file finds, in stored values."""

    sums: npt.NDArray[np.float64]
    """(T, P) sums over the grayordinates used"""
    finite: npt.NDArray[np.bool_]
    """(G,) in a parcel, and finite in all volumes"""
    used: npt.NDArray[np.bool_]
    """(G,) of these, not constant"""
    n_nonfinite: npt.NDArray[np.int64]
    """(T,) grayordinates of parcels that are NaN or infinite in a volume"""
    blank: npt.NDArray[np.float64]
    """(T,) share of the grayordinates used that are zero; 1 where a volume was skipped"""


def _stream_finite(series: CiftiFile, labels: LabelArray) -> _Pass:
    """Stream over the file; again, without volumes that are mostly not finite, if there are."""
    found = _stream(series, labels, np.zeros(series.n_frames, dtype=bool))
    n_labelled = int((labels > 0).sum())
    skipped = volumes_not_finite(found.n_nonfinite, n_voxels=n_labelled)
    if skipped.any():
        log.warning("%s: frames that are not finite: %d", series.path.name, skipped.sum())
        found = _stream(series, labels, skipped)
    if not found.finite.any():
        raise ScanError(
            f"{series.path}: each of the {n_labelled} grayordinates of parcels is NaN or infinite "
            "in some volume.",
            hint="The file is damaged; rerun fMRIPrep for this scan.",
        )
    return found


def _stream(series: CiftiFile, labels: LabelArray, skipped: npt.NDArray[np.bool_]) -> _Pass:
    sums = np.zeros((len(parcel_names()), series.n_frames))
    finite, used = np.zeros(labels.size, dtype=bool), np.zeros(labels.size, dtype=bool)
    n_nonfinite = np.zeros(series.n_frames, dtype=np.int64)
    n_blank, n_looked_at = np.zeros(series.n_frames, dtype=np.int64), 0
    every, zero = sampling(int((labels > 0).sum())), series.stored.header.stored_zero
    begin, any_skipped = int(skipped.argmin()), bool(skipped.any())
    for first, block in blocks(series):
        # Sorted by parcel, so that each parcel's series lie together.
        rows = np.flatnonzero(labels[first : first + len(block)])
        rows = rows[np.argsort(labels[first + rows], kind="stable")]
        values = block[rows]
        bad = ~np.isfinite(values)
        n_nonfinite += bad.sum(axis=0)
        if any_skipped:
            values[:, skipped], bad[:, skipped] = values[:, [begin]], bad[:, [begin]]
        whole = ~bad.any(axis=1)
        varies = whole & (values != values[:, :1]).any(axis=1)
        finite[first + rows[whole]] = True
        used[first + rows[varies]] = True
        if varies.any():
            parcel = labels[first + rows[varies]] - 1
            present, starts = np.unique(parcel, return_index=True)
            chosen = values[varies]
            sums[present] += np.add.reduceat(chosen, starts, axis=0, dtype=np.float64)
            n_blank += (chosen[::every] == zero).sum(axis=0)
            n_looked_at += len(chosen[::every])
    blank = np.where(skipped, 1.0, n_blank / max(n_looked_at, 1))
    return _Pass(sums=sums.T, finite=finite, used=used, n_nonfinite=n_nonfinite, blank=blank)


def _places(part: Any) -> npt.NDArray[np.int64]:
    """Return a number for each vertex or voxel of a structure."""
    i, j, k = part.voxel.T
    return np.asarray(part.vertex + ((i << 42) ^ (j << 21) ^ k), dtype=np.int64)


def _labels_of_voxels(
    series: CiftiFile, name: str, part: Any, tables: LabelTables
) -> npt.NDArray[np.int32]:
    to_index = np.linalg.inv(tables.affine) @ part.affine
    centres = part.voxel @ to_index[:3, :3].T + to_index[:3, 3]
    nearest = np.rint(centres)
    if not (np.abs(centres - nearest) <= LATTICE_TOLERANCE).all():  # nor where it is NaN
        raise ScanError(
            f"{series.path}: the voxels of {name} do not lie on the atlas' grid: expected "
            f"affine {tables.affine.tolist()} or one with the same voxel centres, found "
            f"{part.affine.tolist()}.",
            hint="Does the file have the density that its name says (den-)? If not, rerun "
            "fMRIPrep with --cifti-output 91k, or use the volumes.",
        )
    inside = ((nearest >= 0) & (nearest < tables.labels.shape)).all(axis=1)
    place = tuple(nearest[inside].astype(np.intp).T)
    same = tables.structure[place] == tables.structures.index(name) + 1
    labels = np.zeros(len(nearest), dtype=np.int32)
    labels[inside] = np.where(same, tables.labels[place], 0)
    return labels


def _coverage(
    labels: LabelArray, found: _Pass, atlas: GrayordinateAtlas, *, min_coverage: float
) -> Coverage:
    """Compare counts after each step: in the atlas, in the file, finite, with variance."""
    in_atlas = atlas.tables.count()
    in_file, finite, used = (
        np.bincount(labels[chosen], minlength=in_atlas.size + 1)[1:].astype(np.int64)
        for chosen in (labels > 0, found.finite, found.used)
    )
    steps = {NOT_IN_ATLAS: in_atlas == 0, NOT_IN_FILE: in_file == 0, NOT_FINITE: finite == 0}
    return judge_coverage(in_atlas, used, lost=steps, min_coverage=min_coverage)


def _no_variance(series: CiftiFile, n_finite: int) -> ScanError:
    if series.n_frames == 1:
        return ScanError(f"{series.path}: expected a time series, found a single volume.")
    return ScanError(
        f"{series.path}: none of {n_finite} grayordinates of parcels changes over "
        f"{series.n_frames} volumes: the file is constant there (all zero?).",
        hint="The file is empty or damaged; rerun fMRIPrep for this scan.",
    )
