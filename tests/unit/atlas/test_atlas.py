"""An installed atlas: complete, in model order, unchanged, and on the grid of the data."""

from __future__ import annotations

import gzip
import json
import struct

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.setup.build_volumes import VolumeImage, atlas_files
from bids_app.atlas.volumes import (
    atlas_home,
    available_spaces,
    installed_images,
    load_volume_atlas,
    on_grid,
)
from bids_app.errors import AtlasError
from bids_app.files import write_all

SHAPE = (12, 14, 12)
LIN6, LIN2009 = "MNI152NLin6Asym", "MNI152NLin2009cAsym"
NO_CEREBELLUM = dict.fromkeys(range(451, 458), "no Buckner atlas in this space")


def all_labels():
    """Each of the 457 parcels in at least three voxels."""
    voxels = np.arange(np.prod(SHAPE)) % 600
    return np.where(voxels > 457, 0, voxels).reshape(SHAPE).astype(np.int32)


def grid(mm, origin=(-24.0, -28.0, -24.0)):
    affine = np.diag([-mm, mm, mm, 1.0])
    affine[:3, 3] = origin
    return affine


def install(folder, *, space=LIN6, resolution="2", labels=None, absent=None, affine=None):
    image = VolumeImage(
        space=space,
        resolution=resolution,
        labels=all_labels() if labels is None else labels,
        affine=grid(float(resolution)) if affine is None else affine,
        absent=absent or {},
        sources=(),
        n_overlap=0,
    )
    write_all(atlas_files([image], folder, description="synthetic", licence="CC0"))
    return folder / f"tpl-{space}/tpl-{space}_atlas-Semantoks457_res-{resolution}_dseg.nii.gz"


def rewrite(path, labels, *, dtype=np.int16, affine=None):
    """Replace the voxels behind the sidecar's back."""
    affine = nib.load(path).affine if affine is None else affine
    nib.save(nib.Nifti1Image(np.asarray(labels).astype(dtype), affine), path)


def test_installed_atlas_is_what_was_built(tmp_path):
    atlas = load_volume_atlas(install(tmp_path))
    np.testing.assert_array_equal(atlas.labels, all_labels())
    np.testing.assert_array_equal(atlas.affine, grid(2.0))
    assert (atlas.name, atlas.space, atlas.resolution) == ("Semantoks457", LIN6, "2")
    assert atlas.labels.dtype == np.int32
    assert dict(atlas.absent) == {}
    with pytest.raises(ValueError, match="read-only"):
        atlas.labels[0, 0, 0] = 3


def test_hash_differs_where_labels_or_place_differ(tmp_path):
    moved = grid(2.0)
    moved[0, 3] += 2
    swapped = all_labels()
    swapped[all_labels() == 3], swapped[all_labels() == 4] = 4, 3
    hashes = {
        load_volume_atlas(install(tmp_path / "a")).sha256,
        load_volume_atlas(install(tmp_path / "b", affine=moved)).sha256,
        load_volume_atlas(install(tmp_path / "c", labels=swapped)).sha256,
    }
    assert len(hashes) == 3
    assert load_volume_atlas(install(tmp_path / "d")).sha256 in hashes


def edit_table(path, edit):
    table = path.parents[1] / "atlas-Semantoks457_dseg.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(edit(lines)) + "\n")


def test_swapped_names_are_named(tmp_path):
    path = install(tmp_path)
    edit_table(path, lambda rows: [rows[0], "1\t" + rows[2][2:], "2\t" + rows[1][2:], *rows[3:]])
    with pytest.raises(
        AtlasError, match=r"row 1 should be 1 7Networks_LH_Vis_1 .* not 1 7Net.*_2"
    ):
        load_volume_atlas(path)


def test_swapped_rows_are_named(tmp_path):
    path = install(tmp_path)
    edit_table(path, lambda rows: [*rows[:5], rows[6], rows[5], *rows[7:]])
    with pytest.raises(AtlasError, match="row 5 should be 5 7Networks_LH_Vis_5"):
        load_volume_atlas(path)


