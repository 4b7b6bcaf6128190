"""Whitening of final tokens: mean and covariance of each row over scans, real or simulated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from model.embed import embed_windows
from model.encoder import build_encoder
from model.errors import ConfigError
from model.fitting.settings import mixture_of_rows
from model.preprocess import window
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.encoder import Encoder
    from model.fitting.data import FitCohort, FitData
    from model.spec import InputSpec

LEAST_VARIANCE = 1e-6
"""Share of the mean variance below which a direction holds rounding only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Mean and covariance of the mean tokens of windows, row by row, in float64."""

    __repr__ = shown

    n_windows: Tensor
    """(N,) windows in which the row has data"""
    mean: Tensor
    """(N, D)"""
    covariance: Tensor
    """(N, D, D)"""


class _Sums:
    """Sums over windows as they come: nothing of a window is kept."""

    def __init__(self, n_rows: int, dim: int) -> None:
        self.n = torch.zeros(n_rows, dtype=torch.float64)
        self.first = torch.zeros(n_rows, dim, dtype=torch.float64)
        self.second = torch.zeros(n_rows, dim, dim, dtype=torch.float64)

    def add(self, means: Tensor) -> None:
        """Add windows (W, N, D); NaN where a row has no data."""
        present = ~means[..., 0].isnan()
        values = torch.where(present[..., None], means, 0.0).double().transpose(0, 1)
        self.n += present.sum(dim=0)
        self.first += values.sum(dim=1)
        self.second += values.mT @ values

    def moments(self) -> Moments:
        n = self.n.clamp(min=1)[:, None]
        mean = self.first / n
        covariance = self.second / n[..., None] - mean[:, :, None] * mean[:, None, :]
        return Moments(n_windows=self.n, mean=mean, covariance=covariance)


def whiten(encoder: Encoder, data: FitData, *, shrinkage: float) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder with whitened tokens, fitted to the mean tokens of windows.

    Parameters
    ----------
    encoder
        In eval mode, on the CPU; not changed. A whitening that it has is replaced.
    data
        Scans to fit to, and what rows weigh.
    shrinkage
        Share, from 0 to 1, of the mean variance in the variance of each direction: keeps
        directions that hardly vary, or that too few windows show, from being blown up.

    Returns
    -------
    The encoder, and what each row was fitted to.

    Raises
    ------
    ConfigError
        Fewer windows than dimensions and no shrinkage, or a shrinkage outside 0 to 1.
    """
    plain = without_fitted(encoder)
    moments, rows = _all_moments(plain, data)
    null = silent_direction(plain.norm.weight)
    mean, matrix = fit(moments, null, shrinkage=shrinkage)
    named = mixture_of_rows(plain.spec.groups, data.config.mixtures)
    matrix *= torch.tensor([1.0 if m is None else m.weight for m in named])[:, None, None]
    whitened = build_encoder(replace(plain.spec, whitened=True), seed=0)
    whitened.load_state_dict(
        plain.state_dict() | {"whitening.mean": mean, "whitening.matrix": matrix}
    )
    whitened.requires_grad_(requires_grad=False).eval()
    return whitened, {"shrinkage": shrinkage, "rows": rows}


def without_fitted(encoder: Encoder, *, whitening: bool = True) -> Encoder:
    """Return the encoder, in eval mode, as it is before its short form was fitted.

    And, with ``whitening``, before its tokens were whitened.
    """
    spec = replace(encoder.spec, short=0, whitened=encoder.spec.whitened and not whitening)
    if spec == encoder.spec:
        return encoder
    plain = build_encoder(spec, seed=0)
    weights = encoder.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain.requires_grad_(requires_grad=False).eval()


def silent_direction(weight: Tensor) -> Tensor:
    """(D,) unit direction in which nothing varies behind a layer norm with these weights (D,).

    Normed values sum to zero, and so do those behind the norm, each divided by its weight.
    """
    weight = weight.detach().double()
    dead = weight == 0
    inverse = 1 / torch.where(dead, 1.0, weight)
    direction: Tensor = torch.where(dead.any(), dead.double(), inverse)
    unit: Tensor = direction / direction.norm()
    return unit


