"""The short form of a scan: few numbers, mixtures of all: random, or of what people repeat."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import eigh

from model.embed import embed_windows
from model.encoder import build_encoder
from model.errors import ConfigError
from model.fitting.whitening import without_fitted
from model.preprocess import window

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from model.encoder import Encoder
    from model.fitting.data import FitCohort, FitData
    from model.spec import InputSpec

    Float64Array = npt.NDArray[np.float64]
    Drawn = tuple[Float64Array, Float64Array, dict[str, Any]]

VARIANCE_SHARE = 0.1
"""Weight of all variance beside what repeats: orders directions that hardly repeat in so few
people by how much they vary, and is next to nothing in those that do."""


def add_short_form(encoder: Encoder, data: FitData) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder with a short form of its rows' means.

    Parameters
    ----------
    encoder
        As it is to be, in eval mode, on the CPU; not changed. An earlier short form is replaced.
    data
        Stored cohorts, if ``fit.short_by`` asks for what repeats: what two sessions of a subject
        share, or, of a subject with one, windows that do not overlap. Their settings say how long
        the short form is.

    Returns
    -------
    The encoder, and what the directions come from: for those that repeat, how many subjects tell,
    and which share of the variance of a window repeats in each tenth of them.

    Raises
    ------
    ConfigError
        There are no stored scans, nobody's data repeat, or fewer directions vary than are asked
        for; or random directions of tokens that are not whitened.
    """
    n_rows, dim = data.config.short, encoder.spec.dim
    draw = {"repeated": _repeated, "random": _random}[data.config.short_by]
    mean, matrix, told = draw(encoder, data, n_rows * dim)
    made = build_encoder(replace(encoder.spec, short=n_rows), seed=0)
    made.load_state_dict(
        without_fitted(encoder, whitening=False).state_dict()
        | {
            "short.mean": torch.from_numpy(mean).float().view(-1, dim),
            "short.matrix": torch.from_numpy(matrix).float().view(-1, dim, n_rows * dim),
        }
    )
    return made.requires_grad_(requires_grad=False).eval(), told


def _random(encoder: Encoder, data: FitData, size: int) -> Drawn:
    """Return orthogonal directions of all rows alike; whitened tokens have mean 0."""
    n_features = len(encoder.spec.rows) * encoder.spec.dim
    if not encoder.spec.whitened or size > n_features:
        raise ConfigError(
            f"fit.short_by random: expected whitened tokens and at most {n_features} numbers.",
            hint="Set run.whitening; lower fit.short.",
        )
    normal = np.random.default_rng([data.seed, size]).normal(size=(n_features, size))
    return np.zeros(n_features), np.linalg.qr(normal)[0], {}


def _repeated(encoder: Encoder, data: FitData, size: int) -> Drawn:
    """Return the directions in which people repeat themselves."""
    if not data.cohorts:
        raise ConfigError(
            "fit.short needs stored scans: simulated people repeat themselves in other ways.",
            hint='Name their folders: fit.shards. Or fit.short_by = "random".',
        )
    fitted = (_sums(encoder, cohort, data.spec) for cohort in data.cohorts)
    (mean, total, repeated), n_subjects = _joined(
        fitted, by_windows=data.config.weigh == "windows"
    )
    if not n_subjects:
        raise ConfigError(
            "fit.short: nobody has two sessions, or a scan with two windows that do not overlap."
        )
    known = np.flatnonzero(total.diagonal() > 0)
    block = np.ix_(known, known)
    directions, share = _directions(
        repeated[block], total[block], size, shrinkage=data.config.short_shrinkage
    )
    matrix = np.zeros((len(mean), size))
    matrix[known] = directions
    tenths = [round(float(part.mean()), 4) for part in np.array_split(share, 10)]
    return mean, matrix, {"n_subjects": n_subjects, "repeated_share": tenths}


