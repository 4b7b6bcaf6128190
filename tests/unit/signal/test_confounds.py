"""Confounds, against nilearn on the real tables that it ships."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nilearn.interfaces.fmriprep as nilearn_fmriprep
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.errors import ScanError, ScanExcludedError
from bids_app.inputs.eligible import scan_of
from bids_app.inputs.entities import parse_name
from bids_app.signal.confounds import flag_short_segments, from_table, load_confounds
from bids_app.signal.strategy import Strategy, load_strategy

TABLES = {
    "1.2": "test_desc-confounds_regressors",
    "1.2, no dummies": "no_nonsteady_desc-confounds_regressors",
    "21": "test-v21_desc-confounds_timeseries",
}
PLAIN = Strategy(name="plain")


def make_scan(folder, stem="test-v21_desc-confounds_timeseries", *, meta=True):
    """Copy a confounds table that nilearn ships beside a BOLD name, and match them."""
    source = Path(nilearn_fmriprep.__file__).parent / "data"
    suffix = stem.rpartition("_")[2]
    tsv = folder / f"sub-1_task-x_desc-confounds_{suffix}.tsv"
    shutil.copyfile(source / f"{stem}.tsv", tsv)
    json_name = "test_desc-confounds_regressors" if stem.startswith("no_") else stem
    if meta:
        shutil.copyfile(source / f"{json_name}.json", tsv.with_suffix(".json"))
    bold = folder / "sub-1_task-x_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    bold.touch()
    entities = parse_name(bold.name)[0]
    return scan_of(bold, entities, {folder: sorted(folder.iterdir())}, root=folder)


def with_sources(scan, **changes):
    return replace(scan, sources=replace(scan.sources, **changes))


def rewrite(scan, change):
    table = pd.read_csv(scan.sources.confounds, sep="\t")
    table = change(table)
    table.to_csv(scan.sources.confounds, sep="\t", index=False, na_rep="n/a")


def load(scan, strategy, *, n_frames=30, dummy_scans=None):
    if isinstance(strategy, str):
        strategy = load_strategy(strategy)
    return load_confounds(scan, strategy, dummy_scans=dummy_scans, n_frames=n_frames)


NEVER = 1e9  # a DVARS that no volume exceeds
MOTION = {"strategy": ["motion"], "motion": "full"}
SCRUB = {"scrub": 5, "std_dvars_threshold": NEVER}
EQUIVALENT = {
    "24P": MOTION,
    "27P": {
        "strategy": ["motion", "wm_csf", "global_signal"],
        "motion": "full",
        "wm_csf": "basic",
        "global_signal": "basic",
    },
    "36P": {
        "strategy": ["motion", "wm_csf", "global_signal"],
        "motion": "full",
        "wm_csf": "full",
        "global_signal": "full",
    },
    "simple": {
        "strategy": ["high_pass", "motion", "wm_csf"],
        "motion": "full",
        "wm_csf": "basic",
    },
    "simple+gsr": {
        "strategy": ["high_pass", "motion", "wm_csf", "global_signal"],
        "motion": "full",
        "wm_csf": "basic",
        "global_signal": "basic",
    },
    "scrubbing.5": {
        "strategy": ["high_pass", "motion", "wm_csf", "scrub"],
        "motion": "full",
        "wm_csf": "full",
        "fd_threshold": 0.5,
        **SCRUB,
    },
    "scrubbing.2+gsr": {
        "strategy": ["high_pass", "motion", "wm_csf", "scrub", "global_signal"],
        "motion": "full",
        "wm_csf": "full",
        "global_signal": "basic",
        "fd_threshold": 0.2,
        **SCRUB,
    },
    "acompcor50": {
        "strategy": ["high_pass", "motion", "compcor"],
        "motion": "full",
        "compcor": "anat_combined",
        "n_compcor": "all",
    },
    "acompcor": {
        "strategy": ["high_pass", "motion", "compcor"],
        "motion": "derivatives",
        "compcor": "anat_separated",
        "n_compcor": 5,
    },
    "gsr_only": {"strategy": ["global_signal"], "global_signal": "basic"},
    "icaaroma": {
        "strategy": ["high_pass", "wm_csf", "ica_aroma"],
        "wm_csf": "basic",
        "ica_aroma": "basic",
    },
    "default": {
        "strategy": ["motion", "wm_csf", "scrub"],
        "motion": "full",
        "wm_csf": "basic",
        "fd_threshold": 0.5,
        "std_dvars_threshold": NEVER,
        "scrub": 0,
    },
}


@pytest.mark.filterwarnings("ignore:All volumes were marked as motion outliers")
@pytest.mark.parametrize("generation", TABLES)
@pytest.mark.parametrize("name", EQUIVALENT)
def test_columns_values_and_outliers_are_those_of_nilearn(tmp_path, name, generation):
    if generation == "21" and name == "icaaroma":
        pytest.skip("that table has no AROMA columns")
    scan = make_scan(tmp_path, TABLES[generation])
    ours = load(scan, name)
    theirs, sample_mask = nilearn_fmriprep.load_confounds(
        str(scan.sources.data), demean=False, **EQUIVALENT[name]
    )
    assert sorted(ours.names) == sorted(theirs.columns)
    values = theirs[list(ours.names)].to_numpy()
    # nilearn copies row 1 into the missing row 0 of a derivative; here it is 0.
    np.testing.assert_allclose(ours.regressors[1:], values[1:], rtol=1e-12)
    expected = np.ones(30, bool) if sample_mask is None else np.isin(range(30), sample_mask)
    used = ours.kept & (np.arange(30) >= ours.n_dummy)
    np.testing.assert_array_equal(used, expected)


def test_components_of_each_mask_are_taken_in_order_whatever_their_prefix(tmp_path):
    ours = load(make_scan(tmp_path, TABLES["21"]), "acompcor")
    components = [name for name in ours.names if "comp_cor" in name]
    assert components == [f"w_comp_cor_0{i}" for i in range(4)] + [
        f"c_comp_cor_0{i}" for i in range(3)
    ]


def test_components_are_chosen_by_mask_not_by_index(tmp_path):
    scan = make_scan(tmp_path, TABLES["21"])
    meta = json.loads(scan.sources.confounds_json.read_text())
    meta["a_comp_cor_00"]["Mask"], meta["a_comp_cor_01"]["Mask"] = "CSF", "WM"
    scan.sources.confounds_json.write_text(json.dumps(meta))
    taken = load(scan, Strategy(name="s", compcor="anat_combined", n_compcor=1)).names
    assert taken == ("a_comp_cor_02",)


def test_dropped_components_are_not_taken(tmp_path):
    scan = make_scan(tmp_path, TABLES["21"])
    meta = json.loads(scan.sources.confounds_json.read_text())
    meta["a_comp_cor_01"]["Retained"] = False
    scan.sources.confounds_json.write_text(json.dumps(meta))
    taken = load(scan, Strategy(name="s", compcor="anat_combined")).names
    assert "a_comp_cor_01" not in taken
    assert "a_comp_cor_02" in taken


def test_compcor_without_its_json_is_an_error(tmp_path):
    with pytest.raises(ScanError, match="no JSON"):
        load(make_scan(tmp_path, meta=False), "acompcor50")


def test_temporal_components_can_be_had(tmp_path):
    names = load(make_scan(tmp_path), Strategy(name="s", compcor="temporal")).names
    assert names == ("t_comp_cor_00", "t_comp_cor_01", "t_comp_cor_02")


def test_fmriprep_s_own_outliers_are_those_of_its_thresholds(tmp_path):
    scan = make_scan(tmp_path, "no_nonsteady_desc-confounds_regressors")
    strategy = Strategy(name="s", fd_threshold_mm=0.15, std_dvars_threshold=1.1)
    ours = load(scan, strategy)
    table = pd.read_csv(scan.sources.confounds, sep="\t", na_values="n/a")
    beyond = (table.framewise_displacement > 0.15) | (table.std_dvars > 1.1)
    assert 0 < beyond.sum() < 30
    np.testing.assert_array_equal(~ours.kept, beyond)
    assert set(filter(None, ours.outlier_reasons)) <= {
        "framewise_displacement",
        "std_dvars",
        "framewise_displacement+std_dvars",
    }


def test_leading_non_steady_volumes_are_dropped_and_are_no_outliers(tmp_path):
    ours = load(make_scan(tmp_path), "default")
    assert ours.n_dummy == 3
    assert ours.kept[:3].all()


def test_a_number_of_dummy_scans_overrides_what_fmriprep_found(tmp_path):
    scan = make_scan(tmp_path)
    assert load(scan, "24P", dummy_scans=0).n_dummy == 0
    assert load(scan, "24P", dummy_scans=0).kept.all()
    assert load(scan, "24P", dummy_scans=7).n_dummy == 7


def test_an_unsteady_volume_in_the_middle_is_an_outlier_not_a_dummy(tmp_path):
    scan = make_scan(tmp_path, TABLES["1.2"])
    late = pd.Series(np.eye(30)[12], name="non_steady_state_outlier01")
    rewrite(scan, lambda table: pd.concat([table, late], axis=1))
    ours = load(scan, "24P")
    assert ours.n_dummy == 1
    assert ours.outlier_reasons[12] == "non_steady_state"
    assert (~ours.kept).sum() == 1


def test_dropping_every_volume_excludes_the_scan(tmp_path):
    with pytest.raises(ScanExcludedError, match="30 leading volumes"):
        load(make_scan(tmp_path), "24P", dummy_scans=30)


def test_all_missing_columns_are_in_one_error_with_what_there_is_and_what_would_work(tmp_path):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.drop(columns=["white_matter", "trans_y", "trans_y_power2"]))
    with pytest.raises(ScanError) as caught:
        load(scan, "27P")
    for name in ("white_matter", "trans_y", "trans_y_power2", "a_comp_cor_*", "csf_wm"):
        assert name in caught.value.message
    assert "gsr_only" in caught.value.hint
    assert "24P" not in caught.value.hint


@pytest.mark.parametrize("generation", TABLES)
def test_expansions_that_old_tables_lack_are_those_fmriprep_would_have_written(
    tmp_path, generation
):
    scan = make_scan(tmp_path, TABLES[generation])
    theirs = load(scan, "36P")
    rewrite(scan, lambda t: t.drop(columns=t.filter(regex="_derivative1|_power2").columns))
    ours = load(scan, "36P")
    assert ours.names == theirs.names
    scale = np.abs(theirs.regressors).max(axis=0)
    # Row 0 was exchanged when nilearn made its first table: derivatives in row 1 do not fit it.
    checked = slice(2 if generation == "1.2" else 0, None)
    np.testing.assert_allclose(
        (ours.regressors / scale)[checked], (theirs.regressors / scale)[checked], atol=1e-11
    )
    assert theirs.computed == ()
    assert len(ours.computed) == 27
    assert {"trans_x", "csf"}.isdisjoint(ours.computed)


def test_one_missing_expansion_is_computed_and_a_missing_signal_is_not_made_up(tmp_path):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.drop(columns=["rot_y_power2", "trans_z", "trans_z_power2"]))
    assert load(scan, Strategy(name="s", columns=("rot_y_power2",))).computed == ("rot_y_power2",)
    with pytest.raises(ScanError, match=r"not there: trans_z, trans_z_power2\."):
        load(scan, "24P")


def test_a_column_that_occurs_twice_is_an_error_where_it_is_used(tmp_path):
    scan = make_scan(tmp_path)
    lines = scan.sources.confounds.read_text().replace("\twhite_matter\t", "\tcsf\t", 1)
    scan.sources.confounds.write_text(lines)
    with pytest.raises(ScanError, match="two columns are named csf"):
        load(scan, Strategy(name="s", columns=("csf",)))
    assert load(scan, "24P").regressors.shape == (30, 24)


def test_names_of_fmriprep_before_1_2_are_refused_with_what_there_is(tmp_path):
    scan = make_scan(tmp_path)
    camel = {"csf": "CSF", "white_matter": "WhiteMatter", "trans_x": "X"}
    rewrite(scan, lambda t: t.rename(columns=camel))
    with pytest.raises(ScanError, match=r"trans_x, .*csf, white_matter.*CSF, .*WhiteMatter"):
        load(scan, "27P")


def test_a_compressed_table_is_read_and_a_truncated_one_is_an_error(tmp_path):
    scan = make_scan(tmp_path)
    content = gzip.compress(scan.sources.confounds.read_bytes())
    packed = scan.sources.confounds.with_suffix(".tsv.gz")
    packed.write_bytes(content)
    same = with_sources(scan, confounds=packed)
    np.testing.assert_array_equal(load(same, "36P").regressors, load(scan, "36P").regressors)
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(ScanError, match="not readable as a table"):
        load(same, "36P")


def test_a_strategy_without_aroma_columns_to_take_fails(tmp_path):
    with pytest.raises(ScanError, match="aroma_motion"):
        load(make_scan(tmp_path), "aroma")


def test_a_threshold_needs_its_column(tmp_path):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.drop(columns="framewise_displacement"))
    with pytest.raises(ScanError, match="framewise_displacement"):
        load(scan, "default")
    assert np.isnan(load(scan, "24P").fd_mm).all()


def test_the_first_row_of_a_difference_becomes_zero(tmp_path):
    scan = make_scan(tmp_path)
    ours = load(scan, Strategy(name="s", columns=("rot_x_derivative1", "dvars")))
    np.testing.assert_array_equal(ours.regressors[0], 0)
    assert (ours.regressors[1:] != 0).all()


@pytest.mark.parametrize(("column", "row"), [("rot_x_derivative1", 4), ("trans_x", 0), ("csf", 9)])
@pytest.mark.parametrize("value", [np.nan, np.inf, "abc"])
def test_any_other_gap_is_an_error_with_column_and_row(tmp_path, column, row, value):
    scan = make_scan(tmp_path)

    def damage(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    rewrite(scan, damage)
    with pytest.raises(ScanError, match=rf"column {column} holds .* in line {row + 2}"):
        load(scan, "36P")


def test_a_gap_in_a_column_that_is_not_used_is_no_matter(tmp_path):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.assign(std_dvars=np.nan))
    assert np.isnan(load(scan, "24P").std_dvars).all()


def test_another_number_of_rows_than_frames_is_an_error_with_both(tmp_path):
    with pytest.raises(ScanError, match="30 rows, but the image has 31"):
        load(make_scan(tmp_path), "none", n_frames=31)


@pytest.mark.parametrize(
    "content", [b"", b"a\tb\n", b"\x00\xff\xfe\x80\x81", b"a\tb\n1\t2\t3\n1\n"]
)
def test_an_empty_or_garbled_table_is_an_error(tmp_path, content):
    scan = make_scan(tmp_path)
    scan.sources.confounds.write_bytes(content)
    with pytest.raises(ScanError, match="desc-confounds"):
        load(scan, "24P")


def test_an_annexed_table_is_an_error_that_says_datalad_get(tmp_path):
    scan = make_scan(tmp_path)
    scan.sources.confounds.unlink()
    scan.sources.confounds.symlink_to("gone")
    with pytest.raises(ScanError, match="datalad get"):
        load(scan, "24P")


def test_without_a_table_only_none_is_possible(tmp_path):
    scan = make_scan(tmp_path)
    bare = with_sources(scan, confounds=None, confounds_json=None)
    with pytest.raises(ScanError, match="no desc-confounds_timeseries"):
        load(bare, "24P")
    ours = load(bare, "none", dummy_scans=2)
    assert ours.regressors.shape == (30, 0)
    assert ours.kept.all()
    assert np.isnan(ours.fd_mm).all()
    assert ours.n_dummy == 2


def test_a_column_named_twice_is_regressed_once(tmp_path):
    strategy = Strategy(name="s", wm_csf="basic", columns=("csf", "rmsd"))
    assert load(make_scan(tmp_path), strategy).names == ("csf", "white_matter", "rmsd")


def test_regressors_do_not_depend_on_the_order_of_columns_in_the_file(tmp_path):
    scan = make_scan(tmp_path)
    before = load(scan, "36P")
    rewrite(scan, lambda t: t[sorted(t.columns, reverse=True)])
    after = load(scan, "36P")
    assert after.names == before.names
    np.testing.assert_array_equal(after.regressors, before.regressors)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 8))
def test_after_flagging_no_good_stretch_is_too_short(flags, min_frames):
    outliers = np.array(flags)
    flagged = flag_short_segments(outliers, min_frames)
    assert (flagged | ~outliers).all()
    if outliers.any():
        stretches = "".join("x" if flag else "." for flag in flagged).split("x")
        assert all(len(one) == 0 or len(one) >= min_frames for one in stretches)
    else:
        assert not flagged.any()


@pytest.mark.parametrize(("name", "count"), [("24P", 24), ("27P", 27), ("36P", 36)])
def test_a_strategy_named_by_its_count_has_that_many_regressors(tmp_path, name, count):
    assert load(make_scan(tmp_path), name).regressors.shape == (30, count)


@pytest.mark.parametrize(
    "change",
    [
        {"motion": "basic"},
        {"wm_csf": "basic"},
        {"global_signal": "basic"},
        {"compcor": "temporal"},
        {"cosine": True},
        {"columns": ("csf_wm",)},
        {"fd_threshold_mm": 0.3},
        {"std_dvars_threshold": 1.1},
    ],
)
def test_every_field_of_a_strategy_changes_what_is_loaded(tmp_path, change):
    scan = make_scan(tmp_path)
    bare, changed = load(scan, PLAIN), load(scan, Strategy(name="s", **change))
    assert (bare.names, bare.kept.tolist()) != (changed.names, changed.kept.tolist())
    assert Strategy(name="s", **change).needs_table
    assert not PLAIN.needs_table


def test_loading_is_a_function_of_the_table_alone(tmp_path):
    scan = make_scan(tmp_path)
    table = pd.read_csv(scan.sources.confounds, sep="\t", na_values="n/a")
    one = from_table(table, {}, load_strategy("36P"), dummy_scans=None, where="here")
    np.testing.assert_array_equal(one.regressors, load(scan, "36P").regressors)


def _whole(value):
    return lambda table: table.assign(csf=value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no", "column csf holds 'no' in line 2 .and 29 more., expected a number"),
        (True, "column csf holds True and False"),
        (np.nan, "column csf is n/a throughout"),
        (np.inf, "column csf holds 'inf' in line 2"),
        (1e308, r"column csf holds '1e.308' in line 2"),
        ("9" * 5000, "column csf holds '9999"),
    ],
)
def test_a_column_of_something_else_is_one_reason_with_the_strategies_that_do_without(
    tmp_path, value, said
):
    scan = make_scan(tmp_path)
    rewrite(scan, _whole(value))
    with pytest.raises(ScanError, match=said) as caught:
        load(scan, "36P")
    assert scan.sources.confounds.name in str(caught.value)
    possible = caught.value.hint.partition(": ")[2].rstrip(".").split(", ")
    assert {"24P", "none"} <= set(possible)
    assert "36P" not in possible
    for name in possible:
        load(scan, name)


def test_all_columns_that_cannot_be_used_are_in_one_reason(tmp_path):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.assign(csf="no", white_matter=True))
    with pytest.raises(ScanError, match=r"column csf holds .*; column white_matter holds True"):
        load(scan, "36P")


def test_a_negative_displacement_is_no_measure(tmp_path):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.assign(framewise_displacement=-1.0))
    with pytest.raises(ScanError, match=r"framewise_displacement holds '-1\.0' in line 3"):
        load(scan, "scrubbing.5")


@pytest.mark.parametrize("value", [np.inf, 1e308, "abc"])
def test_a_measure_that_is_only_shown_is_shown_where_it_is_a_number(tmp_path, value):
    scan = make_scan(tmp_path)

    def damage(table):
        table["std_dvars"] = table["std_dvars"].astype(object)
        table.loc[7, "std_dvars"] = value
        return table

    rewrite(scan, damage)
    measured = load(scan, "24P").std_dvars
    assert np.flatnonzero(np.isnan(measured)).tolist() == [0, 7]


@pytest.mark.parametrize("value", ["no", 0.5, np.inf, 2])
def test_a_flag_is_0_or_1_and_the_user_may_say_so_himself(tmp_path, value):
    scan = make_scan(tmp_path)
    rewrite(scan, lambda t: t.assign(non_steady_state_outlier00=value))
    with pytest.raises(
        ScanError, match=r"non_steady_state_outlier00 holds .* in line 2, .*--dummy-scans"
    ):
        load(scan, "24P")
    assert load(scan, "24P", dummy_scans=3).n_dummy == 3


def test_flags_that_are_true_and_false_are_flags(tmp_path):
    scan = make_scan(tmp_path)
    flags = np.arange(30) < 4
    rewrite(scan, lambda t: t.assign(non_steady_state_outlier00=flags))
    assert load(scan, "24P").n_dummy == 4
