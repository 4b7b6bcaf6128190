"""Labels and splits: every subject is accounted for, and nobody is in two parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import probe_builders
import pytest

from model.errors import ConfigError
from model.probing import protocol
from model.probing.options import ProbeConfig
from model.probing.participants import LabelError, Labels, read_covariates, read_labels
from model.probing.samples import one_of_each
from model.probing.splits import (
    LeakError,
    Split,
    SplitError,
    draw_split,
    leave_sites_out,
    make_splits,
    read_split,
    thin,
)
from model.probing.summary import cautions, text_table

SHARES = (0.6, 0.2, 0.2)


def table(tmp_path, *rows):
    header = ("participant_id", "sex")
    return probe_builders.write_tsv(tmp_path / "participants.tsv", [header, *rows])


def labels_of(path, column="sex", *, task="classification", allow_missing=False, subjects="abcd"):
    return read_labels(path, column, task=task, subjects=subjects, allow_missing=allow_missing)


def cohort(n, *, task="classification"):
    values = {f"sub-{i:03d}": float(i % 2) for i in range(n)}
    classes = ("f", "m") if task == "classification" else ()
    return Labels(column="x", task=task, classes=classes, values=values)


def test_subjects_without_a_label_are_named(tmp_path):
    path = table(tmp_path, ("a", "f"), ("b", "n/a"), ("c", "m"))
    with pytest.raises(LabelError, match="2 of 4 subjects with scans have no sex: b, d"):
        labels_of(path)


def test_subjects_without_a_label_are_left_out_and_told_where_that_is_asked_for(tmp_path):
    path = table(tmp_path, ("a", "f"), ("b", "n/a"), ("c", "m"), ("e", "m"))
    labels = labels_of(path, allow_missing=True)
    assert labels.subjects == ("a", "c")
    assert labels.without == ("b", "d")


def test_a_cohort_without_any_label_is_refused_even_then(tmp_path):
    path = table(tmp_path, *((name, "n/a") for name in "abcd"))
    with pytest.raises(LabelError, match="4 of 4 subjects"):
        labels_of(path, allow_missing=True)


def test_a_table_that_spells_subjects_otherwise_is_told_so(tmp_path):
    path = table(tmp_path, ("01", "f"), ("02", "m"))
    with pytest.raises(LabelError, match="names such as sub-01, found 01"):
        labels_of(path, subjects=("sub-01", "sub-02"), allow_missing=True)


def test_spaces_around_names_and_values_do_not_matter(tmp_path):
    labels = labels_of(table(tmp_path, (" a", "f "), ("b ", " m")), subjects="ab")
    assert labels.values == {"a": 0, "b": 1}


@pytest.mark.parametrize("text", ["", "n/a", "NA", "nan", " NaN "])
def test_no_spelling_of_a_missing_value_is_a_class(tmp_path, text):
    path = table(tmp_path, ("a", "f"), ("b", "m"), ("c", text))
    assert labels_of(path, subjects="abc", allow_missing=True).classes == ("f", "m")


@pytest.mark.parametrize(
    ("row", "message"),
    [(("", "f"), "line 3 names no participant_id"), (("b", "f", "m"), "line 3: has more cells")],
)
def test_a_row_that_does_not_fit_the_header_is_refused(tmp_path, row, message):
    with pytest.raises(LabelError, match=message):
        labels_of(table(tmp_path, ("a", "f"), row))


def test_one_number_in_two_spellings_is_nothing_to_predict(tmp_path):
    with pytest.raises(LabelError, match="nothing to tell apart"):
        labels_of(table(tmp_path, ("a", "1"), ("b", "1.0")), subjects="ab", task="regression")


def test_one_class_only_is_refused(tmp_path):
    with pytest.raises(LabelError, match="sex f: there is nothing to tell apart"):
        labels_of(table(tmp_path, ("a", "f"), ("b", "f")), subjects="ab")


def test_text_is_no_target_of_a_regression(tmp_path):
    path = table(tmp_path, ("a", "f"), ("b", "3.5"), ("c", "inf"))
    with pytest.raises(LabelError, match="expected numbers, found a 'f', c 'inf'"):
        labels_of(path, task="regression", subjects="abc")


def test_classes_are_indexed_in_sorted_order(tmp_path):
    labels = labels_of(table(tmp_path, ("a", "m"), ("b", "f")), subjects="ba")
    assert labels.classes == ("f", "m")
    assert labels.of(["a", "b"]).tolist() == [1.0, 0.0]


def test_a_subject_with_two_rows_is_refused(tmp_path):
    with pytest.raises(LabelError, match="a has two rows"):
        labels_of(table(tmp_path, ("a", "f"), ("a", "f")))


def test_an_absent_column_is_told_with_those_that_are_there(tmp_path):
    with pytest.raises(LabelError, match="no column age; found participant_id, sex"):
        labels_of(table(tmp_path, ("a", "f")), "age")


def test_the_hash_of_labels_changes_with_a_label(tmp_path):
    first = labels_of(table(tmp_path, ("a", "f"), ("b", "m"), ("c", "m")), subjects="abc")
    other = labels_of(table(tmp_path, ("a", "f"), ("b", "m"), ("c", "f")), subjects="abc")
    assert first.sha256() != other.sha256()


def test_a_split_holds_every_subject_once_and_each_class_in_its_share():
    labels = cohort(50)
    split = draw_split(labels, SHARES, seed=0)
    assert sorted(split.train + split.validation + split.test) == list(labels.subjects)
    assert [labels.of(part).mean() for part in (split.train, split.test)] == [0.5, 0.5]
    assert (len(split.train), len(split.validation), len(split.test)) == (30, 10, 10)


def test_splits_depend_on_the_seed_and_on_nothing_else():
    labels = cohort(40)
    first, again, other = (draw_split(labels, SHARES, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.test != other.test


def test_a_subject_planted_in_two_parts_is_refused_by_name():
    with pytest.raises(LeakError, match="in train and in test: sub-2"):
        Split(name="x", train=("sub-1", "sub-2"), validation=("sub-3",), test=("sub-2",))


def test_a_class_too_small_for_three_parts_is_refused():
    values = {f"sub-{i}": float(i < 2) for i in range(20)}
    labels = Labels(column="x", task="classification", classes=("m", "rare"), values=values)
    with pytest.raises(SplitError, match=r"fewer of class rare \(2\)"):
        draw_split(labels, SHARES, seed=0)


def test_a_cohort_too_small_for_a_regression_is_refused():
    with pytest.raises(SplitError, match=r"at least 2 .* fewer of the cohort \(4\)"):
        draw_split(cohort(4, task="regression"), SHARES, seed=0)


def test_each_site_is_tested_on_once_and_trained_on_in_all_other_splits():
    labels = cohort(30)
    sites = {s: "xyz"[i // 2 % 3] for i, s in enumerate(labels.subjects)}
    splits = leave_sites_out(labels, sites, SHARES, seed=0)
    assert [split.name for split in splits] == ["site x", "site y", "site z"]
    assert sorted(s for split in splits for s in split.test) == list(labels.subjects)
    for split in splits:
        tested = {sites[s] for s in split.test}
        assert tested.isdisjoint({sites[s] for s in split.train + split.validation})


def test_a_single_site_cannot_be_left_out():
    labels = cohort(10)
    with pytest.raises(SplitError, match="at least two sites, found x only"):
        leave_sites_out(labels, dict.fromkeys(labels.subjects, "x"), SHARES, seed=0)


def test_a_class_that_only_one_site_has_is_refused():
    labels = cohort(10)
    sites = {s: "ab"[int(value)] for s, value in labels.values.items()}
    with pytest.raises(SplitError, match="class f has 0 subjects outside site a"):
        leave_sites_out(labels, sites, SHARES, seed=0)


def test_subjects_without_a_site_are_named(tmp_path):
    rows = [("participant_id", "site"), *((f"sub-{i:03d}", "x") for i in range(9))]
    path = probe_builders.write_tsv(tmp_path / "p.tsv", [*rows, ("sub-009", "n/a")])
    config = ProbeConfig(target="x", task="classification", site="site")
    with pytest.raises(SplitError, match="subjects without site: sub-009"):
        make_splits(config, cohort(10), path)


def fixed(tmp_path, *rows):
    header = ("participant_id", "split")
    return probe_builders.write_tsv(tmp_path / "split.tsv", [header, *rows])


def test_a_fixed_split_is_taken_as_it_is(tmp_path):
    parts = ("train", "train", "validation", "validation", "test", "test")
    rows = [(f"sub-{i:03d}", part) for i, part in enumerate(parts)]
    split = read_split(fixed(tmp_path, *rows), cohort(7))
    assert (split.train, split.test) == (("sub-000", "sub-001"), ("sub-004", "sub-005"))


@pytest.mark.parametrize("lacking", ["train", "validation", "test"])
def test_a_part_of_a_fixed_split_without_a_class_is_refused(tmp_path, lacking):
    parts = ("train", "train", "validation", "validation", "test", "test")
    rows = [(f"sub-{i:03d}", part) for i, part in enumerate(parts)]
    del rows[2 * ("train", "validation", "test").index(lacking)]
    with pytest.raises(SplitError, match=f"found in {lacking} none of class f"):
        read_split(fixed(tmp_path, *rows), cohort(6))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ((("sub-000", "train"), ("sub-000", "test")), LabelError, "sub-000 has two rows"),
        ((("sub-000", "training"),), SplitError, "is in 'training'"),
        ((("sub-099", "train"),), SplitError, "without scan or label: sub-099"),
        ((("sub-000", "train"), ("sub-001", "test")), SplitError, "no subjects for validation"),
    ],
)
def test_a_fixed_split_that_does_not_fit_is_refused(tmp_path, rows, error, message):
    with pytest.raises(error, match=message):
        read_split(fixed(tmp_path, *rows), cohort(5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": (0.6, 0.3, 0.3)}, "sum to 1"),
        ({"shares": (0.8, 0.2, 0.0)}, r"shares \(0.8, 0.2, 0.0\) .*above 0"),
        ({"methods": ("svm",)}, "unknown methods"),
        ({"methods": ("probe", "probe")}, "expected each once"),
        ({"readout": ("cls", "cls")}, "once"),
        ({"task": "clustering"}, "clustering"),
        ({"site": "site", "splits": Path("x.tsv")}, "exclude one another"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ProbeConfig(**{"target": "x", "task": "classification"} | settings)


@pytest.mark.parametrize("n_train", [2, 7, 30])
def test_a_fixed_number_of_training_subjects_is_stratified_and_nobody_else_moves(n_train):
    labels = cohort(50)
    whole = draw_split(labels, SHARES, seed=0)
    few = thin(whole, labels, n_train, seed=0)
    assert (few.validation, few.test) == (whole.validation, whole.test)
    assert len(few.train) == n_train
    assert set(few.train) <= set(whole.train)
    assert abs(labels.of(few.train).sum() - n_train / 2) <= 0.5


def test_more_training_subjects_than_there_are_is_refused():
    labels = cohort(50)
    split = draw_split(labels, SHARES, seed=0)
    with pytest.raises(SplitError, match="30 subjects to train on, fewer than the 31"):
        thin(split, labels, 31, seed=0)
    with pytest.raises(SplitError, match="leave a class without any"):
        thin(split, labels, 1, seed=0)


def test_one_scan_of_each_subject_is_drawn_by_the_seed():
    owners = ["b", "a", "b", "a", "c"]
    drawn = {tuple(one_of_each(owners, seed=seed)) for seed in range(20)}
    assert drawn == {(0, 1, 4), (0, 3, 4), (1, 2, 4), (2, 3, 4)}
    assert one_of_each(owners, seed=3) == one_of_each(owners, seed=3)


def test_the_shares_of_a_regression_are_kept():
    split = draw_split(cohort(100, task="regression"), SHARES, seed=0)
    assert np.array([len(split.train), len(split.validation), len(split.test)]).tolist() == [
        60,
        20,
        20,
    ]


# People that lack something beside the target


def test_people_without_a_covariate_or_site_are_left_out_if_that_is_asked_for(tmp_path, caplog):
    path = tmp_path / "participants.tsv"
    rows = ["a\tf\t30\tx", "b\tm\tn/a\tx", "c\tf\t40\tn/a", "d\tm\t50\ty", "e\tf\t60\ty"]
    path.write_text("\n".join(["participant_id\tsex\tage\tsite", *rows]) + "\n")
    config = ProbeConfig(
        target="sex", task="classification", covariates=("age",), harmonize="site",
        allow_missing=True,
    )  # fmt: skip
    labels = protocol.labels_of(path, config, "abcde")
    assert labels.subjects == ("a", "d", "e")
    assert labels.without == ("b", "c")
    assert "without age: b" in caplog.text
    assert "without site: c" in caplog.text
    refusing = replace(config, allow_missing=False)
    assert protocol.labels_of(path, refusing, "abcde").subjects == ("a", "b", "c", "d", "e")
    with pytest.raises(LabelError, match="1 subjects have no age: b") as told:
        read_covariates(path, ("age",), "abcde")
    assert "--allow-missing" in str(told.value)


def test_of_few_people_other_shares_are_suggested_where_splits_are_drawn():
    values = {f"{i:02d}": float(i % 2) for i in range(14)}
    labels = Labels(column="x", task="classification", classes=("a", "b"), values=values)
    splits = [draw_split(labels, (0.6, 0.2, 0.2), seed=0)]
    (told,) = cautions(labels, splits, are_drawn=True)
    assert "--shares 0.4 0.2 0.4" in told
    (told,) = cautions(labels, splits, are_drawn=False)
    assert "--shares" not in told
    wider = [draw_split(labels, (0.4, 0.2, 0.4), seed=0)]
    assert "--shares" not in cautions(labels, wider, are_drawn=True)[0]


def test_the_console_says_splits_and_the_interval_of_every_measure():
    numbers = {"n": 10, "mean": 0.5, "sd": 0.1, "low": 0.25, "high": 0.75}
    summary = {"linear": {"balanced_accuracy": numbers, "auc": numbers}}
    header, line, _ = text_table(summary, {}, "classification", p_values={}).splitlines()
    assert header.split()[:2] == ["method", "splits"]
    assert line.count("0.500 [0.250, 0.750]") == 2
