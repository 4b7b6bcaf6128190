"""Read parcel series that others made: tables, numpy arrays, and the published HDF5 layout."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError
from bids_app.files import read_table
from bids_app.series.columns import (
    Mapping457,
    declared_orders,
    map_by_name,
    map_by_order,
)
from bids_app.series.sidecar import series_start, series_tr, told_interpolated
from bids_app.signal.lost import Reasons, bridged, frames_without_signal
from model.cohort.names import DENOISED, OUTLIERS, beside
from model.cohort.outputs import kept_frames
from model.files.arrays import array_names, read_array
from model.files.faults import faults_as
from model.series import ParcelSeries
from model.shards.published_series import open_store, read_row, read_subjects

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

Float64Array = npt.NDArray[np.float64]

TABLES = {".tsv": "\t", ".csv": ","}
ARRAYS = (".npy", ".npz")
HDF5 = (".h5", ".hdf5")


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignSeries:
    """A parcel series that was made elsewhere, in the model's order."""

    series: ParcelSeries
    mapping: Mapping457
    tr_source: str
    """``--tr`` or ``sidecar``"""

    @property
    def n_interpolated(self) -> int | None:
        """Frames that were interpolated by whoever made the series; None where nothing tells."""
        kept = self.series.kept
        return None if kept is None else int((~kept).sum())

    @cached_property
    def lost(self) -> Reasons:
        """(T,) why a frame holds no signal; empty where it does, or is known as interpolated."""
        reasons = frames_without_signal(self.series.values.astype(np.float64), blank=None)
        if self.series.kept is not None:
            reasons[~self.series.kept] = ""
        return reasons

    def measured(self) -> ParcelSeries:
        """Return the series with frames without signal interpolated."""
        series, lost = self.series, self.lost != ""
        if not lost.any():
            return series
        kept = ~lost if series.kept is None else series.kept & ~lost
        return series.with_values(bridged(series.values.astype(np.float64), lost), kept=kept)


def series_keys(path: Path) -> tuple[str | None, ...]:
    """Name the series in a file: arrays of an ``.npz``, subjects of an HDF5 file.

    Returns
    -------
    ``(None,)`` for a file that holds one series. A subject of several rows in an HDF5 file
    is named once per row.

    Raises
    ------
    ScanError
        The file cannot be read.
    """
    suffix = path.suffix.lower()
    keys: tuple[str | None, ...] = (None,)
    with faults_as(ScanError, where=path.name):
        if suffix == ".npz":
            keys = array_names(path)
        elif suffix in HDF5:
            with open_store(path) as store:
                keys = tuple(read_subjects(store))
    if not keys:
        raise ScanError(f"{path.name}: holds no series.")
    return keys


def own_outliers(path: Path) -> Path | None:
    """Return the outliers table beside our own ``desc-denoised`` series; None: there is none.

    It says which frames were interpolated, which must not enter mean and spread.
    """
    if not path.name.endswith(f"_{DENOISED}.tsv"):
        return None
    table = beside(path, f"{DENOISED}.tsv", f"{OUTLIERS}.tsv")
    return table if table.is_file() else None


def read_series(
    path: Path,
    *,
    tr_s: float | None,
    row: int = 0,
    order: str | None = None,
    ignore_others: bool = False,
) -> ForeignSeries:
    """Read one series and put its columns where the model expects them.

    Parameters
    ----------
    path
        ``.tsv`` or ``.csv`` (frames by parcels), ``.npy`` or ``.npz`` (either way round), or
        ``.h5`` in the published layout.
    tr_s
        Repetition time in seconds; None: the JSON file of the same stem has it.
    row
        Which series of the file, in the order of `series_keys`.
    order
        Order of unnamed columns, one of `declared_orders`.
    ignore_others
        Leave out named columns that are no parcel of the model.

    Returns
    -------
    Series in unit ``residual``: each parcel's level and scale are arbitrary. Our own
    ``desc-denoised`` series, with the outliers table beside it, knows which of its frames were
    interpolated and when the first one was acquired.

    Raises
    ------
    ScanError
        The file is damaged, the mapping uncertain, the axes ambiguous, or the repetition
        time unknown or contradictory.
    SeriesError
        Values are missing in some frames of a parcel, or infinite.
    OutputsError
        The outliers table beside our own series is damaged, or of another scan.
    """
    if order is not None and order not in declared_orders():
        raise ScanError(f"--order {order}: expected one of {', '.join(declared_orders())}.")
    tr_s, tr_source = series_tr(path, override_s=tr_s)
    suffix = path.suffix.lower()
    with faults_as(ScanError, where=path.name):
        if suffix in TABLES:
            values, mapping = _read_table(path, order=order, ignore_others=ignore_others)
        elif suffix in ARRAYS:
            values, mapping = _read_array(path, row=row, order=order)
        elif suffix in HDF5:
            values, mapping = _read_hdf5(path, row=row)
        else:
            known = ", ".join([*TABLES, *ARRAYS, *HDF5])
            raise ScanError(f"{path.name}: expected a file ending in {known}.")
    if not len(values):
        raise ScanError(f"{path.name}: holds no frames.")
    with np.errstate(over="ignore"):  # infinite then, which a series refuses by name
        spread = mapping.spread(values).astype(np.float32)
    outliers = own_outliers(path)
    if outliers is None and (n_interpolated := told_interpolated(path)):
        log.warning(
            "%s: %d frames were interpolated; without the %s.tsv beside it they count as measured",
            path.name,
            n_interpolated,
            OUTLIERS,
        )
    series = ParcelSeries(
        values=spread,
        tr_s=tr_s,
        unit="residual",
        start_s=0.0 if outliers is None else series_start(path),
        kept=None if outliers is None else kept_frames(outliers, n_frames=len(spread)),
    )
    return ForeignSeries(series=series, mapping=mapping, tr_source=tr_source)