ORDERS = {
    "right hemisphere first": [*range(201, 401), *range(1, 201), *range(401, 458)],
    "subcortex first": [*range(401, 451), *range(1, 401), *range(451, 458)],
    "left subcortex first": [*range(1, 401), *range(426, 451), *range(401, 426), *range(451, 458)],
    "shifted by one": [*range(2, 458), 1],
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_atlas_in_another_order_is_refused_by_its_table_and_by_its_voxels(tmp_path, name):
    path, order = install(tmp_path), np.array([0, *ORDERS[name]])
    rewrite(path, np.argsort(order)[all_labels()])
    with pytest.raises(AtlasError, match="not those that were installed"):
        load_volume_atlas(path)
    edit_table(
        path,
        lambda rows: [
            rows[0],
            *(f"{i}\t{rows[old].partition(chr(9))[2]}" for i, old in enumerate(order[1:], 1)),
        ],
    )
    with pytest.raises(AtlasError, match="labels are not the model's 457 in their order"):
        load_volume_atlas(path)


def test_missing_label_is_named(tmp_path):
    path = install(tmp_path)
    edit_table(path, lambda rows: rows[:400] + rows[401:])
    with pytest.raises(AtlasError, match=r"found 456 rows\): missing 7Networks_RH_Default_"):
        load_volume_atlas(path)


def test_unknown_label_is_named(tmp_path):
    path = install(tmp_path)
    edit_table(path, lambda rows: [row.replace("aGP-lh", "aGP-left") for row in rows])
    with pytest.raises(AtlasError, match="missing aGP-lh, unknown 'aGP-left'"):
        load_volume_atlas(path)


def test_repeated_rows_are_refused(tmp_path):
    path = install(tmp_path)
    edit_table(path, lambda rows: [*rows, rows[-1]])
    with pytest.raises(AtlasError, match="found 458 rows"):
        load_volume_atlas(path)


def test_absent_table_is_told(tmp_path):
    path = install(tmp_path)
    (tmp_path / "atlas-Semantoks457_dseg.tsv").unlink()
    with pytest.raises(AtlasError, match="label table cannot be read"):
        load_volume_atlas(path)


def test_parcel_without_a_voxel_is_named(tmp_path):
    path = install(tmp_path)
    labels = all_labels()
    labels[labels == 410] = 0
    rewrite(path, labels)
    with pytest.raises(AtlasError, match="expected 457 parcels; labels without a voxel: 410 "):
        load_volume_atlas(path)


def test_labels_out_of_range_are_named(tmp_path):
    path = install(tmp_path)
    labels = all_labels()
    labels[0, 0, 0] = 458
    rewrite(path, labels)
    with pytest.raises(AtlasError, match="not expected: 458"):
        load_volume_atlas(path)


def test_declared_absence_is_kept_with_its_reason(tmp_path):
    labels = np.where(all_labels() > 450, 0, all_labels())
    atlas = load_volume_atlas(
        install(tmp_path, space=LIN2009, labels=labels, absent=NO_CEREBELLUM)
    )
    assert dict(atlas.absent) == NO_CEREBELLUM


def test_parcel_declared_absent_but_present_is_refused(tmp_path):
    path = install(tmp_path, absent=NO_CEREBELLUM)
    with pytest.raises(AtlasError, match="expected 450 parcels; labels not expected: 451, 452"):
        load_volume_atlas(path)


def test_fractional_labels_are_refused(tmp_path):
    path = install(tmp_path)
    labels = all_labels().astype(np.float32)
    labels[2, 3, 4] = 17.5
    rewrite(path, labels, dtype=np.float32)
    with pytest.raises(AtlasError, match=r"whole numbers; 1 voxels are not, such as 17\.5"):
        load_volume_atlas(path)


@pytest.mark.parametrize("what", ["labels", "affine"])
def test_voxels_changed_since_installation_are_noticed(tmp_path, what):
    path = install(tmp_path)
    labels, affine = all_labels(), grid(2.0)
    if what == "labels":
        labels[all_labels() == 3], labels[all_labels() == 4] = 4, 3
    else:
        affine[0] *= -1
    rewrite(path, labels, affine=affine)
    with pytest.raises(AtlasError, match="not those that were installed"):
        load_volume_atlas(path)


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"VoxelSHA256": "x"}'])
def test_missing_or_damaged_sidecar_is_told(tmp_path, content):
    sidecar = install(tmp_path).with_name("tpl-MNI152NLin6Asym_atlas-Semantoks457_res-2_dseg.json")
    sidecar.unlink()
    if content is not None:
        sidecar.write_text(content)
    with pytest.raises(AtlasError, match="expected the atlas' sidecar"):
        available_spaces(tmp_path)


