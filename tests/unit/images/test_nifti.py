"""Headers and volumes of BOLD images; masks on the same grid."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from bids_app.atlas.labels import same_grid
from bids_app.errors import ScanError
from bids_app.images import nifti as nifti_module
from bids_app.images import stream
from bids_app.images.nifti import blocks, load_mask, open_nifti

AFFINE = np.array([[-2.0, 0, 0, 9], [0, 2, 0, -11], [0, 0, 2.5, -7], [0, 0, 0, 1]])
SHAPE = (3, 4, 5)


def stored_values(dtype="<i2", n_volumes=6):
    rng = np.random.default_rng(1)
    return rng.integers(0, 100, (*SHAPE, n_volumes)).astype(dtype)


def save(path, values, *, affine=AFFINE, tr=2.0, unit="sec", pair=False):
    values = np.asarray(values)
    byte_order = values.dtype.byteorder
    header = nib.Nifti1Header(endianness=byte_order if byte_order in "<>" else "<")
    kind = nib.Nifti1Pair if pair else nib.Nifti1Image
    image = kind(values, affine, header)
    image.header.set_data_dtype(values.dtype)
    image.header.set_xyzt_units("mm", unit)
    if values.ndim == 4:
        image.header["pixdim"][4] = tr
    nib.save(image, path)
    return path


def read_all(bold):
    """(X, Y, Z, T) stored values, from blocks in the order that they say."""
    found = [(t, number, block.copy()) for t, number, block in blocks(bold)]
    n_blocks = len(found) // bold.n_frames
    assert [place[:2] for place in found] == list(np.ndindex(bold.n_frames, n_blocks))
    values = np.concatenate([block for _, _, block in found])
    return values.reshape((*bold.shape, bold.n_frames), order="F")


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "|u1", "<i4", "<f4", ">f4", "<f8", "<u2"])
@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_volumes_come_back_as_stored(tmp_path, dtype, name):
    values = stored_values(dtype)
    bold = open_nifti(save(tmp_path / name, values))
    assert (bold.shape, bold.n_frames) == (SHAPE, 6)
    np.testing.assert_array_equal(read_all(bold), values)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize(("n_bytes", "n_blocks"), [(1, 60), (70, 7), (239, 3), (480, 1)])
def test_blocks_of_any_size_join_to_the_volumes(tmp_path, monkeypatch, name, n_bytes, n_blocks):
    values = stored_values("<f8")
    bold = open_nifti(save(tmp_path / name, values))
    monkeypatch.setattr(nifti_module, "BLOCK_BYTES", n_bytes)
    sizes = [block.size for t, _, block in blocks(bold) if t == 0]
    assert len(sizes) == n_blocks
    assert set(sizes[:-1]) <= {bold.block_voxels}
    np.testing.assert_array_equal(read_all(bold), values)


@pytest.mark.parametrize("name", ["bold.hdr", "bold.img"])
def test_header_and_image_pairs_are_read_through_either_name(tmp_path, name):
    values = stored_values()
    save(tmp_path / "bold.img", values, pair=True)
    np.testing.assert_array_equal(read_all(open_nifti(tmp_path / name)), values)


def test_compressed_pairs_are_read(tmp_path):
    values = stored_values()
    save(tmp_path / "bold.img.gz", values, pair=True)
    np.testing.assert_array_equal(read_all(open_nifti(tmp_path / "bold.hdr.gz")), values)


def test_slope_and_intercept_are_told_and_not_applied(tmp_path):
    values = stored_values()
    path = save(tmp_path / "bold.nii.gz", values)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[112:120] = np.array([0.25, 100.0], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)))
    bold = open_nifti(path)
    assert (bold.stored.header.slope, bold.stored.header.inter) == (0.25, 100.0)
    np.testing.assert_array_equal(read_all(bold), values)
    np.testing.assert_allclose(
        bold.stored.header.scaled(read_all(bold)), nib.load(path).get_fdata(), rtol=1e-12
    )


def test_blocks_cannot_be_edited(tmp_path):
    _, _, block = next(blocks(open_nifti(save(tmp_path / "bold.nii", stored_values()))))
    with pytest.raises(ValueError, match="read-only"):
        block[0] = 1


def test_memory_grows_neither_with_the_number_of_volumes_nor_with_their_size(tmp_path):
    def peak(side, n_volumes):
        path = tmp_path / f"{side}_{n_volumes}.nii.gz"
        bold = open_nifti(save(path, np.zeros((side, side, side, n_volumes), "<f4")))
        tracemalloc.start()
        for _ in blocks(bold):
            pass
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(20, 2)  # first use imports modules
    assert peak(20, 200) < peak(20, 2) + 50_000  # 200 volumes are 6.4 MB
    assert peak(120, 3) < 3 * nifti_module.BLOCK_BYTES  # a volume is 6.9 MB


@pytest.mark.parametrize(
    ("tr", "unit", "expected"),
    [
        (0.8, "sec", 0.8),
        (2200, "msec", 2.2),
        (720000, "usec", 0.72),
        (1.0, "sec", 1.0),
        (2.0, "unknown", 2.0),
    ],
)
def test_repetition_time_of_the_header_honours_its_unit(tmp_path, tr, unit, expected):
    path = save(tmp_path / "bold.nii", stored_values(), tr=tr, unit=unit)
    assert open_nifti(path).tr_header_s == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("tr", "unit"),
    [
        (0.0, "sec"),
        (-2.0, "sec"),
        (np.nan, "sec"),
        (1.0, "unknown"),
        (2000.0, "unknown"),
        (2, "hz"),
    ],
)
def test_header_that_tells_no_repetition_time_gives_none(tmp_path, tr, unit):
    path = save(tmp_path / "bold.nii", stored_values(), tr=tr, unit=unit)
    assert open_nifti(path).tr_header_s is None


@pytest.fixture(params=["isal", "standard library"])
def decoder(request, monkeypatch):
    """Decompress by either library."""
    if request.param == "isal":
        pytest.importorskip("isal", reason="isal has no build for this machine")
    else:
        monkeypatch.setattr(stream, "GzipFile", gzip.GzipFile)
    return request.param


def compressed(tmp_path, pack):
    """Write an image of 288 kB as ``pack(bytes)``, and return it with its values."""
    values = np.random.default_rng(0).normal(size=(*SHAPE, 600))
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(pack(save(tmp_path / "raw.nii", values).read_bytes()))
    return open_nifti(path), values


def test_the_standard_library_serves_where_isal_is_not_installed():
    code = (
        "import sys; sys.modules['isal'] = None\n"
        "from bids_app.images import stream\n"
        "print(stream.GzipFile.__module__)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.split() == ["gzip"], answer.stderr


VALID_GZIP = {
    "one member": lambda raw: gzip.compress(raw, 1),
    "two members": lambda raw: gzip.compress(raw[:400]) + gzip.compress(raw[400:]),
    "many members": lambda raw: b"".join(
        gzip.compress(raw[i : i + 999]) for i in range(0, len(raw), 999)
    ),
    "padded with zeros": lambda raw: gzip.compress(raw) + bytes(512),
    "stored": lambda raw: gzip.compress(raw, 0),
}
CUT = "truncated: expected 600 volumes .* the compressed file ends in number"
END = "all values are there, but the end of the file is damaged"
DAMAGED_GZIP = {
    "cut": (lambda raw: gzip.compress(raw)[:-9000], CUT),
    "cut in the end mark": (lambda raw: gzip.compress(raw)[:-3], f"{CUT}|{END}"),
    "second member cut": (lambda raw: gzip.compress(raw) + gzip.compress(raw)[:7], f"{CUT}|{END}"),
    "too few values": (lambda raw: gzip.compress(raw[:-500]), "found 598 whole ones"),
    "second member overwritten": (
        lambda raw: gzip.compress(raw[:99_999]) + gzip.compress(raw)[:10] + b"\xff" * 9000,
        "corrupt",
    ),
    "another checksum": (lambda raw: gzip.compress(raw)[:-8] + bytes(8), "CRC check failed"),
    "text behind": (lambda raw: gzip.compress(raw) + b"something else", "Not a gzipped file"),
}


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("kind", VALID_GZIP)
def test_values_come_back_from_every_valid_gzip_file(tmp_path, kind):
    bold, values = compressed(tmp_path, VALID_GZIP[kind])
    np.testing.assert_array_equal(read_all(bold), values)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("kind", DAMAGED_GZIP)
def test_damaged_gzip_file_is_a_scan_error(tmp_path, kind):
    pack, message = DAMAGED_GZIP[kind]
    bold, _ = compressed(tmp_path, pack)
    with pytest.raises(ScanError, match=message):
        read_all(bold)


def test_truncated_uncompressed_image_tells_expected_and_found_bytes(tmp_path):
    path = save(tmp_path / "bold.nii", stored_values("<f8"))
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(ScanError, match=r"truncated: expected 6 volumes .* found 4 whole"):
        read_all(open_nifti(path))


def test_dangling_annex_link_is_explained(tmp_path):
    path = tmp_path / "bold.nii.gz"
    path.symlink_to(tmp_path / ".git/annex/objects/x")
    with pytest.raises(ScanError, match=r"leads nowhere.*datalad get"):
        open_nifti(path)


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"", "bold.nii.gz"), (b"", "bold.nii"), (b"no image" * 99, "bold.nii"), (None, "b.nii")],
)
def test_what_is_no_image_is_a_scan_error(tmp_path, content, name):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ScanError, match="cannot be read"):
        open_nifti(tmp_path / name)


def test_three_dimensional_image_is_refused(tmp_path):
    path = save(tmp_path / "bold.nii", stored_values()[..., 0])
    with pytest.raises(ScanError, match=r"4-D.*\(3, 4, 5\)"):
        open_nifti(path)


def test_complex_numbers_are_refused(tmp_path):
    path = save(tmp_path / "bold.nii", stored_values().astype("<c8"))
    with pytest.raises(ScanError, match="complex64"):
        open_nifti(path)


def test_image_without_orientation_is_refused(tmp_path):
    path = save(tmp_path / "bold.nii", stored_values(), affine=None)
    with pytest.raises(ScanError, match="where the voxels lie"):
        open_nifti(path)


def test_other_formats_are_named(tmp_path):
    nib.save(nib.AnalyzeImage(stored_values(), None), tmp_path / "bold.img")
    with pytest.raises(ScanError, match="no NIfTI header"):
        open_nifti(tmp_path / "bold.img")
    with pytest.raises(ScanError, match=r"expected \.nii"):
        open_nifti(tmp_path / "bold.mgz")


def test_grids_differ_by_shape_and_by_affine():
    moved = AFFINE.copy()
    moved[0, 3] += 0.01
    rounded = AFFINE.copy()
    rounded[0, 0] += 1e-6
    assert same_grid(SHAPE, AFFINE, SHAPE, rounded)
    assert not same_grid(SHAPE, AFFINE, SHAPE, moved)
    assert not same_grid(SHAPE, AFFINE, (3, 4, 6), AFFINE)


@pytest.fixture
def bold(tmp_path):
    return open_nifti(save(tmp_path / "bold.nii", stored_values()))


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 1)])
def test_mask_is_true_inside(tmp_path, bold, shape):
    values = np.zeros(SHAPE, "u1")
    values[1, 2, 3] = 255
    mask = load_mask(save(tmp_path / "mask.nii.gz", values.reshape(shape)), bold)
    assert mask.dtype == bool
    np.testing.assert_array_equal(np.argwhere(mask), [[1, 2, 3]])


def test_soft_mask_warns_and_takes_all_above_zero(tmp_path, bold, caplog):
    values = np.linspace(0, 1, 60, dtype="f4").reshape(SHAPE)
    assert load_mask(save(tmp_path / "mask.nii", values), bold).sum() == 59
    assert "not binary" in caplog.text


@pytest.mark.parametrize("fault", ["shape", "affine", "flipped"])
def test_mask_on_another_grid_is_refused(tmp_path, bold, fault):
    values, affine = np.ones(SHAPE, "u1"), AFFINE.copy()
    if fault == "shape":
        values = values[:-1]
    elif fault == "affine":
        affine[2, 3] += 2.5
    else:
        affine[0] *= -1
    path = save(tmp_path / "mask.nii", values, affine=affine)
    with pytest.raises(ScanError, match="another grid"):
        load_mask(path, bold)


def test_empty_mask_is_refused(tmp_path, bold):
    path = save(tmp_path / "mask.nii", np.zeros(SHAPE, "u1"))
    with pytest.raises(ScanError, match="empty: no voxel of 60"):
        load_mask(path, bold)


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_mask_with_senseless_values_is_refused(tmp_path, bold, value):
    values = np.ones(SHAPE, "f4")
    values[0, 0, 0] = value
    path = save(tmp_path / "mask.nii", values)
    with pytest.raises(ScanError, match="zeros and ones"):
        load_mask(path, bold)


@pytest.mark.parametrize("name", ["nibabel_functional.nii", "tedana_echo1.nii.gz"])
def test_real_images_agree_with_nibabel(shared_data, name):
    path = shared_data / "bold" / name
    bold = open_nifti(path)
    expected = nib.load(path).get_fdata()
    np.testing.assert_allclose(bold.stored.header.scaled(read_all(bold)), expected, rtol=1e-12)


def test_a_real_image_that_begins_elsewhere_than_its_header_says_is_refused(shared_data):
    """Its values begin at byte 704, not 352: some program took an empty header for voxels."""
    with pytest.raises(ScanError, match=r"expected 40 volumes .* at least 352 bytes more"):
        read_all(open_nifti(shared_data / "bold" / "nitime_fmri1.nii.gz"))
