"""Names: what is parsed is what was written, and nothing else is accepted."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_app.inputs.entities import Entities, parse_name, same_run_label, split_name

LABELS = st.text("abcXYZ019+", min_size=1, max_size=6)
ENTITIES = st.builds(
    Entities,
    sub=LABELS,
    **{f.name: st.none() | LABELS for f in fields(Entities) if f.name != "sub"},
)


@given(ENTITIES, st.sampled_from([".nii.gz", ".nii", ".json", ".dtseries.nii", ".func.gii"]))
def test_a_composed_name_parses_back_to_the_same_entities(entities, extension):
    assert parse_name(f"{entities.stem()}_bold{extension}") == (entities, "bold", extension)


@given(ENTITIES, LABELS, LABELS)
def test_changes_enter_the_name_and_everything_else_stays(entities, atlas, desc):
    labels, _, _ = split_name(f"{entities.stem(atlas=atlas, desc=desc)}_x.tsv")
    assert labels == {**entities.present(), "atlas": atlas, "desc": desc}


def test_entities_stand_in_the_order_of_the_schema_with_atlas_before_res():
    entities = parse_name(
        "sub-1_ses-a_task-x_acq-y_dir-AP_run-01_hemi-L_space-S_res-2_den-9k_desc-preproc_bold.nii"
    )[0]
    assert entities.stem(atlas="A", desc=None) == (
        "sub-1_ses-a_task-x_acq-y_dir-AP_run-01_hemi-L_space-S_atlas-A_res-2_den-9k"
    )


def test_padding_of_a_run_label_is_kept_as_written():
    entities, _, _ = parse_name("sub-007_task-rest_run-01_bold.nii.gz")
    assert (entities.sub, entities.run) == ("007", "01")


def test_the_run_stem_is_shared_by_all_spaces_of_a_run():
    one = parse_name("sub-1_task-x_run-1_space-A_res-2_desc-preproc_bold.nii.gz")[0]
    other = parse_name("sub-1_task-x_run-1_hemi-L_space-B_bold.func.gii")[0]
    assert one.run_stem == other.run_stem == "sub-1_task-x_run-1"


@pytest.mark.parametrize(
    "name",
    [
        "sub-1_task-x_desc-preproc-smooth90_bold.nii.gz",  # hyphen in a value
        "sub-1_task-x_bold_space-T1w_preproc.nii.gz",  # fMRIPrep 1.1
        "sub-1_task-x_task-y_bold.nii.gz",  # twice
        "task-x_bold.nii.gz",  # no participant
        "sub-1_task-_bold.nii.gz",  # empty label
        "._sub-1_task-x_bold.nii.gz",  # macOS
        "sub-1_task-x_bold",  # no extension
        "sub-1_task-x_label-brain_mask.nii.gz",  # an entity that BOLD does not have
        "dataset_description.json",
        "",
    ],
)
def test_any_other_name_is_refused(name):
    assert parse_name(name) is None


def test_a_label_that_no_name_can_hold_is_refused_on_construction():
    with pytest.raises(ValueError, match="task-a_b"):
        Entities(sub="1", task="a_b")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("1", "01", True), ("01", "1", True), ("1", "2", False), ("a", "a", True), ("a", "1", False)],
)
def test_run_labels_compare_as_numbers_where_they_are_numbers(one, other, same):
    assert same_run_label(one, other) is same
