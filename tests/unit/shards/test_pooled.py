"""Several folders of shards are read, listed and described as one, each cohort under its name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shard_builders import make_shards, noise_scans

from model.shards.crops import Cohort
from model.shards.pooled import PooledShards, open_shards
from model.shards.store import write_shards
from model.shards.stored import ShardError, Shards
from model.shards.subjects import LISTS
from model.spec import InputSpec

FILES = {name: f"{name}.txt" for name in LISTS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    return make_shards(data / "here", 6, n_sessions=1), make_shards(data / "there", 8)


def test_scans_of_all_cohorts_are_read(folders):
    pooled = open_shards(folders)
    assert len(pooled.scans) == 6 + 16
    pooled.verify(pooled.scans)
    last = Shards(folders[1]).scans[-1]
    np.testing.assert_array_equal(
        pooled.read(pooled.scans[-1], start=3, stop=9), Shards(folders[1]).read(last)[3:9]
    )


def test_subjects_of_one_label_in_two_cohorts_are_two(folders):
    pooled = open_shards(folders)
    assert len(pooled.by_subject) == 14
    assert list(pooled.by_subject["there/sub-03"]) == ["ses-1", "ses-2"]
    assert list(pooled.by_subject["here/sub-03"]) == ["ses-1"]


def test_lists_of_all_cohorts_are_joined(folders):
    joined = open_shards(folders).lists(FILES)
    alone = [Shards(folder).lists(FILES) for folder in folders]
    for name in LISTS:
        expected = [
            f"{cohort}/{s}"
            for cohort, lists in zip(("here", "there"), alone, strict=True)
            for s in lists[name].subjects
        ]
        assert list(joined[name].subjects) == expected
    assert len({joined["train"].sha256, *(lists["train"].sha256 for lists in alone)}) == 3


def test_what_is_described_changes_with_either_cohort(folders, tmp_path):
    pooled = open_shards(folders).description
    assert pooled.n_subjects == 14
    assert pooled.n_scans == 22
    assert pooled.made_from == "here: noise; there: noise"
    assert pooled.licence == "here: not stated; there: not stated"
    other = open_shards([folders[0], make_shards(tmp_path / "there", 9)]).description
    assert pooled.index_sha256 != other.index_sha256


def test_crops_are_drawn_of_all_cohorts(folders):
    pooled = open_shards(folders)
    cohort = Cohort(pooled, list(pooled.by_subject), InputSpec(), n_sessions=1)
    batch = cohort.subjects_of(0, batch_size=14, seed=1)
    assert {subject.partition("/")[0] for subject in batch} == {"here", "there"}


def test_cohorts_of_one_name_are_refused(folders, tmp_path):
    (tmp_path / "here").symlink_to(folders[1])
    with pytest.raises(ShardError, match="different names"):
        PooledShards([folders[1], tmp_path / "here"])


def test_cohorts_that_are_normalized_otherwise_are_refused(folders, tmp_path):
    scans = (replace(scan, series=replace(scan.series, unit="zscore")) for scan in noise_scans(3))
    write_shards(tmp_path / "z", scans, InputSpec(normalization="zscore"), made_from="noise")
    with pytest.raises(ShardError, match=r"here: TR 2\.0 s, robust; z: TR 2\.0 s, zscore"):
        PooledShards([folders[0], tmp_path / "z"])


def test_one_folder_is_itself(folders):
    assert open_shards(folders[:1]).folder == folders[0]
