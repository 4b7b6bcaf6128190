"""Derivatives as strangers have them: copies, pointers, parts of a signal."""

import gzip

import pytest
from derivative_trees import (
    ALL,
    CIFTI,
    RUN,
    SIDECAR,
    VOLUMES,
    A,
    C,
    G,
    discover,
    fill,
    link_nowhere,
    names,
    reasons,
)

POINTERS = {
    "link as text": "../../../.git/annex/objects/fZ/Gk/MD5E-s12--83ab.gz/MD5E-s12--83ab.gz",
    "of a submodule": "../../.git/modules/sub-1/annex/objects/fZ/Gk/MD5E-s12--83ab",
    "annex": "/annex/objects/MD5E-s452935012--83abfe9e26eea01f7db88c43742b5b82.nii.gz\n",
    "lfs": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
}
MASK = f"sub-1_task-x_space-{C}_res-2_desc-brain_mask.nii.gz"
CONFOUNDS = "sub-1_task-x_desc-confounds_timeseries.tsv"


def put(root, name, content):
    path = fill(root, name) / "sub-1" / "func" / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- one acquisition is one run -----------------------------------------------------------


def test_the_magnitude_in_the_volume_and_the_series_without_part_are_one_run(tmp_path):
    volume = VOLUMES.replace("task-x", "task-x_part-mag")
    confounds = CONFOUNDS.replace("task-x", "task-x_part-mag")
    fill(tmp_path, volume, CIFTI, confounds)
    discovery = discover(tmp_path, spaces=ALL)
    assert names(discovery) == [volume]
    assert "same run chosen in space-MNI152NLin6Asym" in reasons(discovery)[CIFTI]
    (scan,) = discover(tmp_path, spaces=ALL, space=G).scans
    assert scan.sources.confounds.name == confounds


@pytest.mark.parametrize("part", ["", "_part-mag"])
@pytest.mark.parametrize("of_mask", ["", "_part-mag"])
def test_a_mask_is_that_of_the_magnitude_with_part_in_its_name_or_without(tmp_path, part, of_mask):
    mask = f"sub-1_task-x{of_mask}_space-{A}_desc-brain_mask.nii.gz"
    bold = f"sub-1_task-x{part}_space-{A}_desc-preproc_bold.nii.gz"
    (scan,) = discover(fill(tmp_path, bold, mask)).scans
    assert scan.sources.mask.name == mask


def test_both_spellings_of_a_run_in_one_space_are_a_draw(tmp_path):
    twice = [f"sub-1_task-x{x}_space-{A}_desc-preproc_bold.nii.gz" for x in ("", "_part-mag")]
    (scan,) = discover(fill(tmp_path, *twice)).scans
    assert all(name in str(scan.problem) for name in twice)


def test_two_echoes_that_are_asked_for_are_one_run_and_a_draw(tmp_path):
    echoes = [f"sub-1_task-x_echo-{n}_space-{A}_desc-preproc_bold.nii.gz" for n in (1, 2)]
    fill(tmp_path / "in", *echoes)
    (tmp_path / "f.json").write_text('{"bold": {"echo": [1, 2]}}')
    (scan,) = discover(tmp_path / "in", bids_filter_file=tmp_path / "f.json").scans
    assert "--bids-filter-file" in str(scan.problem)


def test_confounds_and_mask_of_one_echo_are_not_those_of_the_combined_series(tmp_path):
    one_echo = [name.replace("task-x", "task-x_echo-1") for name in (MASK, CONFOUNDS)]
    (scan,) = discover(fill(tmp_path, RUN, *one_echo)).scans
    assert (scan.sources.mask, scan.sources.confounds) == (None, None)


def test_a_filter_file_chooses_between_two_that_differ(tmp_path):
    root = tmp_path / "in"
    for name in (RUN, RUN.removesuffix(".gz")):
        put(root, name, name)
    (tmp_path / "f.json").write_text('{"bold": {"extension": ".nii"}}')
    discovery = discover(root, bids_filter_file=tmp_path / "f.json")
    assert names(discovery) == [RUN.removesuffix(".gz")]


def test_a_compressed_series_of_grayordinates_is_refused_not_passed_over(tmp_path):
    assert "not a .dtseries.nii" in reasons(discover(fill(tmp_path, f"{CIFTI}.gz")))[f"{CIFTI}.gz"]


