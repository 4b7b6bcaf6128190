"""Where the atlas comes from: public files, pinned by commit and sha256.

None of these files, and nothing derived from their voxels, is part of this repository: each
user builds the atlas on his own machine (``semantoks assets atlas``), under their licences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.atlas.spaces import FSLR, SPACES

if TYPE_CHECKING:
    from collections.abc import Collection

RESOLUTIONS = ("1", "2")
NO_BUCKNER = (
    "no Buckner atlas in this space, and TemplateFlow's transform was not at hand at set-up"
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A public collection of files, and its terms."""

    name: str
    address: str
    """What the addresses of its files begin with; of a repository: at a pinned commit"""
    licence: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file of an origin."""

    path: str
    """Below the origin's address"""
    sha256: str
    """Of the uncompressed content, so that ``.nii`` and ``.nii.gz`` are the same file; for
    ``Atlas_ROIs.1.60.nii.gz`` of the file as published"""
    origin: Origin

    @property
    def name(self) -> str:
        """Original file name, without the compression suffix."""
        return self.path.rpartition("/")[2].removesuffix(".gz")

    @property
    def url(self) -> str:
        """Public address of the file."""
        return f"{self.origin.address}/{self.path}"


_GITHUB = "https://raw.githubusercontent.com"
TIAN = Origin(
    name="Schaefer-400 (7 networks) with Tian subcortex S3",
    address=f"{_GITHUB}/yetianmed/subcortex/62751401be0dba587442799748a886d5d87b8364",
    licence="Melbourne Subcortex Atlas License (free use and redistribution; cite Tian et al. "
    "2020); Schaefer parcellation: MIT (CBIG)",
    reference="Tian et al. 2020, https://doi.org/10.1038/s41593-020-00711-6; "
    "Schaefer et al. 2018, https://doi.org/10.1093/cercor/bhx179",
)
BUCKNER = Origin(
    name="Buckner-7 cerebellum",
    address=f"{_GITHUB}/DiedrichsenLab/cerebellar_atlases/"
    "1b62fdc0954d34ed768ec36e81ce6a007dbe9e3c",
    licence="CC BY-ND by the repository's README (its SUIT folder: CC BY-NC 3.0); use it, do "
    "not pass the merged atlas on",
    reference="Buckner et al. 2011, https://doi.org/10.1152/jn.00339.2011",
)
TEMPLATEFLOW = Origin(
    name="TemplateFlow",
    address="https://templateflow.s3.amazonaws.com",
    licence="the LICENSE file of each template (MNI152NLin2009cAsym, fsLR)",
    reference="Ciric et al. 2022, https://doi.org/10.1038/s41592-022-01681-2",
)
HCP = Origin(
    name="HCP grayordinates",
    address=f"{_GITHUB}/Washington-University/HCPpipelines/"
    "fb25ef4e9be44402d1d746834d18050842bb4042",
    licence="HCP Pipelines, LICENSE.md in their repository",
    reference="Glasser et al. 2013, https://doi.org/10.1016/j.neuroimage.2013.04.127",
)

_FOLDER = "Group-Parcellation/3T/Cortex-Subcortex"
_STEM = "Schaefer2018_400Parcels_7Networks_order_Tian_Subcortex_S3"

CORTEX_SUBCORTEX = {
    (space, resolution): Source(
        path=f"{_FOLDER}/MNIvolumetric/{_STEM}_{label}_{resolution}mm.nii.gz",
        sha256=sha256,
        origin=TIAN,
    )
    for space, label, resolution, sha256 in (
        (
            "MNI152NLin6Asym",
            "MNI152NLin6Asym",
            "1",
            "3e068c1e4be4fa7b752d236bc8fad1dede77fd73b455eb3ac93baa9ebf39b977",
        ),
        (
            "MNI152NLin6Asym",
            "MNI152NLin6Asym",
            "2",
            "0e2eb6f53381f1829841c577abd0cdd9ce010a072c9b1f9441fd65e73b9b5fbf",
        ),
        (
            "MNI152NLin2009cAsym",
            "3T_MNI152NLin2009cAsym",
            "1",
            "9eb25a4ef03f849db2ec2c0fa5c4f5fcde95d4094343e479e7acd27f73c885f7",
        ),
        (
            "MNI152NLin2009cAsym",
            "3T_MNI152NLin2009cAsym",
            "2",
            "1035913deefe502465e5b540e04bd48655db52d34f62c951ec6a5c771e0405ec",
        ),
    )
}
"""Space and resolution (mm) to the combined label image: 1-50 Tian, 51-450 Schaefer."""

CORTEX_SUBCORTEX_NAMES = Source(
    path=f"{_FOLDER}/{_STEM}_label.txt",
    sha256="98653ec054aacf4513fa828e49c9e22991b2d15f4200ecf134ba31c7e5af6869",
    origin=TIAN,
)
"""Names of the 450 labels: a line with the name, a line with index and colour."""

