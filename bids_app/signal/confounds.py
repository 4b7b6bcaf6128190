"""Nuisance regressors of one scan from fMRIPrep's confounds table, by a named strategy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import ScanError, ScanExcludedError
from bids_app.files import read_table
from bids_app.inputs.scan import Refusal
from bids_app.signal.strategy import (
    available_strategies,
    base_signal,
    load_strategy,
    numbered,
    strategy_columns,
)
from model.files.read import faults_as, read_json
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from bids_app.inputs.scan import Scan
    from bids_app.signal.strategy import Strategy

_FD, _DVARS = "framewise_displacement", "std_dvars"
# Differences between a volume and the one before: the first volume has none.
_DIFFERENCE = re.compile(r".*_derivative1(_power2)?|framewise_displacement|.*dvars|rmsd", re.I)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Confounds:
    """What to regress out of a scan, and which of its volumes to trust."""

    regressors: npt.NDArray[np.float64]
    """(T, R), all volumes, as in the file; the first row of differences is 0."""
    names: tuple[str, ...]
    """Column of each regressor (R)."""
    kept: npt.NDArray[np.bool_]
    """(T,) false where a volume is an outlier, to be interpolated."""
    outlier_reasons: tuple[str, ...]
    """(T) why; empty where kept."""
    n_dummy: int
    """Leading volumes to drop."""
    fd_mm: npt.NDArray[np.float64]
    """(T,) framewise displacement; NaN in the first row and where unknown."""
    std_dvars: npt.NDArray[np.float64]
    """(T,) standardized DVARS; NaN in the first row and where unknown."""
    strategy: str
    computed: tuple[str, ...] = ()
    """Those of `names` that the table lacks: expansions, computed here as fMRIPrep does."""

    __repr__ = shown


def load_confounds(
    scan: Scan, strategy: Strategy, *, dummy_scans: int | None, n_frames: int
) -> Confounds:
    """Load the confounds of one scan.

    Parameters
    ----------
    scan
        Its confounds table and that table's JSON are read.
    strategy
        Columns and thresholds.
    dummy_scans
        Leading volumes to drop; None: those that fMRIPrep found in a non-steady state.
    n_frames
        Volumes of the BOLD image: the table must have as many rows.

    Raises
    ------
    ScanError
        The table is absent, damaged, of another length, or lacks columns (all are named).
    ScanExcludedError
        No volume is left after the leading ones are dropped.
    """
    path = scan.sources.confounds
    if path is not None:
        table = _read_table(path)
        meta = _read_meta(scan.sources.confounds_json, path) if strategy.compcor else {}
        where = path.name
    elif strategy.needs_table:
        raise ScanError(
            f"{scan.name}: no desc-confounds_timeseries.tsv (or _regressors.tsv) beside it.",
            hint="Without confounds only --denoise-strategy none is possible.",
        )
    else:
        table, meta, where = _empty_table(n_frames), {}, scan.name
    if len(table) != n_frames:
        raise ScanError(
            f"{where}: {len(table)} rows, but the image has {n_frames} volumes.",
            hint="Image and confounds are not of the same run, or one of them is truncated.",
        )
    return from_table(table, meta, strategy, dummy_scans=dummy_scans, where=where)


def from_table(
    table: pd.DataFrame,
    meta: Mapping[str, Any],
    strategy: Strategy,
    *,
    dummy_scans: int | None,
    where: str,
) -> Confounds:
    """Apply a strategy to a confounds table (T rows) and its JSON; `where` is for errors."""
    columns = list(table.columns)
    names, missing = strategy_columns(strategy, columns, meta)
    used = _thresholds(strategy)
    missing += [key for key in used if key not in columns]
    if missing:
        raise _missing_columns(strategy, missing, columns, meta, where)
    fd_mm, std_dvars = (
        _column(table, key, where=where, strict=key in used) for key in (_FD, _DVARS)
    )
    unsteady = _flagged(table, "non_steady_state_outlier")
    n_dummy = _n_dummy(unsteady, dummy_scans, where)
    reasons = _outlier_reasons(
        strategy, fd_mm, std_dvars, unsteady if dummy_scans is None else np.zeros_like(unsteady)
    )
    reasons[:n_dummy] = [""] * n_dummy
    regressors = [_regressor(table, name, where=where) for name in names]
    return Confounds(
        regressors=np.nan_to_num(np.column_stack(regressors))
        if names
        else np.zeros((len(table), 0)),
        names=tuple(names),
        computed=tuple(name for name in names if name not in columns),
        kept=np.array([not reason for reason in reasons]),
        outlier_reasons=tuple(reasons),
        n_dummy=n_dummy,
        fd_mm=fd_mm,
        std_dvars=std_dvars,
        strategy=strategy.name,
    )


def flag_short_segments(outliers: npt.NDArray[np.bool_], min_frames: int) -> npt.NDArray[np.bool_]:
    """(T,) flags, also on stretches of fewer than `min_frames` good frames between outliers.

    As scrubbing in `nilearn.interfaces.fmriprep` does (Power et al. 2014).
    """
    flagged = outliers.copy()
    if outliers.any():
        edges = np.flatnonzero(np.diff(outliers, prepend=True, append=True))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            flagged[start:stop] |= stop - start < min_frames
    return flagged


def _outlier_reasons(
    strategy: Strategy,
    fd_mm: npt.NDArray[np.float64],
    std_dvars: npt.NDArray[np.float64],
    unsteady: npt.NDArray[np.bool_],
) -> list[str]:
    limits = _thresholds(strategy)
    above = {
        key: values > limits.get(key, np.inf)
        for key, values in ((_FD, fd_mm), (_DVARS, std_dvars))
    }
    motion = above[_FD] | above[_DVARS]
    above["short_segment"] = flag_short_segments(motion, strategy.min_segment_frames) & ~motion
    above["non_steady_state"] = unsteady
    return [
        "+".join(key for key, flags in above.items() if flags[frame])
        for frame in range(len(fd_mm))
    ]


def _thresholds(strategy: Strategy) -> dict[str, float]:
    limits = {_FD: strategy.fd_threshold_mm, _DVARS: strategy.std_dvars_threshold}
    return {key: limit for key, limit in limits.items() if limit is not None}


def _n_dummy(unsteady: npt.NDArray[np.bool_], dummy_scans: int | None, where: str) -> int:
    leading = int(np.argmin(unsteady)) if not unsteady.all() else len(unsteady)
    n_dummy = leading if dummy_scans is None else dummy_scans
    if n_dummy >= len(unsteady):
        raise ScanExcludedError(
            f"{where}: {n_dummy} leading volumes to drop, of {len(unsteady)} in all."
        )
    return n_dummy


def _flagged(table: pd.DataFrame, prefix: str) -> npt.NDArray[np.bool_]:
    """Return (T,) true where any of the one-hot columns ``<prefix>XX`` is set."""
    flags = table[numbered(table.columns, prefix)].fillna(0).to_numpy()
    return np.asarray((flags != 0).any(axis=1))


def _regressor(table: pd.DataFrame, name: str, *, where: str) -> npt.NDArray[np.float64]:
    """Return one column (T,), or the expansion of its signal where the table has only that.

    The derivative is the difference to the volume before, NaN in the first.
    """
    if name in table:
        return _column(table, name, where=where, strict=True)
    signal = base_signal(name)
    values = _column(table, signal, where=where, strict=True)
    if "_derivative1" in name:
        values = np.diff(values, prepend=np.nan)
    return np.square(values) if name.endswith("_power2") else values


def _column(
    table: pd.DataFrame, name: str, *, where: str, strict: bool
) -> npt.NDArray[np.float64]:
    """Return one column (T,); absent or, unless `strict`, unreadable values are NaN.

    Raises
    ------
    ScanError
        With `strict`, any value that is not a finite number, but the first of a difference;
        or a column that occurs twice.
    """
    import pandas as pd

    if name not in table:
        return np.full(len(table), np.nan)
    if strict and f"{name}.1" in table:  # so pandas names the second of two
        raise ScanError(f"{where}: two columns are named {name}, expected one.")
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size and _DIFFERENCE.fullmatch(name) and bad[0] == 0:
        bad = bad[1:]
    if strict and bad.size:
        raise ScanError(
            f"{where}: column {name} holds {table[name].iloc[bad[0]]!r} in row {bad[0]} "
            f"(and {bad.size - 1} more), expected a number.",
            hint="The file is damaged, or was not written by fMRIPrep.",
        )
    return values


def _missing_columns(
    strategy: Strategy,
    missing: Sequence[str],
    columns: Sequence[str],
    meta: Mapping[str, Any],
    where: str,
) -> ScanError:
    has = sorted({re.sub(r"\d+$", "*", column) for column in columns})
    possible = [
        name
        for name in available_strategies()
        if not strategy_columns(load_strategy(name), columns, meta)[1]
    ]
    return ScanError(
        f"{where}: strategy {strategy.name} needs columns that are not there: "
        f"{', '.join(missing)}. The file has: {', '.join(has)}.",
        hint=f"Strategies that this file allows: {', '.join(possible)}.",
    )


def _read_table(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise ScanError(f"{path.name}: {Refusal.NOT_FETCHED.value}.")
    with faults_as(ScanError, where=path.name):
        table = read_table(path, na_values=["n/a"])
    if table.empty:
        raise ScanError(f"{path.name}: the table is empty.")
    return table


def _read_meta(path: Path | None, table: Path) -> dict[str, Any]:
    """Read the JSON of a confounds table, which CompCor cannot do without."""
    if path is None or not path.exists():
        gone = "" if path is None else f" ({Refusal.NOT_FETCHED.value})"
        raise ScanError(
            f"{table.name}: no JSON beside it{gone}, "
            "which says what CompCor component belongs to which mask (fMRIPrep before 1.4 wrote "
            "none).",
            hint="Choose a strategy without CompCor.",
        )
    with faults_as(ScanError, where=path.name):
        return read_json(path)


def _empty_table(n_frames: int) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(index=range(n_frames))
