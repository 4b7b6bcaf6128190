"""The atlas on volumes, built from small sources."""

from __future__ import annotations

import numpy as np
import pytest
from atlas_source_builders import (
    LIN6,
    LIN2009,
    combined_image,
    names_text,
    nifti,
    synthetic_contents,
)

from bids_app.atlas.setup import origins
from bids_app.atlas.setup.build_volumes import add_cerebellum, build_volume_atlas, cortex_first
from bids_app.errors import AtlasError


def test_cortex_comes_first_and_the_cerebellum_last():
    image = build_volume_atlas(LIN6, "1", synthetic_contents())
    flat = image.labels.ravel()
    assert flat[3 * 1] == 401  # subcortex 1, the right hippocampus head
    assert flat[3 * 50] == 450
    assert flat[3 * 51] == 1  # cortex
    assert flat[3 * 450] == 400
    np.testing.assert_array_equal(flat[2000:2350], np.arange(350) % 7 + 451)
    assert image.absent == {}


def test_cerebellum_never_overwrites_and_the_overlap_is_counted():
    image = build_volume_atlas(LIN6, "1", synthetic_contents())
    assert image.labels.ravel()[3 * 200] == 150
    assert image.n_overlap == 2


def test_space_without_buckner_declares_seven_parcels_absent():
    image = build_volume_atlas(LIN2009, "2", synthetic_contents())
    assert sorted(image.absent) == list(range(451, 458))
    assert set(image.absent.values()) == {origins.NO_BUCKNER}
    assert image.labels.max() == 450


def test_labels_beyond_the_source_range_are_refused():
    with pytest.raises(AtlasError, match=r"x: expected labels 0-450, found 0-451"):
        cortex_first(np.array([0, 451]), source="x")


def test_source_without_a_label_is_refused():
    contents = synthetic_contents()
    labels, affine = combined_image(2.0)
    labels[labels == 51] = 0
    contents[origins.CORTEX_SUBCORTEX[LIN6, "2"]] = nifti(labels, affine)
    with pytest.raises(AtlasError, match="without a voxel: 1 7Networks_LH_Vis_1"):
        build_volume_atlas(LIN6, "2", contents)


def test_cerebellum_fills_free_voxels_only():
    joined, overlap = add_cerebellum(np.array([0, 5, 0], np.int32), np.array([7, 1, 0], np.int32))
    assert (joined.tolist(), overlap) == ([457, 5, 0], 1)


def test_source_names_in_another_order_are_refused():
    text = names_text().replace("HIP-head-m-rh\n1 ", "HIP-head-m-rh\n2 ", 1)
    contents = synthetic_contents() | {origins.CORTEX_SUBCORTEX_NAMES: text.encode()}
    with pytest.raises(
        AtlasError, match=r"label\.txt: label 1 should be HIP-head-m-rh, found None"
    ):
        build_volume_atlas(LIN6, "1", contents)