CEREBELLUM = {
    "MNI152NLin6Asym": Source(
        path="Buckner_2011/atl-Buckner7_space-MNI_dseg.nii",
        sha256="30103f765a72ef4ffcc58b0d7df4762e674ac8715900fe1578e59a18dced9416",
        origin=BUCKNER,
    )
}
"""Space to the label image 1-7, on a box of 1 mm voxels. MNI152NLin2009cAsym has none."""

CEREBELLUM_WARP = {
    "MNI152NLin2009cAsym": Source(
        path="tpl-MNI152NLin2009cAsym/"
        "tpl-MNI152NLin2009cAsym_from-MNI152NLin6Asym_mode-image_xfm.h5",
        sha256="2e3869a07b96aec406e0419ca2e434afc54882d37cc212b933b139d1b63a4dfe",
        origin=TEMPLATEFLOW,
    )
}
"""Space to the transform through which `WARPED_FROM`'s cerebellum is resampled (205 MB).

It maps points of the space to points of `WARPED_FROM`. The file of the opposite name
(``tpl-MNI152NLin6Asym_from-MNI152NLin2009cAsym``) maps the same way and has the same lattice
and size, so that only the hash tells them apart.
"""
WARPED_FROM = "MNI152NLin6Asym"

GRAYORDINATES = Source(
    path=f"{_FOLDER}/{_STEM}.dlabel.nii",
    sha256="3ee6ea48cfcf0c800894a442a539bd4cea0f0f29de2efc363e24b1e448ffcafb",
    origin=TIAN,
)
"""Surface labels 51-450 and voxel labels 1-50 on the 91,282 grayordinates of the standard.

Its cortex is that of CBIG's own fsLR file, vertex by vertex, and its voxels are those of the
2 mm volume image (both tested); besides, it lists the grayordinates of the standard.
"""
VOLUME_OF_GRAYORDINATES = "MNI152NLin6Asym"
"""Space of the voxels among the grayordinates."""


SPHERES = {
    (f"CIFTI_STRUCTURE_CORTEX_{hemisphere}", density): Source(
        path=f"tpl-fsLR/tpl-fsLR_hemi-{hemisphere[0]}_den-{density}_sphere.surf.gii",
        sha256=sha256,
        origin=TEMPLATEFLOW,
    )
    for hemisphere, density, sha256 in (
        (
            "LEFT",
            "32k",
            "1846b053f870405466776d004d714cc1da0cec7361761c65a864782dd09f30a8",
        ),
        (
            "LEFT",
            "59k",
            "65d38a5f938c2667f94f8978af4750ed66f76ce9060884bafccc3e9cdc52d178",
        ),
        (
            "RIGHT",
            "32k",
            "1a898433a9f1070e4e0435d4db966776ecc3291bfcd444efc7910aeffb91561c",
        ),
        (
            "RIGHT",
            "59k",
            "6df50dfa10d872f0aca5b4e9c96b6dbf0546131fec469f918445433cab805d60",
        ),
    )
}
"""CIFTI structure and density to the registered sphere: vertices at one place are one place."""

VOXELS_170K = Source(
    path="global/templates/170494_Greyordinates/Atlas_ROIs.1.60.nii.gz",
    sha256="75b295274c31311b4e6c42e7a1804c8a0bc31a12199dcb561f8628afb2ed340b",
    origin=HCP,
)
"""Structures of the voxels of 170k grayordinates, 1.6 mm, as FreeSurfer's numbers."""


def sources_of(space: str) -> list[Source]:
    """Return the files without which the atlas of a space cannot be built."""
    if space == FSLR.name:
        return [GRAYORDINATES, CEREBELLUM[VOLUME_OF_GRAYORDINATES]]
    images = [CORTEX_SUBCORTEX[space, resolution] for resolution in RESOLUTIONS]
    return [CORTEX_SUBCORTEX_NAMES, *images, *([CEREBELLUM[space]] if space in CEREBELLUM else [])]


def further_sources_of(space: str) -> list[Source]:
    """Return the files that complete it: MNI152NLin2009cAsym's cerebellum, fsLR's 170k."""
    if space == FSLR.name:
        return [*SPHERES.values(), VOXELS_170K]
    if space not in CEREBELLUM_WARP:
        return []
    return [CEREBELLUM_WARP[space], CEREBELLUM[WARPED_FROM], CORTEX_SUBCORTEX[WARPED_FROM, "1"]]


def is_complete(space: str, found: Collection[Source]) -> bool:
    """Tell whether all files that complete the atlas of a space are there."""
    return set(further_sources_of(space)) <= set(found)


def all_sources() -> list[Source]:
    """Return every file that an atlas of ours is made of, each once."""
    files = [f for space in SPACES for f in (*sources_of(space), *further_sources_of(space))]
    return list(dict.fromkeys(files))
