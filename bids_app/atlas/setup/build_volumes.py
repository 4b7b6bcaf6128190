"""Build the atlas as volumes from its sources, and lay one out in BIDS-Atlas layout."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app import __version__
from bids_app.atlas.labels import (
    LABEL_COLUMNS,
    Affine,
    LabelArray,
    check_labels,
    parse_labels,
    resample_nearest,
    voxel_sha256,
)
from bids_app.atlas.setup.origins import (
    CEREBELLUM,
    CEREBELLUM_WARP,
    CORTEX_SUBCORTEX,
    CORTEX_SUBCORTEX_NAMES,
    NO_BUCKNER,
    WARPED_FROM,
    Source,
    is_complete,
)
from bids_app.atlas.setup.warp import warped_cerebellum
from bids_app.atlas.volumes import ABSENT_KEY, ATLAS_LABEL, HASH_KEY
from bids_app.errors import AtlasError
from bids_app.files import json_bytes
from model.files.write import tsv_bytes
from model.networks import N_CORTEX, N_SUBCORTEX, parcels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BIDS_VERSION = "1.11.1"
FIRST_CEREBELLUM = N_CORTEX + N_SUBCORTEX + 1


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeImage:
    """One image of an atlas, ready to be installed."""

    space: str
    resolution: str
    labels: LabelArray
    affine: Affine
    absent: Mapping[int, str]
    sources: tuple[Source, ...]
    n_overlap: int
    """Cerebellar voxels that a cortical or subcortical label took"""
    warp: Mapping[str, Any] = field(default_factory=dict)
    """How the cerebellum came from another space; empty: it did not"""

    __repr__ = shown


def build_volume_atlas(
    space: str, resolution: str, contents: Mapping[Source, bytes]
) -> VolumeImage:
    """Join cortex, subcortex and cerebellum in model order.

    Parameters
    ----------
    space, resolution
        Which image, such as ``MNI152NLin6Asym`` and ``2``.
    contents
        Verified, uncompressed files (`bids_app.atlas.setup.origins.sources_of`).

    Raises
    ------
    AtlasError
        A source does not hold the labels that it should.

    Notes
    -----
    The combined source image numbers the subcortex 1-50 and the cortex 51-450; the model takes
    the cortex first. The cerebellum, on a grid of its own, is sampled at the voxel centres of
    the combined image and fills only voxels without a label.
    """
    check_names(
        _names_of(contents[CORTEX_SUBCORTEX_NAMES].decode()), source=CORTEX_SUBCORTEX_NAMES.name
    )
    source = CORTEX_SUBCORTEX[space, resolution]
    combined, affine = parse_labels(contents[source], source=source.name)
    labels = cortex_first(combined, source=source.name)
    sources, absent, n_overlap = [source], {}, 0
    warp: dict[str, Any] = {}
    if space in CEREBELLUM:
        cerebellum, grid = parse_labels(contents[CEREBELLUM[space]], source=space)
        networks = resample_nearest(cerebellum, grid, labels.shape, affine)
        sources.append(CEREBELLUM[space])
    elif is_complete(space, contents):
        networks, warp = warped_cerebellum(space, contents, labels.shape, affine)
        sources += [CEREBELLUM[WARPED_FROM], CEREBELLUM_WARP[space]]
    else:
        networks = np.zeros_like(labels)
        absent = {p.index: NO_BUCKNER for p in parcels() if p.index >= FIRST_CEREBELLUM}
    labels, n_overlap = add_cerebellum(labels, networks)
    check_labels(labels, absent=absent, source=f"{space}, {resolution} mm")
    return VolumeImage(
        space=space,
        resolution=resolution,
        labels=labels,
        affine=affine,
        absent=absent,
        sources=tuple(sources),
        n_overlap=n_overlap,
        warp=warp,
    )


def cortex_first(combined: LabelArray, *, source: str) -> LabelArray:
    """Renumber (X, Y, Z) labels: subcortex 1-50 becomes 401-450, cortex 51-450 becomes 1-400.

    Raises
    ------
    AtlasError
        There are labels outside 0-450.
    """
    n_labels = N_CORTEX + N_SUBCORTEX
    if combined.min() < 0 or combined.max() > n_labels:
        raise AtlasError(
            f"{source}: expected labels 0-{n_labels}, found {combined.min()}-{combined.max()}."
        )
    new = np.zeros(n_labels + 1, dtype=np.int32)
    new[1 : N_SUBCORTEX + 1] = np.arange(N_CORTEX + 1, n_labels + 1)
    new[N_SUBCORTEX + 1 :] = np.arange(1, N_CORTEX + 1)
    return new[combined]


def add_cerebellum(labels: LabelArray, cerebellum: LabelArray) -> tuple[LabelArray, int]:
    """Write networks 1-7 as 451-457 where no label stands; count the voxels where one does.

    Both images and the result are (X, Y, Z).
    """
    inside = cerebellum > 0
    free = inside & (labels == 0)
    joined = np.where(free, cerebellum + FIRST_CEREBELLUM - 1, labels).astype(np.int32)
    return joined, int((inside & ~free).sum())


def check_names(found: Mapping[str, str], *, source: str) -> None:
    """Compare a combined source's names (by label number) with the model's, in its order.

    Raises
    ------
    AtlasError
        Names the first label that differs.
    """
    in_model_order = parcels()[: N_CORTEX + N_SUBCORTEX]
    in_source_order = in_model_order[N_CORTEX:] + in_model_order[:N_CORTEX]
    for number, parcel in enumerate(in_source_order, start=1):
        if found.get(str(number)) != parcel.name:
            raise AtlasError(
                f"{source}: label {number} should be {parcel.name}, "
                f"found {found.get(str(number))}."
            )


def atlas_files(
    images: Iterable[VolumeImage], folder: Path, *, description: str, licence: str
) -> dict[Path, bytes]:
    """Lay out an atlas dataset: images with their sidecars, label table, descriptions.

    Parameters
    ----------
    images
        One per space and resolution.
    folder
        Root of the dataset, such as `bids_app.atlas.volumes.atlas_home`.
    description, licence
        What the atlas is and on what terms, for people who find the files.

    Returns
    -------
    Path to content, for `bids_app.files.write_all`; equal images give equal bytes.
    """
    root = folder / f"atlas-{ATLAS_LABEL}"
    named = {"Name": ATLAS_LABEL, "Description": description, "License": licence}
    rows = [(p.index, p.name, p.network, p.hemisphere) for p in parcels()]
    table = tsv_bytes(LABEL_COLUMNS, rows)
    dataset = {
        "Name": f"{ATLAS_LABEL}: parcels of the semantoks model input",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": licence,
        "GeneratedBy": [{"Name": "semantoks", "Version": __version__}],
    }
    files = {}
    for image in images:
        stem = f"tpl-{image.space}_atlas-{ATLAS_LABEL}_res-{image.resolution}_dseg"
        path = folder / f"tpl-{image.space}" / stem
        files[path.with_name(f"{stem}.nii.gz")] = _nifti_bytes(image)
        files[path.with_name(f"{stem}.json")] = json_bytes(_sidecar(image, named))
    return files | {
        root.with_name(f"{root.name}_dseg.tsv"): table,
        root.with_name(f"{root.name}_dseg.json"): json_bytes(_table_sidecar(description)),
        root.with_name(f"{root.name}_description.json"): json_bytes(named | {"Species": "Human"}),
        folder / "dataset_description.json": json_bytes(dataset),
    }


def _names_of(text: str) -> dict[str, str]:
    """Parse a label file: a line with the name, a line with number and colour."""
    lines = text.split("\n")
    return dict(zip([line.split()[0] for line in lines[1::2]], lines[0::2], strict=False))


def _nifti_bytes(image: VolumeImage) -> bytes:
    """Return a compressed NIfTI image; the same labels give the same bytes."""
    import nibabel as nib

    nifti = nib.Nifti1Image(image.labels.astype(np.int16), image.affine)
    nifti.set_sform(image.affine, code="mni")
    nifti.set_qform(image.affine, code="mni")
    nifti.header.set_xyzt_units("mm", "sec")
    return gzip.compress(nifti.to_bytes(), mtime=0)


def _sidecar(image: VolumeImage, named: dict[str, str]) -> dict[str, Any]:
    return named | {
        "SpatialReference": f"https://templateflow.s3.amazonaws.com/tpl-{image.space}/"
        f"tpl-{image.space}_res-0{image.resolution}_T1w.nii.gz",
        "Resolution": f"{image.resolution} mm",
        **source_records(image.sources),
        ABSENT_KEY: {str(index): reason for index, reason in image.absent.items()},
        "CerebellumOverlapVoxels": image.n_overlap,
        **({"CerebellumWarp": dict(image.warp)} if image.warp else {}),
        HASH_KEY: voxel_sha256(image.labels, image.affine),
    }


def source_records(sources: Iterable[Source]) -> dict[str, Any]:
    """Return the keys of an image's sidecar that tell its sources and their terms."""
    return {
        "Sources": [source.url for source in sources],
        "SourceFiles": [
            {
                "Name": source.name,
                "SHA256": source.sha256,
                "License": source.origin.licence,
                "Reference": source.origin.reference,
            }
            for source in sources
        ],
    }


def _table_sidecar(description: str) -> dict[str, Any]:
    return {
        "Description": description,
        "network": {"Description": "Network of the token grid that the parcel belongs to."},
        "hemisphere": {"Levels": {"L": "left", "R": "right", "B": "both"}},
    }
