import builders
import numpy as np
import pytest

from bids_app.demo.phantom import random_for
from model.networks import parcels
from tools.paint_stages import N_CORTEX, brain_mask, paint


@pytest.fixture
def painted():
    rng = random_for("paint")
    labels = builders.tiny_head().labels.astype(np.int32)
    series = (rng.standard_normal((40, N_CORTEX)) * rng.uniform(0.5, 5, N_CORTEX) + 400).astype(
        "f4"
    )
    texture = rng.uniform(0, 3000, labels.shape).astype("f4")
    brain = labels > 0
    stored, slope = paint(series, labels=labels, texture=texture, brain=brain)
    return labels, series, stored * np.float32(slope)


def test_the_mean_over_a_parcels_voxels_is_its_series(painted):
    labels, series, volumes = painted
    for parcel in parcels()[:N_CORTEX]:
        mean = volumes[labels == parcel.index].mean(axis=0)
        # One voxel holds one rounding error: a tenth of the quietest parcel's deviation.
        np.testing.assert_allclose(mean, series[:, parcel.index - 1], atol=0.06)


def test_subcortex_and_cerebellum_are_constant_but_not_zero(painted):
    labels, _, volumes = painted
    silent = volumes[labels > N_CORTEX]
    assert (silent > 0).all()
    assert np.ptp(silent, axis=1).max() == 0


def test_voxels_outside_the_brain_stay_zero(painted):
    labels, _, volumes = painted
    assert not volumes[labels == 0].any()


def test_the_mask_holds_all_parcels_and_closes_the_gap_between_them():
    labels = np.zeros((20, 20, 20), dtype=np.int32)
    labels[2:18, 2:18, 2:18] = 1
    labels[6:14, 6:14, 6:14] = 0
    mask = brain_mask(labels)
    assert mask[labels > 0].all()
    assert mask[10, 10, 10]
    assert not mask[0, 0, 0]
