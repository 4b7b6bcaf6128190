"""Which scans are fitted to, how they are named on a card, and how they are found again."""

from __future__ import annotations

import json
import shutil

import pytest
from shard_builders import make_shards

from model.errors import ConfigError
from model.fitting.data import FitDataError, open_data, reopen
from model.fitting.settings import FitConfig
from model.shards.stored import ShardError, Shards
from model.shards.subjects import SubjectsError
from model.spec import InputSpec


def open_all(*folders, spec=None, **settings):
    config = FitConfig(shards=tuple(map(str, folders)), **settings)
    return open_data(config, spec or InputSpec(), simulation=None, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("data") / "study", 10)


def test_a_list_leaves_subjects_out(folder):
    everybody, some = open_all(folder), open_all(folder, subjects="train.txt")
    listed = (folder / "train.txt").read_text().split()
    assert {s.subject for s in some.cohorts[0].scans} == set(listed)
    assert len(everybody.cohorts[0].scans) == 20
    told = [d.describe()["cohorts"]["study"] for d in (everybody, some)]
    assert told[0]["index_sha256"] == told[1]["index_sha256"]
    assert told[0]["scans_sha256"] != told[1]["scans_sha256"]


def test_a_card_names_cohorts_and_no_path(folder):
    told = open_all(folder).describe()
    assert str(folder.parent) not in json.dumps(told)
    assert told["cohorts"]["study"]["licence"] == "not stated"
    assert told["cohorts"]["study"]["n_subjects"] == 10


def test_scans_are_found_again_wherever_they_lie_now(folder, tmp_path):
    told = open_all(folder).describe()["cohorts"]
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    other = make_shards(tmp_path / "other", 3)
    (found,) = reopen(told, [other, moved], "", InputSpec())
    assert (found.name, found.describe()) == ("study", told["study"])


def test_other_scans_than_those_fitted_to_are_not_taken(folder, tmp_path):
    told = open_all(folder).describe()["cohorts"]
    other = make_shards(tmp_path / "study", 3)
    with pytest.raises(FitDataError, match="not at hand: study"):
        reopen(told, [other], "", InputSpec())
    with pytest.raises(FitDataError, match="other scans of study"):
        reopen(told, [folder], "train.txt", InputSpec())


def test_what_cannot_be_fitted_to_is_refused(folder, tmp_path):
    twin = shutil.copytree(folder, tmp_path / "study")
    with pytest.raises(ConfigError, match="two folders are called study"):
        open_all(folder, twin)
    with pytest.raises(ConfigError, match="twice"):
        open_all(folder, folder)
    with pytest.raises(ConfigError, match="without weight"):
        open_all(folder, simulated=1.0)
    with pytest.raises(ShardError, match=r"expected TR 2\.0 s and normalization zscore"):
        open_all(folder, spec=InputSpec(normalization="zscore"))
    with pytest.raises(SubjectsError, match=r"missing: nobody\.txt"):
        open_all(folder, subjects="nobody.txt")


def test_damaged_scans_are_found_before_anything_is_fitted(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / Shards(copy).scans[0].shard
    content = bytearray(path.read_bytes())
    content[-4:] = b"\0\0\0\0"
    path.write_bytes(content)
    with pytest.raises(ShardError, match="damaged"):
        open_all(copy).verify()
