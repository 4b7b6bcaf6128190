"""Parcel means: every parcel's own signal comes back, and what is missing says why."""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from bids_app.atlas.volumes import VolumeAtlas, on_grid
from bids_app.errors import ScanError
from bids_app.images import nifti as bold_module
from bids_app.images.nifti import open_nifti
from bids_app.images.nifti_parcels import parcellate

N_PARCELS, N_FRAMES = 457, 7
SHAPE = (12, 14, 12)
AFFINE = np.array([[3.0, 0, 0, -17], [0, 3, 0, -20], [0, 0, 3, -15], [0, 0, 0, 1]])


@pytest.fixture(params=["one block", "many blocks"], autouse=True)
def _blocks_of_a_volume(request, monkeypatch):
    """Read each volume at once, and in 9 to 33 blocks that cut through parcels."""
    if request.param == "many blocks":
        monkeypatch.setattr(bold_module, "BLOCK_BYTES", 500)


def phantom_labels():
    """All 457 parcels, four voxels each (the first ones one more), scattered, 0 in between."""
    labels = np.zeros(np.prod(SHAPE), np.int32)
    n_labelled = 4 * N_PARCELS + 60
    labels[np.random.default_rng(3).permutation(labels.size)[:n_labelled]] = (
        np.arange(n_labelled) % N_PARCELS + 1
    )
    return labels.reshape(SHAPE)


def parcel_signals():
    """(T, P) whole numbers, another series for each parcel."""
    t, p = np.mgrid[:N_FRAMES, 1 : N_PARCELS + 1]
    return (20 * p + (t * p) % 461).astype(np.float64)  # 461 is prime: no constant column


def paint(labels, signals):
    """(X, Y, Z, T) each voxel holds its parcel's signal."""
    table = np.vstack([np.zeros(len(signals)), signals.T])
    return table[labels]


def write(path, voxels, affine=AFFINE, *, dtype="<f4", slope=1.0, inter=0.0):
    image = nib.Nifti1Image(np.asarray(voxels), affine, dtype=np.dtype(dtype))
    if dtype[0] == ">":
        image = nib.Nifti1Image(voxels, affine, image.header.as_byteswapped(">"))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_data_dtype(dtype)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return open_nifti(path)


def run(bold, labels, mask=None, *, absent=None, min_coverage=0.5):
    return parcellate(bold, labels, mask, absent=absent or {}, min_coverage=min_coverage)


def atlas_of(labels, affine=AFFINE):
    return VolumeAtlas(
        name="Semantoks457", space="MNI152NLin6Asym", resolution="2", labels=labels,
        affine=affine, absent={}, sha256="", path=None,
    )  # fmt: skip


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPI", "PIR", "SAL", "ASR"])
def test_every_parcel_comes_back_in_any_orientation(tmp_path, orientation):
    labels, signals = phantom_labels(), parcel_signals()
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(orientation))
    voxels = nib.orientations.apply_orientation(paint(labels, signals), turn)
    affine = AFFINE @ inv_ornt_aff(turn, SHAPE)
    assert nib.aff2axcodes(affine) == tuple(orientation)
    bold = write(tmp_path / "bold.nii.gz", voxels, affine)
    found = run(bold, on_grid(atlas_of(labels), bold.shape, bold.affine))
    np.testing.assert_array_equal(found.values, signals)
    assert set(found.coverage.reason) == {""}


def test_every_parcel_comes_back_from_anisotropic_voxels_on_a_rotated_grid(tmp_path):
    coarse, signals = phantom_labels(), parcel_signals()
    step = np.array([2, 3, 5])
    fine = coarse.repeat(2, axis=0).repeat(3, axis=1).repeat(5, axis=2)
    angle = np.deg2rad(20)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    fine_affine = rotation @ np.diag([1.0, 1, 1, 1])
    centre = np.eye(4)
    centre[:3, 3] = (step - 1) / 2
    coarse_affine = fine_affine @ centre @ np.diag([*step, 1])
    bold = write(tmp_path / "bold.nii", paint(coarse, signals), coarse_affine)
    labels = on_grid(atlas_of(fine, fine_affine), bold.shape, bold.affine)
    np.testing.assert_array_equal(run(bold, labels).values, signals)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", "<i4", "<f4", ">f4", "<f8"])
def test_every_parcel_comes_back_from_any_data_type(tmp_path, dtype):
    labels, signals = phantom_labels(), parcel_signals()
    bold = write(tmp_path / "bold.nii.gz", paint(labels, signals), dtype=dtype)
    np.testing.assert_array_equal(run(bold, labels).values, signals)


