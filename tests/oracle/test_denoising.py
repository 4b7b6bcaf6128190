"""Despiking, outliers, filter and regression of random series, as docs/denoising.md says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plain
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bids_app.signal.confounds import Confounds, from_table
from bids_app.signal.denoise import denoise
from bids_app.signal.strategy import Strategy
from model.despike import despike

seeds = st.integers(0, 2**32 - 1)
UNSHRUNK = [Phase.explicit, Phase.reuse, Phase.generate]
"""No seed is smaller than another: looking for a smaller one takes minutes."""


def bold_like(rng, n_frames, n):
    """(T, n) random walks on top of white noise around 1000."""
    walk = 0.3 * rng.normal(size=(n_frames, n)).cumsum(axis=0)
    return 1000 + rng.normal(size=(n_frames, n)) + walk


def spiked(rng, values):
    """Some values far off: single ones, pairs, some at either end, some stretches of three."""
    values = values.copy()
    for column in range(values.shape[1]):
        for _ in range(rng.integers(0, 5)):
            first = rng.integers(-1, len(values))
            length = rng.integers(1, 4)
            values[max(first, 0) : first + length, column] += rng.normal(scale=40)
    return values


@given(seed=seeds, n_frames=st.sampled_from([3, 4, 5, 6, 20, 61, 120]), whole=st.booleans())
@settings(max_examples=40, deadline=None, phases=UNSHRUNK)
def test_despiking(seed, n_frames, whole) -> None:
    rng = np.random.default_rng(seed)
    values = spiked(rng, bold_like(rng, n_frames, 6))
    if whole:  # numbers with ties: medians of even counts, distances of zero
        values = np.round(values)
    values[:, 4] = values[0, 4]
    values[:, 5] = np.nan
    expected = [plain.despiked(column) for column in values.T.tolist()]
    found, fraction = despike(values)
    np.testing.assert_allclose(found, np.transpose([series for series, _ in expected]), rtol=1e-13)
    n_present = 5 * n_frames
    assert fraction == pytest.approx(sum(n for _, n in expected) / n_present)


@given(
    seed=seeds,
    fd_limit=st.sampled_from([None, 0.3, 0.5]),
    dvars_limit=st.sampled_from([None, 1.5]),
    shortest=st.sampled_from([0, 1, 2, 5]),
    n_dropped=st.sampled_from([None, 0, 3]),
)
@settings(max_examples=60, deadline=None, phases=UNSHRUNK)
def test_outliers(seed, fd_limit, dvars_limit, shortest, n_dropped) -> None:
    rng = np.random.default_rng(seed)
    n_frames = 40
    fd, dvars = rng.gamma(2, 0.12, n_frames), rng.gamma(9, 0.12, n_frames)
    fd[0] = dvars[0] = np.nan  # fMRIPrep has n/a there
    unsteady = rng.random(n_frames) < 0.05
    unsteady[: rng.integers(0, 4)] = True
    columns = {
        f"non_steady_state_outlier{number:02}": np.eye(n_frames)[frame]
        for number, frame in enumerate(np.flatnonzero(unsteady))
    }
    table = pd.DataFrame({"framewise_displacement": fd, "std_dvars": dvars, **columns})
    strategy = Strategy(
        name="test",
        fd_threshold_mm=fd_limit,
        std_dvars_threshold=dvars_limit,
        min_segment_frames=shortest,
    )
    expected, n = plain.outliers(
        fd,
        dvars,
        unsteady,
        fd_limit=fd_limit,
        dvars_limit=dvars_limit,
        shortest=shortest,
        n_dropped=n_dropped,
    )
    found = from_table(table, {}, strategy, dummy_scans=n_dropped, where="table")
    assert found.n_dummy == n
    np.testing.assert_array_equal(~found.kept, expected)


bands = st.sampled_from(
    [(0.01, 0.1), (0.008, 0.15), (0.01, None), (None, 0.1), (None, None), (0.01, 5.0)]
)


@given(
    seed=seeds,
    band=bands,
    tr_s=st.sampled_from([0.72, 2.0, 2.5, 3.3]),
    n_frames=st.sampled_from([150, 201]),
    n_regressors=st.integers(0, 4),
    share_out=st.sampled_from([0.0, 0.1, 0.4]),
    n_dropped=st.sampled_from([0, 3]),
)
@settings(max_examples=30, deadline=None, phases=UNSHRUNK)
def test_denoising(seed, band, tr_s, n_frames, n_regressors, share_out, n_dropped) -> None:
    rng = np.random.default_rng(seed)
    values, regressors = bold_like(rng, n_frames, 4), bold_like(rng, n_frames, n_regressors)
    if n_regressors > 2:  # repeated, and a combination: they count once
        regressors[:, -1] = 3 * regressors[:, 0] - regressors[:, 1]
        regressors = np.column_stack([regressors, 2 * regressors[:, 0] + 7])
    if n_regressors > 3:  # nothing but an offset, or a drift
        drift = np.linspace(0, 5, n_frames)
        regressors = np.column_stack([regressors, np.full(n_frames, 987.654), drift, 0 * drift])
    regressors *= 10 ** rng.uniform(-6, 6, regressors.shape[1])
    kept = rng.random(n_frames) >= share_out
    if share_out:
        kept[[n_dropped, -1]] = rng.random(2) < 0.5
        values[~kept] += rng.normal(scale=300, size=values[~kept].shape)
    values[:, 2] = np.nan
    if n_regressors == 1:
        values[:, 3] = 1000 + 2 * regressors[:, 0]  # nothing of it is its own
    confounds = Confounds(
        regressors=regressors,
        names=tuple(f"c{number}" for number in range(regressors.shape[1])),
        kept=kept,
        outlier_reasons=tuple("" if keep else "moved" for keep in kept),
        n_dummy=n_dropped,
        fd_mm=np.full(n_frames, np.nan),
        std_dvars=np.full(n_frames, np.nan),
        strategy="test",
    )
    high_pass_hz, low_pass_hz = band
    expected, dof = plain.denoised(
        values[n_dropped:].T.tolist(),
        regressors[n_dropped:].T.tolist(),
        kept[n_dropped:].tolist(),
        tr_s=tr_s,
        high_pass_hz=high_pass_hz,
        low_pass_hz=low_pass_hz,
    )
    found = denoise(
        values,
        tr_s=tr_s,
        confounds=confounds,
        high_pass_hz=high_pass_hz,
        low_pass_hz=low_pass_hz,
    )
    assert found.dof == dof
    assert found.regressor_names == confounds.names
    assert found.high_pass_hz == high_pass_hz
    assert found.low_pass_hz == (low_pass_hz if (low_pass_hz or 9) < 0.5 / tr_s else None)
    np.testing.assert_array_equal(found.kept, kept[n_dropped:])
    expected = np.transpose(expected)
    atol = 1e-7 * np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=atol)
    assert np.isnan(found.values[:, 2]).all()
