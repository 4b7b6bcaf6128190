"""Headers that cannot be true, and files that hold more or less than theirs: each a reason."""

from __future__ import annotations

import gzip
import os
import struct
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from bids_app.errors import ScanError
from bids_app.images import stream
from bids_app.images.nifti import blocks, load_mask, open_nifti

SHAPE = (3, 4, 5)
N_VOLUMES = 6
AFFINE = np.diag([-2.0, 2, 2, 1])


def image_bytes(*, volumes=N_VOLUMES, dtype="<i2", nifti2=False):
    values = np.arange(60 * volumes).reshape((*SHAPE, volumes), order="F").astype(dtype)
    header = nib.Nifti2Header() if nifti2 else nib.Nifti1Header()
    image = (nib.Nifti2Image if nifti2 else nib.Nifti1Image)(values, AFFINE, header)
    image.header.set_data_dtype(values.dtype)
    image.header.set_xyzt_units("mm", "sec")
    return image.to_bytes()


def edited(content, offset, code, *values):
    changed = bytearray(content)
    struct.pack_into("<" + code, changed, offset, *values)
    return bytes(changed)


def written(path, content):
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def consume(path):
    image = open_nifti(path)
    with image.stored.stream:
        return np.concatenate([block.copy() for _, _, block in blocks(image)])


# Byte, type, value, what is said. Offsets are those of the standard (nifti1.h).
CLAIMS = {
    "no axes": (40, "h", (0,), "announces 0 axes"),
    "eight axes": (40, "h", (8,), "announces 8 axes"),
    "axes of the other byte order": (40, "h", (0x0400,), "announces 1024 axes"),
    "negative axis": (42, "h", (-3,), "axes of lengths .-3, 4, 5, 6"),
    "FreeSurfer's long axis": (42, "hhh", (-1, 1, 1), "axes of lengths .-1, 1, 1, 6"),
    "no volumes": (48, "h", (0,), "axes of lengths .3, 4, 5, 0"),
    "huge grid": (42, "hhh", (30000, 30000, 30000), "at most 67108864 voxels"),
    "many volumes": (40, "5h", (5, 3, 4, 5, 32767), "4-D|at most|more than|truncated"),
    "a grid the file cannot hold": (42, "hhh", (400, 400, 400), "more than|truncated"),
    "offset 0": (108, "f", (0,), "begin at byte 0 .* from 352"),
    "offset in the header": (108, "f", (348,), "begin at byte 348"),
    "offset of a fraction": (108, "f", (352.5,), "begin at byte 352.5"),
    "offset negative": (108, "f", (-352,), "begin at byte -352"),
    "offset inf": (108, "f", (np.inf,), "begin at byte inf"),
    "offset NaN": (108, "f", (np.nan,), "begin at byte nan"),
    "offset 1e30": (108, "f", (1e30,), "begin at byte 1e.30"),
    "offset beyond the file": (108, "f", (1 << 25,), "more than|truncated"),
    "offset a little late": (108, "f", (368,), "truncated: expected 6 volumes"),
    "complex": (70, "hh", (32, 64), "complex64"),
    "RGB": (70, "hh", (128, 24), "RGB"),
    "float128": (70, "hh", (1536, 128), "at most 64 bits|cannot be read"),
    "bits": (70, "hh", (1, 1), "cannot be read|RGB"),
    "unknown type": (70, "hh", (777, 16), "data type 777 cannot be read"),
    "bits of another type": (72, "h", (32,), "does not have 32 bits"),
    "a type twice as long": (70, "hh", (16, 32), "truncated: expected 6 .* found 3 whole|ends in"),
    "slope inf": (112, "f", (np.inf,), "scaled by inf"),
    "intercept NaN": (112, "ff", (2.0, np.nan), "moved by nan"),
    "code of units": (123, "B", (7,), "no units have the code 7"),
    "code of time units": (123, "B", (0x3A,), "no units have the code 58"),
    "code of sform": (254, "h", (99,), "sform_code is 99"),
    "negative code of qform": (252, "h", (-1,), "qform_code is -1"),
    "sform NaN": (280, "f", (np.nan,), "singular or not finite"),
    "sform inf": (292, "f", (np.inf,), "singular or not finite"),
    "sform zero": (280, "12f", (0,) * 12, "singular or not finite"),
    "length of the header": (0, "i", (347,), "begins with 5b010000; expected 348"),
    "magic": (344, "4s", (b"nope",), "no NIfTI header"),
}


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_cannot_be_true_is_a_reason(tmp_path, claim, name):
    offset, code, values, reason = CLAIMS[claim]
    path = written(tmp_path / name, edited(image_bytes(), offset, code, *values))
    with pytest.raises(ScanError, match=reason) as caught:
        consume(path)
    assert str(path) in str(caught.value)
    assert "float64" not in str(caught.value).replace("float64 ", "")


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c != "many volumes"])
def test_the_same_of_a_mask(tmp_path, claim):
    offset, code, values, _ = CLAIMS[claim]
    bold = open_nifti(written(tmp_path / "bold.nii", image_bytes()))
    mask = written(tmp_path / "mask.nii.gz", edited(image_bytes(volumes=1), offset, code, *values))
    if "units" in claim:
        assert load_mask(mask, bold).sum() == 59  # a mask has no time, and its affine leads
        return
    with pytest.raises(ScanError, match=r"mask\.nii\.gz"):
        load_mask(mask, bold)


