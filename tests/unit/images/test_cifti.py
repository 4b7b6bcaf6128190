"""CIFTI series: any stored type is read, and what is damaged or foreign is told."""

from __future__ import annotations

import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import pytest
from grayordinate_builders import coded, expected, extracted, written
from nibabel.cifti2.cifti2_axes import ScalarAxis

from bids_app.atlas.installed import InstalledAtlas
from bids_app.errors import ScanError
from bids_app.images.cifti import open_cifti
from bids_app.images.nifti import open_nifti
from bids_app.images.stream import count_frames


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return InstalledAtlas(gray.make_atlas(tmp_path_factory.mktemp("gray"))).grayordinates("91k")


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, ">f4"])
def test_any_stored_type_is_read(tmp_path, atlas, dtype):
    found = extracted(written(tmp_path, dtype=np.dtype(dtype)), atlas)
    np.testing.assert_array_equal(found.values, expected())


def test_blocks_of_any_size_give_the_same_sums(tmp_path, atlas, monkeypatch):
    path = written(tmp_path)
    for size in (1, 1000, 12345):
        monkeypatch.setattr("bids_app.images.cifti.BLOCK_BYTES", size)
        np.testing.assert_array_equal(extracted(path, atlas).values, expected())


# ------------------------------------------------------------------- damaged and foreign files


def test_a_truncated_file_is_told_with_its_sizes(tmp_path, atlas):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ScanError, match=r"truncated: expected \d+ grayordinates of 9 volumes"):
        extracted(path, atlas)


@pytest.mark.parametrize("size", [0, 300, 5000])
def test_a_file_cut_off_in_its_header_is_told(tmp_path, size):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ScanError, match=r"cannot be read|the file is truncated"):
        open_cifti(path)


@pytest.mark.parametrize("frames", [[6], [0, 1]])
def test_volumes_of_nan_are_left_out_and_zero_ones_are_counted(tmp_path, atlas, frames):
    values = coded(gray.make_axis()).astype(float)
    clean = extracted(written(tmp_path, values=values), atlas)
    values[frames], values[4] = np.nan, 0
    found = extracted(written(tmp_path, values=values), atlas)
    lost = np.isin(np.arange(9), [*frames, 4])
    np.testing.assert_array_equal(found.blank, lost)
    np.testing.assert_array_equal(found.values[~lost], clean.values[~lost])
    assert found.n_nonfinite_voxels == 0


def test_a_file_that_is_nan_throughout_is_refused(tmp_path, atlas):
    values = np.full((9, len(gray.make_axis())), np.nan)
    with pytest.raises(ScanError, match="is NaN or infinite in some volume"):
        extracted(written(tmp_path, values=values), atlas)


def test_an_all_zero_file_and_a_single_volume_are_refused(tmp_path, atlas):
    zeros = np.zeros((5, len(gray.make_axis())))
    with pytest.raises(ScanError, match=r"constant there \(all zero\?\)"):
        extracted(written(tmp_path, values=zeros), atlas)
    with pytest.raises(ScanError, match="single volume"):
        extracted(written(tmp_path, values=coded(gray.make_axis(), 1)), atlas)


def test_other_kinds_of_image_are_refused(tmp_path):
    axis = gray.make_axis()
    image = nib.Cifti2Image(np.zeros((2, len(axis)), np.float32), (ScalarAxis(["a", "b"]), axis))
    nib.save(image, tmp_path / "scalar.dtseries.nii")
    with pytest.raises(ScanError, match="found ScalarAxis by BrainModelAxis"):
        open_cifti(tmp_path / "scalar.dtseries.nii")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 3)), np.eye(4)), tmp_path / "y.dtseries.nii")
    with pytest.raises(ScanError, match="expected a CIFTI-2 dense series, found a NIfTI image"):
        open_cifti(tmp_path / "y.dtseries.nii")
    (tmp_path / "z.dtseries.nii").symlink_to(tmp_path / "annex")
    with pytest.raises(ScanError, match="datalad get"):
        open_cifti(tmp_path / "z.dtseries.nii")
    with pytest.raises(ScanError, match="found a CIFTI file"):
        open_nifti(written(tmp_path))


def test_damaged_xml_is_told(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"<BrainModel ", b"<BrainMo<el ", 1))
    with pytest.raises(ScanError, match="cannot be read as a CIFTI file"):
        open_cifti(path)


# ------------------------------------------------------------------- time


@pytest.mark.parametrize(("step", "tr_s"), [(2.0, 2.0), (0.8, 0.8), (0.0, None), (np.nan, None)])
def test_the_step_of_the_series_is_the_repetition_time(tmp_path, step, tr_s):
    assert open_cifti(written(tmp_path, tr_s=step)).tr_header_s == tr_s


def test_a_step_in_milliseconds_is_read_through_its_exponent(tmp_path):
    path = written(tmp_path)
    image = nib.load(path)
    image.header.get_index_map(0).series_exponent = -3
    image.header.get_index_map(0).series_step = 800.0
    nib.save(image, tmp_path / "ms_bold.dtseries.nii")
    assert open_cifti(tmp_path / "ms_bold.dtseries.nii").tr_header_s == pytest.approx(0.8)


def test_a_series_that_does_not_run_in_time_is_refused(tmp_path):
    with pytest.raises(ScanError, match="steps in HERTZ"):
        open_cifti(written(tmp_path, unit="HERTZ"))


def test_volumes_are_counted_without_the_xml(tmp_path):
    assert count_frames(written(tmp_path, values=coded(gray.make_axis(), 13))) == 13


def test_the_header_of_the_series_is_what_was_written(tmp_path):
    series = open_cifti(written(tmp_path))
    assert (series.n_frames, len(series.axis)) == (9, len(gray.make_axis()))
    assert series.dtype == np.float32