# --- spaces, cohorts, resolutions ---------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        "space-MNIPediatricAsym_cohort-3_res-2",
        "space-MNIPediatricAsym_res-2_cohort-3",
        f"space-{C}_res-2_cohort-1",
    ],
)
def test_a_template_with_a_cohort_has_no_atlas(tmp_path, labels):
    name = f"sub-1_task-x_{labels}_desc-preproc_bold.nii.gz"
    discovery = discover(fill(tmp_path, name))
    assert "not a template with an atlas" in reasons(discovery)[name]
    assert "cohort-" in reasons(discovery)[name]


def test_the_native_resolution_comes_before_any_but_2_mm(tmp_path):
    name = f"sub-1_task-x_space-{C}_res-%s_desc-preproc_bold.nii.gz"
    fill(tmp_path, name % "1", name % "native")
    assert names(discover(tmp_path)) == [name % "native"]


# --- the same content twice ---------------------------------------------------------------


@pytest.mark.parametrize("name", [RUN, MASK, f"{CONFOUNDS}.gz"])
def test_of_a_compressed_file_and_its_unzipped_copy_the_compressed_one_is_read(tmp_path, name):
    fill(tmp_path, RUN)
    put(tmp_path, name, gzip.compress(b"the same"))
    put(tmp_path, name.removesuffix(".gz"), b"the same")
    discovery = discover(tmp_path)
    (scan,) = discovery.scans
    assert scan.problem is None
    assert name in [path.name for path in scan.sources.files()]
    if name == RUN:
        assert RUN in reasons(discovery)[RUN.removesuffix(".gz")]


@pytest.mark.parametrize("name", [RUN, MASK, f"{CONFOUNDS}.gz"])
@pytest.mark.parametrize(
    "content", [gzip.compress(b"something"), b"no gzip"], ids=["packed", "no gzip"]
)
def test_two_files_that_differ_leave_the_choice_to_the_user(tmp_path, name, content):
    fill(tmp_path, RUN)
    put(tmp_path, name, content)
    put(tmp_path, name.removesuffix(".gz"), b"something else")
    (scan,) = discover(tmp_path).scans
    assert name in str(scan.problem)
    assert name.removesuffix(".gz") + ("," if name != RUN else "") in str(scan.problem)


@pytest.mark.parametrize("name", [RUN, MASK, f"{CONFOUNDS}.gz"])
@pytest.mark.parametrize("gone", ["plain", "compressed"])
@pytest.mark.parametrize("pointer", [*POINTERS, "link"])
def test_the_copy_that_was_fetched_is_read(tmp_path, name, gone, pointer):
    fill(tmp_path, RUN)
    absent, present = name.removesuffix(".gz"), name
    if gone == "compressed":
        absent, present = present, absent
    put(tmp_path, present, b"anything")
    if pointer == "link":
        (fill(tmp_path, absent) / "sub-1" / "func" / absent).unlink()
        link_nowhere(tmp_path, absent)
    else:
        put(tmp_path, absent, POINTERS[pointer])
    (scan,) = discover(tmp_path).scans
    assert scan.problem is None
    assert present in [path.name for path in scan.sources.files()]


def test_a_text_that_speaks_of_an_annex_is_content(tmp_path):
    put(fill(tmp_path, RUN), RUN.replace(".nii.gz", ".json"), '{"a": "/annex/objects/x"}')
    (scan,) = discover(tmp_path).scans
    assert scan.metadata == {"a": "/annex/objects/x"}


# --- pointers to what was never fetched ---------------------------------------------------


@pytest.mark.parametrize("pointer", POINTERS)
def test_a_pointer_is_not_an_image(tmp_path, pointer):
    put(tmp_path, RUN, POINTERS[pointer])
    discovery = discover(tmp_path)
    assert discovery.scans == []
    assert "datalad get" in str(discovery.nothing_chosen())
    assert discovery.nothing_chosen().exit_code == 16


