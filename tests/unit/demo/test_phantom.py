import hashlib
import json

import builders
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_app.atlas.installed import InstalledAtlas
from bids_app.demo.nuisance import confound_table
from bids_app.demo.phantom import (
    Grid,
    band_limited,
    make_head,
    motion_terms,
    parcel_signals,
    random_for,
    simulate_scan,
    template_grid,
    tiny_grid,
)
from bids_app.demo.tree import write_scan, write_truth
from bids_app.inputs.entities import Entities
from model.networks import network_columns, parcel_names, parcels


@pytest.fixture(scope="module")
def head():
    return make_head(template_grid(8.0))


@pytest.fixture(scope="module")
def scan(head):
    return simulate_scan(
        head,
        subject=random_for("sub-01"),
        scan=random_for("sub-01", "ses-1"),
        n_volumes=300,
        tr_s=2.0,
        n_dummy=2,
    )


def parcel_means(head, scan):
    labels = head.labels[head.brain]
    return np.stack([scan.bold[:, labels == p.index].mean(axis=1) for p in parcels()], axis=1)


def correlations(one, other):
    one, other = (values - values.mean(axis=0) for values in (one, other))
    return (one * other).sum(axis=0) / np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))


def residual(values, regressors):
    design = np.c_[np.ones(len(values)), regressors]
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


@pytest.mark.parametrize("grid", [tiny_grid(), template_grid(8.0), template_grid(4.0)])
def test_every_parcel_has_voxels_in_its_own_hemisphere(grid):
    head = make_head(grid)
    for parcel in parcels():
        voxels = np.argwhere(head.labels == parcel.index)
        x = voxels @ grid.affine[0, :3] + grid.affine[0, 3]
        assert len(voxels) > 0
        assert (
            parcel.hemisphere == "B" or (np.sign(x) == {"L": -1, "R": 1}[parcel.hemisphere]).all()
        )


def test_the_tiny_grid_is_tiny_and_has_white_matter_and_csf():
    head = make_head(tiny_grid())
    assert head.labels.size == 2016
    assert head.white_matter.any()
    assert head.csf.any()


def test_tissues_do_not_overlap_and_fill_the_brain(head):
    count = (head.labels > 0).astype(int) + head.csf + head.white_matter
    assert (count == head.brain).all()


def test_the_cerebellum_lies_at_the_back_and_bottom_and_subcortex_in_the_centre(head):
    def centre(network):
        voxels = np.argwhere(np.isin(head.labels, network_columns(network) + 1))
        return (voxels @ head.grid.affine[:3, :3].T + head.grid.affine[:3, 3]).mean(axis=0)

    cerebellum, subcortex = centre("Cerebellum"), centre("Subcortical")
    assert cerebellum[1] < subcortex[1] - 30
    assert cerebellum[2] < subcortex[2] - 30
    assert abs(subcortex[0]) < 2


def test_the_template_grid_spans_the_box_of_mni152nlin2009casym():
    grid = template_grid(4.0)
    last = grid.affine @ [*(n - 1 for n in grid.shape), 1]
    assert grid.shape == (49, 58, 49)
    assert last[:3].tolist() == [96.0, 96.0, 114.0]


def test_a_grid_too_coarse_for_all_parcels_is_refused():
    grid = Grid(shape=(5, 6, 5), affine=np.diag([32.0, 32.0, 32.0, 1.0]))
    with pytest.raises(ValueError, match="voxels cannot hold parcels"):
        make_head(grid)


@settings(max_examples=20, deadline=None)
@given(
    n_volumes=st.integers(1, 300), tr_s=st.sampled_from([0.5, 0.72, 2.0, 3.0]), seed=st.text("ab")
)
def test_signals_are_finite_and_as_long_as_asked(n_volumes, tr_s, seed):
    signals = band_limited(random_for(seed), n_signals=3, n_volumes=n_volumes, tr_s=tr_s)
    assert signals.shape == (n_volumes, 3)
    assert np.isfinite(signals).all()


def test_the_truth_lies_between_0_01_and_0_1_hz():
    truth = parcel_signals(subject=random_for("a"), scan=random_for("b"), n_volumes=2000, tr_s=1.0)
    # A taper keeps the cut ends of the series from leaking over the spectrum.
    power = np.abs(np.fft.rfft(truth * np.hanning(2000)[:, None], axis=0)) ** 2
    hz = np.fft.rfftfreq(2000, 1.0)
    inside = (hz > 0.008) & (hz < 0.102)
    assert power[inside].sum() > 0.999 * power.sum()


def test_sessions_of_one_subject_resemble_each_other_more_than_two_subjects():
    def connectivity(subject, scan):
        signals = parcel_signals(
            subject=random_for(subject), scan=random_for(subject, scan), n_volumes=400, tr_s=2.0
        )
        return np.corrcoef(signals.T)[np.triu_indices(457, 1)]

    first, again, other = connectivity("1", "a"), connectivity("1", "b"), connectivity("2", "a")
    within = np.corrcoef(first, again)[0, 1]
    between = np.corrcoef(first, other)[0, 1]
    assert within > between + 0.05


