"""Which folder is the derivative, and what a folder is instead."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from derivative_trees import RUN, discover, fill

from bids_app.errors import InputError, NeverMadeError
from bids_app.inputs.locate import locate_derivative


@contextmanager
def unprivileged():
    """Be a user to whom file permissions apply; root reads everything."""
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


def test_folders_without_a_bids_label_are_warned_of_and_named_if_there_is_nothing_else(
    tmp_path, caplog
):
    for label in ("CC_01", "A-1"):
        (tmp_path / f"sub-{label}" / "func").mkdir(parents=True)
    (tmp_path / "sub-1.html").touch()
    with pytest.raises(InputError, match=r"2 sub-\* folders.*sub-A-1"):
        locate_derivative(tmp_path)
    discover(fill(tmp_path, RUN))
    assert [record.getMessage().split()[0] for record in caplog.records] == ["2"]


def test_a_folder_that_cannot_be_listed_costs_its_participant_if_that_is_asked_for():
    with tempfile.TemporaryDirectory() as folder:
        root = fill(Path(folder), RUN, RUN.replace("sub-1", "sub-2"))
        discover(root)  # the libraries must be loaded before the user changes
        for path in (root, root / "sub-2", root / "sub-2" / "func", root / "sub-1"):
            path.chmod(0o755)
        (root / "sub-1" / "func").chmod(0)
        try:
            with unprivileged():
                both = discover(locate_derivative(root))
                alone = discover(locate_derivative(root), participant_labels=["1"])
                others = discover(locate_derivative(root), exclude_participant_labels=["1"])
        finally:
            (root / "sub-1" / "func").chmod(0o755)
    assert [scan.entities.sub for scan in both.scans] == ["2"]
    assert (list(both.unread), len(both.lost)) == (["1"], 1)
    assert "sub-1/func: cannot be listed" in both.lost[0]
    assert both.left_out() == {}
    error = alone.nothing_chosen()
    assert "sub-1/func: cannot be listed" in str(error)
    assert "--exclude-participant-label" in error.hint
    assert (len(others.scans), others.unread) == (1, {})


ODD = {
    "sub-01.1": "found .",
    "sub-a_b": "found _",
    "Sub-02": "does not begin with sub-",
    "ssub-02": "does not begin with sub-",
    "sub02": "does not begin with sub-",
    "sub-": "empty",
    "sub-1/ses-a.b": "found .",
    "sub-1/SES-1": "does not begin with ses-",
}


def test_every_odd_folder_is_named_with_what_is_wrong(tmp_path, caplog):
    fill(tmp_path, RUN)
    for name in (*ODD, b"sub-\xff\n".decode(errors="surrogateescape")):
        (tmp_path / name).mkdir()
    for name in ("sub-01.html", "subjects", "sessions"):
        (tmp_path / name).touch()
    assert len(discover(tmp_path).scans) == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{len(ODD) + 1} folders")
    assert r"sub-\xff\n (it is not UTF-8" in message
    for name, why in ODD.items():
        assert why in message.partition(f"{name} (")[2].partition(")")[0]


def test_one_odd_folder_is_one_folder(tmp_path, caplog):
    fill(tmp_path, RUN)
    (tmp_path / "sub-a_b").mkdir()
    discover(tmp_path)
    assert "1 folder without a BIDS label, not read: sub-a_b (" in caplog.text


@pytest.mark.parametrize(
    "below",
    [
        "",
        "fmriprep",
        "derivatives/fmriprep",
        "derivatives/fmriprep-23.2.0",
        "derivatives/B/fmriprep",
        "derivatives/fmriprep/fmriprep",
        "derivatives/fMRIPrep",
        "derivatives/nibabies-24.0",
    ],
)
def test_the_derivative_is_found_from_the_dataset_above_it(tmp_path, below):
    fill(tmp_path / below, RUN)
    assert locate_derivative(tmp_path) == tmp_path / below


def test_a_raw_dataset_leads_to_its_derivative(tmp_path):
    fill(tmp_path, "sub-1_task-x_bold.nii.gz")
    fill(tmp_path / "derivatives" / "fmriprep", RUN)
    assert locate_derivative(tmp_path) == tmp_path / "derivatives" / "fmriprep"


def test_the_derivatives_option_wins_over_the_dataset(tmp_path):
    fill(tmp_path / "a" / "fmriprep", RUN)
    fill(tmp_path / "b", "sub-1_task-x_bold.nii.gz")
    found = locate_derivative(tmp_path / "b", tmp_path / "a")
    assert found == tmp_path / "a" / "fmriprep"


def test_several_derivatives_are_listed_and_none_is_chosen(tmp_path):
    for version in ("A", "B"):
        fill(tmp_path / "derivatives" / version / "fmriprep", RUN)
    with pytest.raises(InputError, match=r"A/fmriprep.*B/fmriprep"):
        locate_derivative(tmp_path)


def test_a_link_to_the_derivative_is_not_a_second_one(tmp_path):
    fill(tmp_path / "derivatives" / "fmriprep-23.2.0", RUN)
    (tmp_path / "derivatives" / "fmriprep").symlink_to("fmriprep-23.2.0")
    assert locate_derivative(tmp_path) == tmp_path / "derivatives" / "fmriprep"


def test_a_file_is_said_to_be_no_folder(tmp_path):
    fill(tmp_path, RUN)
    with pytest.raises(InputError, match="not a folder"):
        locate_derivative(tmp_path / "sub-1" / "func" / RUN)


def test_a_raw_dataset_alone_is_said_to_be_raw(tmp_path):
    fill(tmp_path, "sub-1_task-x_bold.nii.gz")
    with pytest.raises(InputError, match="raw BIDS"):
        locate_derivative(tmp_path)


def test_a_raw_dataset_beside_its_derivative_names_the_path_that_would_work(tmp_path):
    fill(tmp_path / "raw", "sub-1_task-x_bold.nii.gz")
    fill(tmp_path / "fmriprep", RUN)
    with pytest.raises(InputError, match=f"would work: {tmp_path}/fmriprep"):
        locate_derivative(tmp_path / "raw")


def test_the_folder_of_one_participant_names_the_folder_above(tmp_path):
    fill(tmp_path / "out", RUN)
    with pytest.raises(InputError, match=f"would work: {tmp_path}/out$"):
        locate_derivative(tmp_path / "out" / "sub-1")


def test_fmriprep_1_1_is_recognized_by_its_names(tmp_path):
    func = tmp_path / "sub-1" / "func"
    func.mkdir(parents=True)
    (func / "sub-1_task-x_bold_space-T1w_preproc.nii.gz").write_text("")
    with pytest.raises(InputError, match=r"1\.1"):
        locate_derivative(tmp_path)


def test_a_derivative_without_bold_was_never_made(tmp_path):
    fill(tmp_path, "sub-1_task-x_desc-hmc_boldref.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    with pytest.raises(NeverMadeError, match="--level minimal") as caught:
        locate_derivative(tmp_path)
    assert caught.value.exit_code == 66


def test_a_derivative_without_bold_is_known_by_its_names_too(tmp_path):
    fill(tmp_path, "sub-1_task-x_desc-hmc_boldref.nii.gz")
    with pytest.raises(NeverMadeError):
        locate_derivative(tmp_path)


def test_a_subdataset_that_was_not_installed_is_told_with_its_command(tmp_path):
    (tmp_path / "sub-01/func").mkdir(parents=True)
    (tmp_path / "sub-01/func/sub-01_task-rest_bold.nii.gz").touch()
    place = tmp_path / "derivatives/fmriprep"
    place.mkdir(parents=True)
    for start in (tmp_path, place):
        with pytest.raises(InputError, match="is empty: a subdataset") as caught:
            locate_derivative(start)
        assert f"datalad get -n {place} " in caught.value.hint


def test_an_empty_and_an_absent_folder_say_what_they_are(tmp_path):
    with pytest.raises(InputError, match="is empty") as caught:
        locate_derivative(tmp_path)
    assert "container" in str(caught.value)
    with pytest.raises(InputError, match=r"no such folder.*In a container"):
        locate_derivative(tmp_path / "nowhere")


NO_BOLD = {
    "confounds": ("sub-1_task-x_desc-confounds_timeseries.tsv", "1 confounds tables without"),
    "surfaces": ("sub-1_task-x_space-fsaverage5_hemi-L.func.gii", "only series on surfaces"),
    "mgz": ("sub-1_task-x_space-fsaverage5_hemi-L.mgz", "only series on surfaces"),
    "minimal": ("sub-1_task-x_desc-hmc_boldref.nii.gz", "--level minimal"),
    "else": ("sub-1_task-x_desc-carpetplot_x.svg", "1 other files, such as sub-1_task-x_desc"),
}


@pytest.mark.parametrize(("name", "why"), NO_BOLD.values(), ids=NO_BOLD)
def test_a_derivative_without_bold_says_what_it_holds_instead(tmp_path, name, why):
    fill(tmp_path, name)
    (tmp_path / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    with pytest.raises(NeverMadeError, match=why) as caught:
        locate_derivative(tmp_path)
    assert ("--level minimal" in str(caught.value)) == ("minimal" in why)


def test_a_derivative_without_func_folders_may_be_of_anatomy_only(tmp_path):
    (tmp_path / "sub-1" / "anat").mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    with pytest.raises(NeverMadeError, match="--anat-only"):
        locate_derivative(tmp_path)


def test_series_on_surfaces_are_refused_as_such_whatever_they_are_stored_in(tmp_path):
    stem = "sub-1_task-x_hemi-L_space-fsaverage5_bold"
    discovery = discover(fill(tmp_path, *(f"{stem}{x}" for x in (".mgz", ".gii", ".func.gii"))))
    assert {file.why for file in discovery.files} == {"surface series (space-fsaverage5)"}
    assert len(discovery.files) == 3


def test_our_own_output_is_no_input(tmp_path):
    fill(tmp_path, "sub-1_task-x_desc-model_timeseries.tsv")
    (tmp_path / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "semantoks"}]}')
    with pytest.raises(InputError, match="written by semantoks itself") as caught:
        locate_derivative(tmp_path)
    assert "semantoks series" in caught.value.hint


def test_a_link_to_itself_is_no_folder(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="no such folder"):
        locate_derivative(tmp_path / "loop")


@pytest.mark.parametrize("where", ["sub-2", "sub-2/func", "sub-2/ses-a"])
def test_links_in_a_circle_cost_their_participant(tmp_path, where):
    fill(tmp_path, RUN)
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(path.name)
    discovery = discover(locate_derivative(tmp_path))
    assert [scan.sources.data.name for scan in discovery.scans] == [RUN]
    assert list(discovery.unread) == ["2"]


@pytest.mark.parametrize("what", ["image", "sidecar", "mask", "confounds", "description"])
def test_a_named_pipe_is_never_waited_for(tmp_path, what):
    name = {
        "image": RUN,
        "sidecar": RUN.replace(".nii.gz", ".json"),
        "mask": RUN.replace("preproc_bold", "brain_mask"),
        "confounds": "sub-1_task-x_desc-confounds_timeseries.tsv",
    }.get(what)
    fill(tmp_path, RUN)
    path = tmp_path / "sub-1" / "func" / name if name else tmp_path / "dataset_description.json"
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    (scan,) = discover(locate_derivative(tmp_path)).scans
    if what in ("image", "sidecar"):
        assert "named pipe" in str(scan.problem)