def test_damaged_image_is_told(tmp_path):
    path = install(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(AtlasError, match="cannot be read"):
        load_volume_atlas(path)


@pytest.mark.parametrize("size", [3000, 30_000, -5, 0])
def test_a_grid_that_no_atlas_has_is_refused_before_it_is_read(tmp_path, size):
    path = install(tmp_path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3h", content, 42, size, size, size)
    path.write_bytes(gzip.compress(bytes(content), 1))
    with pytest.raises(AtlasError, match=r"expected a grid of at most|cannot be read"):
        load_volume_atlas(path)


def test_other_names_are_no_atlas(tmp_path):
    with pytest.raises(AtlasError, match="expected a name like"):
        load_volume_atlas(tmp_path / "schaefer.nii.gz")


def test_spaces_are_ordered_by_parcels_then_by_preference(tmp_path):
    assert available_spaces(tmp_path) == ()
    install(tmp_path, space="MNI152Abc")
    install(tmp_path, space=LIN6)
    labels = np.where(all_labels() > 450, 0, all_labels())
    install(tmp_path, space=LIN2009, labels=labels, absent=NO_CEREBELLUM)
    assert available_spaces(tmp_path) == (LIN6, "MNI152Abc", LIN2009)


def test_resolution_follows_the_lattice_of_the_data(tmp_path):
    install(tmp_path, resolution="1")
    install(tmp_path, resolution="2")
    flipped = grid(2.0) @ np.array([[-1.0, 0, 0, 50], [0, 0, 1, 3], [0, 1, 0, -2], [0, 0, 0, 1]])
    shifted = grid(2.0)
    shifted[1, 3] += 0.5
    chosen = {
        name: InstalledAtlas(tmp_path).volume(LIN6, affine=affine).resolution
        for name, affine in {
            "same": grid(2.0),
            "flipped and cropped": flipped,
            "1 mm": grid(1.0),
            "3 mm": grid(3.0),
            "2 mm between the voxels": shifted,
        }.items()
    }
    assert chosen == {
        "same": "2",
        "flipped and cropped": "2",
        "1 mm": "1",
        "3 mm": "1",
        "2 mm between the voxels": "1",
    }


def test_absent_space_tells_the_command(tmp_path):
    folder = tmp_path / "atlas"
    install(folder)
    with pytest.raises(AtlasError) as caught:
        InstalledAtlas(folder).volume(LIN2009, affine=grid(2.0))
    assert caught.value.exit_code == 78
    assert "installed: MNI152NLin6Asym" in str(caught.value)
    command = f"semantoks assets atlas --download --for-space {LIN2009} --home {tmp_path}"
    assert command in str(caught.value)


@pytest.fixture
def atlas(tmp_path):
    return load_volume_atlas(install(tmp_path))


def test_identical_grid_returns_the_labels_themselves(atlas):
    rounded = atlas.affine + 1e-6
    assert on_grid(atlas, SHAPE, rounded) is atlas.labels


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "SLA"])
def test_other_orientation_of_the_same_grid_turns_the_labels(atlas, orientation):
    turn = ornt_transform(io_orientation(atlas.affine), axcodes2ornt(orientation))
    expected = nib.orientations.apply_orientation(atlas.labels, turn)
    affine = atlas.affine @ inv_ornt_aff(turn, SHAPE)
    np.testing.assert_array_equal(on_grid(atlas, expected.shape, affine), expected)


def test_nearest_neighbour_agrees_with_nilearn(atlas):
    from nilearn.image import resample_img

    target = np.diag([2.7, 3.1, 2.3, 1.0])
    target[:3, 3] = (-41.3, -26.2, -20.9)
    expected = resample_img(
        nib.Nifti1Image(atlas.labels, atlas.affine),
        target_affine=target,
        target_shape=(9, 8, 10),
        interpolation="nearest",
        copy_header=True,
        force_resample=True,
    )
    np.testing.assert_array_equal(on_grid(atlas, (9, 8, 10), target), expected.get_fdata())


def test_voxels_outside_the_atlas_are_zero(atlas):
    far = atlas.affine.copy()
    far[2, 3] += 500
    assert not on_grid(atlas, SHAPE, far).any()


def test_ties_do_not_depend_on_the_orientation_of_the_data(atlas):
    half = atlas.affine.copy()
    half[:3, 3] += atlas.affine[:3, :3] @ [0.5, 0.5, 0.5]
    turn = ornt_transform(io_orientation(half), axcodes2ornt("RPI"))
    straight = on_grid(atlas, SHAPE, half)
    turned = on_grid(atlas, SHAPE, half @ inv_ornt_aff(turn, SHAPE))
    np.testing.assert_array_equal(turned, nib.orientations.apply_orientation(straight, turn))
    np.testing.assert_array_equal(straight[:-1, :-1, :-1], atlas.labels[1:, 1:, 1:])


def test_parcels_lost_on_a_coarse_grid_are_warned_about(atlas, caplog):
    on_grid(atlas, (3, 3, 3), grid(8.0))
    assert "parcels of the atlas have no voxel on this grid" in caplog.text


def test_atlas_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("SEMANTOKS_HOME", raising=False)
    assert atlas_home() == tmp_path / ".cache/semantoks/atlas"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert str(atlas_home()) == "/var/cache/semantoks/atlas"
    monkeypatch.setenv("SEMANTOKS_HOME", "/opt/semantoks")
    assert str(atlas_home()) == "/opt/semantoks/atlas"


def test_no_home_folder_is_a_clear_error(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "SEMANTOKS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    with pytest.raises(AtlasError, match="Set SEMANTOKS_HOME"):
        atlas_home()


def test_label_table_is_readable_by_others(tmp_path):
    import pandas as pd

    path = install(tmp_path)
    table = pd.read_csv(tmp_path / "atlas-Semantoks457_dseg.tsv", sep="\t")
    assert table.columns.tolist() == ["index", "name", "network", "hemisphere"]
    assert table["index"].tolist() == list(range(1, 458))
    sidecar = json.loads(path.with_name(path.name.replace("nii.gz", "json")).read_text())
    assert sidecar["VoxelSHA256"] == load_volume_atlas(path).sha256
    assert installed_images(tmp_path) == [path]