def test_scaled_integers_give_the_values_that_nibabel_gives(tmp_path):
    labels, signals = phantom_labels(), parcel_signals()
    bold = write(tmp_path / "b.nii", paint(labels, signals), dtype="<i2", slope=0.013, inter=55.5)
    values = nib.load(bold.path).get_fdata()
    expected = [values[labels == parcel].mean(axis=0) for parcel in range(1, N_PARCELS + 1)]
    found = run(bold, labels).values
    np.testing.assert_allclose(found, np.transpose(expected), rtol=1e-12)
    np.testing.assert_allclose(found, signals * 0.013 + 55.5, rtol=1e-6)


def test_means_agree_with_nilearn_on_the_same_grid(tmp_path):
    from nilearn.maskers import NiftiLabelsMasker

    labels = phantom_labels()
    voxels = np.random.default_rng(5).normal(1000, 50, (*SHAPE, N_FRAMES)).astype("<f4")
    inside = np.random.default_rng(6).random(SHAPE) < 0.9
    bold = write(tmp_path / "bold.nii.gz", voxels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = NiftiLabelsMasker(
            nib.Nifti1Image(labels, AFFINE),
            mask_img=nib.Nifti1Image(inside.astype("u1"), AFFINE),
            standardize=None,
        ).fit_transform(str(bold.path))
    found = run(bold, labels, inside, min_coverage=0)
    assert not any(found.coverage.reason)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)


def test_swapped_labels_swap_columns(tmp_path):
    labels, signals = phantom_labels(), parcel_signals()
    swapped = labels.copy()
    swapped[labels == 10], swapped[labels == 20] = 20, 10
    bold = write(tmp_path / "bold.nii", paint(labels, signals))
    found = run(bold, swapped).values
    np.testing.assert_array_equal(found[:, 9], signals[:, 19])
    np.testing.assert_array_equal(np.delete(found, [9, 19], 1), np.delete(signals, [9, 19], 1))


@pytest.fixture
def phantom(tmp_path):
    """Voxels, labels and signals of a phantom to damage, and a writer."""
    labels, signals = phantom_labels(), parcel_signals()
    return paint(labels, signals), labels, signals, tmp_path / "bold.nii"


def places(labels, parcel):
    """Voxel indices of a parcel, one row per voxel."""
    return np.argwhere(labels == parcel)


@pytest.mark.parametrize("constant", [0.0, 1234.5])
def test_constant_voxels_do_not_dilute_the_mean(phantom, constant):
    voxels, labels, signals, path = phantom
    voxels[tuple(places(labels, 300)[0])] = constant
    found = run(write(path, voxels), labels, np.ones(SHAPE, bool))
    np.testing.assert_allclose(found.values, signals, rtol=1e-12)
    assert found.coverage.n_voxels_used[299] == found.coverage.n_voxels_atlas[299] - 1


def test_parcel_below_the_minimum_coverage_is_missing(phantom):
    voxels, labels, _, path = phantom
    mask = np.ones(SHAPE, bool)
    n_voxels = len(places(labels, 300))
    mask[tuple(places(labels, 300)[1:].T)] = False
    found = run(write(path, voxels), labels, mask, min_coverage=0.5)
    assert found.coverage.fraction[299] == pytest.approx(1 / n_voxels)
    assert found.coverage.reason[299] == "below min coverage"
    assert np.isnan(found.values[:, 299]).all()
    assert np.isnan(found.values).any(axis=0).sum() == 1
    kept = run(open_nifti(path), labels, mask, min_coverage=1 / n_voxels)
    assert kept.coverage.reason[299] == ""


def test_each_missing_parcel_tells_its_reason(phantom):
    voxels, labels, signals, path = phantom
    mask = np.ones(SHAPE, bool)
    labels = labels.copy()
    labels[labels == 457] = 0
    labels[labels == 1] = 0
    mask[labels == 2] = False
    voxels[labels == 3] = 7.0
    voxels[labels == 4, 2] = np.nan
    found = run(write(path, voxels), labels, mask, absent={457: "no Buckner"}, min_coverage=0)
    reasons = {i + 1: why for i, why in enumerate(found.coverage.reason) if why}
    assert reasons == {
        1: "no voxel on this grid",
        2: "outside the mask",
        3: "no variance",
        4: "not finite",
        457: "not in atlas",
    }
    assert found.values.shape == (N_FRAMES, N_PARCELS)
    missing = np.isnan(found.values).all(axis=0)
    np.testing.assert_array_equal(np.flatnonzero(missing) + 1, list(reasons))
    np.testing.assert_array_equal(found.values[:, ~missing], signals[:, ~missing])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_left_out_and_counted(phantom, bad):
    voxels, labels, signals, path = phantom
    for volume, parcel in enumerate((5, 5, 300)):
        voxels[(*places(labels, parcel)[volume % 2], volume)] = bad
    found = run(write(path, voxels), labels)
    np.testing.assert_allclose(found.values, signals, rtol=1e-12)
    assert found.n_nonfinite_voxels == 3
    assert found.coverage.n_voxels_used[4] == found.coverage.n_voxels_atlas[4] - 2


