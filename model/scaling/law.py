"""The law: gain over random weights against the logarithm of the number of subjects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.statistics.bootstrap import percentiles

Array = npt.NDArray[np.float64]
N_RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Law:
    """A straight line: gain = at_one + per_decade * log10(subjects)."""

    per_decade: float
    per_decade_interval: tuple[float, float] | None
    """Central 95 % over resamples of the seeds within each size; None where one has one seed"""
    at_one: float
    r_squared: float
    """Of the means per size"""
    n_rows: int
    band: list[tuple[float, float, float]]
    """(subjects, low, high) of the fitted line, for the figure; empty without an interval"""


def fit_law(gains: dict[int, list[float]]) -> Law | None:
    """Fit by least squares over all rows.

    Parameters
    ----------
    gains
        Gain over random weights of the same seed, by number of subjects.

    Returns
    -------
    None where fewer than two sizes have a score.
    """
    sizes = sorted(size for size, found in gains.items() if found)
    if len(sizes) < 2:
        return None
    values = [np.array(gains[size]) for size in sizes]
    x = np.log10(np.repeat(sizes, [len(v) for v in values]))
    slope, constant = np.polyfit(x, np.concatenate(values), 1)
    interval, band = _resampled(x, values) if min(v.size for v in values) > 1 else (None, [])
    means = np.array([v.mean() for v in values])
    left = means - (constant + slope * np.log10(sizes))
    spread = float(np.square(means - means.mean()).sum())
    return Law(
        per_decade=float(slope),
        per_decade_interval=interval,
        at_one=float(constant),
        r_squared=1 - float(np.square(left).sum()) / spread if spread > 0 else 0.0,
        n_rows=len(x),
        band=band,
    )


def _resampled(
    x: Array, values: list[Array]
) -> tuple[tuple[float, float], list[tuple[float, float, float]]]:
    """Return the interval of the slope, and the band of the line, over resampled seeds."""
    rng = np.random.default_rng(SEED)
    lines = np.array(
        [
            np.polyfit(x, np.concatenate([rng.choice(v, v.size) for v in values]), 1)
            for _ in range(N_RESAMPLES)
        ]
    )
    at = np.linspace(x[0], x[-1], 30)
    drawn = lines[:, [0]] * at + lines[:, [1]]
    band = [(float(10**n), *percentiles(y)) for n, y in zip(at, drawn.T, strict=True)]
    return percentiles(lines[:, 0]), band