@pytest.mark.parametrize(
    ("offset", "code", "values"),
    [
        (112, "ff", (0.0, 7.0)),  # a slope of zero says that there is none
        (112, "ff", (np.nan, np.nan)),
        (76, "f", (np.nan,)),  # pixdim, beside an sform
        (92, "f", (np.inf,)),  # no repetition time
        (148, "80s", (b"\xff\xfe" * 40,)),  # description
    ],
)
def test_what_nibabel_reads_is_read_alike(tmp_path, offset, code, values):
    path = written(tmp_path / "bold.nii", edited(image_bytes(), offset, code, *values))
    image = open_nifti(path)
    expected = nib.load(path)
    np.testing.assert_array_equal(image.affine, expected.affine)
    found = image.stored.header.scaled(consume(path)).reshape(expected.shape, order="F")
    np.testing.assert_array_equal(found, expected.get_fdata())


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("nifti2", [False, True])
def test_extensions_and_zeros_behind_the_values_are_no_fault(tmp_path, name, nifti2):
    plain = image_bytes(nifti2=nifti2, dtype="<f8")
    begin = 544 if nifti2 else 352
    note = struct.pack("<ii", 1 << 10, 6).ljust(1 << 10, b"x")
    longer = plain[: begin - 4] + b"\1\0\0\0" + note + plain[begin:]
    longer += bytes(-len(longer) % 512)
    longer = edited(longer, *((168, "q") if nifti2 else (108, "f")), begin + len(note))
    np.testing.assert_array_equal(
        consume(written(tmp_path / name, longer)),
        consume(written(tmp_path / f"plain_{name}", plain)),
    )


SURPLUS = {
    "twice the volumes": lambda raw: raw + raw[352:],
    "one byte": lambda raw: raw + b"x",
    "one zero": lambda raw: raw + b"\0",
    "a volume of zeros": lambda raw: raw + bytes(120),
    "a volume of numbers": lambda raw: raw + raw[-120:],
    "many zeros": lambda raw: raw + bytes(stream.PADDING_BYTES + 1),
}


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("kind", SURPLUS)
def test_more_than_the_header_says_is_refused_with_numbers(tmp_path, kind, name):
    path = written(tmp_path / name, SURPLUS[kind](image_bytes()))
    with pytest.raises(ScanError, match=r"expected 6 volumes of 60 voxels \(720 bytes\), found"):
        consume(path)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_a_copy_that_ends_in_zeros_is_told(tmp_path, name):
    content = image_bytes(volumes=2000)
    path = written(tmp_path / name, content)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(1 << 20))
    with pytest.raises(ScanError, match=r"zero: a copy that broke off|holds more than"):
        consume(path)


