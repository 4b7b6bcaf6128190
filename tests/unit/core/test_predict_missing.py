"""What stands for a lost parcel: the best guess from its network, in inference and training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.networks import (
    NETWORKS,
    expected_correlation,
    network_columns,
    parcel_names,
    parcel_places,
    predict_missing,
)
from model.views.corruption import ViewsConfig, augment

N_PARCELS = len(parcel_names())


def drawn(n_frames=4000, *, seed=0):
    """Series whose correlations within networks are the expected ones."""
    rng = np.random.default_rng(seed)
    values = np.empty((n_frames, N_PARCELS))
    for network in NETWORKS:
        columns, factor = (
            network_columns(network),
            np.linalg.cholesky(expected_correlation(network)),
        )
        values[:, columns] = rng.standard_normal((n_frames, len(columns))) @ factor.T
    return values


def some(share=0.1, *, seed=1):
    return np.random.default_rng(seed).random(N_PARCELS) < share


@pytest.mark.parametrize("network", NETWORKS)
def test_expected_correlations_are_a_correlation_matrix(network):
    expected = expected_correlation(network)
    np.testing.assert_allclose(expected, expected.T)
    assert np.linalg.eigvalsh(expected).min() > 0.1
    assert (np.diag(expected) == 1).all()


def test_homotopic_parcels_share_a_place():
    names = parcel_names()
    left = names.index("7Networks_LH_Vis_3")
    right = names.index("7Networks_RH_Vis_3")
    assert parcel_places()[left] == parcel_places()[right]


def test_the_guess_is_the_regression_on_the_rest_of_the_network():
    values, missing = drawn(), some()
    guess = predict_missing(np.where(missing, np.nan, values), missing)
    columns = network_columns("Default")
    lost, there = columns[missing[columns]], columns[~missing[columns]]
    by_least_squares = values[:, there] @ np.linalg.lstsq(values[:, there], values[:, lost])[0]
    assert np.corrcoef(guess[:, lost].ravel(), by_least_squares.ravel())[0, 1] > 0.95
    error = ((guess - values)[:, missing] ** 2).mean()
    assert error < 0.85 * (values[:, missing] ** 2).mean()


def test_measured_parcels_are_not_touched_and_guesses_use_no_other_network():
    values, missing = drawn(50), np.zeros(N_PARCELS, dtype=bool)
    vis = network_columns("Vis")
    missing[vis[:5]] = True
    changed = values.copy()
    changed[:, np.setdiff1d(np.arange(N_PARCELS), vis)] += 1
    first, second = (predict_missing(v, missing) for v in (values, changed))
    np.testing.assert_array_equal(first[:, ~missing], values[:, ~missing])
    np.testing.assert_array_equal(first[:, vis], second[:, vis])


def test_nothing_is_guessed_for_a_network_that_is_missing():
    values, missing = drawn(50), np.zeros(N_PARCELS, dtype=bool)
    columns = network_columns("Limbic")
    missing[columns[: len(columns) // 2 + 1]] = True
    filled = predict_missing(np.where(missing, np.nan, values), missing)
    assert (filled[:, missing] == 0).all()


def test_training_views_lose_parcels_as_scans_do():
    config = ViewsConfig(
        pairing="scan",
        parcels_zeroed=(0.1, 0.1),
        lost_parcels="predicted",
        time_zeroed=(0, 0),
        scale=(1, 1),
        noise=0.0,
    )
    views = torch.from_numpy(drawn(40).T[None]).float() + 10  # a level no guess reaches
    made = augment(views, config, generator=torch.Generator().manual_seed(3))[0]
    lost = (made[:, 1:] != views[0][:, 1:]).all(dim=1).numpy()
    assert lost.sum() == int(0.1 * N_PARCELS)
    kept_time = (made[~lost] == views[0][~lost]).all(dim=0).numpy()  # one sample is zeroed
    expected = predict_missing(views[0].numpy().T, lost).T
    np.testing.assert_allclose(made.numpy()[:, kept_time], expected[:, kept_time], atol=1e-3)
