"""The types that flow along the path: parcel series, windows, scan embedding. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from model.errors import SeriesError
from model.networks import NETWORKS, parcel_names
from model.partition.groups import missing_rows

if TYPE_CHECKING:
    from model.partition.groups import Group
    from model.spec import InputSpec, ReadoutPart

Unit = Literal["bold", "residual", "robust", "zscore"]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_SHOWN = 4
"""Members of a mapping or list that its representation names; the others are counted."""


def _frozen(array: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Copy, cast and make read-only, so that the caller's array stays his own."""
    copy = np.array(array, dtype=dtype)
    copy.setflags(write=False)
    return copy


def shown(holder: object) -> str:
    """Show a record of arrays by their shapes and types: the ``__repr__`` of such types.

    Examples
    --------
    >>> series = ParcelSeries(values=np.zeros((240, 457)), tr_s=0.8, unit="residual")
    >>> series
    ParcelSeries(values=float32 (240, 457), tr_s=0.8, unit='residual', start_s=0.0, kept=None)
    """
    named = getattr(holder, "_fields", None) or vars(type(holder))["__dataclass_fields__"]
    parts = [f"{name}={_brief(getattr(holder, name))}" for name in named if name[0] != "_"]
    return f"{type(holder).__name__}({', '.join(parts)})"


