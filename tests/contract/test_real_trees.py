"""Discovery on real fMRIPrep outputs: names, sidecars and confounds as OpenNeuro has them.

Images there are links into a git-annex that was not fetched; where a test needs one, a tiny
image takes the link's place in a copy.
"""

import re
import tarfile
from collections import Counter
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_app.errors import InputError, NeverMadeError, ScanError
from bids_app.images.stream import count_frames
from bids_app.inputs.discovery import find_scans
from bids_app.inputs.locate import locate_derivative
from bids_app.inputs.selection import Selection
from bids_app.signal.confounds import from_table, load_confounds
from bids_app.signal.denoise import denoise
from bids_app.signal.strategy import load_strategy

A, C = "MNI152NLin6Asym", "MNI152NLin2009cAsym"
GONE = "annexed file not present: datalad get"
OWN = "in the scan's own space, not in a template"
T1W = "space-T1w, not a template with an atlas"
AROMA = "desc-smoothAROMAnonaggr, not desc-preproc"


def surface(space):
    return f"surface series (space-{space})"


IN_21 = {("", OWN), ("T1w", T1W), (A, AROMA), ("fsLR", GONE), (C, GONE)}
IN_21 |= {("fsaverage5", surface("fsaverage5"))}
IN_23 = {("T1w", T1W), ("fsLR", GONE), (C, GONE)}
IN_23 |= {(space, surface(space)) for space in ("fsaverage", "fsnative")}


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The discovery table of an archive: each of its runs has one row of every kind."""

    n_participants: int
    runs: dict[float, int]
    """Number of runs by repetition time, from their sidecars."""
    kinds: set[tuple[str, str]]
    """Space, and the reason against it."""
    confounds: str = "not fetched"
    few: tuple[list[str], int]
    """Two participants, for tests that need no more, and their runs."""


TREES = {
    "ds000001_fmriprep-21.0.1": Tree(
        n_participants=9, runs={2.0: 27}, kinds=IN_21, few=(["01", "04"], 6)
    ),
    "ds000114_testretest_fmriprep-21.0.2": Tree(
        n_participants=10, runs={2.5: 60, 5.0: 40}, kinds=IN_21, few=(["01", "04"], 20)
    ),
    "ds000224_MSC_fmriprep-22.0.2_rest": Tree(
        n_participants=10, runs={2.2: 100}, kinds=IN_21, few=(["MSC01", "MSC02"], 20)
    ),
    "ds000228_pixar_fmriprep-21.0.2": Tree(
        n_participants=155, runs={2.0: 155}, kinds=IN_21, few=(["pixar001", "pixar091"], 2)
    ),
    "ds005165_BMD_fmriprep-23.2.0_rest": Tree(
        n_participants=10, runs={1.75: 50}, kinds=IN_23, confounds="yes", few=(["01", "02"], 10)
    ),
}
OTHERS = {"ds001499_BOLD5000_fmriprep-1.1.x_T1wonly", "ds003752_fmriprep-23.2.0_minimal"}


@pytest.fixture(scope="session")
def extract(shared_data, tmp_path_factory):
    """Return a function that unpacks one archive, or some participants of it, once per use."""
    done = {}

    def unpack(name, participants=None, *, use="look"):
        if (name, use) not in done:
            root = tmp_path_factory.mktemp("tree")
            with tarfile.open(shared_data / "fmriprep_trees" / f"{name}.tar.gz") as archive:
                members = (
                    member
                    for member in archive
                    if participants is None
                    or not (found := re.search(r"(?:^|/)sub-([0-9A-Za-z]+)", member.name))
                    or found[1] in participants
                )
                # The links point outside on purpose (to .git/annex): nothing follows them.
                archive.extractall(root, members=members, filter="fully_trusted")  # noqa: S202
            done[name, use] = root
        return done[name, use]

    return unpack


def discover(root, *, spaces=(A, C), **selection):
    derivative = locate_derivative(root)
    preferred = {space: 450 if space == C else 457 for space in spaces}
    return find_scans(derivative, Selection(**selection), preferred_spaces=preferred)


@pytest.fixture(scope="session")
def table(extract):
    """Return a function that gives the discovery of a whole tree, made once."""
    done = {}

    def read(name):
        if name not in done:
            done[name] = discover(extract(name, use="table"), spaces=(A, "fsLR", C))
        return done[name]

    return read


def test_every_tree_there_is_has_its_table(shared_data):
    archives = (shared_data / "fmriprep_trees").glob("*.tar.gz")
    assert {path.name.removesuffix(".tar.gz") for path in archives} == {*TREES, *OTHERS}


@pytest.mark.parametrize("name", TREES)
def test_every_bold_file_of_a_tree_has_its_reason(table, name):
    tree, discovery = TREES[name], table(name)
    n_runs = sum(tree.runs.values())
    kinds = Counter((row.space, row.why) for row in discovery.files)
    assert kinds == dict.fromkeys(tree.kinds, n_runs)
    assert len({row.run for row in discovery.files}) == n_runs
    assert {row.status for row in discovery.files} == {"refused"}
    assert len(discovery.participants) == len(discovery.left_out()) == tree.n_participants
    assert (discovery.scans, discovery.n_outside) == ([], 0)


@pytest.mark.parametrize("name", TREES)
def test_a_tree_that_was_not_fetched_ends_with_one_message(table, name):
    error = table(name).nothing_chosen()
    assert isinstance(error, InputError)
    assert "datalad get" in str(error)


@pytest.mark.parametrize("name", TREES)
def test_repetition_times_and_confounds_are_those_of_the_real_files(table, name):
    rows = [row for row in table(name).files if row.why == GONE]
    for space in (C, "fsLR"):
        assert Counter(row.scan.tr_s for row in rows if row.space == space) == TREES[name].runs
    assert {row.confounds for row in rows} == {TREES[name].confounds}


@pytest.mark.parametrize("name", TREES)
def test_grayordinates_of_a_tree_are_ready_once_they_are_fetched(extract, name):
    participants, n_runs = TREES[name].few
    root = extract(name, participants, use="grayordinates")
    for path in root.rglob("*_space-fsLR_den-91k_bold.dtseries.nii"):
        path.unlink()
        path.touch()
    everything = discover(root, spaces=(A, "fsLR", C))
    assert {scan.space for scan in everything.scans} == {"fsLR"}
    assert len(everything.scans) == n_runs
    timed = {row.run: row.scan.tr_s for row in everything.files if row.why == GONE}
    for scan in everything.scans:
        assert scan.problem is None
        assert scan.sources.mask is None
        assert scan.sources.confounds is not None
        assert scan.tr_s == timed[scan.entities.run_stem]  # its own sidecar, as the volumes'


def test_fmriprep_1_1_is_refused_by_name_with_exit_code_16(extract):
    with pytest.raises(InputError, match=r"fMRIPrep 1\.1") as caught:
        locate_derivative(extract("ds001499_BOLD5000_fmriprep-1.1.x_T1wonly"))
    assert caught.value.exit_code == 16


def test_level_minimal_is_refused_with_exit_code_66(extract):
    with pytest.raises(NeverMadeError, match="--level full") as caught:
        locate_derivative(extract("ds003752_fmriprep-23.2.0_minimal"))
    assert caught.value.exit_code == 66


def test_the_derivative_is_found_two_levels_below_the_dataset(extract):
    root = extract("ds005165_BMD_fmriprep-23.2.0_rest", ["01", "02"])
    assert locate_derivative(root) == root / "derivatives" / "versionB" / "fmriprep"


def test_a_participant_that_was_not_fetched_stands_as_a_problem_beside_one_that_was(extract):
    root = extract("ds000114_testretest_fmriprep-21.0.2", ["01", "04"], use="fetch")
    image = nib.Nifti1Image(np.zeros((2, 2, 2, 5), np.int16), np.eye(4))
    func = f"ses-*/func/*space-{C}_res-2_desc-"
    bold = sorted((root / "sub-01").glob(f"{func}preproc_bold.nii.gz"))
    masks = sorted((root / "sub-01").glob(f"{func}brain_mask.nii.gz"))
    for path in (*bold, *masks):
        path.unlink()
        nib.save(image, path)
    discovery = discover(root)
    ready = [scan for scan in discovery.scans if scan.problem is None]
    assert [scan.sources.data for scan in ready] == bold
    assert [scan.sources.mask for scan in ready] == masks
    assert {scan.entities.ses for scan in ready} == {"test", "retest"}
    others = [scan for scan in discovery.scans if scan.problem is not None]
    assert {(scan.entities.sub, str(scan.problem)) for scan in others} == {("04", GONE)}
    assert len(others) == len(ready)
    chosen = [file for file in discovery.files if file.status == "chosen"]
    assert {file.confounds for file in chosen} == {"not fetched"}
    assert {count_frames(file.scan.sources.data) for file in chosen} == {5}


def test_runs_with_and_without_a_run_label_in_one_session_stay_apart(extract):
    root = extract("ds000224_MSC_fmriprep-22.0.2_rest", ["MSC01", "MSC02"])
    rows = [row for row in discover(root).files if row.why == GONE]
    assert len({row.run for row in rows}) == len(rows)


@pytest.fixture(scope="session")
def confounded(extract):
    """Scans of a tree whose confounds are real, with a stand-in for each image."""
    root = extract("ds005165_BMD_fmriprep-23.2.0_rest", ["01", "02"], use="confounds")
    for path in root.rglob(f"*space-{C}_desc-*"):
        if path.is_symlink() and path.name.endswith(("bold.nii.gz", "mask.nii.gz")):
            path.unlink()
            path.touch()
    return discover(root, participant_labels=["01"]).scans


@pytest.mark.parametrize("name", ["default", "36P", "simple+gsr", "acompcor", "none"])
def test_real_confounds_denoise_a_series_of_their_length(confounded, name):
    rng = np.random.default_rng(0)
    assert len(confounded) == 5
    for scan in confounded:
        confounds = load_confounds(scan, load_strategy(name), dummy_scans=None, n_frames=212)
        result = denoise(
            rng.normal(size=(212, 4)),
            tr_s=scan.tr_s,
            confounds=confounds,
            high_pass_hz=0.01,
            low_pass_hz=0.1,
        )
        assert np.isfinite(result.values).all()
        assert result.values.shape[0] == 212 - confounds.n_dummy


def test_fmriprep_s_motion_outliers_follow_from_its_thresholds_in_every_scan(confounded):
    strategy = load_strategy("none")
    object.__setattr__(strategy, "fd_threshold_mm", 0.5)
    object.__setattr__(strategy, "std_dvars_threshold", 1.5)
    for scan in confounded:
        ours = load_confounds(scan, strategy, dummy_scans=0, n_frames=212)
        table = pd.read_csv(scan.sources.confounds, sep="\t", na_values="n/a")
        theirs = table.filter(regex="^motion_outlier").sum(axis=1) > 0
        np.testing.assert_array_equal(~ours.kept, theirs)


@pytest.mark.parametrize("generation", ["junifer_AOMIC", "nilearn_test-v21", "nilearn_test_desc"])
def test_real_tables_of_three_generations_have_what_the_default_takes(shared_data, generation):
    (path,) = (shared_data / "confounds").glob(f"{generation}*.tsv")
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    ours = from_table(table, {}, load_strategy("default"), dummy_scans=None, where=path.name)
    assert ours.regressors.shape == (len(table), 26)


def test_a_real_table_without_expansions_gives_all_24_motion_parameters(shared_data):
    (path,) = (shared_data / "confounds").glob("neurocaps*.tsv")
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    ours = from_table(table, {}, load_strategy("24P"), dummy_scans=None, where=path.name)
    assert len(ours.names) == 24
    assert len(ours.computed) == 18


def test_expansions_of_real_tables_follow_from_their_signals(shared_data, confounded):
    (aomic,) = (shared_data / "confounds").glob("junifer_AOMIC*.tsv")
    for path in (aomic, *(scan.sources.confounds for scan in confounded)):
        table = pd.read_csv(path, sep="\t", na_values="n/a")
        bare = table.drop(columns=table.filter(regex="_derivative1|_power2").columns)
        theirs, ours = (
            from_table(t, {}, load_strategy("36P"), dummy_scans=None, where=path.name).regressors
            for t in (table, bare)
        )
        scale = np.abs(theirs).max(axis=0)
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-11)


def test_a_real_table_without_csf_is_refused_with_a_way_out(shared_data):
    (path,) = (shared_data / "confounds").glob("neurocaps*.tsv")
    table = pd.read_csv(path, sep="\t", na_values="n/a")
    with pytest.raises(ScanError, match="csf") as caught:
        from_table(table, {}, load_strategy("default"), dummy_scans=None, where=path.name)
    assert "gsr_only" in caught.value.hint
