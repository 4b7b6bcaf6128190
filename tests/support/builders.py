"""Small fMRIPrep-like datasets from seeds, and ways to damage them.

A thin layer over `bids_app.demo.tree`: the same simulation as ``semantoks demo``, on a
grid of 12 x 14 x 12 voxels that still holds all 457 parcels.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pandas as pd

from bids_app.demo.phantom import Grid, Head, make_head, tiny_grid
from bids_app.demo.tree import (
    ScanFiles,
    write_atlas,
    write_description,
    write_image,
    write_scan,
)
from bids_app.inputs.entities import Entities
from model.checkpoint import save_checkpoint
from model.encoder import Encoder, build_encoder
from model.networks import network_columns
from model.spec import EncoderSpec, InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SPACE = "MNI152NLin2009cAsym"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where a simulated derivative lies, and its scans in order of their names."""

    root: Path
    """Folder of ``sub-*``"""
    scans: tuple[ScanFiles, ...]


def make_checkpoint(folder: Path, encoder: Encoder | None = None, **training: object) -> Path:
    """Write a tiny checkpoint (for ``--checkpoint``), of random weights or of an encoder.

    `training` is what its card tells. Returns `folder`.
    """
    save_checkpoint(
        folder,
        encoder or build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=1),
        name="tiny-random",
        version="0",
        input=InputSpec(),
        readout=("networks",),
        source="tests",
        licence="none",
        training=training or {"method": "random weights for tests"},
    )
    return folder


@cache
def tiny_head() -> Head:
    """Return the head of 12 x 14 x 12 voxels; built once, do not write to it."""
    return make_head(tiny_grid())


def make_atlas(folder: Path, *, space: str = SPACE, grid: Grid | None = None) -> Path:
    """Write the synthetic atlas as an installed one (for ``--atlas``) and return `folder`."""
    return write_atlas(folder, make_head(grid) if grid else tiny_head(), space=space)


def make_dataset(
    folder: Path,
    *,
    subjects: Sequence[str] = ("01",),
    sessions: Sequence[str | None] = (None,),
    tasks: Mapping[str, float] | None = None,
    runs: Sequence[str | None] = (None,),
    entities: Mapping[str, str] | None = None,
    n_volumes: int = 120,
    spaces: Sequence[str] = (SPACE,),
    res: str | None = None,
    layout: str = "bids",
    generation: str = "timeseries",
    with_mask: bool = True,
    with_confounds: bool = True,
    with_sidecar: bool = True,
    grid: Grid | None = None,
) -> Dataset:
    """Write the product of subjects, sessions, tasks, runs and spaces.

    Parameters
    ----------
    tasks
        Task to repetition time in seconds; ``{"rest": 2.0}`` unless given.
    entities
        Further entities of every scan, such as ``{"acq": "seq", "dir": "AP"}``.
    layout
        ``bids``: `folder` holds ``sub-*`` (fMRIPrep 21 and later); ``legacy``: ``folder/fmriprep``
        does.
    generation
        Name of the confounds files: ``timeseries`` (20.2 and later) or ``regressors``.
    """
    root = {"bids": folder, "legacy": folder / "fmriprep"}[layout]
    head = make_head(grid) if grid else tiny_head()
    write_description(root)
    scans = [
        write_scan(
            root,
            head,
            entities=Entities(
                sub=sub, ses=ses, task=task, run=run, space=space, res=res, **(entities or {})
            ),
            n_volumes=n_volumes,
            tr_s=tr_s,
        )
        for sub in subjects
        for ses in sessions
        for task, tr_s in (tasks or {"rest": 2.0}).items()
        for run in runs
        for space in spaces
    ]
    for scan in scans:
        _take_away(scan, mask=with_mask, confounds=with_confounds, sidecar=with_sidecar)
    if generation == "regressors":
        scans = [_rename_confounds(scan) for scan in scans]
    elif generation != "timeseries":
        raise ValueError(generation)
    return Dataset(root=root, scans=tuple(sorted(scans, key=lambda scan: scan.bold.name)))


