"""Discovery on skeletons: layout x generation x space x entities of what fMRIPrep has written.

Every cell is one participant of a tree with names alone, where twelve runs that differ in one
or more entities lie side by side, as real studies have them. Names follow the lists of expected
outputs in the repositories of fMRIPrep and nibabies, and the trees of OpenNeuro.
"""

import json
import os
import shutil
from dataclasses import dataclass, field

import pytest

from bids_app.errors import InputError, NeverMadeError
from bids_app.inputs.discovery import find_scans
from bids_app.inputs.eligible import scan_of
from bids_app.inputs.entities import parse_name
from bids_app.inputs.locate import locate_derivative
from bids_app.inputs.selection import Selection
from bids_app.outputs.dataset import write_dataset_files

A, C = "space-MNI152NLin6Asym", "space-MNI152NLin2009cAsym"
PREFERRED = {"MNI152NLin6Asym": 457, "fsLR": 457, "MNI152NLin2009cAsym": 450}
TR_S = 1.5

# Where the folder with sub-* lies below the folder that the user names.
LAYOUTS = {
    "flat": "",
    "legacy": "fmriprep",
    "bids": "derivatives/fmriprep",
    "versioned": "derivatives/fMRIPrep-x.y",
    "nested": "derivatives/versionB/fmriprep",
}

RUNS = (
    "task-rest",
    "task-rest_acq-hi",
    "task-rest_ce-gad",
    "task-rest_rec-norm",
    "task-rest_dir-AP",
    "task-rest_run-1",
    "task-rest_run-01",
    "task-nback_part-mag",
    "task-rest_acq-hi_ce-gad_rec-norm_dir-AP_run-1_part-mag",
    "task-restAP",
    "ses-a_task-rest",
    "ses-a_task-rest_run-1",
)

# What the series of a run may be, and why it is refused; "" is taken.
SPACES = {
    "nlin6": {f"{A}_res-2": ""},
    "2009c": {C: ""},
    "2009c2mm": {f"{C}_res-2": ""},
    "several": {
        f"{A}_res-2": "",
        f"{A}_res-1": "same run chosen in sub-several",
        f"{C}_res-2": "same run chosen in space-MNI152NLin6Asym (457 parcels there, 450 here)",
        "space-T1w": "space-T1w, not a template with an atlas",
        "": "in the scan's own space",
    },
    "native": {"": "in the scan's own space"},
    "other": {"space-MNIPediatricAsym_cohort-2": "space-MNIPediatricAsym_cohort-2, not a"},
    "gray": {"space-fsLR_den-91k": ""},
    "infant": {
        "space-MNIInfant_cohort-1": "space-MNIInfant_cohort-1, not a template with an atlas",
        "space-MNIInfant+1": "space-MNIInfant+1, not a template with an atlas",
        f"{A}_res-2": "",
    },
}

AROMA = {
    "{run}_" + A + "_desc-smoothAROMAnonaggr_bold.nii.gz": "desc-smoothAROMAnonaggr, not",
    "{run}_" + A + "_desc-smoothAROMAnonaggr_bold.json": None,
    "{run}_desc-MELODIC_mixing.tsv": None,
    "{run}_AROMAnoiseICs.csv": None,
}
ECHOES = {
    "{run}_echo-1_desc-preproc_bold.nii.gz": "a single echo",
    "{run}_echo-2_desc-preproc_bold.nii.gz": "a single echo",
    "{run}_echo-2_desc-preproc_bold.json": None,
    "{run}_" + A + "_desc-optcomDenoised_bold.nii.gz": "desc-optcomDenoised, not desc-preproc",
}


@dataclass(frozen=True, kw_only=True)
class Generation:
    confounds: str = "timeseries"
    confounds_json: bool = True
    sidecar: bool = True
    cifti_sidecar: str = ".json"
    described: str = "GeneratedBy"
    leftovers: dict = field(default_factory=dict)
    """Other files of a run, and the reason against each that is BOLD."""


GENERATIONS = {
    "1.2": Generation(
        confounds="regressors",
        confounds_json=False,
        sidecar=False,
        described="PipelineDescription",
        leftovers=AROMA | {"{run}_space-fsaverage5_hemi-L.func.gii": None},
    ),
    "1.5": Generation(confounds="regressors", described="PipelineDescription", leftovers=AROMA),
    "20.1": Generation(confounds="regressors", cifti_sidecar=".dtseries.json", leftovers=ECHOES),
    "20.2": Generation(
        cifti_sidecar=".dtseries.json",
        leftovers=AROMA
        | {"{run}_space-fsaverage5_hemi-L_bold.func.gii": "surface series (space-fsaverage5)"},
    ),
    "21-22": Generation(
        leftovers=AROMA
        | {"{run}_hemi-L_space-fsnative_bold.func.gii": "surface series (space-fsnative)"},
    ),
    "23-25": Generation(
        leftovers=ECHOES
        | {
            "{run}_from-orig_to-boldref_mode-image_desc-hmc_xfm.txt": None,
            "{run}_desc-hmc_boldref.nii.gz": None,
            "{run}_desc-brain_mask.nii.gz": None,
            "{run}_space-fsLR_den-170k_bold.dtseries.nii": "no atlas is installed",
        },
    ),
    "damaged": Generation(described="nothing", sidecar=False),
}