def test_voxels_outside_atlas_and_mask_may_hold_anything(phantom):
    voxels, labels, signals, path = phantom
    voxels[labels == 0] = np.nan
    found = run(write(path, voxels), labels)
    np.testing.assert_array_equal(found.values, signals)
    assert found.n_nonfinite_voxels == 0


def test_without_a_mask_the_voxels_with_variance_are_taken_and_that_is_said(phantom):
    voxels, labels, signals, path = phantom
    voxels[tuple(places(labels, 8)[0])] = 0
    bold = write(path, voxels)
    derived, masked = run(bold, labels), run(bold, labels, np.ones(SHAPE, bool))
    assert (derived.mask_source, masked.mask_source) == ("derived", "file")
    np.testing.assert_allclose(derived.values, signals, rtol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("volumes", [slice(4, 5), slice(0, 2)])
def test_a_volume_that_is_not_finite_is_left_out_and_no_voxel_is(phantom, value, volumes):
    voxels, labels, _, path = phantom
    clean = run(write(path, voxels), labels)
    voxels[..., volumes] = value
    voxels[0, 0, 0, 6] = np.nan  # and of the others the voxel, as ever
    found = run(write(path, voxels), labels)
    lost = np.zeros(7, dtype=bool)
    lost[volumes] = True
    np.testing.assert_array_equal(found.blank == 1, lost)
    assert found.n_nonfinite_voxels <= 1
    np.testing.assert_allclose(found.values[~lost], clean.values[~lost], rtol=0.1)
    assert np.isfinite(found.values[lost]).all()


def test_zero_volumes_and_slices_are_counted_and_the_empty_surroundings_are_not(phantom):
    voxels, labels, _, path = phantom
    voxels[:2] = 0  # out of view, throughout
    voxels[..., 3] = 0
    voxels[:, :, :4, 5] = 0
    blank = run(write(path, voxels), labels, min_coverage=0).blank
    in_view = (labels > 0) & (np.arange(len(labels)) >= 2)[:, None, None]
    expected = np.zeros(7)
    expected[3], expected[5] = 1, in_view[:, :, :4].sum() / in_view.sum()
    np.testing.assert_allclose(blank, expected, atol=1e-12)


def test_a_block_without_a_voxel_of_the_atlas_is_passed_over(phantom):
    voxels, labels, signals, path = phantom
    labels = np.where(np.arange(SHAPE[2]) < 6, labels, 0)
    found = run(write(path, voxels), labels, min_coverage=0)
    present = np.isin(np.arange(1, N_PARCELS + 1), labels)
    np.testing.assert_array_equal(found.values[:, present], signals[:, present])
    assert np.isnan(found.values[:, ~present]).all()


def test_every_voxel_not_finite_in_some_volume_fails_the_scan(phantom):
    voxels, labels, _, path = phantom
    flat = voxels.reshape(-1, N_FRAMES)
    flat[np.arange(len(flat)), np.arange(len(flat)) % N_FRAMES] = np.nan
    with pytest.raises(ScanError, match="each of the 1888 voxels"):
        run(write(path, voxels), labels)


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_image_without_change_fails_the_scan(phantom, value):
    voxels, labels, _, path = phantom
    with pytest.raises(ScanError, match=r"none of 1888 voxels .* changes over 7 volumes"):
        run(write(path, np.full_like(voxels, value)), labels)


def test_single_volume_fails_the_scan(phantom):
    voxels, labels, _, path = phantom
    with pytest.raises(ScanError, match="a single volume"):
        run(write(path, voxels[..., :1]), labels)


def test_mask_that_misses_the_atlas_fails_the_scan(phantom):
    voxels, labels, _, path = phantom
    with pytest.raises(ScanError, match="none of the atlas' 1888 voxels"):
        run(write(path, voxels), labels, labels == 0)


def test_no_parcel_with_enough_coverage_fails_the_scan(phantom):
    voxels, labels, _, path = phantom
    mask = np.zeros(SHAPE, bool)
    mask[tuple(places(labels, 9)[0])] = True
    with pytest.raises(ScanError, match=r"no parcel is covered: the best of 457 has 20%"):
        run(write(path, voxels), labels, mask)


def test_labels_on_another_grid_are_a_mistake_of_the_caller(phantom):
    voxels, labels, _, path = phantom
    with pytest.raises(ValueError, match="not on the grid"):
        run(write(path, voxels), labels[:-1])