def test_parcels_of_one_network_are_more_alike_than_parcels_of_two(scan):
    r = np.corrcoef(scan.truth.T)
    vis, default = network_columns("Vis"), network_columns("Default")
    assert r[np.ix_(vis, vis)].mean() > r[np.ix_(vis, default)].mean() + 0.2


def test_regressing_the_confounds_recovers_more_of_the_truth(head, scan):
    steady = slice(scan.n_dummy, None)
    columns = confound_table(head, scan).columns
    names = [n for n in columns if n.startswith(("trans_", "rot_", "cosine"))]
    table = np.stack([np.nan_to_num(columns[n]) for n in [*names, "csf", "white_matter"]], axis=1)
    means, truth = parcel_means(head, scan)[steady], scan.truth[steady]
    before = correlations(means, truth)
    after = correlations(residual(means, table[steady]), truth)
    assert np.median(after) > np.median(before) + 0.1
    assert (after > before).mean() > 0.95


def test_a_parcel_carries_its_own_signal_and_not_its_neighbours(head, scan):
    steady = slice(scan.n_dummy, None)
    terms = motion_terms(scan.motion)[steady]
    cleaned = residual(parcel_means(head, scan)[steady], terms)
    r = np.corrcoef(cleaned.T, residual(scan.truth[steady], terms).T)[:457, 457:]
    assert (r.argmax(axis=1) == np.arange(457)).mean() > 0.95


def test_leading_volumes_are_brighter(scan):
    means = scan.bold.mean(axis=1)
    assert means[0] > 1.1 * means[10:].mean()


def test_confounds_have_fmripreps_names_and_missing_first_rows(head, scan):
    columns = confound_table(head, scan).columns
    motion = [
        f"{axis}{suffix}"
        for axis in ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
        for suffix in ("", "_derivative1", "_power2", "_derivative1_power2")
    ]
    assert set(motion) <= set(columns)
    assert {"csf", "white_matter", "global_signal", "cosine00", "a_comp_cor_00"} <= set(columns)
    missing_first = {name for name, values in columns.items() if np.isnan(values[0])}
    assert {"framewise_displacement", "dvars", "std_dvars", "rot_z_derivative1"} <= missing_first
    assert not missing_first & {"trans_x", "csf", "cosine00"}
    assert not any(np.isnan(values[1:]).any() for values in columns.values())


def test_framewise_displacement_follows_power_2012(head, scan):
    found = confound_table(head, scan).columns["framewise_displacement"][1:]
    step = np.abs(np.diff(scan.motion, axis=0))
    expected = step[:, :3].sum(axis=1) + 50 * step[:, 3:].sum(axis=1)
    np.testing.assert_allclose(found, expected)


def test_each_outlier_column_marks_one_volume_and_dummies_are_not_motion(head, scan):
    columns = confound_table(head, scan).columns
    outliers = {n: v for n, v in columns.items() if "outlier" in n}
    assert all(v.sum() == 1 and set(v) == {0.0, 1.0} for v in outliers.values())
    frames = [int(v.argmax()) for n, v in outliers.items() if n.startswith("motion")]
    assert "non_steady_state_outlier01" in outliers
    assert frames
    assert min(frames) > scan.n_dummy


def test_compcor_says_its_mask_and_is_zero_in_dummy_volumes(head, scan):
    table = confound_table(head, scan)
    assert table.metadata["c_comp_cor_00"]["Mask"] == "CSF"
    assert table.metadata["a_comp_cor_00"]["Mask"] == "combined"
    assert (table.columns["w_comp_cor_00"][:2] == 0).all()
    assert np.isclose(np.linalg.norm(table.columns["w_comp_cor_00"]), 1)


def test_scans_shorter_than_a_minute_have_no_cosines(head):
    short = simulate_scan(
        head, subject=random_for("a"), scan=random_for("b"), n_volumes=20, tr_s=2.0, n_dummy=2
    )
    assert "cosine00" not in confound_table(head, short).columns


def test_a_dataset_has_fmripreps_names(tmp_path):
    data = builders.make_dataset(
        tmp_path, sessions=("1",), runs=("01",), entities={"acq": "seq"}, n_volumes=20, res="2"
    )
    stem = "sub-01_ses-1_task-rest_acq-seq_run-01"
    space = f"{stem}_space-MNI152NLin2009cAsym_res-2"
    assert sorted(p.name for p in (data.root / "sub-01/ses-1/func").iterdir()) == sorted(
        [
            f"{stem}_desc-confounds_timeseries.json",
            f"{stem}_desc-confounds_timeseries.tsv",
            f"{space}_boldref.nii.gz",
            f"{space}_desc-brain_mask.nii.gz",
            f"{space}_desc-preproc_bold.json",
            f"{space}_desc-preproc_bold.nii.gz",
        ]
    )


