"""Made-up fMRIPrep derivatives: names and links only, hardly any content."""

from bids_app.inputs.discovery import find_scans
from bids_app.inputs.selection import Selection

A, G, C = "MNI152NLin6Asym", "fsLR", "MNI152NLin2009cAsym"
ALL = {A: 457, G: 457, C: 450}
SIDECAR = '{"RepetitionTime": 2.0}'


def fill(root, *names):
    """Write files below ``sub-*/[ses-*/]func``; sidecars and confounds with content."""
    for name in names:
        labels = dict(word.split("-", 1) for word in name.split("_")[:-1] if "-" in word)
        folder = root / f"sub-{labels['sub']}"
        folder = folder / f"ses-{labels['ses']}" if "ses" in labels else folder
        path = folder / "func" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SIDECAR if name.endswith("_bold.json") else "")
    return root


def discover(root, *, spaces=(A, C), **selection):
    preferred = {space: ALL[space] for space in spaces}
    return find_scans(root, Selection(**selection), preferred_spaces=preferred)


def reasons(discovery):
    return {file.path.rpartition("/")[2]: file.why for file in discovery.files}


def names(discovery):
    return [scan.sources.data.name for scan in discovery.scans]


RUN = f"sub-1_task-x_space-{C}_res-2_desc-preproc_bold.nii.gz"


CIFTI = "sub-1_task-x_space-fsLR_den-91k_bold.dtseries.nii"
VOLUMES = f"sub-1_task-x_space-{A}_desc-preproc_bold.nii.gz"


def link_nowhere(root, name):
    sub = name.partition("_")[0]
    path = fill(root, name) / sub / "func" / name
    path.unlink()
    path.symlink_to("../../.git/annex/objects/gone")
