"""CIFTI headers that cannot be true: each a reason, and none a bug or a gigabyte."""

from __future__ import annotations

import re
import struct
import time
import tracemalloc

import grayordinate_builders as gray
import numpy as np
import pytest
from grayordinate_builders import expected

from bids_app.atlas.installed import InstalledAtlas
from bids_app.errors import ScanError
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import parcellate_grayordinates

_VOX_OFFSET, _DIMS, _EXTENSION = 168, 16, 544


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return InstalledAtlas(gray.make_atlas(tmp_path_factory.mktemp("gray"))).grayordinates("91k")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file in bytes."""
    return gray.written(tmp_path_factory.mktemp("whole")).read_bytes()


def extracted(path, atlas):
    series = open_cifti(path)
    with series.stored.stream:
        return parcellate_grayordinates(series, atlas, min_coverage=0.5)


def xml_of(content):
    size, _ = struct.unpack_from("<ii", content, _EXTENSION)
    return content[_EXTENSION + 8 : _EXTENSION + size].rstrip(b"\0")


def with_xml(content, xml):
    """Put other XML in the header, and move the values behind it."""
    (begin,) = struct.unpack_from("<q", content, _VOX_OFFSET)
    xml += bytes(-(len(xml) + 8) % 16)
    head = bytearray(content[:_EXTENSION])
    struct.pack_into("<q", head, _VOX_OFFSET, _EXTENSION + 8 + len(xml))
    return bytes(head) + struct.pack("<ii", 8 + len(xml), 32) + xml + content[begin:]


def written(tmp_path, content):
    path = tmp_path / "x_bold.dtseries.nii"
    path.write_bytes(content)
    return path


ENTITY = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">%s]>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
)
BRAIN_MODELS = re.compile(rb"<BrainModel .*</BrainModel>", re.DOTALL)
XML = {
    "no XML": (lambda _: b"", "cannot be read as a CIFTI file"),
    "empty CIFTI": (lambda _: b'<CIFTI Version="2"/>', "cannot be read as a CIFTI file"),
    "CIFTI-1": (lambda x: x.replace(b'Version="2.0"', b'Version="1.0"'), "CIFTI"),
    "no version": (lambda x: x.replace(b' Version="2.0"', b""), "CIFTI"),
    "no matrix": (
        lambda x: re.sub(rb"<Matrix>.*</Matrix>", b"", x, flags=re.DOTALL),
        "CIFTI",
    ),
    "no brain models": (lambda x: BRAIN_MODELS.sub(b"", x), "CIFTI|grayordinates"),
    "count too large": (
        lambda x: re.sub(rb'IndexCount="\d+"', b'IndexCount="1000000000000"', x, count=1),
        "brain model lists 1000000000000 grayordinates",
    ),
    "count negative": (
        lambda x: re.sub(rb'IndexCount="\d+"', b'IndexCount="-5"', x, count=1),
        "brain model lists -5 grayordinates",
    ),
    "count one less": (
        lambda x: re.sub(rb'IndexCount="600"', b'IndexCount="599"', x, count=1),
        "expected the next from number 599|CIFTI",
    ),
    "offset elsewhere": (
        lambda x: x.replace(b'IndexOffset="600"', b'IndexOffset="0"'),
        "expected the next from number 600",
    ),
    "count of text": (lambda x: x.replace(b'IndexCount="600"', b'IndexCount="many"'), "CIFTI"),
    "axes exchanged": (
        lambda x: x.replace(b'Dimension="0"', b'Dimension="9"')
        .replace(b'Dimension="1"', b'Dimension="0"')
        .replace(b'Dimension="9"', b'Dimension="1"'),
        "expected a series|CIFTI|grayordinates",
    ),
    "one axis for both": (lambda x: x.replace(b'Dimension="1"', b'Dimension="0"'), "CIFTI"),
    "more frames": (
        lambda x: x.replace(b'NumberOfSeriesPoints="9"', b'NumberOfSeriesPoints="10"'),
        "announces 10 volumes",
    ),
    "frames beyond all": (
        lambda x: x.replace(b'SeriesPoints="9"', b'SeriesPoints="%s"' % (b"9" * 99)),
        "announces|CIFTI",
    ),
    "unit of its own": (lambda x: x.replace(b'"SECOND"', b'"FORTNIGHT"'), "CIFTI|FORTNIGHT"),
    "exponent": (
        lambda x: re.sub(rb'SeriesExponent="[^"]*"', b'SeriesExponent="99999"', x),
        "CIFTI",
    ),
    "structure of its own": (
        lambda x: x.replace(b"CIFTI_STRUCTURE_CORTEX_LEFT", b"CIFTI_STRUCTURE_TAIL"),
        "CIFTI|parcel",
    ),
    "vertex beyond the surface": (
        lambda x: x.replace(b" 659<", b" 9659<", 1),
        "vertex 9659, of 660|CIFTI",
    ),
    "vertex negative": (lambda x: x.replace(b">60 ", b">-1 ", 1), "CIFTI|vert"),
    "vertex huge": (lambda x: x.replace(b" 659<", b" %s<" % (b"9" * 30), 1), "CIFTI|vert"),
    "vertex twice": (lambda x: x.replace(b">60 61 ", b">61 61 ", 1), "twice"),
    "vertex of text": (lambda x: x.replace(b">60 61 ", b">60 x1 ", 1), "CIFTI"),
    "another surface": (
        lambda x: x.replace(b'SurfaceNumberOfVertices="660"', b'SurfaceNumberOfVertices="661"'),
        "has 661 vertices",
    ),
    "no volume": (
        lambda x: re.sub(rb"<Volume .*</Volume>", b"", x, flags=re.DOTALL),
        "CIFTI|voxels",
    ),
    "affine of NaN": (
        lambda x: re.sub(
            rb"(<Transformation[^>]*>)[^<]*<", rb"\g<1>" + b"nan " * 16 + b"<", x
        ),
        "CIFTI|where its voxels lie",
    ),
    "affine of zeros": (
        lambda x: re.sub(rb"(<Transformation[^>]*>)[^<]*<", rb"\g<1>" + b"0 " * 16 + b"<", x),
        "where its voxels lie",
    ),
    "affine cut": (
        lambda x: re.sub(rb"(<Transformation[^>]*>)[^<]*<", rb"\g<1>1 2 3<", x),
        "CIFTI|voxels",
    ),
    "affine of 1e300": (
        lambda x: re.sub(rb"(<Transformation[^>]*>)[^<]*<", rb"\g<1>" + b"1e300 " * 16 + b"<", x),
        "where its voxels lie",
    ),
    "a namespace": (
        lambda x: re.sub(b"(</?)CIFTI", rb"\1c:CIFTI", x).replace(
            b"c:CIFTI ", b"c:CIFTI xmlns:c='x' "
        ),
        "CIFTI",
    ),
    "billion laughs": (
        lambda x: ENTITY + x.replace(b"<Matrix>", b"<Matrix><MetaData><MD><Name>&j;</Name></MD>"),
        "types or entities of its own",
    ),
    "nested deeply": (lambda _: b"<CIFTI>" * 100_000, "CIFTI"),
    "a label map": (
        lambda x: x.replace(b"CIFTI_INDEX_TYPE_SERIES", b"CIFTI_INDEX_TYPE_SCALARS"),
        "expected a series|CIFTI",
    ),
    "a map of no type": (
        lambda x: x.replace(b"CIFTI_INDEX_TYPE_BRAIN_MODELS", b"CIFTI_INDEX_TYPE_X"),
        "CIFTI",
    ),
    "bytes that are no text": (lambda x: x.replace(b"SECOND", b"\xff\xfe\xfd\0\1\2"), "CIFTI"),
}  # fmt: skip


@pytest.mark.parametrize("kind", XML)
def test_xml_that_cannot_be_true_is_a_reason(tmp_path, atlas, whole, kind):
    change, reason = XML[kind]
    xml = xml_of(whole)
    assert change(xml) != xml
    path = written(tmp_path, with_xml(whole, change(xml)))
    begin = time.monotonic()
    tracemalloc.start()
    with pytest.raises(ScanError, match=reason) as caught:
        extracted(path, atlas)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 100e6
    assert time.monotonic() - begin < 5


def test_the_same_xml_put_back_is_read(tmp_path, atlas, whole):
    path = written(tmp_path, with_xml(whole, xml_of(whole)))
    np.testing.assert_array_equal(extracted(path, atlas).values, expected())


def test_random_damage_of_the_xml_is_a_reason_or_nothing(tmp_path, atlas, whole):
    """Whoever changes a digit of a vertex moves a grayordinate; nothing can know that."""
    rng, xml = np.random.default_rng(4), xml_of(whole)
    pieces = [b"", b"<", b"9", b"-", b"\0", b'"', b"\xff", b"999999999999"]
    for _ in range(60):
        changed = bytearray(xml)
        for place in rng.integers(len(xml), size=rng.choice([1, 1, 3])).tolist():
            changed[place : place + rng.choice([0, 1, 5])] = pieces[rng.integers(len(pieces))]
        try:
            found = extracted(written(tmp_path, with_xml(whole, bytes(changed))), atlas)
        except ScanError:
            continue
        assert found.coverage.fraction.max() <= 1


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (_DIMS + 8 * 6, 1 << 40, "cannot list|more than|truncated"),
        (_DIMS + 8 * 6, -1, "axes of lengths"),
        (_DIMS + 8 * 5, 1 << 40, "at most 67108864 voxels and 65536 volumes"),
        (_DIMS + 8 * 5, 0, "axes of lengths"),
        (_DIMS, 4, "expected a CIFTI-2 dense series|truncated|more than"),
        (_DIMS, 9, "announces 9 axes"),
        (_DIMS + 8, 2, "truncated|more than|CIFTI"),
        (_VOX_OFFSET, 0, "begin at byte 0"),
        (_VOX_OFFSET, 1 << 62, "begin at byte"),
        (_VOX_OFFSET, 560, "holds more|CIFTI"),
    ],
)
def test_a_matrix_that_the_file_cannot_hold_is_refused(tmp_path, whole, place, value, reason):
    content = bytearray(whole)
    struct.pack_into("<q", content, place, value)
    with pytest.raises(ScanError, match=reason):
        open_cifti(written(tmp_path, bytes(content)))


@pytest.mark.parametrize("surplus", [b"x", bytes(1), b"x" * 100_000])
def test_more_than_the_matrix_is_refused(tmp_path, atlas, whole, surplus):
    path = written(tmp_path, whole + surplus)
    with pytest.raises(ScanError, match=r"expected 1381 grayordinates of 9 volumes"):
        extracted(path, atlas)