def _read_table(
    path: Path, *, order: str | None, ignore_others: bool
) -> tuple[Float64Array, Mapping457]:
    separator = TABLES[path.suffix.lower()]
    first = read_table(path, separator=separator, header=None, nrows=1, dtype=str, na_filter=False)
    header = [name.strip() for name in first.iloc[0]]
    numbered = header in [[str(i + first) for i in range(len(header))] for first in (0, 1)]
    named = not numbered and not all(_is_number(name) for name in header)
    mapping = (
        map_by_name(header, order=order, ignore_others=ignore_others, where=path.name)
        if named
        else map_by_order(order, n_columns=len(header), where=path.name)
        if numbered
        else None
    )
    used = np.flatnonzero(mapping.target >= 0) if mapping else np.arange(len(header))
    table = read_table(
        path,
        separator=separator,
        header=0 if mapping else None,
        names=range(len(header)),
        na_values=["n/a"],
        # Others may hold text; and that of a column of ours is a fault of the file.
        dtype=dict.fromkeys(used.tolist(), np.float64),
    )
    if mapping is None:
        return _by_order(table.to_numpy(), order, where=path.name)
    values = np.full(table.shape, np.nan)
    values[:, used] = table.iloc[:, used].to_numpy(dtype=np.float64)
    return values, mapping


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "n/a"
    return True


def _read_array(path: Path, *, row: int, order: str | None) -> tuple[Float64Array, Mapping457]:
    values = read_array(path, number=row)
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise ScanError(
            f"{path.name}: expected real numbers on two axes, found {values.dtype} {values.shape}."
        )
    return _by_order(values, order, where=path.name)


def _by_order(
    values: npt.NDArray[Any], order: str | None, *, where: str
) -> tuple[Float64Array, Mapping457]:
    """Turn an array to (T, C) and map it; refuse where both axes, or none, may be parcels."""
    if order is None:
        return values, map_by_order(None, n_columns=min(values.shape), where=where)
    n_parcels = len(declared_orders()[order])
    counts = {len(columns) for columns in declared_orders().values()}
    candidates = [axis for axis in (0, 1) if values.shape[axis] in counts]
    if len(candidates) == 2:
        raise ScanError(
            f"{where}: {values.shape}: both axes may be the parcels.",
            hint="Write it as a TSV with the names of the parcels.",
        )
    if not candidates or values.shape[candidates[0]] != n_parcels:
        raise ScanError(
            f"{where}: {values.shape}: --order {order} means {n_parcels} parcels, and no axis "
            "has that length.",
            hint="Take out what is not a parcel of that order, or declare another one.",
        )
    turned = values.T if candidates == [0] else values
    return np.asarray(turned, dtype=np.float64), map_by_order(
        order, n_columns=n_parcels, where=where
    )


def _read_hdf5(path: Path, *, row: int) -> tuple[Float64Array, Mapping457]:
    with open_store(path) as store:
        values, provided, declared = read_row(store, row)
    if declared is not None and declared != len(values):
        raise ScanError(
            f"{path.name}: row {row}: ts_len says {declared} frames, the padding with NaN "
            f"leaves {len(values)}."
        )
    if len(values) == 0:
        raise ScanError(f"{path.name}: row {row} holds no data, only NaN.")
    mapping = Mapping457(target=np.flatnonzero(provided), evidence="HDF5 layout")
    return values[:, provided].astype(np.float64), mapping