def _take_away(scan: ScanFiles, *, mask: bool, confounds: bool, sidecar: bool) -> None:
    if not mask:
        scan.mask.unlink()
    if not sidecar:
        scan.sidecar.unlink()
    if not confounds:
        # Several spaces share one confounds file.
        scan.confounds.unlink(missing_ok=True)
        scan.confounds_metadata.unlink(missing_ok=True)


def _rename_confounds(scan: ScanFiles) -> ScanFiles:
    changed = {}
    for name in ("confounds", "confounds_metadata"):
        path = getattr(scan, name)
        changed[name] = path.with_name(path.name.replace("_timeseries.", "_regressors."))
        if path.exists():
            path.rename(changed[name])
    return replace(scan, **changed)


# Damage. Each function changes the files of one scan in place.


def truncate_image(scan: ScanFiles, *, keep: float = 0.5) -> None:
    """Cut the compressed BOLD file off, as an interrupted copy does."""
    content = scan.bold.read_bytes()
    scan.bold.write_bytes(content[: int(len(content) * keep)])


def drop_last_volume_bytes(scan: ScanFiles) -> None:
    """Leave a valid gzip stream that holds fewer voxels than the header promises."""
    content = gzip.decompress(scan.bold.read_bytes())
    scan.bold.write_bytes(gzip.compress(content[:-100], 1))


def edit_bold(
    scan: ScanFiles, change: Callable[[np.ndarray], np.ndarray], *, dtype: type = np.float32
) -> None:
    """Rewrite the BOLD image with `change` applied to its (X, Y, Z, T) intensities."""
    image = nib.load(scan.bold)
    changed = change(image.get_fdata(dtype=np.float32))
    edited = nib.Nifti1Image(changed.astype(dtype), image.affine, dtype=dtype)
    edited.header.set_xyzt_units("mm", "sec")
    edited.header.set_zooms(image.header.get_zooms())
    edited.set_sform(image.affine, code="mni")
    edited.set_qform(image.affine, code="mni")
    nib.save(edited, scan.bold)


def put_nan_volume(scan: ScanFiles, *, volume: int) -> None:
    """Fill one volume with NaN."""

    def change(values: np.ndarray) -> np.ndarray:
        values[..., volume] = np.nan
        return values

    edit_bold(scan, change)


def blank_image(scan: ScanFiles) -> None:
    """Set every voxel to zero."""
    edit_bold(scan, np.zeros_like, dtype=np.int16)


def cut_volumes(scan: ScanFiles, *, keep: int) -> None:
    """Keep the first volumes only, in image and confounds alike."""
    edit_bold(scan, lambda values: values[..., :keep])
    read_confounds(scan).iloc[:keep].to_csv(scan.confounds, sep="\t", index=False, na_rep="n/a")


def cut_cerebellum(scan: ScanFiles, head: Head | None = None) -> None:
    """Leave the cerebellum outside the field of view: no signal, not in the mask."""
    head = head or tiny_head()
    gone = np.isin(head.labels, network_columns("Cerebellum") + 1)

    def change(values: np.ndarray) -> np.ndarray:
        values[gone] = 0
        return values

    edit_bold(scan, change)
    write_image(scan.mask, (head.brain & ~gone).astype(np.uint8), head.grid)


def read_confounds(scan: ScanFiles) -> pd.DataFrame:
    """Read the confounds table."""
    return pd.read_csv(scan.confounds, sep="\t", na_values="n/a")


def drop_columns(scan: ScanFiles, *names: str) -> None:
    """Remove columns from the confounds table."""
    kept = read_confounds(scan).drop(columns=list(names))
    kept.to_csv(scan.confounds, sep="\t", index=False, na_rep="n/a")


def edit_sidecar(scan: ScanFiles, **changes: object) -> None:
    """Set keys of the BOLD sidecar; None removes a key."""
    content = json.loads(scan.sidecar.read_text()) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    scan.sidecar.write_text(json.dumps(kept))


def edit_atlas_voxels(atlas: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Rewrite every image of an atlas folder with other labels, hash and sidecar unchanged."""
    for path in atlas.glob("tpl-*/*_dseg.nii.gz"):
        image = nib.load(path)
        labels = change(np.asarray(image.dataobj).copy())
        nib.save(nib.Nifti1Image(labels, image.affine, dtype=labels.dtype), path)
