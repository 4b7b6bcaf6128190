"""Small sources of the atlas under the numbering of the originals, nothing real."""

from __future__ import annotations

import grayordinate_builders as gray
import nibabel as nib
import numpy as np
from itk_builders import composite

from bids_app.atlas.setup import origins
from model.networks import parcel_names

LIN6, GRAY, LIN2009 = "MNI152NLin6Asym", "fsLR", "MNI152NLin2009cAsym"


def nifti(labels, affine):
    return nib.Nifti1Image(np.asarray(labels, dtype=np.float32), affine).to_bytes()


def combined_image(mm):
    """The sources' numbering: label k stands at flat position 3k, nothing in between."""
    flat = np.zeros(24 * 10 * 10)
    flat[3 * np.arange(451)] = np.arange(451)
    affine = np.diag([-mm, mm, mm, 1.0])
    return flat.reshape(24, 10, 10), affine


def cerebellum_image(mm):
    """Networks 1-7 in the last rows of the same grid; two voxels lie on cortex."""
    flat = np.zeros(24 * 10 * 10)
    flat[2000:2350] = np.arange(350) % 7 + 1
    flat[[3 * 200, 3 * 201]] = 5
    return flat.reshape(24, 10, 10), np.diag([-mm, mm, mm, 1.0])


def names_text():
    names = parcel_names()[400:450] + parcel_names()[:400]
    return "".join(f"{name}\n{i} 1 2 3 255\n" for i, name in enumerate(names, start=1))


def cerebellum_of_both():
    """The networks of `cerebellum_image`, and far beside them those of the grayordinates.

    There, too, some of the networks lie where they do not belong.
    """
    labels, structure = gray.place_voxels()
    networks = np.where(np.char.find(structure, "CEREBELLUM") >= 0, labels - 450, 0)
    networks[structure == "CIFTI_STRUCTURE_BRAIN_STEM"] = 5
    networks[labels == 430] = 6
    origin = int(gray.AFFINE[0, 3])
    both = np.zeros((origin + 24, 28, 24))
    both[: 2 * len(labels), : 2 * labels.shape[1], : 2 * labels.shape[2]] = gray.refined(networks)
    both[origin:, :10, :10] = cerebellum_image(1.0)[0]
    affine = np.diag([-1.0, 1, 1, 1])
    affine[0, 3] = origin
    return both, affine


def synthetic_contents():
    contents = {origins.CORTEX_SUBCORTEX_NAMES: names_text().encode()}
    for (space, mm), source in origins.CORTEX_SUBCORTEX.items():
        labels, affine = combined_image(float(mm))
        affine[:3, 3] = APART if space == LIN2009 else 0
        contents[source] = nifti(labels, affine)
    contents[origins.CEREBELLUM[LIN6]] = nifti(*cerebellum_of_both())
    contents[origins.GRAYORDINATES] = gray.source_dlabel()
    return contents


APART = np.array([4.0, -2.0, 6.0])
"""Millimetres (RAS) from a place in MNI152NLin6Asym to the same in MNI152NLin2009cAsym."""
TO_LIN6 = -APART * [-1, -1, 1]
"""The way back, as ITK counts."""


def complete_contents(transform=None):
    """All files, those of TemplateFlow too."""
    transform = transform or composite(translation=TO_LIN6)
    contents = synthetic_contents() | gray.finer_sources()
    return contents | {origins.CEREBELLUM_WARP[LIN2009]: transform}
