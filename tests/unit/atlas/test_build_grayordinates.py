"""The atlas on grayordinates, built from small sources."""

from __future__ import annotations

import grayordinate_builders as gray
import numpy as np
import pytest
from atlas_source_builders import GRAY, LIN6, complete_contents, nifti, synthetic_contents

from bids_app.atlas.grayordinates import tables_of
from bids_app.atlas.setup import origins
from bids_app.atlas.setup.build_grayordinates import build_grayordinate_atlas
from bids_app.errors import AtlasError
from model.networks import parcel_names


def test_grayordinates_are_numbered_in_model_order_with_the_cerebellum_where_it_belongs():
    image = build_grayordinate_atlas(synthetic_contents(), density="91k")
    np.testing.assert_array_equal(image.labels, gray.labels_on(image.axis))
    assert image.absent == {}


def test_170k_grayordinates_have_the_labels_of_the_nearest_of_the_91k():
    image = build_grayordinate_atlas(complete_contents(), density="170k")
    expected = gray.make_fine_axis()
    ours, theirs = (
        tables_of(axis, labels)
        for axis, labels in (
            (image.axis, image.labels),
            (expected, gray.fine_labels_on(expected)),
        )
    )
    assert ours.sha256() == theirs.sha256()
    assert len(image.axis) == len(expected)
    assert image.sources[1:-1] == tuple(origins.further_sources_of(GRAY))


def test_a_sphere_of_other_vertices_and_an_image_without_a_structure_are_refused():
    contents = complete_contents()
    coarse, fine = (origins.SPHERES[gray.LEFT, d] for d in ("32k", "59k"))
    swapped = contents | {coarse: contents[fine], fine: contents[coarse]}
    with pytest.raises(AtlasError, match="expected 660 vertices, found 1980"):
        build_grayordinate_atlas(swapped, density="170k")
    contents[origins.VOXELS_170K] = nifti(np.zeros((24, 28, 24)), np.eye(4))
    with pytest.raises(AtlasError, match="no voxel of CIFTI_STRUCTURE_"):
        build_grayordinate_atlas(contents, density="170k")


def test_grayordinates_with_other_names_are_refused(monkeypatch):
    names = list(parcel_names())
    names[0], names[1] = names[1], names[0]
    monkeypatch.setattr(gray, "parcel_names", lambda: names)
    with pytest.raises(AtlasError, match=r"dlabel\.nii: label 51 should be 7Networks_LH_Vis_1"):
        build_grayordinate_atlas(synthetic_contents(), density="91k")


def test_grayordinates_without_a_cerebellum_are_refused():
    contents = synthetic_contents()
    contents[origins.CEREBELLUM[LIN6]] = nifti(np.zeros((4, 4, 4)), np.eye(4))
    with pytest.raises(
        AtlasError, match="fsLR, 91k: expected 457 parcels; labels without a voxel"
    ):
        build_grayordinate_atlas(contents, density="91k")
