"""Build the atlas on grayordinates from its sources, and lay it out beside the volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.atlas.folder import ABSENT_KEY, ATLAS_LABEL, HASH_KEY
from bids_app.atlas.grayordinates import labels_of_cifti, tables_of
from bids_app.atlas.labels import check_labels, parse_labels, resample_nearest
from bids_app.atlas.setup.build import (
    add_cerebellum,
    check_names,
    cortex_first,
    source_records,
)
from bids_app.atlas.setup.gray_170k import denser
from bids_app.atlas.setup.sources import (
    CEREBELLUM,
    GRAYORDINATES,
    VOLUME_OF_GRAYORDINATES,
    further_sources_of,
)
from bids_app.atlas.spaces import FSLR
from bids_app.outputs.atomic import json_bytes
from model.networks import parcels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.atlas.labels import LabelArray
    from bids_app.atlas.setup.sources import Source

CEREBELLAR = "CIFTI_STRUCTURE_CEREBELLUM_"


@dataclass(frozen=True, kw_only=True, eq=False)
class GrayImage:
    """An atlas on grayordinates, ready to be installed."""

    density: str
    axis: Any
    """nibabel's ``BrainModelAxis`` of length G"""
    labels: LabelArray
    """(G,) parcel index 1-457, 0 elsewhere"""
    absent: Mapping[int, str]
    sources: tuple[Source, ...]


def build_gray_atlas(contents: Mapping[Source, bytes], *, density: str) -> GrayImage:
    """Join cortex, subcortex and cerebellum on the grayordinates of the CIFTI standard.

    Parameters
    ----------
    contents
        Verified, uncompressed files (``sources_of("fsLR")``; for 170k `further_sources_of`).
    density
        ``91k`` or ``170k``.

    Raises
    ------
    AtlasError
        A source does not hold the labels that it should.

    Notes
    -----
    The source has the cortex on the surface and the subcortex in voxels, numbered as in the
    volume images. The voxels are those of the 2 mm MNI152NLin6Asym grid, so the cerebellum of
    that space is sampled at their centres, in the structures of the cerebellum only. There is
    no source on the 170k grayordinates; their labels are those of the nearest of the 91k.
    """
    import nibabel as nib

    image: Any = nib.Cifti2Image.from_bytes(contents[GRAYORDINATES])
    axis, combined = labels_of_cifti(image, source=GRAYORDINATES.name)
    names = {str(key): name for key, (name, _) in image.header.get_axis(0).label[0].items()}
    check_names(names, source=GRAYORDINATES.name)
    labels = cortex_first(combined, source=GRAYORDINATES.name)
    sources = [GRAYORDINATES]
    if density != FSLR.densities[0]:
        axis, labels = denser(axis, labels, contents)
        sources += further_sources_of(FSLR.name)
    source = CEREBELLUM[VOLUME_OF_GRAYORDINATES]
    cerebellum, grid = parse_labels(contents[source], source=source.name)
    sampled = resample_nearest(cerebellum, grid, axis.volume_shape, axis.affine)
    inside = np.array([name.startswith(CEREBELLAR) for name in axis.name])
    networks = np.zeros_like(labels)
    networks[inside] = sampled[tuple(axis.voxel[inside].T)]
    labels, _ = add_cerebellum(labels, networks)
    check_labels(labels, absent={}, source=f"{FSLR.name}, {density}")
    return GrayImage(
        density=density, axis=axis, labels=labels, absent={}, sources=(*sources, source)
    )


def gray_files(
    image: GrayImage, folder: Path, *, description: str, licence: str
) -> dict[Path, bytes]:
    """Lay out a grayordinate atlas; `bids_app.atlas.setup.build.atlas_files` adds the label table.

    Returns
    -------
    Path to content, for `bids_app.outputs.atomic.write_all`; equal images give equal bytes.
    """
    stem = f"tpl-{FSLR.name}_atlas-{ATLAS_LABEL}_den-{image.density}_dseg"
    path = folder / f"tpl-{FSLR.name}" / stem
    sidecar = {
        "Name": ATLAS_LABEL,
        "Description": description,
        "License": licence,
        "SpatialReference": f"fsLR surfaces; voxels: {VOLUME_OF_GRAYORDINATES}",
        "Density": f"{image.labels.size} grayordinates",
        **source_records(image.sources),
        ABSENT_KEY: {str(index): reason for index, reason in image.absent.items()},
        HASH_KEY: tables_of(image.axis, image.labels).sha256(),
    }
    return {
        path.with_name(f"{stem}.dlabel.nii"): _cifti_bytes(image),
        path.with_name(f"{stem}.json"): json_bytes(sidecar),
    }


def _cifti_bytes(image: GrayImage) -> bytes:
    import nibabel as nib
    from nibabel.cifti2.cifti2_axes import LabelAxis

    clear, grey = (0.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 1.0)
    table = {0: ("???", clear)} | {p.index: (p.name, grey) for p in parcels()}
    maps = LabelAxis([ATLAS_LABEL], [table])
    cifti = nib.Cifti2Image(image.labels[None].astype(np.float32), (maps, image.axis))
    cifti.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_LABELS")
    return bytes(cifti.to_bytes())
