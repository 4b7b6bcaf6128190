"""Slices at places of the template, whatever the grid and orientation of the image."""

from __future__ import annotations

import numpy as np
import pytest

from bids_app.images.slices import (
    AVERAGED,
    PLANES,
    MeanImage,
    mesh,
    slices_of,
    surface_labels,
)

AFFINE = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
SHAPE = (91, 109, 91)


def volume() -> np.ndarray:
    """Every voxel its place: brighter to the right, the front and above."""
    x, y, z = np.indices(SHAPE)
    return (x + 2.0 * y + 3.0 * z).astype(np.float32)


def test_right_is_right_and_up_is_up() -> None:
    found = slices_of(volume(), None, AFFINE, labels=np.zeros(SHAPE, int), labels_affine=AFFINE)
    for plane, grey in found.grey.items():
        assert grey.shape[0] == len(PLANES[plane][1])
        middle = grey[3].astype(int)
        assert middle[0, -1] > middle[0, 0], plane
        assert middle[-1, 0] > middle[0, 0], plane


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_image_stored_the_other_way_round_looks_the_same(axis) -> None:
    labels = (volume() > 300).astype(np.int32)
    flip = np.eye(4)
    flip[axis, axis], flip[axis, 3] = -1, SHAPE[axis] - 1
    turned = AFFINE @ flip
    mask = volume() > 200
    ours = slices_of(volume(), mask, AFFINE, labels=labels, labels_affine=AFFINE)
    theirs = slices_of(
        np.flip(volume(), axis), np.flip(mask, axis), turned, labels=labels, labels_affine=AFFINE
    )
    for plane in PLANES:
        np.testing.assert_array_equal(ours.grey[plane], theirs.grey[plane])
        np.testing.assert_array_equal(ours.mask[plane], theirs.mask[plane])
        np.testing.assert_array_equal(ours.labels[plane], theirs.labels[plane])


def test_what_is_not_finite_is_dark_and_a_constant_image_has_slices() -> None:
    spoilt = np.full(SHAPE, np.nan, dtype=np.float32)
    found = slices_of(spoilt, None, AFFINE, labels=np.zeros(SHAPE, int), labels_affine=AFFINE)
    assert all((grey > 0).all() for grey in found.grey.values())


def test_the_mean_image_is_that_of_frames_that_are_spread_and_not_skipped() -> None:
    skipped = np.zeros(200, dtype=bool)
    skipped[::2] = True
    mean = MeanImage((2, 2, 2), skipped)
    assert len(mean.frames) == AVERAGED
    for frame in range(200):
        for at in (0, 5):
            block = np.full(5 if at == 0 else 3, 7 if frame % 2 else np.nan, dtype=">f4")
            mean.add(frame, block, at=at)
    np.testing.assert_allclose(mean.values, 7, rtol=1e-5)


def test_the_surface_takes_the_parcel_of_its_place() -> None:
    x = np.indices(SHAPE)[0]
    labels = np.where(x < 45, 5, 205).astype(np.int32)  # left, right of the middle
    left, right = surface_labels(labels, AFFINE)
    assert left.size == len(mesh("white", "left")[0])
    assert (left == 5).mean() > 0.98
    assert (right == 205).mean() > 0.98