def _directions(
    repeated: Float64Array, total: Float64Array, size: int, *, shrinkage: float
) -> tuple[Float64Array, Float64Array]:
    """Return (F, size) directions of unit shrunk variance, and (size,) the share that repeats.

    They go by falling share, and are as long as its root: what repeats weighs more.
    """
    level = total.diagonal().mean()
    shrunk = (1 - shrinkage) * total + shrinkage * level * np.eye(len(total))
    sought = (1 - VARIANCE_SHARE) * repeated + VARIANCE_SHARE * total
    if size > len(total):
        raise ConfigError(f"fit.short: expected at most {len(total)} numbers, asked for {size}.")
    first = len(total) - size
    try:
        gain, found = eigh(sought, shrunk, subset_by_index=[first, len(total) - 1])
    except np.linalg.LinAlgError as err:
        raise ConfigError(
            "fit.short: the variances of rows that scans have and lack do not fit together.",
            hint="A larger fit.short_shrinkage helps, or run.whitening.",
        ) from err
    gain, found = gain[::-1], found[:, ::-1]
    if gain[-1] <= 1e-6 * gain[0]:
        raise ConfigError(
            f"fit.short: only {int((gain > 1e-6 * gain[0]).sum())} directions vary in the stored "
            f"scans, {size} numbers are asked for.",
            hint="Name more cohorts, or take a smaller fit.short.",
        )
    share = np.einsum("fs,fg,gs->s", found, repeated, found)
    return found * np.sqrt(gain), share


