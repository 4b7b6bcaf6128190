"""Grayordinates of real files: the installed atlas, and a run of fMRIPrep."""

from __future__ import annotations

import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from grayordinate_builders import expected, extracted
from nibabel.cifti2.cifti2_axes import SeriesAxis

from bids_app.atlas.installed import InstalledAtlas
from bids_app.cli.assets import main as assets
from bids_app.images.cifti import open_cifti
from bids_app.images.stream import count_frames
from model.networks import parcel_names, parcels


@pytest.fixture(scope="module")
def real_atlas(shared_data, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    words = ["atlas", "--from", str(shared_data / "atlases"), "--home", str(home)]
    result = CliRunner().invoke(assets, [*words, "--for-space", "fsLR"])
    assert result.exit_code == 0, result.output
    return InstalledAtlas(home / "atlas").grayordinates("91k")


@pytest.fixture(scope="module")
def real_file(shared_data):
    return next((shared_data / "bold").glob("*_space-fsLR_den-91k_bold.dtseries.nii"))


def test_real_cortex_is_that_of_the_schaefer_release_vertex_by_vertex(real_atlas, shared_data):
    name = "schaefer/Schaefer2018_400Parcels_7Networks_order.dlabel.nii"
    image = nib.load(shared_data / "atlases" / name)
    labels, axis = np.asarray(image.dataobj)[0], image.header.get_axis(1)
    names = [image.header.get_axis(0).label[0][p][0] for p in range(1, 401)]
    assert names == list(parcel_names()[:400])
    for structure, rows, part in axis.iter_structures():
        table = np.zeros(32492)
        table[part.vertex] = labels[rows]
        np.testing.assert_array_equal(real_atlas.tables.surfaces[structure], table)


def test_real_voxels_are_those_of_the_2_mm_volume_atlas(real_atlas, shared_data):
    """Where they differ, the volume has cortex: grayordinates have that on the surface."""
    name = "Schaefer2018_400Parcels_7Networks_order_Tian_Subcortex_S3_MNI152NLin6Asym_2mm.nii.gz"
    image = nib.load(shared_data / "atlases/tian" / name)
    tables, volume = real_atlas.tables, np.asarray(image.dataobj)
    ours = np.argwhere(tables.structure > 0)
    mm = nib.affines.apply_affine(tables.affine, ours)
    theirs = volume[tuple(nib.affines.apply_affine(np.linalg.inv(image.affine), mm).astype(int).T)]
    labels = tables.labels[tuple(ours.T)]
    subcortex = (theirs > 0) & (theirs <= 50)
    np.testing.assert_array_equal(labels[subcortex], theirs[subcortex] + 400)
    np.testing.assert_array_equal((labels > 400) & (labels <= 450), subcortex)
    cerebellar = np.array(["CEREBELLUM" in name for name in ("", *tables.structures)])
    assert cerebellar[tables.structure[tables.labels > 450]].all()


def independent(path, atlas_path):
    """The same means by nibabel's own axes and dictionaries, place by place."""
    place_of = {}
    image = nib.load(atlas_path)
    for label, row in zip(np.asarray(image.dataobj)[0], image.header.get_axis(1), strict=True):
        kind, where, structure = row
        place_of[kind, structure, tuple(np.atleast_1d(where))] = int(label)
    series = nib.load(path)
    rows = [
        place_of[kind, structure, tuple(np.atleast_1d(where))]
        for kind, where, structure in series.header.get_axis(1)
    ]
    values, labels = series.get_fdata(), np.array(rows)
    varies = values.std(axis=0) > 0
    means = [values[:, (labels == p) & varies].mean(axis=1) for p in range(1, 458)]
    return np.stack(means, axis=1), labels


def test_real_run_is_covered_and_equals_an_independent_computation(real_atlas, real_file):
    found = extracted(real_file, real_atlas)
    assert set(found.coverage.reason) == {""}
    assert found.coverage.fraction.min() > 0.95
    means, labels = independent(real_file, real_atlas.path)
    np.testing.assert_allclose(found.values, means, rtol=1e-12)
    # The file lists its voxels in the other order than the atlas: by row it would be wrong.
    by_row = np.asarray(nib.load(real_atlas.path).dataobj)[0].astype(int)
    inside = (labels > 400) | (by_row > 400)
    assert 0.1 < (labels == by_row)[inside].mean() < 0.4


def homotopic_correlation(values):
    """Mean correlation of left and right partners, by the names of the Schaefer parcels."""
    changes = np.diff(values, axis=0)
    r = np.corrcoef(changes.T)
    index = {p.name: p.index - 1 for p in parcels()}
    pairs = [
        (i, index[name.replace("_LH_", "_RH_")])
        for name, i in index.items()
        if "_LH_" in name and name.replace("_LH_", "_RH_") in index
    ]
    left, right = np.array(pairs).T
    return r[left, right].mean(), r[left][:, right][~np.eye(len(left), dtype=bool)].mean()


def test_real_homotopic_parcels_correlate_more_than_others(real_atlas, real_file):
    partners, others = homotopic_correlation(extracted(real_file, real_atlas).values)
    assert partners > others + 0.15


@pytest.mark.parametrize("order", ["C", "F"])
def test_phantom_on_the_real_grayordinates_in_both_orders(real_atlas, real_file, tmp_path, order):
    axis = nib.load(real_file).header.get_axis(1)  # C order
    if order == "F":
        axis = nib.load(real_atlas.path).header.get_axis(1)
    volume = real_atlas.tables
    labels = np.zeros(len(axis), dtype=int)
    for name, rows, part in axis.iter_structures():
        if name in volume.surfaces:
            labels[rows] = volume.surfaces[name][part.vertex]
        else:
            labels[rows] = volume.labels[tuple(part.voxel.T)]
    values = np.arange(1, 4)[:, None] * labels[None, :]
    path = gray.write_series(tmp_path / "p_bold.dtseries.nii", values, axis)
    found = extracted(path, real_atlas)
    np.testing.assert_array_equal(found.values, expected(3))
    assert (found.coverage.fraction == 1).all()


def test_real_header_runs_in_seconds(real_file):
    series = open_cifti(real_file)
    assert (series.n_frames, series.tr_header_s, count_frames(real_file)) == (16, 2.0, 16)
    assert isinstance(nib.load(real_file).header.get_axis(0), SeriesAxis)