def test_the_image_is_scaled_int16_in_mni_space_with_its_tr(tmp_path):
    scan = builders.make_dataset(tmp_path, tasks={"rest": 0.8}, n_volumes=20).scans[0]
    image = nib.load(scan.bold)
    assert image.get_data_dtype() == np.int16
    assert image.dataobj.slope == 2.0
    assert float(image.header.get_zooms()[3]) == pytest.approx(0.8)
    assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 4
    inside = nib.load(scan.mask).get_fdata() > 0
    values = image.get_fdata()
    assert 700 < values[inside].mean() < 1100
    assert (values[~inside] == 0).all()
    sidecar = json.loads(scan.sidecar.read_text())
    assert sidecar["RepetitionTime"] == 0.8
    assert sidecar["TaskName"] == "rest"


def test_the_same_names_give_the_same_bytes_and_other_names_others(tmp_path):
    def sha256(folder, sub):
        scan = builders.make_dataset(tmp_path / folder, subjects=(sub,), n_volumes=20).scans[0]
        return hashlib.sha256(scan.bold.read_bytes() + scan.confounds.read_bytes()).hexdigest()

    assert sha256("a", "01") == sha256("b", "01") != sha256("c", "02")


def test_the_atlas_loads_as_an_installed_one_and_calls_itself_synthetic(tmp_path):
    folder = builders.make_atlas(tmp_path / "atlas")
    atlas = InstalledAtlas(folder).volume(builders.SPACE, affine=tiny_grid().affine)
    assert (atlas.labels == builders.tiny_head().labels).all()
    assert not atlas.absent
    sidecar = json.loads(
        atlas.path.with_name(atlas.path.name.replace(".nii.gz", ".json")).read_text()
    )
    assert "Synthetic" in sidecar["Description"]


def test_a_scan_without_task_or_space_is_refused(tmp_path):
    with pytest.raises(ValueError, match="task and a space"):
        write_scan(
            tmp_path, builders.tiny_head(), entities=Entities(sub="01"), n_volumes=20, tr_s=2.0
        )


def test_truth_is_written_with_one_named_column_per_parcel(tmp_path, scan):
    table = pd.read_csv(write_truth(tmp_path / "truth.tsv", scan.truth), sep="\t")
    assert tuple(table.columns) == parcel_names()
    np.testing.assert_allclose(table.to_numpy(), scan.truth, rtol=1e-6)


class TestBuilders:
    def test_legacy_layout_and_regressors_are_one_folder_down_under_the_old_name(self, tmp_path):
        data = builders.make_dataset(
            tmp_path, layout="legacy", generation="regressors", n_volumes=20
        )
        assert data.root == tmp_path / "fmriprep"
        assert data.scans[0].confounds.name.endswith("_desc-confounds_regressors.tsv")
        assert data.scans[0].confounds.exists()

    def test_parts_can_be_left_out(self, tmp_path):
        scan = builders.make_dataset(
            tmp_path, n_volumes=20, with_mask=False, with_confounds=False, with_sidecar=False
        ).scans[0]
        assert [p.suffix for p in scan.bold.parent.iterdir()] == [".gz", ".gz"]

    def test_a_truncated_image_cannot_be_read(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.truncate_image(scan)
        with pytest.raises(EOFError):
            nib.load(scan.bold).get_fdata()

    def test_a_shortened_stream_holds_less_than_its_header_says(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.drop_last_volume_bytes(scan)
        with pytest.raises(OSError, match="Expected"):
            nib.load(scan.bold).get_fdata()

    def test_damage_to_volumes_is_where_it_should_be(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.put_nan_volume(scan, volume=3)
        bad = np.isnan(nib.load(scan.bold).get_fdata()).all(axis=(0, 1, 2))
        assert np.flatnonzero(bad).tolist() == [3]

    def test_a_blank_image_is_zero(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.blank_image(scan)
        assert not nib.load(scan.bold).get_fdata().any()

    def test_cut_volumes_shortens_image_and_confounds_alike(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.cut_volumes(scan, keep=8)
        assert nib.load(scan.bold).shape[3] == len(builders.read_confounds(scan)) == 8

    def test_a_cut_cerebellum_has_neither_signal_nor_mask(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.cut_cerebellum(scan)
        gone = builders.tiny_head().labels > 450
        assert not nib.load(scan.bold).get_fdata()[gone].any()
        assert not nib.load(scan.mask).get_fdata()[gone].any()

    def test_columns_and_keys_can_be_removed(self, tmp_path):
        scan = builders.make_dataset(tmp_path, n_volumes=20).scans[0]
        builders.drop_columns(scan, "white_matter")
        builders.edit_sidecar(scan, RepetitionTime=None)
        assert "white_matter" not in builders.read_confounds(scan)
        assert "RepetitionTime" not in json.loads(scan.sidecar.read_text())