def _brief(value: object) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        first = [f"{key!r}: {_brief(one)}" for key, one in islice(value.items(), _SHOWN)]
        more = [f"{len(value) - _SHOWN} more"] if len(value) > _SHOWN else []
        return f"{{{', '.join(first + more)}}}"
    if isinstance(value, tuple) and len(value) > _SHOWN:
        return f"({', '.join(map(repr, value[:_SHOWN]))}, {len(value) - _SHOWN} more)"
    return repr(value)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ParcelSeries:
    """Time series of the 457 parcels of one scan.

    A column is either finite throughout or NaN throughout; NaN means that the parcel has
    no signal (not covered, not measured, constant), never "bad frame".
    """

    values: FloatArray
    """(T, P)"""
    tr_s: float
    unit: Unit
    start_s: float = 0.0
    """Time of the first frame after the onset of the scan."""
    kept: BoolArray | None = None
    """(T,) false where a frame was interpolated; None: no frame was."""

    __repr__ = shown

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        n_parcels = len(parcel_names())
        if values.ndim != 2 or values.shape[1] != n_parcels:
            raise SeriesError(
                f"expected an array of (frames, {n_parcels}) parcels, found {values.shape}.",
                hint=f"Transposed? Frames come first: give the array's .T, {values.T.shape}."
                if values.ndim == 2 and len(values) == n_parcels
                else "Columns must be in the order of model/data/parcels.tsv; "
                "fill parcels you do not have with NaN.",
            )
        if not self.tr_s > 0:
            raise SeriesError(f"TR must be a positive number of seconds, found {self.tr_s}.")
        nan = np.isnan(values)
        partial = nan.any(axis=0) & ~nan.all(axis=0)
        if partial.any() or np.isinf(values).any():
            bad = np.flatnonzero(partial | np.isinf(values).any(axis=0))
            names = [parcel_names()[i] for i in bad[:5]]
            raise SeriesError(
                f"{bad.size} parcels hold NaN or infinity in some frames ({', '.join(names)} …).",
                hint="A missing parcel is NaN in every frame; interpolate missing frames first.",
            )
        object.__setattr__(self, "values", _frozen(values, np.float32))
        if self.kept is not None:
            if np.shape(self.kept) != (len(values),):
                raise SeriesError(
                    f"expected one value per frame ({len(values)}) of what was interpolated, "
                    f"found {np.shape(self.kept)}."
                )
            object.__setattr__(self, "kept", _frozen(self.kept, bool))

    @property
    def n_frames(self) -> int:
        """Number of frames (T)."""
        return int(self.values.shape[0])

    @property
    def missing(self) -> BoolArray:
        """(P,) true where a parcel has no signal."""
        return np.asarray(np.isnan(self.values).all(axis=0))

    def with_values(self, values: npt.ArrayLike, **changes: Any) -> ParcelSeries:
        """Return a new series with other values (T, P), and other fields if named.

        With another number of frames, ``kept`` must be named too, unless it is None.
        """
        return replace(self, values=np.asarray(values), **changes)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """Pieces of a normalized scan as the encoder takes them."""

    values: FloatArray
    """(W, P, L); zero where padded and where a parcel is missing."""
    valid: BoolArray
    """(W, L) true where a sample is data, false where it is padding."""
    start_s: npt.NDArray[np.float64]
    """(W,) onset of each window after the onset of the scan."""
    missing: BoolArray
    """(P,) true where a parcel has no signal."""
    spec: InputSpec

    __repr__ = shown

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _frozen(self.values, np.float32))
        object.__setattr__(self, "valid", _frozen(self.valid, bool))
        object.__setattr__(self, "start_s", _frozen(self.start_s, np.float64))
        object.__setattr__(self, "missing", _frozen(self.missing, bool))

    def token_mask(self, groups: tuple[Group, ...]) -> BoolArray:
        """(W, N, K) true where a token must be masked: its patch is padded, or its row missing.

        ``groups`` are those of the encoder that is to see the windows.
        """
        n_windows = self.valid.shape[0]
        patches = self.valid.reshape(n_windows, self.spec.n_patches, -1)
        padded = ~np.asarray(patches.all(axis=2))
        absent = missing_rows(groups, self.missing)
        return padded[:, None, :] | absent[None, :, None]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScanEmbedding:
    """What the encoder says about one scan.

    ``tokens`` are finite everywhere. Where ``valid`` is false the token was masked on input
    (a missing network or a padded patch): its value is what the encoder predicts there from
    the rest, and it enters neither ``mean`` nor ``networks``. What is said of networks here
    holds for the rows of any other partition.
    """

    cls: FloatArray
    """(W, D) summary token"""
    tokens: FloatArray
    """(W, N, K, D) final tokens of the grid"""
    valid: BoolArray
    """(W, N, K) true where a token saw data"""
    start_s: npt.NDArray[np.float64]
    """(W,) onset of each window in seconds"""
    valid_fraction: npt.NDArray[np.float64]
    """(W,) share of the window's samples that are data, not padding"""
    readout: tuple[ReadoutPart, ...]
    """Parts of the default scan vector, in order"""
    rows: tuple[str, ...] = NETWORKS
    """(N,) names of the grid's rows"""
    short: FloatArray | None = None
    """(W, S) short form of the rows' means; None: the encoder has none"""

    __repr__ = shown

    def __post_init__(self) -> None:
        if len(self.rows) != self.tokens.shape[1]:
            raise SeriesError(
                f"expected one name for each of {self.tokens.shape[1]} rows of tokens, found "
                f"{len(self.rows)}."
            )
        if not np.isfinite(self.tokens).all() or not np.isfinite(self.cls).all():
            raise SeriesError("the encoder returned numbers that are not finite.")
        if not self.valid.any(axis=(1, 2)).all():
            raise SeriesError("a window holds no valid token: all networks are missing.")
        for name, dtype in (("cls", np.float32), ("tokens", np.float32), ("valid", bool)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        if self.short is not None:
            object.__setattr__(self, "short", _frozen(self.short, np.float32))

    @property
    def mean(self) -> FloatArray:
        """(W, D) mean over the valid tokens of each window."""
        weights = self.valid[..., None]
        total = (self.tokens * weights).sum(axis=(1, 2), dtype=np.float64)
        return np.asarray(total / weights.sum(axis=(1, 2)), dtype=np.float32)

    @property
    def networks(self) -> FloatArray:
        """(W, N, D) mean over each row's valid tokens; NaN where a network is missing."""
        weights = self.valid[..., None]
        total = (self.tokens * weights).sum(axis=2, dtype=np.float64)
        count = weights.sum(axis=2)
        nan = np.full_like(total, np.nan)
        return np.asarray(np.divide(total, count, out=nan, where=count > 0), dtype=np.float32)

    @property
    def missing_networks(self) -> tuple[str, ...]:
        """Networks (rows of the grid) without a valid token in any window."""
        absent = ~np.asarray(self.valid.any(axis=(0, 2)))
        return tuple(name for name, gone in zip(self.rows, absent, strict=True) if gone)

    def scan_part(self, part: ReadoutPart) -> FloatArray:
        """Average one part over the windows: (D,) for mean and cls, (N, D) for networks.

        Windows weigh by their share of data. Rows of missing networks are NaN. The short form (S,)
        is finite always: to it a missing network adds nothing.

        Raises
        ------
        SeriesError
            The encoder has no short form.
        """
        if part == "short":
            if self.short is None:
                raise SeriesError("the encoder has no short form.")
            values = self.short
        else:
            values = {"mean": self.mean, "cls": self.cls, "networks": self.networks}[part]
        return np.average(values, axis=0, weights=self.valid_fraction).astype(np.float32)

    def scan_vector(self) -> FloatArray:
        """Join the parts named in ``readout`` to the default vector of the scan.

        Returns
        -------
        (F,) for ``networks`` F = N * D. NaN where a network is missing, as the written tables
        have n/a. What compares several scans leaves those columns out, or puts the column's
        mean over the scans there after standardising: zero.
        """
        return np.concatenate([self.scan_part(part).ravel() for part in self.readout])

    def filled_vector(self) -> FloatArray:
        """Return `scan_vector` with what the encoder predicts where a network is missing.

        For what cannot take NaN and knows one scan only, and for asking how far a loss moves
        the vector. A prediction is not data: over a standardised cohort it gets the weight of
        signal (identification from one window fell from 95.5 to 88.1 %).

        Returns
        -------
        (F,) finite.
        """
        parts = {part: self.scan_part(part) for part in self.readout}
        if "networks" in parts and self.missing_networks:
            predicted = np.average(
                self.tokens.mean(axis=2, dtype=np.float64), axis=0, weights=self.valid_fraction
            )
            parts["networks"] = np.where(np.isnan(parts["networks"]), predicted, parts["networks"])
        return np.concatenate([parts[p].ravel() for p in self.readout]).astype(np.float32)


class EmbeddedSeries(NamedTuple):
    """A parcel series as the encoder saw it, and what the encoder says about it."""

    series: ParcelSeries
    """(T, P) at the model's TR, in the unit of its normalization"""
    embedding: ScanEmbedding