@pytest.mark.parametrize("size", [-1, 0, 7, 1 << 20])
def test_an_extension_without_room_is_refused(tmp_path, size):
    content = edited(edited(image_bytes(), 348, "4B", 1, 0, 0, 0), 352, "ii", size, 6)
    with pytest.raises(ScanError, match=f"extension of {size} bytes; before the values are 0"):
        consume(written(tmp_path / "bold.nii", content))


def test_gigabytes_behind_the_values_cost_neither_time_nor_memory(tmp_path):
    plain = tmp_path / "bold.nii"
    plain.write_bytes(image_bytes())
    os.truncate(plain, 1 << 40)  # a hole, which takes no room
    packed = tmp_path / "bold.nii.gz"
    with packed.open("wb") as file:
        file.write(gzip.compress(image_bytes() + b"x", 1))
        for _ in range(3):
            file.write(gzip.compress(bytes(1 << 28), 1))
    begin = time.monotonic()
    tracemalloc.start()
    for path in (plain, packed):
        with pytest.raises(ScanError, match="holds more than its header says"):
            consume(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
    assert time.monotonic() - begin < 5


def test_a_large_grid_is_met_before_it_is_believed(tmp_path):
    """50 kB of zeros may stand for 50 MB; here they end before the first volume does."""
    header = edited(image_bytes()[:352], 40, "8h", 4, 400, 400, 400, 2, 1, 1, 1)
    path = written(tmp_path / "bold.nii.gz", header + bytes(300_000_000))
    image = open_nifti(path)  # holds one volume, and that is found out
    assert image.n_frames == 2
    image.stored.stream.close()
    path = written(tmp_path / "short.nii.gz", header + os.urandom(600_000) + bytes(1000))
    with pytest.raises(ScanError, match=r"truncated: expected 2 volumes .* found 0 whole"):
        open_nifti(path)


def test_a_damaged_mask_is_no_mask(tmp_path):
    bold = open_nifti(written(tmp_path / "bold.nii", image_bytes()))
    mask = tmp_path / "mask.nii.gz"
    content = bytearray(gzip.compress(image_bytes(volumes=1), 0))
    content[-30:-20] = bytes(10)  # stored, so that only the checksum tells
    mask.write_bytes(bytes(content))
    with pytest.raises(ScanError, match=r"mask\.nii\.gz: .*CRC check failed"):
        load_mask(mask, bold)


def test_a_pair_of_which_one_is_absent_names_it(tmp_path):
    image = nib.Nifti1Pair(np.zeros((*SHAPE, 2), np.int16), AFFINE)
    nib.save(image, tmp_path / "bold.img")
    (tmp_path / "bold.img").unlink()
    with pytest.raises(ScanError, match=r"bold\.img: .*No such file"):
        open_nifti(tmp_path / "bold.hdr")


def test_a_pair_of_other_lengths_is_told(tmp_path):
    nib.save(nib.Nifti1Pair(np.ones((*SHAPE, 2), np.int16), AFFINE), tmp_path / "bold.img")
    path = tmp_path / "bold.img"
    path.write_bytes(path.read_bytes() + b"x" * 240)
    with pytest.raises(ScanError, match="expected 2 volumes"):
        consume(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ScanError, match="found 1 whole ones"):
        consume(path)


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ScanError, match="named pipe"):
        open_nifti(tmp_path / name)


def test_a_file_that_is_named_gz_and_is_none(tmp_path):
    (tmp_path / "bold.nii.gz").write_bytes(image_bytes())
    with pytest.raises(ScanError, match="Not a gzipped file"):
        open_nifti(tmp_path / "bold.nii.gz")


@pytest.mark.parametrize("place", range(0, 352, 7))
def test_no_flipped_byte_of_a_header_is_a_bug(tmp_path, place):
    """Either it is read as nibabel does, or it is a reason."""
    for value in (0x00, 0xFF, 0x80):
        content = bytearray(image_bytes())
        content[place] = value
        path = written(tmp_path / "bold.nii", bytes(content))
        try:
            found = consume(path)
        except ScanError:
            continue
        expected = np.asanyarray(nib.load(path).dataobj.get_unscaled())
        np.testing.assert_array_equal(found, expected.ravel(order="F"))
