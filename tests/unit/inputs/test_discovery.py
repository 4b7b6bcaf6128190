"""Where no run can be processed, the error says why."""

import pytest
from derivative_trees import RUN, discover, fill, link_nowhere, reasons

from bids_app.errors import InputError, NeverMadeError, NothingSelectedError


def test_an_annexed_image_is_refused_and_the_error_says_datalad_get(tmp_path):
    link_nowhere(tmp_path, RUN)
    discovery = discover(tmp_path)
    assert "datalad get" in reasons(discovery)[RUN]
    assert isinstance(discovery.nothing_chosen(), InputError)


def test_a_participant_without_bold_is_said_to_have_none(tmp_path):
    (tmp_path / "sub-2" / "anat").mkdir(parents=True)
    error = discover(fill(tmp_path, RUN), participant_labels=["2"]).nothing_chosen()
    assert "have no BOLD file" in str(error)


def test_a_derivative_in_t1w_only_names_what_was_found_and_what_is_needed(tmp_path):
    fill(tmp_path, "sub-1_task-x_space-T1w_desc-preproc_bold.nii.gz")
    error = discover(tmp_path).nothing_chosen()
    assert isinstance(error, NothingSelectedError)
    assert "space-T1w" in str(error)
    assert "--output-spaces" in str(error)


def test_a_derivative_without_any_confounds_was_never_made_unless_none_are_needed(tmp_path):
    discovery = discover(fill(tmp_path, RUN, RUN.replace("sub-1", "sub-2")))
    with pytest.raises(NeverMadeError, match="--level resampling") as caught:
        discovery.require_usable(confounds=True)
    assert caught.value.exit_code == 66
    discovery.require_usable(confounds=False)


def test_one_participant_s_confounds_make_it_a_matter_of_single_runs(tmp_path):
    fill(tmp_path, RUN, "sub-2_task-x_desc-confounds_regressors.tsv")
    discover(tmp_path, participant_labels=["1"]).require_usable(confounds=True)