@pytest.mark.parametrize("pointer", POINTERS)
@pytest.mark.parametrize("lost", [RUN, MASK, RUN.replace(".nii.gz", ".json")])
def test_a_series_of_the_run_that_was_fetched_whole_is_taken_and_the_table_says_so(
    tmp_path, pointer, lost, caplog
):
    other = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"
    fill(tmp_path, RUN, MASK, other)
    put(tmp_path, lost, POINTERS[pointer])
    discovery = discover(tmp_path, spaces=(C, A))
    assert names(discovery) == [other]
    assert discovery.scans[0].problem is None
    assert "datalad get" in reasons(discovery)[RUN]
    assert f"{other} is taken instead" in reasons(discovery)[RUN]
    assert "1 series would come first" in caplog.text


def test_a_series_that_would_not_have_been_taken_is_not_warned_of(tmp_path, caplog):
    other = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"
    put(fill(tmp_path, RUN), other, POINTERS["annex"])
    discovery = discover(tmp_path, spaces=(C, A))
    assert names(discovery) == [RUN]
    assert not caplog.text


@pytest.mark.parametrize("lost", [MASK, RUN.replace(".nii.gz", ".json")])
def test_a_pointer_beside_the_only_series_fails_the_run_with_its_name(tmp_path, lost):
    put(fill(tmp_path, RUN, MASK), lost, POINTERS["annex"])
    (scan,) = discover(tmp_path).scans
    assert f"datalad get {lost}" in str(scan.problem)


def test_confounds_that_were_not_fetched_are_said_to_be_so(tmp_path):
    put(fill(tmp_path, RUN), CONFOUNDS, POINTERS["annex"])
    assert [file.confounds for file in discover(tmp_path).files] == ["not fetched"]


def test_a_sidecar_with_a_byte_order_mark_is_read(tmp_path):
    put(fill(tmp_path, RUN), RUN.replace(".nii.gz", ".json"), b"\xef\xbb\xbf" + SIDECAR.encode())
    (scan,) = discover(tmp_path).scans
    assert (scan.tr_s, scan.problem) == (2.0, None)


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ssub-1_task-x_desc-preproc_bold.nii.gz", "begins with ssub-1"),
        ("sub-1.1_task-x_desc-preproc_bold.nii.gz", "found ."),
        ("sub-1_task-x_desc-preproc-smooth_bold.nii.gz", "holds no hyphen"),
        ("sub-1_rest_desc-preproc_bold.nii.gz", "rest is no <entity>-<label>"),
        ("sub-1_task-x_seg-y_bold.nii.gz", "seg-: an entity"),
        ("sub-1_Task-x_bold.nii.gz", "Task-: an entity"),
        ("sub-1_task-x_task-y_bold.nii.gz", "task- stands in it twice"),
        ("sub-1_task-_bold.nii.gz", "empty"),
        (RUN.replace(".nii.gz", ".NII.GZ"), "bold.NII.GZ, not in lower case"),
        (RUN.replace("bold", "BOLD"), "BOLD.nii.gz, not in lower case"),
        (b"sub-1_task-\xff_bold.nii.gz".decode(errors="surrogateescape"), r"task-\xff: it is not"),
        ("sub-1_task-x\n_bold.nii.gz", r"task-x\n: it is not"),
    ],
)
@pytest.mark.parametrize("filters", ["{}", '{"bold": {"task": "x"}}'])
def test_a_name_that_is_not_understood_costs_itself_and_says_what_is_wrong(
    tmp_path, name, why, filters
):
    root = fill(tmp_path / "in", RUN)
    (root / "sub-1" / "func" / name).touch()
    (tmp_path / "f.json").write_text(filters)
    discovery = discover(root, bids_filter_file=tmp_path / "f.json")
    assert names(discovery) == [RUN]
    assert all(file.path.isascii() and file.path.isprintable() for file in discovery.files)
    if filters == "{}":
        (reason,) = [file.why for file in discovery.files if file.reason]
        assert why in reason


def test_a_name_that_leaves_no_room_for_those_of_outputs_is_lost_and_told(tmp_path):
    stem = f"sub-1_task-x_acq-%s_space-{A}"
    fits, long = (f"{stem}_desc-preproc_bold.nii.gz" % ("a" * n) for n in (167, 168))
    discovery = discover(fill(tmp_path, fits, long))
    assert names(discovery) == [fits]
    assert "207 characters" in reasons(discovery)[long]
    (lost,) = discovery.lost
    assert long in lost