def fit(moments: Moments, null: Tensor, *, shrinkage: float) -> tuple[Tensor, Tensor]:
    """Return mean (N, D) and matrix (N, D, D) that whiten.

    Columns of the matrix go by falling variance before whitening; those of directions in which
    nothing varies are zero: ``null`` (D,), and without shrinkage all others without variance.
    """
    dim = moments.mean.shape[-1]
    if not 0 <= shrinkage <= 1:
        raise ConfigError(f"expected a shrinkage from 0 to 1, found {shrinkage}.")
    fewest = int(moments.n_windows.min())
    if shrinkage == 0 and fewest <= dim:
        raise ConfigError(
            f"expected more than {dim} windows to whiten {dim} dimensions without shrinkage, "
            f"found {fewest}.",
            hint="Let run.whitening be above 0, such as 0.3.",
        )
    covariance = moments.covariance
    level = covariance.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]
    # The norm before leaves a direction without any variance: its rounding must not be read out.
    seen = torch.eye(dim, dtype=torch.float64) - null[:, None] * null
    shrunk = (1 - shrinkage) * (seen @ covariance @ seen) + shrinkage * level * seen
    variance, directions = torch.linalg.eigh(shrunk)
    varies = variance > LEAST_VARIANCE * level[..., 0]
    scale = torch.where(varies, variance, 1.0).rsqrt() * varies
    return moments.mean.float(), (directions * scale[:, None]).flip(-1).float()


def _all_moments(encoder: Encoder, data: FitData) -> tuple[Moments, dict[str, Any]]:
    """Join the cohorts' moments; the simulator's stand for rows that no cohort has."""
    names = encoder.spec.rows
    fitted = [_cohort_moments(encoder, cohort, data.spec, names) for cohort in data.cohorts]
    found = [moments for moments, _ in fitted]
    n_windows = torch.stack([m.n_windows for m in found]) if found else torch.zeros(1, len(names))
    weights = (n_windows > 1).double()
    if data.config.weigh == "windows":
        weights = weights * n_windows
    total = weights.sum(dim=0)
    share = torch.tensor(data.config.simulated, dtype=torch.float64)
    simulated = torch.where(total > 0, share, 1.0)
    weights = weights[: len(found)] * (1 - simulated) / total.clamp(min=1)
    if simulated.any():
        found.append(_simulated_moments(encoder, data))
        weights = torch.cat([weights, simulated[None]])
    rows = {
        name: {
            "simulated": float(simulated[i]),
            "cohorts": {
                c.name: counts[name]
                for c, (_, counts) in zip(data.cohorts, fitted, strict=True)
                if name in counts
            },
        }
        for i, name in enumerate(names)
    }
    return _joined(found, weights), rows


def _joined(found: Sequence[Moments], weights: Tensor) -> Moments:
    """Average moments with weights (C, N) that sum to 1 in each row."""
    parts = list(zip(found, weights, strict=True))
    return Moments(
        n_windows=torch.stack([m.n_windows * (w > 0) for m, w in parts]).sum(dim=0),
        mean=torch.stack([m.mean * w[:, None] for m, w in parts]).sum(dim=0),
        covariance=sum(m.covariance * w[:, None, None] for m, w in parts),
    )


def _cohort_moments(
    encoder: Encoder, cohort: FitCohort, spec: InputSpec, names: Sequence[str]
) -> tuple[Moments, dict[str, dict[str, int]]]:
    """Embed all windows of a cohort; also count what each row is fitted to."""
    sums = _Sums(len(names), encoder.spec.dim)
    windows: Counter[str] = Counter()
    scans: Counter[str] = Counter()
    subjects: dict[str, set[str]] = {}
    for scan in cohort.scans:
        cut = window(cohort.shards.series(scan), spec)
        means = embed_windows(cut, encoder, readout=("networks",)).networks
        sums.add(torch.from_numpy(means))
        for name, there in zip(names, ~np.isnan(means[0, :, 0]), strict=True):
            if there:
                windows[name] += len(means)
                scans[name] += 1
                subjects.setdefault(name, set()).add(scan.subject)
    counts = {
        name: {"n_windows": windows[name], "n_scans": scans[name], "n_subjects": len(found)}
        for name, found in subjects.items()
    }
    return sums.moments(), counts


def _simulated_moments(encoder: Encoder, data: FitData) -> Moments:
    """Moments of simulated windows, within their populations."""
    n_rows, dim = len(encoder.tokenizers), encoder.spec.dim
    found = []
    for scans in data.populations():
        sums = _Sums(n_rows, dim)
        for windows in torch.split(scans, data.spec.window_samples, dim=-1):
            with torch.inference_mode():
                tokens = encoder(windows.contiguous())[:, 1:]
            sums.add(tokens.unflatten(1, (n_rows, -1)).mean(dim=2))
        found.append(sums.moments())
    even = torch.full((len(found), n_rows), 1 / len(found), dtype=torch.float64)
    return _joined(found, even)
