"""The installed atlas on grayordinates."""

from __future__ import annotations

import re

import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import pytest

from bids_app.atlas.grayordinates import load_grayordinate_atlas
from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.volumes import available_spaces, parcels_by_space
from bids_app.errors import AtlasError


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return InstalledAtlas(gray.make_atlas(tmp_path_factory.mktemp("gray"))).grayordinates("91k")


def test_the_installed_atlas_is_complete_and_counts_its_grayordinates(atlas):
    assert (atlas.space, atlas.density, dict(atlas.absent)) == ("fsLR", "91k", {})
    assert atlas.tables.count().tolist() == [3] * 450 + [4] * 7
    assert parcels_by_space(atlas.path.parents[1]) == {"fsLR": 457}


def test_grayordinates_rank_between_the_volumes(tmp_path):
    import builders

    gray.make_atlas(tmp_path)
    for space in ("MNI152NLin2009cAsym", "MNI152NLin6Asym"):
        builders.make_atlas(tmp_path, space=space)
    assert available_spaces(tmp_path) == ("MNI152NLin6Asym", "fsLR", "MNI152NLin2009cAsym")


def edit_labels(path, change):
    image = nib.load(path)
    labels = change(np.asarray(image.dataobj).copy())
    nib.save(nib.Cifti2Image(labels, image.header, image.nifti_header), path)


def swap(labels, one=401, other=402):
    return np.where(labels == one, other, np.where(labels == other, one, labels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swap, "not those that were installed"),
        (lambda labels: np.where(labels == 7, 0, labels), "without a voxel: 7 "),
        (lambda labels: labels + 0.5, "whole numbers"),
        (lambda labels: np.where(labels == 7, 458, labels), "not expected: 458"),
    ],
)
def test_a_changed_atlas_is_refused(tmp_path, change, message):
    path = InstalledAtlas(gray.make_atlas(tmp_path)).grayordinates("91k").path
    edit_labels(path, change)
    with pytest.raises(AtlasError, match=message):
        load_grayordinate_atlas(path)


def test_an_absent_and_a_damaged_atlas_are_told(tmp_path):
    with pytest.raises(AtlasError) as caught:
        InstalledAtlas(tmp_path).grayordinates("91k")
    assert "--for-space fsLR" in caught.value.hint
    path = InstalledAtlas(gray.make_atlas(tmp_path)).grayordinates("91k").path
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AtlasError, match="cannot be read"):
        load_grayordinate_atlas(path)
    with pytest.raises(AtlasError, match="expected a name like"):
        load_grayordinate_atlas(tmp_path / "x.dlabel.nii")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb'VolumeDimensions="\d+', b'VolumeDimensions="99999'),
        (rb'SurfaceNumberOfVertices="\d+', b'SurfaceNumberOfVertices="1'),
        (rb'SurfaceNumberOfVertices="\d+', b'SurfaceNumberOfVertices="999999999999'),
        (rb"<VoxelIndicesIJK>\d+", b"<VoxelIndicesIJK>-1"),
        (rb"<VoxelIndicesIJK>\d+", b"<VoxelIndicesIJK>9999"),
        (rb"CIFTI_STRUCTURE_CORTEX_LEFT", b"CIFTI_STRUCTURE_NOTHING_AT_ALL"),
    ],
)
def test_places_that_are_not_there_are_refused(tmp_path, old, new):
    path = InstalledAtlas(gray.make_atlas(tmp_path)).grayordinates("91k").path
    content = path.read_bytes()
    size = int.from_bytes(content[544:548], "little")
    xml, n = re.subn(old, new, content[552 : 544 + size].rstrip(b"\0"), count=1)
    assert n == 1
    xml += bytes(-(len(xml) + 8) % 16)
    start = (552 + len(xml)).to_bytes(8, "little")  # of the values
    head = content[:168] + start + content[176:544]
    extension = (8 + len(xml)).to_bytes(4, "little") + content[548:552] + xml
    path.write_bytes(head + extension + content[544 + size :])
    with pytest.raises(AtlasError):
        load_grayordinate_atlas(path)
