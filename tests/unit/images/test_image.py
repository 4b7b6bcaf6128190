"""One protocol for volumes and grayordinates: opened once, closed with the block."""

from __future__ import annotations

import gc
import warnings

import builders
import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import pytest

from bids_app.atlas.installed import InstalledAtlas
from bids_app.errors import ScanError
from bids_app.images.image import open_image
from bids_app.images.stream import count_frames, open_image_file
from bids_app.inputs.entities import Entities
from bids_app.inputs.scan import Scan, Sources

N_FRAMES = 9


def scan_of(path, **labels):
    entities = Entities(sub="1", **labels)
    return Scan(name=path.name, entities=entities, sources=Sources(data=path), root=path.parent)


@pytest.fixture
def volumes(tmp_path):
    """A scan whose voxels hold the number of their parcel times that of the volume."""
    installed = InstalledAtlas(builders.make_atlas(tmp_path / "atlas"))
    atlas = installed.only(builders.SPACE, density=None)
    frames = np.arange(1, N_FRAMES + 1)
    image = nib.Nifti1Image((atlas.labels[..., None] * frames).astype(np.int16), atlas.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    path = tmp_path / "x_bold.nii.gz"
    nib.save(image, path)
    return scan_of(path, space=builders.SPACE), installed, atlas


@pytest.fixture
def grayordinates(tmp_path):
    installed = InstalledAtlas(gray.make_atlas(tmp_path / "gray"))
    path = gray.written(tmp_path)
    return scan_of(path, space="fsLR"), installed, installed.grayordinates("91k")


@pytest.mark.parametrize(("made", "kind"), [("volumes", "NIfTI"), ("grayordinates", "CIFTI")])
def test_volumes_and_grayordinates_answer_alike(request, made, kind):
    scan, installed, atlas = request.getfixturevalue(made)
    with open_image(scan, installed) as image:
        assert (image.kind, image.n_frames, image.tr_header_s) == (kind, N_FRAMES, 2.0)
        assert image.atlas is atlas
        means = image.parcels(None, min_coverage=0.5).values
    present = [i for i in range(457) if i + 1 not in atlas.absent]
    np.testing.assert_array_equal(means[:, present], gray.expected(N_FRAMES)[:, present])
    assert count_frames(scan.sources.data) == N_FRAMES


@pytest.mark.parametrize("made", ["volumes", "grayordinates"])
def test_the_file_is_closed_behind_it(request, made):
    scan, installed, _ = request.getfixturevalue(made)
    with open_image(scan, installed) as image:
        stream = image.file.stored.stream
        assert not stream.closed
    assert stream.closed
    with pytest.raises(ScanError, match="closed"):
        image.parcels(None, min_coverage=0.5)


def test_the_file_of_an_image_that_goes_with_a_cycle_is_closed_before(tmp_path):
    path = tmp_path / "x.nii"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), path)
    cycle: list[object] = [open_image_file(path, kind="an image")]
    cycle.append(cycle)
    del cycle
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(one.message) for one in said] == []


@pytest.mark.parametrize("content", [b"", b"no header", bytes(600)])
@pytest.mark.parametrize("name", ["x_bold.nii", "x_bold.dtseries.nii"])
def test_a_file_without_a_header_is_told_and_has_no_frames(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    space = "fsLR" if "dtseries" in name else builders.SPACE
    with (
        pytest.raises(ScanError, match=r"cannot be read as .*(empty|no NIfTI header)"),
        open_image(scan_of(path, space=space), InstalledAtlas(tmp_path)),
    ):
        pass
    assert count_frames(path) is None
