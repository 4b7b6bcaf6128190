"""The cerebellum in MNI152NLin2009cAsym follows TemplateFlow's transform."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from atlas_source_builders import (
    APART,
    LIN6,
    LIN2009,
    TO_LIN6,
    cerebellum_image,
    cerebellum_of_both,
    complete_contents,
    nifti,
)
from itk_builders import composite

from bids_app.atlas.setup import origins
from bids_app.atlas.setup.build_volumes import build_volume_atlas
from bids_app.atlas.setup.warp import read_composite
from bids_app.errors import AtlasError


@pytest.mark.parametrize("mm", ["1", "2"])
def test_the_cerebellum_follows_the_transform_to_the_other_space(mm):
    """The two spaces are the same image 7 mm apart: so must the results be, voxel by voxel."""
    contents = complete_contents()
    warped, original = (build_volume_atlas(space, mm, contents) for space in (LIN2009, LIN6))
    np.testing.assert_array_equal(warped.labels, original.labels)
    np.testing.assert_array_equal(warped.affine[:3, 3] - original.affine[:3, 3], APART)
    assert (dict(warped.absent), warped.n_overlap) == ({}, original.n_overlap)
    assert [source.name for source in warped.sources[1:]] == [
        "atl-Buckner7_space-MNI_dseg.nii",
        "tpl-MNI152NLin2009cAsym_from-MNI152NLin6Asym_mode-image_xfm.h5",
    ]


def test_each_voxel_has_the_label_that_stands_where_the_warp_takes_its_centre():
    shape, lattice = (60, 60, 60), np.diag([-2.0, -2.0, 2.0, 1.0])
    lattice[:3, 3] = (40, 40, -40)
    field = TO_LIN6[:, None, None, None] + 3 * np.sin(np.indices(shape) / 4)
    transform = composite(field=field, lattice=lattice)
    image = build_volume_atlas(LIN2009, "1", complete_contents(transform))
    networks, grid = cerebellum_of_both()
    centres = nib.affines.apply_affine(image.affine, np.indices(image.labels.shape).T)
    moved = read_composite(transform, source="x")(centres.reshape(-1, 3).T).T
    nearest = np.rint(nib.affines.apply_affine(np.linalg.inv(grid), moved)).astype(int)
    inside = ((nearest >= 0) & (nearest < networks.shape)).all(axis=1)
    there = np.where(inside, networks[tuple(np.where(inside[:, None], nearest, 0).T)], 0)
    there = there.reshape(image.labels.shape[::-1]).T
    free = (image.labels == 0) | (image.labels > 450)
    np.testing.assert_array_equal(image.labels[free], np.where(there > 0, there + 450, 0)[free])
    assert len(np.unique(image.labels)) == 458


@pytest.mark.parametrize("wrong", [-TO_LIN6, APART, -APART], ids=["inverse", "RAS", "both"])
def test_a_transform_that_moves_parcels_apart_is_refused(wrong):
    with pytest.raises(
        AtlasError, match=r"nearer to those of MNI152NLin6Asym; .*from 7\.48 mm to"
    ):
        build_volume_atlas(LIN2009, "1", complete_contents(composite(translation=wrong)))


def test_a_cerebellum_that_the_transform_leads_past_is_no_atlas():
    contents = complete_contents()
    labels, affine = cerebellum_image(1.0)
    contents[origins.CEREBELLUM[LIN6]] = nifti(labels, affine + np.eye(4, k=3) * 900)
    with pytest.raises(AtlasError, match="labels without a voxel: 451"):
        build_volume_atlas(LIN2009, "1", contents)
