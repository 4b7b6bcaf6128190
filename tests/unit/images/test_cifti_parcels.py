"""Places, not rows, decide which grayordinate belongs to which parcel."""

from __future__ import annotations

import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import pytest
from grayordinate_builders import coded, expected, extracted, written
from nibabel.cifti2.cifti2_axes import BrainModelAxis

from bids_app.atlas.installed import InstalledAtlas
from bids_app.errors import ScanError
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import NOT_IN_FILE, match
from bids_app.images.parcels import BELOW_MIN_COVERAGE, NO_VARIANCE, NOT_FINITE


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return InstalledAtlas(gray.make_atlas(tmp_path_factory.mktemp("gray"))).grayordinates("91k")


@pytest.mark.parametrize("order", ["C", "F"])
def test_each_parcel_gets_exactly_its_own_signal_in_both_voxel_orders(tmp_path, atlas, order):
    found = extracted(written(tmp_path, gray.make_axis(order)), atlas)
    np.testing.assert_array_equal(found.values, expected())
    assert set(found.coverage.reason) == {""}
    assert (found.coverage.fraction == 1).all()
    assert found.mask_source == "grayordinates"


def test_the_two_orders_differ_by_row_and_a_match_by_row_would_be_wrong(atlas, tmp_path):
    labels = {
        order: match(open_cifti(written(tmp_path, gray.make_axis(order))), atlas.tables)
        for order in ("C", "F")
    }
    voxels = gray.make_axis().volume_mask
    assert (labels["C"] != labels["F"])[voxels].mean() > 0.4
    np.testing.assert_array_equal(np.sort(labels["C"]), np.sort(labels["F"]))
    by_row = np.bincount(labels["F"], weights=coded(gray.make_axis("C"))[0], minlength=458)[1:]
    means = by_row / np.bincount(labels["F"], minlength=458)[1:]
    assert (means[400:] != expected()[0, 400:]).mean() > 0.5


def test_the_order_in_which_the_atlas_is_stored_plays_no_part(tmp_path, atlas):
    other = InstalledAtlas(gray.make_atlas(tmp_path, order="C")).grayordinates("91k")
    assert other.sha256 == atlas.sha256
    assert other.path.read_bytes() != atlas.path.read_bytes()


def test_any_order_of_rows_and_structures_gives_the_same_series(tmp_path, atlas):
    axis = gray.make_axis()
    parts = [part for _, _, part in axis.iter_structures()]
    rng = np.random.default_rng(0)
    shuffled = None
    for i in rng.permutation(len(parts)):
        part = parts[i][rng.permutation(len(parts[i]))]
        shuffled = part if shuffled is None else shuffled + part
    found = extracted(written(tmp_path, shuffled), atlas)
    np.testing.assert_array_equal(found.values, expected())


def test_another_affine_with_the_same_voxel_centres_is_the_same_grid(tmp_path, atlas):
    axis = gray.make_axis("F")
    voxels = axis.volume_mask
    turned = np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = gray.SHAPE[0] - 1
    axis.voxel[voxels] = axis.voxel[voxels] @ turned[:3, :3].T + turned[:3, 3]
    values = coded(gray.make_axis("F"))
    axis.affine = gray.AFFINE @ np.linalg.inv(turned)
    found = extracted(written(tmp_path, axis, values), atlas)
    np.testing.assert_array_equal(found.values, expected())


def test_voxels_beside_those_of_the_atlas_are_refused(tmp_path, atlas):
    axis = gray.make_axis()
    axis.affine = axis.affine * [[0.8], [0.8], [0.8], [1]]
    with pytest.raises(ScanError, match=r"do not lie on the atlas' grid.*--cifti-output 91k"):
        extracted(written(tmp_path, axis, coded(gray.make_axis())), atlas)


def test_a_surface_of_another_density_is_refused(tmp_path, atlas):
    axis = BrainModelAxis.from_surface(np.arange(900), 59292, name=gray.LEFT)
    with pytest.raises(ScanError, match="59292 vertices; expected 660"):
        extracted(written(tmp_path, axis, np.ones((3, 900))), atlas)


