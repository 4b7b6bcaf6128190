"""Paint real parcel series into the real atlas: an fMRIPrep-like derivative of 14 x 2 scans.

Real are the series (STAGES, Schaefer-400), the atlas, the BOLD or T1 reference that gives each
parcel its texture, and the confounds. Constructed is the volume: every voxel of a parcel
carries the parcel's series, so that a correct extraction returns it exactly. Subcortex and
cerebellum stay constant in time, since the series do not cover them. The confounds come from
another recording and explain nothing here: they exercise the code, not the denoising.

    semantoks assets atlas --from ../shared/data/atlases --home HOME
    python tools/paint_stages.py OUT --atlas HOME/atlas [--space SPACE] [--subjects N]

The series last 234 volumes of 2.0 s, the longest real confounds file at hand 200: volumes are
cut to those 200. Nothing of this may enter the repository.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import nibabel as nib
import numpy as np
import pandas as pd
from scipy.ndimage import binary_closing, binary_fill_holes

from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.spaces import SPACES
from bids_app.demo.phantom import Grid
from bids_app.demo.tree import write_image
from bids_app.inputs.entities import Entities
from model.networks import N_CORTEX

if TYPE_CHECKING:
    import numpy.typing as npt

    from bids_app.atlas.volumes import VolumeAtlas

SHARED = Path(os.environ.get("SEMANTOKS_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
SERIES = "timeseries/stages_dev_schaefer400x7n_aseg19.npz"
CONFOUNDS = "junifer_AOMIC-PIOP1_sub-0001_task-anticipation_acq-seq_desc-confounds_regressors.tsv"
REFERENCES = {
    "MNI152NLin6Asym": "xcpd_MNI152_T1_2mm.nii.gz",
    "MNI152NLin2009cAsym": "tpl-MNI152NLin2009cAsym_res-02_desc-fMRIPrep_boldref.nii.gz",
}
TR_S = 2.0
ROUNDING = 0.2
"""Step of the stored integers, as a share of the quietest parcel's standard deviation."""
CLOSING = 4
"""Voxels by which the parcels are grown and shrunk again to close the brain."""


@click.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--atlas",
    "atlas_folder",
    required=True,
    help="Folder of the installed atlas.",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--data",
    default=SHARED,
    show_default=True,
    help="Folder with the real data.",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--space", default=next(iter(SPACES)), show_default=True, type=click.Choice(sorted(REFERENCES))
)
@click.option("--subjects", "n_subjects", type=click.IntRange(min=1), help="Only the first N.")
def main(out: Path, atlas_folder: Path, data: Path, space: str, n_subjects: int | None) -> None:
    """Write the derivative to OUT, and the painted series to OUT/sourcedata/truth."""
    reference = nib.load(data / "atlases/mni" / REFERENCES[space])
    atlas = InstalledAtlas(atlas_folder).volume(space, affine=reference.affine)
    if atlas.labels.shape != reference.shape or not np.allclose(atlas.affine, reference.affine):
        raise click.ClickException(f"{atlas.path}: not on the grid of {REFERENCES[space]}")
    texture = np.asarray(reference.dataobj, dtype=np.float32)
    confounds = pd.read_csv(data / "confounds" / CONFOUNDS, sep="\t", na_values="n/a")
    with np.load(data / SERIES) as archive:
        scans = {name: archive[name][:N_CORTEX, : len(confounds)].T for name in archive}
    names = sorted({name.split("_")[0] for name in scans})[:n_subjects]
    write_description(out)
    brain = brain_mask(atlas.labels)
    write = partial(write_scan, out, atlas=atlas, texture=texture, brain=brain)
    for name in sorted(name for name in scans if name.split("_")[0] in names):
        write(name, series=scans[name], confounds=confounds.iloc[: len(scans[name])])
        click.echo(f"{name}: {len(scans[name])} volumes")


def brain_mask(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Fill the space between the parcels: the T1 reference has a skull, the atlas has not."""
    hull = binary_closing(np.pad(labels > 0, CLOSING), iterations=CLOSING)
    inner = slice(CLOSING, -CLOSING)
    return np.asarray(binary_fill_holes(hull)[inner, inner, inner])


def paint(
    series: npt.NDArray[np.float32],
    *,
    labels: npt.NDArray[np.int32],
    texture: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int16], float]:
    """Give every cortical voxel its parcel's series times its brightness within the parcel.

    Parameters
    ----------
    series
        (T, 400)

    Returns
    -------
    (X, Y, Z, T) stored integers, and the slope that turns them into intensities. The mean
    over a parcel's voxels is the series, to the rounding of the integers.
    """
    parcel = labels[brain]
    # Flattened: dim voxels would carry less than the rounding, bright vessels cost range. Not
    # clipped: voxels of equal brightness round alike, and the error would not average out.
    middle = np.median(texture[brain])
    brightness = 0.5 * (middle + np.minimum(texture[brain], 3 * middle))
    count = np.bincount(parcel)
    mean = np.bincount(parcel, weights=brightness) / np.maximum(count, 1)
    relative = (brightness / mean[parcel]).astype(np.float32)
    cortical = (parcel > 0) & (parcel <= N_CORTEX)
    still = relative * series.mean()
    # Coarse enough to compress, fine against the quietest parcel, and without overflow.
    slope = float(
        max(
            ROUNDING * series.std(axis=0).min(),
            series.max() * relative.max() / np.iinfo(np.int16).max,
        )
    )
    stored = np.zeros((*labels.shape, len(series)), dtype=np.int16, order="F")
    for volume, values in enumerate(series):
        painted = still.copy()
        painted[cortical] = relative[cortical] * values[parcel[cortical] - 1]
        stored[brain, volume] = np.rint(painted / slope)
    return stored, slope


def write_scan(
    out: Path,
    name: str,
    *,
    series: npt.NDArray[np.float32],
    confounds: pd.DataFrame,
    atlas: VolumeAtlas,
    texture: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
) -> None:
    """Write image, mask, sidecar, confounds and truth of one scan such as ``sub-002_ses-1``."""
    sub, ses = (part.split("-")[1] for part in name.split("_"))
    entities = Entities(sub=sub, ses=ses, task="rest", space=atlas.space, res="2")
    func = out / f"sub-{sub}" / f"ses-{ses}" / "func"
    func.mkdir(parents=True, exist_ok=True)
    grid = Grid(shape=atlas.labels.shape, affine=atlas.affine)
    stored, slope = paint(series, labels=atlas.labels, texture=texture, brain=brain)
    bold = func / f"{entities.stem(desc='preproc')}_bold.nii.gz"
    write_image(bold, stored, grid, tr_s=TR_S, slope=slope)
    write_image(func / f"{entities.stem(desc='brain')}_mask.nii.gz", brain.astype(np.uint8), grid)
    sidecar = {"RepetitionTime": TR_S, "SkullStripped": True, "TaskName": "rest"}
    bold.with_name(bold.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    table = func / f"{entities.run_stem}_desc-confounds_timeseries.tsv"
    confounds.to_csv(table, sep="\t", index=False, na_rep="n/a")
    truth = out / "sourcedata" / "truth" / f"{entities.run_stem}_timeseries.tsv"
    truth.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(series).to_csv(truth, sep="\t", index=False, header=False)


def write_description(out: Path) -> None:
    """Say in the dataset that its volumes are constructed."""
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "Name": "STAGES parcel series painted into an atlas: constructed volumes",
        "BIDSVersion": "1.4.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": "fMRIPrep", "Version": "23.2.0", "Description": "Layout only."},
            {"Name": "tools/paint_stages.py"},
        ],
    }
    (out / "dataset_description.json").write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