def path_of(root, label, name):
    """Return where a file lies: ``sub-<label>[/ses-a]/func/sub-<label>_<name>``."""
    session = "ses-a/" if name.startswith("ses-a") else ""
    return root / f"sub-{label}" / f"{session}func" / f"sub-{label}_{name}"


def write_run(root, label, run, generation):
    """Write the names of one run in all spaces of its participant."""
    stem = f"{run}_desc-confounds_{generation.confounds}"
    names = [f"{stem}.tsv", *([f"{stem}.json"] if generation.confounds_json else [])]
    if run == "task-rest_run-1":
        names += [name.format(run=run) for name in generation.leftovers]
    sidecars = []
    for space in SPACES[label]:
        series = f"{run}_{space}".rstrip("_")
        if "fsLR" in space:
            names.append(f"{series}_bold.dtseries.nii")
            sidecars.append(f"{series}_bold{generation.cifti_sidecar}")
        else:
            names += [f"{series}_desc-preproc_bold.nii.gz", f"{series}_desc-brain_mask.nii.gz"]
            sidecars.append(f"{series}_desc-preproc_bold.json")
    for name in names:
        path_of(root, label, name).touch()
    for name in sidecars if generation.sidecar else ():
        path_of(root, label, name).write_text(json.dumps({"RepetitionTime": TR_S}))


def write_tree(root, generation):
    """Write a derivative: a participant for each entry of `SPACES`, with all runs."""
    for label in SPACES:
        for run in RUNS:
            path_of(root, label, run).parent.mkdir(parents=True, exist_ok=True)
            write_run(root, label, run, generation)
    if generation.described != "nothing":
        pipeline = {"Name": "fMRIPrep", "Version": "x.y"}
        value = [pipeline] if generation.described == "GeneratedBy" else pipeline
        description = {"Name": "x", "BIDSVersion": "1.1.1", generation.described: value}
        (root / "dataset_description.json").write_text(json.dumps(description))
    return root


@pytest.fixture(scope="module")
def discovered(tmp_path_factory):
    """Return a function that gives the discovery of one layout and generation, made once."""
    trees, done = {}, {}

    def discover(layout, generation):
        if generation not in trees:
            tree = tmp_path_factory.mktemp("tree") / "out"
            trees[generation] = write_tree(tree, GENERATIONS[generation])
        if (layout, generation) not in done:
            start = tmp_path_factory.mktemp(layout) / "data"
            root = start / LAYOUTS[layout]
            shutil.copytree(trees[generation], root, copy_function=os.link)
            located = locate_derivative(start)
            assert located == root
            done[layout, generation] = find_scans(located, Selection(), preferred_spaces=PREFERRED)
        return done[layout, generation]

    return discover


def expected_scan(root, label, run, space, generation):
    """Return BOLD, mask, confounds, their JSON, sidecar and repetition time of a run."""
    series, stem = f"{run}_{space}", f"{run}_desc-confounds_{generation.confounds}"
    if "fsLR" in space:
        names = [f"{series}_bold.dtseries.nii", None]
        sidecar = f"{series}_bold{generation.cifti_sidecar}"
    else:
        names = [f"{series}_desc-preproc_bold.nii.gz", f"{series}_desc-brain_mask.nii.gz"]
        sidecar = f"{series}_desc-preproc_bold.json"
    names += [f"{stem}.tsv", f"{stem}.json" if generation.confounds_json else None]
    names.append(sidecar if generation.sidecar else None)
    paths = [None if name is None else path_of(root, label, name) for name in names]
    return (*paths, TR_S if generation.sidecar else None)