class _Sums:
    """Of a cohort: windows, and pairs of vectors that should repeat; in float64."""

    def __init__(self, n_rows: int, dim: int) -> None:
        size = n_rows * dim
        self.dim, self.n_subjects = dim, 0
        self.n, self.n_pairs = np.zeros((2, n_rows, n_rows))
        self.first, self.paired = np.zeros((2, size))
        self.second, self.crossed = np.zeros((2, size, size))

    def add_subject(self, sessions: list[list[Float64Array]], apart: list[int]) -> None:
        """Add the windows (W, N, D) of each scan of each session of a subject; NaN: no data.

        ``apart`` says of each scan how many windows on one does not overlap any more.
        """
        for means in (scan for scans in sessions for scan in scans):
            present, flat = _filled(means)
            self.n += present.T @ present
            self.first += flat.sum(axis=0)
            self.second += flat.T @ flat
        if len(sessions) > 1:
            pairs = [*combinations([_mean(np.concatenate(scans)) for scans in sessions], 2)]
        else:
            pairs = [
                (scan[i], scan[j])
                for scan, step in zip(sessions[0], apart, strict=True)
                for i in range(len(scan))
                for j in range(i + step, len(scan))
            ]
        if pairs:
            self._add_pairs(np.array(pairs))

    def _add_pairs(self, pairs: Float64Array) -> None:
        """Add pairs (Q, 2, N, D), which weigh 1 together."""
        self.n_subjects += 1
        weight, n_pairs = 1 / len(pairs), len(pairs)
        present, flat = _filled(pairs.reshape(2 * n_pairs, *pairs.shape[2:]))
        there = present[::2] * present[1::2]
        a, b = (x * np.repeat(there, self.dim, axis=1) for x in (flat[::2], flat[1::2]))
        self.n_pairs += weight * there.T @ there
        self.paired += weight * (a + b).sum(axis=0) / 2
        crossed = a.T @ b
        self.crossed += weight * (crossed + crossed.T) / 2

    def moments(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return mean (F,), covariance of windows, and what repeats of it (F, F)."""
        mean = self.first / _divisor(self.n.diagonal(), self.dim)
        middle = self.paired / _divisor(self.n_pairs.diagonal(), self.dim)
        total = self.second - np.outer(mean, mean) * _spread(self.n, self.dim)
        repeated = self.crossed - np.outer(middle, middle) * _spread(self.n_pairs, self.dim)
        return (
            mean,
            total / _divisor(_geometric(self.n.diagonal()), self.dim),
            repeated / _divisor(_geometric(self.n_pairs.diagonal()), self.dim),
        )


def _mean(windows: Float64Array) -> Float64Array:
    """(N, D) mean over the windows (W, N, D) in which a row has data; NaN where in none."""
    present = ~np.isnan(windows)
    total = np.where(present, windows, 0.0).sum(axis=0)
    count = present.sum(axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return np.asarray(mean)


def _filled(windows: Float64Array) -> tuple[Float64Array, Float64Array]:
    """(W, N) 1 where a row has data, and (W, F) with zeros elsewhere."""
    present = ~np.isnan(windows[..., 0])
    flat = np.where(present[..., None], windows, 0.0).reshape(len(windows), -1)
    return present.astype(np.float64), flat


def _spread(by_row: Float64Array, dim: int) -> Float64Array:
    """Repeat the numbers of each row for its features, on every axis."""
    for axis in range(by_row.ndim):
        by_row = np.repeat(by_row, dim, axis=axis)
    return by_row


def _geometric(counts: Float64Array) -> Float64Array:
    """(N, N) geometric means of counts (N,).

    In place of the number of scans that have both rows: what two rows share in few scans counts
    less, and variances stay positive in every direction.
    """
    return np.sqrt(np.outer(counts, counts))


def _divisor(counts: Float64Array, dim: int) -> Float64Array:
    """Repeat counts likewise; 1 where there is none."""
    return _spread(np.where(counts > 0, counts, 1.0), dim)


def _sums(encoder: Encoder, cohort: FitCohort, spec: InputSpec) -> _Sums:
    """Embed a cohort, subject by subject."""
    sums = _Sums(len(encoder.spec.rows), encoder.spec.dim)
    chosen = set(cohort.scans)
    for by_session in cohort.shards.by_subject.values():
        sessions, apart = [], []
        for scans in by_session.values():
            cuts = [window(cohort.shards.series(scan), spec) for scan in scans if scan in chosen]
            found = [embed_windows(cut, encoder, readout=("networks",)).networks for cut in cuts]
            if found:
                sessions.append([means.astype(np.float64) for means in found])
                apart += [_apart(cut.start_s, spec.window_s) for cut in cuts]
        if sessions:
            sums.add_subject(sessions, apart)
    return sums


def _apart(start_s: npt.NDArray[np.float64], length_s: float) -> int:
    """Return how many windows on one begins where the first has ended; all if none does."""
    later = np.flatnonzero(start_s >= start_s[0] + length_s)
    return int(later[0]) if later.size else len(start_s)


def _joined(fitted: Iterable[_Sums], *, by_windows: bool) -> tuple[list[Float64Array], int]:
    """Average mean, covariance and what repeats of it over cohorts, where they have data.

    Also count the subjects that tell what repeats.
    """
    joined: list[Float64Array] = []
    weights: list[Float64Array] = []
    n_subjects = 0
    for sums in fitted:
        n_subjects += sums.n_subjects
        counts = (sums.n.diagonal(), sums.n.diagonal(), sums.n_pairs.diagonal())
        weighs = [n if by_windows else (n > 0).astype(np.float64) for n in counts]
        mean, *others = zip(sums.moments(), weighs, strict=True)
        parts = [mean[0] * _spread(mean[1], sums.dim)]
        parts += [m * _spread(_geometric(w), sums.dim) for m, w in others]
        joined = [a + b for a, b in zip(joined, parts, strict=True)] if joined else parts
        weights = [a + b for a, b in zip(weights, weighs, strict=True)] if weights else weighs
        dim = sums.dim
    means, *others = zip(joined, weights, strict=True)
    averages = [means[0] / _divisor(means[1], dim)]
    averages += [a / _divisor(_geometric(w), dim) for a, w in others]
    return averages, n_subjects
