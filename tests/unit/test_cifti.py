"""CIFTI series: places, not rows, decide which grayordinate belongs to which parcel."""

from __future__ import annotations

import gray_builders as gray
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from nibabel.cifti2.cifti2_axes import BrainModelAxis, ScalarAxis, SeriesAxis

from bids_app.assets import main as assets
from bids_app.atlas import available_spaces, parcels_by_space
from bids_app.bold import open_bold
from bids_app.cifti import count_volumes, open_cifti
from bids_app.errors import AtlasError, ScanError
from bids_app.gray_atlas import find_gray_atlas, load_gray_atlas
from bids_app.grayordinates import NOT_IN_FILE, match, parcellate_grayordinates
from bids_app.parcellate import BELOW_MIN_COVERAGE, NO_VARIANCE, NOT_FINITE
from model.networks import parcel_names, parcels

N_PARCELS = len(parcel_names())


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return find_gray_atlas(gray.make_gray_atlas(tmp_path_factory.mktemp("gray")), "91k")


def coded(axis, n_volumes=9):
    """Parcel p is p, 2p, 3p … in every place: exact in float32, and no two parcels alike."""
    return np.arange(1, n_volumes + 1)[:, None] * gray.labels_on(axis)[None, :]


def expected(n_volumes=9):
    return np.arange(1, n_volumes + 1)[:, None] * np.arange(1, N_PARCELS + 1)[None, :]


def written(folder, axis=None, values=None, **options):
    axis = gray.make_axis() if axis is None else axis
    values = coded(axis) if values is None else values
    return gray.write_series(folder / "x_bold.dtseries.nii", values, axis, **options)


def extracted(path, atlas, *, min_coverage=0.5):
    return parcellate_grayordinates(open_cifti(path), atlas, min_coverage=min_coverage)


# ------------------------------------------------------------------- places, not rows


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
    other = find_gray_atlas(gray.make_gray_atlas(tmp_path, order="C"), "91k")
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


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, ">f4"])
def test_any_stored_type_is_read(tmp_path, atlas, dtype):
    found = extracted(written(tmp_path, dtype=np.dtype(dtype)), atlas)
    np.testing.assert_array_equal(found.values, expected())


def test_blocks_of_any_size_give_the_same_sums(tmp_path, atlas, monkeypatch):
    path = written(tmp_path)
    for size in (1, 1000, 12345):
        monkeypatch.setattr("bids_app.cifti.BLOCK_BYTES", size)
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
    with pytest.raises(ScanError, match=r"cannot be read|expected a CIFTI-2"):
        open_cifti(path)


def test_a_volume_of_nan_is_named(tmp_path, atlas):
    values = coded(gray.make_axis()).astype(float)
    values[6] = np.nan
    with pytest.raises(ScanError, match=r"volume 6 .* of 9 is NaN"):
        extracted(written(tmp_path, values=values), atlas)


def test_an_all_zero_file_and_a_single_volume_are_refused(tmp_path, atlas):
    zeros = np.zeros((5, len(gray.make_axis())))
    with pytest.raises(ScanError, match=r"constant there \(all zero\?\)"):
        extracted(written(tmp_path, values=zeros), atlas)
    with pytest.raises(ScanError, match="single volume"):
        extracted(written(tmp_path, values=coded(gray.make_axis(), 1)), atlas)


def test_a_file_without_any_parcel_and_one_below_coverage_are_refused(tmp_path, atlas):
    axis = BrainModelAxis.from_surface(np.arange(gray.MEDIAL_WALL), 660, name=gray.LEFT)
    path = written(tmp_path, axis, np.random.default_rng(0).normal(size=(4, len(axis))))
    with pytest.raises(ScanError, match="none of its 60 grayordinates lies in a parcel"):
        extracted(path, atlas)
    axis = BrainModelAxis.from_surface(np.arange(gray.MEDIAL_WALL + 1), 660, name=gray.LEFT)
    path = written(tmp_path, axis, np.random.default_rng(0).normal(size=(4, len(axis))))
    with pytest.raises(ScanError, match="the best of 457 has 33%"):
        extracted(path, atlas)


def test_other_kinds_of_image_are_refused(tmp_path):
    axis = gray.make_axis()
    image = nib.Cifti2Image(np.zeros((2, len(axis)), np.float32), (ScalarAxis(["a", "b"]), axis))
    nib.save(image, tmp_path / "scalar.dtseries.nii")
    with pytest.raises(ScanError, match="found ScalarAxis by BrainModelAxis"):
        open_cifti(tmp_path / "scalar.dtseries.nii")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 3)), np.eye(4)), tmp_path / "y.dtseries.nii")
    with pytest.raises(ScanError, match="expected a CIFTI-2 dense series, found Nifti1Image"):
        open_cifti(tmp_path / "y.dtseries.nii")
    (tmp_path / "z.dtseries.nii").symlink_to(tmp_path / "annex")
    with pytest.raises(ScanError, match="datalad get"):
        open_cifti(tmp_path / "z.dtseries.nii")
    with pytest.raises(ScanError, match="expected a NIfTI image, found Cifti2Image"):
        open_bold(written(tmp_path))


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
    assert count_volumes(written(tmp_path, values=coded(gray.make_axis(), 13))) == 13


def test_the_header_of_the_series_is_what_was_written(tmp_path):
    series = open_cifti(written(tmp_path))
    assert (series.n_volumes, len(series.axis)) == (9, len(gray.make_axis()))
    assert series.dtype == np.float32


# ------------------------------------------------------------------- the installed atlas


def test_the_installed_atlas_is_complete_and_counts_its_grayordinates(atlas):
    assert (atlas.space, atlas.density, dict(atlas.absent)) == ("fsLR", "91k", {})
    assert atlas.tables.count().tolist() == [3] * 450 + [4] * 7
    assert parcels_by_space(atlas.path.parents[1]) == {"fsLR": 457}


def test_grayordinates_rank_between_the_volumes(tmp_path):
    import builders

    gray.make_gray_atlas(tmp_path)
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
    path = find_gray_atlas(gray.make_gray_atlas(tmp_path), "91k").path
    edit_labels(path, change)
    with pytest.raises(AtlasError, match=message):
        load_gray_atlas(path)


def test_an_absent_and_a_damaged_atlas_are_told(tmp_path):
    with pytest.raises(AtlasError) as caught:
        find_gray_atlas(tmp_path, "91k")
    assert "--space fsLR" in caught.value.hint
    path = find_gray_atlas(gray.make_gray_atlas(tmp_path), "91k").path
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AtlasError, match="cannot be read"):
        load_gray_atlas(path)
    with pytest.raises(AtlasError, match="expected a name like"):
        load_gray_atlas(tmp_path / "x.dlabel.nii")


# ------------------------------------------------------------------- real files


@pytest.fixture(scope="module")
def real_atlas(shared_data, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    words = ["atlas", "--from", str(shared_data / "atlases"), "--home", str(home)]
    result = CliRunner().invoke(assets, [*words, "--space", "fsLR"])
    assert result.exit_code == 0, result.output
    return find_gray_atlas(home / "atlas", "91k")


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
    assert (series.n_volumes, series.tr_header_s, count_volumes(real_file)) == (16, 2.0, 16)
    assert isinstance(nib.load(real_file).header.get_axis(0), SeriesAxis)
