"""Files of simulated scans, laid out and named as fMRIPrep 23 does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.atlas.setup.build_volumes import VolumeImage, atlas_files
from bids_app.demo.nuisance import confound_table
from bids_app.demo.phantom import random_for, simulate_scan
from bids_app.files import json_bytes, replacing, table_bytes, write_all, write_bytes
from model.networks import parcel_names, parcels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from bids_app.demo.phantom import FloatArray, Grid, Head
    from bids_app.inputs.entities import Entities

_INTENSITY_STEP = 2.0
"""scl_slope: a sixth of the noise, so that rounding is invisible and files stay small."""
_ATLAS_DESCRIPTION = (
    "Synthetic: ellipsoids cut into 457 pieces, for examples and tests. The names are those of "
    "the model's parcels, the positions are arbitrary; derived from no atlas."
)
_DUMMY_S = 3.0
"""Time in which the magnetization reaches its steady state."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanFiles:
    """Paths of one simulated scan, and its truth."""

    bold: Path
    sidecar: Path
    mask: Path
    boldref: Path
    confounds: Path
    confounds_metadata: Path
    truth: FloatArray
    """(T, P) percent signal change of the parcels, without nuisance"""
    n_dummy: int
    """Leading volumes that have not reached the steady state"""

    __repr__ = shown


def write_description(folder: Path) -> Path:
    """Write ``dataset_description.json``; it names fMRIPrep's layout and says who made it."""
    content = {
        "Name": "Simulated scans in the layout of fMRIPrep: no recording, no person",
        "BIDSVersion": "1.4.0",
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "fMRIPrep",
                "Version": "23.2.0",
                "Description": "Layout and file names only; fMRIPrep was not run.",
            },
            {
                "Name": "semantoks-demo",
                "Description": "Simulated parcel signals, motion, physiology, drift and noise.",
            },
        ],
        "HowToAcknowledge": "Not data: do not use in an analysis.",
    }
    return write_bytes(folder / "dataset_description.json", json_bytes(content))


def write_scan(
    folder: Path, head: Head, *, entities: Entities, n_volumes: int, tr_s: float
) -> ScanFiles:
    """Simulate one scan and write it below a derivative's root.

    Parameters
    ----------
    entities
        With `task` and `space`; `res` only where fMRIPrep would write it. What names the
        recording also seeds it: the same entities give the same scan, the same `sub` the same
        covariance.
    """
    if entities.task is None or entities.space is None:
        msg = f"{entities}: a scan needs a task and a space"
        raise ValueError(msg)
    scan = simulate_scan(
        head,
        subject=random_for(f"sub-{entities.sub}"),
        scan=random_for(entities.run_stem),
        n_volumes=n_volumes,
        tr_s=tr_s,
        n_dummy=math.ceil(_DUMMY_S / tr_s),
    )
    session = [f"ses-{entities.ses}"] if entities.ses else []
    func = folder.joinpath(f"sub-{entities.sub}", *session, "func")
    preproc, mask = (entities.stem(desc=desc) for desc in ("preproc", "brain"))
    confounds = f"{entities.run_stem}_desc-confounds_timeseries"
    files = ScanFiles(
        bold=func / f"{preproc}_bold.nii.gz",
        sidecar=func / f"{preproc}_bold.json",
        mask=func / f"{mask}_mask.nii.gz",
        boldref=func / f"{entities.stem()}_boldref.nii.gz",
        confounds=func / f"{confounds}.tsv",
        confounds_metadata=func / f"{confounds}.json",
        truth=scan.truth,
        n_dummy=scan.n_dummy,
    )
    table = confound_table(head, scan)
    write_table(files.confounds, table.columns)
    write_bytes(files.confounds_metadata, json_bytes(table.metadata))
    write_bytes(files.sidecar, json_bytes(_sidecar(entities.task, tr_s)))
    write_image(files.mask, head.brain.astype(np.uint8), head.grid)
    write_image(
        files.boldref, _stored(scan.bold[-1:], head)[..., 0], head.grid, slope=_INTENSITY_STEP
    )
    write_image(files.bold, _stored(scan.bold, head), head.grid, slope=_INTENSITY_STEP, tr_s=tr_s)
    return files


def _sidecar(task: str, tr_s: float) -> dict[str, Any]:
    # fMRIPrep aligns slices to the middle of the volume; that is when the truth is sampled.
    return {
        "RepetitionTime": tr_s,
        "SkullStripped": True,
        "SliceTimingCorrected": True,
        "StartTime": tr_s / 2,
        "TaskName": task,
    }


def _stored(bold: npt.NDArray[np.float32], head: Head) -> npt.NDArray[np.int16]:
    """(X, Y, Z, T) integers that a slope of `_INTENSITY_STEP` turns back into intensities."""
    volumes = np.zeros((*head.grid.shape, len(bold)), dtype=np.int16, order="F")
    volumes[head.brain] = np.rint(bold.T / _INTENSITY_STEP)
    return volumes


def write_atlas(folder: Path, head: Head, *, space: str) -> Path:
    """Install the head's parcels as an atlas that says what it is, and return its folder."""
    labels = head.labels.astype(np.int32)
    present = set(np.unique(labels).tolist())
    image = VolumeImage(
        space=space,
        resolution=f"{abs(head.grid.affine[0, 0]):g}".replace(".", "p"),
        labels=labels,
        affine=head.grid.affine,
        absent={p.index: "outside the grid" for p in parcels() if p.index not in present},
        sources=(),
        n_overlap=0,
    )
    write_all(atlas_files([image], folder, description=_ATLAS_DESCRIPTION, licence="CC0-1.0"))
    return folder


def write_image(
    path: Path,
    voxels: npt.NDArray[np.integer],
    grid: Grid,
    *,
    tr_s: float | None = None,
    slope: float = 1.0,
) -> Path:
    """Write a NIfTI image in MNI space, integers as given, with a scale slope.

    Parameters
    ----------
    voxels
        (X, Y, Z) or (X, Y, Z, T)
    tr_s
        Repetition time of a series.
    """
    import nibabel as nib

    image = nib.Nifti1Image(voxels, grid.affine, dtype=voxels.dtype)
    image.set_sform(grid.affine, code="mni")
    image.set_qform(grid.affine, code="mni")
    image.header.set_xyzt_units("mm", "sec")
    if tr_s is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr_s))
    # With a slope given, nibabel writes the integers as they are.
    image.header.set_slope_inter(slope, 0)
    with replacing(path) as temporary:
        # nibabel chooses compression by the name's ending.
        written = temporary.with_name(f"{temporary.name}.nii.gz")
        nib.save(image, written)
        written.replace(temporary)
    return path


def write_truth(path: Path, truth: FloatArray) -> Path:
    """Write (T, P) true signals as a table with one named column per parcel."""
    return write_table(path, dict(zip(parcel_names(), truth.T, strict=True)))


def write_table(path: Path, columns: Mapping[str, npt.NDArray[np.floating]]) -> Path:
    """Write columns (T,) as a BIDS TSV, ``n/a`` where NaN."""
    import pandas as pd

    return write_bytes(path, table_bytes(pd.DataFrame(dict(columns))))
