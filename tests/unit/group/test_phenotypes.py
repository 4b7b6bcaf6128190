"""Columns about people and sessions: joined when asked for, n/a where unknown, never guessed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import outputs
import pandas as pd
import pytest

from bids_app.errors import OptionsError
from bids_app.group.export import export_group
from bids_app.group.options import GroupOptions
from bids_app.group.phenotypes import read_phenotypes
from semantoks import load_embeddings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    for seed in range(4):
        outputs.write_run(folder, f"{seed:02d}", seed=seed)
    outputs.write_run(folder, "09", seed=9, Status="failed", Reason="no mask")
    return folder


def in_session(out: Path, sub: str, ses: str, *, seed: int) -> None:
    status = outputs.write_run(out, sub, seed=seed)
    folder = out / f"sub-{sub}" / f"ses-{ses}" / "func"
    folder.mkdir(parents=True)
    for path in list(status.parent.iterdir()):
        path.rename(folder / path.name.replace("_task", f"_ses-{ses}_task"))
    (new,) = folder.glob("*status.json")
    content = json.loads(
        new.read_text().replace("_task-rest_space", f"_ses-{ses}_task-rest_space")
    )
    content["Entities"] = {"sub": sub, "ses": ses, **content["Entities"]}
    new.write_text(json.dumps(content))


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join("\t".join(line.split()) + "\n" for line in lines))
    return path


def exported(out: Path, **paths: Path) -> pd.DataFrame:
    export_group(out, GroupOptions(tsv=True, **paths))
    return pd.read_parquet(out / "group_desc-scan_embedding.parquet")


def test_columns_are_joined_with_and_without_prefix_and_the_absent_are_said(
    tmp_path, out, caplog
) -> None:
    people = written(
        tmp_path / "participants.tsv",
        "participant_id age sex site code",
        "sub-00 20 F a 01",
        "01 30 n/a b 02",
        "sub-02 40.5 M a 10",
        "sub-77 50 M a 11",
        "sub-09 60 F b 12",
    )
    table = exported(out, participants=people)
    assert table["age"].tolist()[:3] == [20.0, 30.0, 40.5]
    assert np.isnan(table["age"][3])
    assert table["sex"].isna().tolist() == [False, True, False, True]
    assert table["code"].tolist()[:3] == ["01", "02", "10"]
    assert "has no row for 1 of 5 participants with scans, n/a stands there: sub-03" in caplog.text
    columns = [*table.columns]
    assert columns.index("source") < columns.index("age") < columns.index("configuration_hash")
    status = pd.read_csv(out / "group_status.tsv", sep="\t", na_values="n/a", dtype={"code": str})
    assert status["age"].tolist()[-1] == 60
    assert status["code"].tolist()[0] == "01"
    assert "configuration_hash" in status
    text = pd.read_csv(out / "group_desc-scan_embedding.tsv", sep="\t", na_values="n/a")
    assert text["age"].tolist()[:3] == [20.0, 30.0, 40.5]


def test_what_is_said_of_columns_goes_along_and_the_file_is_named_by_its_content(
    tmp_path, out
) -> None:
    people = written(tmp_path / "participants.tsv", "participant_id age Model", "sub-00 20 x")
    about = {"age": {"Units": "years"}, "Model": {"Description": "no part of our own"}, "x": 1}
    people.with_suffix(".json").write_text(json.dumps(about))
    exported(out, participants=tmp_path)  # the folder that has it
    said = json.loads((out / "group_desc-scan_embedding.json").read_text())
    assert said["age"] == {"Units": "years"}
    assert said["Model"]["WeightsSHA256"]
    assert said["Participants"]["Columns"] == ["age", "Model"]
    assert list(said["Participants"]["Files"]) == ["participants.tsv"]


def test_sessions_lead_over_people_and_come_as_one_table_or_as_bids_has_them(
    tmp_path, out, caplog
) -> None:
    for ses in ("1", "2"):
        in_session(out, "05", ses, seed=int(ses))
    people = written(tmp_path / "participants.tsv", "participant_id age", "05 20", "00 21")
    one = written(
        tmp_path / "sessions.tsv", "participant_id session_id mood", "05 1 3", "sub-05 ses-2 4"
    )
    table = exported(out, participants=people, sessions=one).set_index("participant_id")
    assert table.loc["sub-05", "mood"].tolist() == [3, 4]
    assert table.loc["sub-05", "age"].tolist() == [20, 20]
    assert "no row of these sessions" in caplog.text
    (tmp_path / "bids" / "sub-05").mkdir(parents=True)
    written(tmp_path / "bids/sub-05/sub-05_sessions.tsv", "session_id mood", "ses-1 3", "ses-2 4")
    (tmp_path / "bids" / "sub-00").mkdir()
    written(tmp_path / "bids/sub-00/sub-00_sessions.tsv", "session_id mood", "ses-1 3")
    again = exported(out, participants=people, sessions=tmp_path / "bids")
    assert again.set_index("participant_id").loc["sub-05", "mood"].tolist() == [3, 4]
    rows = written(tmp_path / "p.tsv", "participant_id session_id mood", "05 1 3", "05 2 4")
    third = exported(out, participants=rows).set_index("participant_id")
    assert third.loc["sub-05", "mood"].tolist() == [3, 4]


REFUSED = {
    "nobody": (["participant_id age", "sub-1 20"], "none of the 5 participants .* found sub-1"),
    "twice": (["participant_id age", "sub-01 20", "01 30"], "sub-01 has two rows"),
    "ours": (["participant_id task_id mean_fd tr age", "sub-01 a 1 2 3"], "task_id, mean_fd, tr"),
    "an embedding's": (["participant_id Vis_000", "sub-01 1"], "Vis_000"),
    "no id": (["subject age", "sub-01 20"], "no column participant_id; found subject, age"),
    "a row of nobody": (["age participant_id", "20"], "names nobody"),
    "two of one name": (["participant_id age age", "sub-01 1 2"], "two columns are called age"),
    "empty": ([], "the table is empty"),
}


@pytest.mark.parametrize(("lines", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_joined_is_one_error_and_nothing_is_written(
    tmp_path, out, lines, told
) -> None:
    people = written(tmp_path / "participants.tsv", *lines)
    with pytest.raises(OptionsError, match=told):
        export_group(out, GroupOptions(participants=people))
    assert not [*out.glob("group*")]


def test_a_number_of_some_other_name_than_ours_collides_too(tmp_path, out) -> None:
    outputs.write_run(out, "05", seed=5, QC={"novel": 1.0})
    people = written(tmp_path / "participants.tsv", "participant_id novel", "sub-01 1")
    with pytest.raises(OptionsError, match="novel"):
        export_group(out, GroupOptions(participants=people))


def test_python_joins_the_same_and_a_table_that_has_them_loses_none(tmp_path, out, caplog) -> None:
    people = written(tmp_path / "p.tsv", "participant_id age sex", "00 20 F", "01 30 M")
    _, joined = load_embeddings(out, participants=people)
    exported(out, participants=people)
    _, table = load_embeddings(out)
    pd.testing.assert_frame_equal(
        joined[["participant_id", "age", "sex"]], table[["participant_id", "age", "sex"]]
    )
    other = written(tmp_path / "q.tsv", "participant_id age", "00 99")
    assert load_embeddings(out, participants=other).table["age"][0] == 99
    assert "sex" not in load_embeddings(out, participants=other).table
    outputs.write_run(out, "06", seed=6)
    assert "age" not in load_embeddings(out).table
    assert "it has columns of p.tsv" in caplog.text
    export_group(out)
    assert "had columns of p.tsv, which are not joined this time" in caplog.text


def test_numbers_are_numbers_labels_are_text_and_a_few_words_are_said(tmp_path, caplog) -> None:
    people = written(
        tmp_path / "p.tsv",
        "participant_id whole number label words huge",
        "01 1 1.5 007 88 1e999",
        "02 -2 .5 1 87 1",
        "03 n/a 1e-3 2 89+ 2",
    )
    of = read_phenotypes(people).of({"participant_id": "sub-01"})
    assert of == {"whole": 1, "number": 1.5, "label": "007", "words": "88", "huge": "1e999"}
    assert "words is kept as text: 2 of 3 values are numbers, but not 89+" in caplog.text


def test_numbers_that_are_joined_are_not_rounded(tmp_path, out) -> None:
    people = written(tmp_path / "p.tsv", "participant_id n", "00 123456789", "01 -1.5", "02 1e-7")
    exported(out, participants=people)
    for name in ("group_status.tsv", "group_desc-scan_embedding.tsv"):
        found = pd.read_csv(out / name, sep="\t", dtype=str, keep_default_na=False)
        assert found["n"].tolist()[:4] == ["123456789", "-1.5", "1E-7", "n/a"]


def test_two_files_of_one_name_are_both_recorded(tmp_path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    people = written(tmp_path / "a" / "p.tsv", "participant_id x", "00 1")
    sessions = written(tmp_path / "b" / "p.tsv", "participant_id session_id y", "00 1 2")
    assert list(read_phenotypes(people, sessions).files) == ["a/p.tsv", "b/p.tsv"]
    assert list(read_phenotypes(people).files) == ["p.tsv"]


def test_labels_that_lost_their_zeros_are_hinted_at(tmp_path, out, caplog) -> None:
    people = written(tmp_path / "p.tsv", "participant_id x", "00 1", "2 1", "77 1")
    caplog.set_level("INFO")
    exported(out, participants=people)
    assert "p.tsv: has no row for 4 of 5 participants with scans" in caplog.text
    assert "2 is not 02" in caplog.text
    assert "has rows for some who have no scan here: sub-2, sub-77" in caplog.text


@pytest.mark.parametrize("code", ["E10", ".e5", "9007199254740993", "123456789012345678901"])
def test_codes_and_long_identifiers_stay_as_they_are(tmp_path, code) -> None:
    people = written(tmp_path / "people.tsv", "participant_id known", f"sub-00 {code}")
    known = read_phenotypes(people, None)
    assert known.of({"participant_id": "sub-00"}) == {"known": code}


@pytest.mark.parametrize("name", ["values", "columns", "networks", "_index"])
def test_names_that_files_of_arrays_need_are_refused(tmp_path, name) -> None:
    people = written(tmp_path / "people.tsv", f"participant_id {name}", "sub-00 1")
    with pytest.raises(OptionsError, match=name):
        read_phenotypes(people, None)


def test_no_session_of_whomever_replaces_what_the_participants_table_says(tmp_path) -> None:
    people = written(tmp_path / "people.tsv", "participant_id age", "sub-00 30", "sub-01 40")
    for sub, column in (("00", "mood"), ("01", "age")):
        (tmp_path / f"sub-{sub}").mkdir()
        written(tmp_path / f"sub-{sub}/sub-{sub}_sessions.tsv", f"session_id {column}", "ses-1 9")
    with pytest.raises(OptionsError, match=r"sub-01_sessions.tsv: columns of .*age"):
        read_phenotypes(people, tmp_path)


def test_a_wrong_option_leaves_the_cohorts_page_as_it_was(tmp_path, out) -> None:
    pytest.importorskip("combatlearn", reason="no combatlearn")
    people = written(tmp_path / "people.tsv", "participant_id site", "sub-00 a", "sub-01 b")
    export_group(out, GroupOptions(participants=people), page=True)
    before = (out / "group.html").read_bytes()
    with pytest.raises(OptionsError, match="typo"):
        export_group(out, GroupOptions(participants=people, harmonize="typo"), page=True)
    assert (out / "group.html").read_bytes() == before


def test_a_folder_without_the_table_is_told_what_is_taken(tmp_path) -> None:
    with pytest.raises(OptionsError, match="the folder of a BIDS dataset that has one"):
        read_phenotypes(tmp_path)


def test_a_column_that_looks_like_a_number_of_the_embedding_is_called_so(tmp_path) -> None:
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tbdi_001\n01\t3\n")
    with pytest.raises(OptionsError, match=r"look like numbers of an embedding .*: bdi_001"):
        read_phenotypes(table)