@pytest.mark.parametrize("label", SPACES)
@pytest.mark.parametrize("name", GENERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_run_has_its_own_files_and_every_other_series_its_reason(
    discovered, layout, name, label
):
    discovery, generation = discovered(layout, name), GENERATIONS[name]
    scans = [scan for scan in discovery.scans if scan.entities.sub == label]
    found = {
        (
            scan.sources.data,
            scan.sources.mask,
            scan.sources.confounds,
            scan.sources.confounds_json,
            scan.sources.sidecars[-1] if scan.sources.sidecars else None,
            scan.tr_s,
        )
        for scan in scans
    }
    taken = [space for space, reason in SPACES[label].items() if not reason]
    assert found == {
        expected_scan(discovery.root, label, run, space, generation)
        for run in RUNS
        for space in taken
    }
    assert [scan.problem for scan in scans] == [None] * len(found)


@pytest.mark.parametrize("label", SPACES)
@pytest.mark.parametrize("name", GENERATIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_bold_file_of_a_skeleton_is_in_the_table(discovered, layout, name, label):
    discovery = discovered(layout, name)
    start = str(path_of(discovery.root, label, "").relative_to(discovery.root).parents[1])
    reasons = {
        row.path.rpartition("/")[2].removeprefix(f"sub-{label}_"): row.why
        for row in discovery.files
        if row.path.startswith(f"{start}/")
    }
    expected = {
        f"{run}_{space}".rstrip("_")
        + ("_bold.dtseries.nii" if "fsLR" in space else "_desc-preproc_bold.nii.gz"): reason
        for run in RUNS
        for space, reason in SPACES[label].items()
    }
    expected |= {
        template.format(run="task-rest_run-1"): reason
        for template, reason in GENERATIONS[name].leftovers.items()
        if reason is not None
    }
    assert set(reasons) == set(expected)
    for file, reason in expected.items():
        assert reasons[file].startswith(reason), file
        assert bool(reasons[file]) == bool(reason), file


@pytest.mark.parametrize("name", GENERATIONS)
def test_the_generators_of_the_input_are_handed_on_where_it_names_them(discovered, tmp_path, name):
    write_dataset_files(tmp_path, derivative=discovered("flat", name).root)
    generators = json.loads((tmp_path / "dataset_description.json").read_text())["GeneratedBy"]
    named = [] if GENERATIONS[name].described == "nothing" else ["fMRIPrep"]
    assert [entry["Name"] for entry in generators] == ["semantoks", *named]


# --- missing, unfetched and uncompressed files, -------------------------------------------


@pytest.mark.parametrize("name", ["1.2", "23-25"])
def test_a_run_of_bold_alone_is_taken_with_nothing_made_up(tmp_path, name):
    generation = GENERATIONS[name]
    write_tree(tmp_path, generation)
    for path in tmp_path.rglob("sub-*_*"):
        if "confounds" in path.name or path.name.endswith((".json", "mask.nii.gz")):
            path.unlink()
        elif path.name.endswith("preproc_bold.nii.gz"):
            path.rename(path.with_suffix(""))
    discovery = find_scans(tmp_path, Selection(), preferred_spaces=PREFERRED)
    assert len(discovery.scans) == len(RUNS) * 6
    for scan in discovery.scans:
        others = (scan.sources.mask, scan.sources.confounds, scan.sources.confounds_json)
        assert others == (None, None, None)
        assert (scan.sources.sidecars, scan.tr_s, scan.problem) == ((), None, None)
    with pytest.raises(NeverMadeError) as caught:
        discovery.require_usable(confounds=True)
    assert caught.value.exit_code == 66


@pytest.mark.parametrize("lost", ["bold", "mask"])
def test_links_that_lead_nowhere_fail_their_runs_and_no_others(tmp_path, lost):
    write_tree(tmp_path, GENERATIONS["21-22"])
    for path in (tmp_path / "sub-nlin6").rglob(f"*_{lost}.nii.gz"):
        path.unlink()
        path.symlink_to("../../.git/annex/objects/gone")
    discovery = find_scans(tmp_path, Selection(), preferred_spaces=PREFERRED)
    failed = {scan.entities.sub for scan in discovery.scans if scan.problem}
    assert failed == {"nlin6"}
    problems = [scan.problem for scan in discovery.scans if scan.problem]
    assert len(problems) == len(RUNS)
    assert all("datalad get" in str(problem) for problem in problems)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_that_lost_its_files_takes_none_of_its_neighbours(tmp_path, run):
    generation, space = GENERATIONS["21-22"], f"{A}_res-2"
    folder = path_of(tmp_path, "nlin6", run).parent
    names = [
        path_of(tmp_path, "nlin6", f"{other}_{ending}")
        for other in RUNS
        for ending in (
            f"{space}_desc-brain_mask.nii.gz",
            f"desc-confounds_{generation.confounds}.tsv",
        )
        if other != run
    ]
    bold = path_of(tmp_path, "nlin6", f"{run}_{space}_desc-preproc_bold.nii.gz")
    neighbours = [path for path in names if path.parent == folder]
    found = scan_of(bold, parse_name(bold.name)[0], {folder: neighbours}, root=folder)
    assert found.sources.mask is None
    assert found.sources.confounds is None


# --- what is not read ---------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", ["_space-T1w", "_space-MNI152NLin2009cAsym", ""])
def test_names_before_1_2_are_refused_by_name_in_every_layout(tmp_path, layout, variant):
    root = tmp_path / LAYOUTS[layout]
    for run in RUNS:
        path = path_of(root, "01", f"{run}_bold{variant}_preproc.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path_of(root, "01", f"{run}_bold_confounds.tsv").touch()
    with pytest.raises(InputError, match=r"fMRIPrep 1\.1 or older") as caught:
        locate_derivative(tmp_path)
    assert caught.value.exit_code == 16


@pytest.mark.parametrize("layout", LAYOUTS)
def test_level_minimal_is_said_to_hold_no_bold_in_every_layout(tmp_path, layout):
    root = tmp_path / LAYOUTS[layout]
    for run in RUNS:
        path = path_of(root, "01", f"{run}_desc-hmc_boldref.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(NeverMadeError, match="--level minimal"):
        locate_derivative(tmp_path)
