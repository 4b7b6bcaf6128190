"""What the user asks for, in all the ways in which users write it."""

import json

import pytest

from bids_app.errors import NothingSelectedError, OptionsError
from bids_app.inputs.entities import Entities
from bids_app.inputs.selection import Selection, load_bids_filter


def test_a_file_that_is_no_list_of_labels_is_never_repeated_in_a_message(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text(
        "participant_id\nsub-01\nAKIA_secret/0\n" + "".join("x_y\n" for _ in range(99))
    )
    with pytest.raises(OptionsError) as caught:
        Selection(participant_labels=[str(path)])
    assert "secret" not in str(caught.value)
    assert f"{path}, line 3, " in caught.value.message
    assert "and 90 more" in caught.value.message
    path.write_text("0123456789abcdef\n01\n")
    chosen = Selection(participant_labels=[str(path), "nobody"])
    assert chosen.participant_labels == ("0123456789abcdef", "01", "nobody")
    with pytest.raises(OptionsError) as caught:
        chosen.participants(["01"])
    assert f"{path}, line 1, nobody: not among" in caught.value.message
    assert "abcdef" not in str(caught.value)


def test_prefixes_lists_and_repetitions_mean_the_same_labels():
    selection = Selection(
        participant_labels=["sub-01", "02,03", "04 sub-05", "01"],
        session_labels=["ses-a"],
        task_ids=["task-rest", "nback"],
        run_labels=["run-1"],
    )
    assert selection.participant_labels == ("01", "02", "03", "04", "05")
    assert selection.session_labels == ("a",)
    assert selection.task_ids == ("rest", "nback")
    assert selection.run_labels == ("1",)


def test_only_one_prefix_is_stripped():
    assert Selection(participant_labels=["sub-sub01"]).participant_labels == ("sub01",)


@pytest.mark.parametrize(
    "text", ["sub-01\n02\n\n", "participant_id\tage\nsub-01\t20\nsub-02\t30\n", "01\n02"]
)
def test_participants_may_come_from_a_list_or_a_participants_table(tmp_path, text):
    path = tmp_path / "who.txt"
    path.write_text(text)
    assert Selection(participant_labels=[str(path)]).participant_labels == ("01", "02")


def test_a_file_of_labels_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(OptionsError, match=r"who\.txt"):
        Selection(participant_labels=[str(tmp_path / "who.txt")])


def test_a_label_that_cannot_exist_is_a_usage_error():
    with pytest.raises(OptionsError, match="ta_sk"):
        Selection(task_ids=["ta_sk"])


def test_a_space_that_is_not_read_is_a_usage_error():
    with pytest.raises(OptionsError, match="MNI152NLin6Asym"):
        Selection(space="T1w")


def test_without_labels_every_participant_is_selected_in_the_order_of_the_dataset():
    assert Selection().participants(["02", "10", "9"]) == ("02", "10", "9")


def test_excluded_participants_are_left_out():
    selection = Selection(exclude_participant_labels=["sub-02"])
    assert selection.participants(["01", "02", "03"]) == ("01", "03")


def test_an_unknown_participant_is_an_error_that_names_near_ones():
    selection = Selection(participant_labels=["MSC1"])
    with pytest.raises(OptionsError, match="MSC01") as caught:
        selection.participants(["MSC01", "MSC10", "other"])
    assert caught.value.exit_code == 2


def test_an_unknown_excluded_participant_is_an_error_too():
    with pytest.raises(OptionsError, match="exclude-participant-label"):
        Selection(exclude_participant_labels=["9"]).participants(["01"])


def test_excluding_everybody_selects_nothing():
    selection = Selection(participant_labels=["1"], exclude_participant_labels=["1"])
    with pytest.raises(NothingSelectedError):
        selection.participants(["1", "2"])


def test_run_1_selects_run_01_and_not_a_scan_without_a_run():
    selection = Selection(run_labels=["1"])
    assert selection.wants(Entities(sub="a", run="01"))
    assert not selection.wants(Entities(sub="a", run="10"))
    assert not selection.wants(Entities(sub="a"))


def test_sessions_and_tasks_are_compared_as_written():
    selection = Selection(session_labels=["1"], task_ids=["rest"])
    assert selection.wants(Entities(sub="a", ses="1", task="rest"))
    assert not selection.wants(Entities(sub="a", ses="01", task="rest"))
    assert not selection.wants(Entities(sub="a", ses="1", task="restAP"))


def test_other_parts_of_a_filter_file_are_ignored(tmp_path):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"t1w": {"session": "01"}, "fmap": {}, "bold": {"run": None}}))
    assert load_bids_filter(path) == {"run": None}


@pytest.mark.parametrize(
    "bold",
    [
        {"task": []},
        {"task": ""},
        {"task": ["rest", []]},
        {"task": {"a": 1}},
        {"run": 1.5},
        {"run": True},
        {"run": 10**299},
        {"invalid_filters": "drop", "tsk": "rest"},
        {"return_type": "id"},
        {"scope": "raw"},
        {"task": "(((", "regex_search": True},
        {"regex_search": "yes"},
    ],
)
def test_what_would_not_filter_as_it_was_meant_is_a_usage_error(tmp_path, bold):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"bold": bold}))
    with pytest.raises(OptionsError, match=f"bids-filter-file.*{next(iter(bold))}"):
        load_bids_filter(path)


@pytest.mark.parametrize("name", ["Bold", "BOLD", "func", "task"])
def test_a_section_of_another_name_does_not_select_everything(tmp_path, name):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({name: {"task": "rest"}}))
    with pytest.raises(OptionsError, match=name):
        load_bids_filter(path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"bold": []}', '{"bold": {"task": ' + "[" * 9999])
def test_a_filter_file_of_another_form_is_a_usage_error(tmp_path, text):
    path = tmp_path / "filter.json"
    path.write_text(text)
    with pytest.raises(OptionsError, match="bids-filter-file"):
        Selection(bids_filter_file=path)