def test_a_voxel_that_the_file_lists_in_another_structure_has_no_parcel(tmp_path, atlas):
    axis = gray.make_axis()
    thalamus = axis.name == "CIFTI_STRUCTURE_THALAMUS_LEFT"
    axis.name[thalamus] = "CIFTI_STRUCTURE_PUTAMEN_LEFT"
    found = extracted(written(tmp_path, axis, coded(gray.make_axis())), atlas)
    reason = np.array(found.coverage.reason)
    assert set(reason[437:450]) == {NOT_IN_FILE}
    assert set(np.delete(reason, np.arange(437, 450))) == {""}


# ------------------------------------------------------------------- coverage


def test_a_file_without_cerebellum_has_seven_missing_parcels_with_their_reason(tmp_path, atlas):
    axis = gray.make_axis("C", without=list(gray.CEREBELLUM))
    found = extracted(written(tmp_path, axis), atlas)
    assert set(found.coverage.reason[450:]) == {NOT_IN_FILE}
    assert np.isnan(found.values[:, 450:]).all()
    assert found.coverage.n_voxels_atlas[450:].tolist() == [4] * 7
    assert (found.coverage.fraction[450:] == 0).all()
    np.testing.assert_array_equal(found.values[:, :450], expected()[:, :450])


def test_surfaces_alone_give_the_cortex(tmp_path, atlas):
    everything = list({**gray.PLAIN, **gray.SUBCORTEX, **gray.CEREBELLUM})
    found = extracted(written(tmp_path, gray.make_axis(without=everything)), atlas)
    np.testing.assert_array_equal(np.isnan(found.values).all(axis=0), np.arange(457) >= 400)


def test_half_the_cerebellum_is_half_covered_relative_to_the_atlas(tmp_path, atlas):
    axis = gray.make_axis(without=["CIFTI_STRUCTURE_CEREBELLUM_LEFT"])
    path = written(tmp_path, axis)
    assert extracted(path, atlas).coverage.fraction[450:].tolist() == [0.5] * 7
    strict = extracted(path, atlas, min_coverage=0.6)
    assert set(strict.coverage.reason[450:]) == {BELOW_MIN_COVERAGE}


def test_constant_and_non_finite_grayordinates_take_no_part(tmp_path, atlas):
    axis = gray.make_axis()
    values, labels = coded(axis).astype(float), gray.labels_on(axis)
    places = {p: np.flatnonzero(labels == p) for p in (1, 2, 3, 4)}
    values[:, places[1][0]] = 0  # outside the field of view
    values[4, places[2][1]] = np.nan
    values[:, places[3]] = 7
    values[2, places[4]] = np.inf
    found = extracted(written(tmp_path, axis, values), atlas)
    assert [found.coverage.reason[i] for i in range(4)] == ["", "", NO_VARIANCE, NOT_FINITE]
    assert found.coverage.n_voxels_used[:4].tolist() == [2, 2, 0, 0]
    np.testing.assert_array_equal(found.values[:, :2], expected()[:, :2])
    assert found.n_nonfinite_voxels == 1 + 3


def test_sums_are_made_in_double_precision(tmp_path, atlas):
    axis = gray.make_axis()
    values = 1e7 + np.arange(4)[:, None] + np.zeros(len(axis))
    values += np.linspace(0, 1, len(axis))
    path = written(tmp_path, axis, values)
    stored = np.asarray(nib.load(path).dataobj, dtype=np.float64)
    labels = gray.labels_on(axis)
    means = [stored[:, labels == p].mean(axis=1) for p in range(1, 458)]
    np.testing.assert_allclose(
        extracted(path, atlas).values, np.stack(means, axis=1), rtol=0, atol=1e-8
    )


def test_a_file_without_any_parcel_and_one_below_coverage_are_refused(tmp_path, atlas):
    axis = BrainModelAxis.from_surface(np.arange(gray.MEDIAL_WALL), 660, name=gray.LEFT)
    path = written(tmp_path, axis, np.random.default_rng(0).normal(size=(4, len(axis))))
    with pytest.raises(ScanError, match="none of its 60 grayordinates lies in a parcel"):
        extracted(path, atlas)
    axis = BrainModelAxis.from_surface(np.arange(gray.MEDIAL_WALL + 1), 660, name=gray.LEFT)
    path = written(tmp_path, axis, np.random.default_rng(0).normal(size=(4, len(axis))))
    with pytest.raises(ScanError, match="the best of 457 has 33%"):
        extracted(path, atlas)
