"""Nuisance regressors of one scan from fMRIPrep's confounds table, by a named strategy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.errors import COPY_AGAIN, ScanError, ScanExcludedError
from bids_app.files import read_table
from bids_app.signal.strategy import (
    available_strategies,
    base_signal,
    load_strategy,
    numbered,
    strategy_columns,
)
from model.errors import some
from model.files.faults import faults_as
from model.files.read import read_json
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from bids_app.inputs.scan import Scan
    from bids_app.signal.strategy import Strategy

LARGEST = 1e100
"""Of a confound, at most: the square of more is no float."""
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
    missing += [key for key in _thresholds(strategy) if key not in columns]
    if missing:
        raise _missing_columns(strategy, missing, table, meta, where)
    faults = _faults(table, strategy, names)
    if faults:
        raise ScanError(
            f"{where}: {some(faults, most=4, separator='; ')}.",
            hint=_possible(table, meta),
        )
    fd_mm, std_dvars = (_measure(table, key) for key in (_FD, _DVARS))
    unsteady = np.zeros(len(table), dtype=bool)
    if dummy_scans is None:
        unsteady = _flagged(table, "non_steady_state_outlier", where=where)
    n_dummy = _n_dummy(unsteady, dummy_scans, where)
    reasons = _outlier_reasons(strategy, fd_mm, std_dvars, unsteady)
    reasons[:n_dummy] = [""] * n_dummy
    regressors = [_regressor(table, name) for name in names]
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


def _flagged(table: pd.DataFrame, prefix: str, *, where: str) -> npt.NDArray[np.bool_]:
    """Return (T,) true where any of the one-hot columns ``<prefix>XX`` is set.

    Raises
    ------
    ScanError
        One of them holds something other than 0 and 1.
    """
    flagged = np.zeros(len(table), dtype=bool)
    for name in numbered(table.columns, prefix):
        values = _numbers(table[name])
        bad = np.flatnonzero(~np.isin(values, (0, 1)) & table[name].notna().to_numpy())
        if bad.size:
            raise ScanError(
                f"{where}: column {name} holds {_cell(table[name], bad[0])}, expected 0 or 1.",
                hint="Correct the column, or say with --dummy-scans how many leading volumes to "
                "drop.",
            )
        flagged |= values == 1
    return flagged


def _regressor(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return one column (T,), or the expansion of its signal where the table has only that.

    The derivative is the difference to the volume before, NaN in the first.
    """
    if name in table:
        return _numbers(table[name])
    values = _numbers(table[base_signal(name)])
    if "_derivative1" in name:
        values = np.diff(values, prepend=np.nan)
    return np.square(values) if name.endswith("_power2") else values


def _measure(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return one column (T,); what is absent or no number is NaN."""
    if name not in table:
        return np.full(len(table), np.nan)
    values = _numbers(table[name])
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _numbers(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Return (T,) the numbers of a column, NaN where it holds none."""
    import pandas as pd

    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def _faults(table: pd.DataFrame, strategy: Strategy, names: Sequence[str]) -> list[str]:
    """Say what is wrong with the columns that a strategy reads: those of `names`, thresholds."""
    read = [name if name in table else base_signal(name) for name in names]
    faults = [_fault_of(table, name) for name in dict.fromkeys([*read, *_thresholds(strategy)])]
    return [fault for fault in faults if fault]


def _fault_of(table: pd.DataFrame, name: str) -> str:
    """Say why a column cannot be regressed or compared with a threshold; empty: it can."""
    if f"{name}.1" in table:  # so pandas names the second of two
        return f"two columns are named {name}, expected one"
    column = table[name]
    if column.dtype.kind not in "iuf" and column.map(lambda v: isinstance(v, bool)).any():
        return f"column {name} holds True and False, expected numbers"
    if column.isna().all():
        return f"column {name} is n/a throughout, expected numbers"
    values = _numbers(column)
    bad = ~(np.abs(values) <= LARGEST)
    if name in (_FD, _DVARS):
        bad |= values < 0
    if _DIFFERENCE.fullmatch(name):
        bad[0] = False
    rows = np.flatnonzero(bad)
    if not rows.size:
        return ""
    more = f" (and {rows.size - 1} more)" if rows.size > 1 else ""
    return f"column {name} holds {_cell(column, rows[0])}{more}, expected a number"


def _cell(column: pd.Series[Any], row: int) -> str:
    """Show a cell and where it stands; the header is line 1."""
    value = column.iloc[row]
    shown = "n/a" if column.isna().iloc[row] else f"{str(value)[:40]!r}"
    return f"{shown} in line {row + 2}"


def _missing_columns(
    strategy: Strategy,
    missing: Sequence[str],
    table: pd.DataFrame,
    meta: Mapping[str, Any],
    where: str,
) -> ScanError:
    has = sorted({re.sub(r"\d+$", "*", column) for column in table.columns})
    return ScanError(
        f"{where}: strategy {strategy.name} needs columns that are not there: "
        f"{', '.join(missing)}. The file has: {', '.join(has)}.",
        hint=_possible(table, meta),
    )


def _possible(table: pd.DataFrame, meta: Mapping[str, Any]) -> str:
    """Name the strategies whose columns are all there, and hold what they should."""
    names = []
    for name in available_strategies():
        strategy = load_strategy(name)
        columns, missing = strategy_columns(strategy, list(table.columns), meta)
        missing += [key for key in _thresholds(strategy) if key not in table]
        if not missing and not _faults(table, strategy, columns):
            names.append(name)
    return f"Strategies that this file allows (--denoise-strategy): {', '.join(names)}."


def _read_table(path: Path) -> pd.DataFrame:
    with faults_as(ScanError, where=path.name, hint=COPY_AGAIN):
        table = read_table(path, na_values=["n/a"])
    if table.empty:
        raise ScanError(f"{path.name}: the table is empty.")
    return table


def _read_meta(path: Path | None, table: Path) -> dict[str, Any]:
    """Read the JSON of a confounds table, which CompCor cannot do without."""
    if path is None:
        raise ScanError(
            f"{table.name}: no JSON beside it, "
            "which says what CompCor component belongs to which mask (fMRIPrep before 1.4 wrote "
            "none).",
            hint="Choose a strategy without CompCor.",
        )
    with faults_as(ScanError, where=path.name, hint=COPY_AGAIN):
        return read_json(path)


def _empty_table(n_frames: int) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(index=range(n_frames))
