"""Where the atlas comes from: public files, pinned by commit and sha256.

None of these files, and nothing derived from their voxels, is part of this repository: each
user builds the atlas on his own machine (``semantoks-assets atlas``), under their licences.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import BinaryIO

GZIP_MAGIC = b"\x1f\x8b"
TIMEOUT_S = 60.0
LARGEST_BYTES = 1 << 26
"""No source is nearly as large; a server that sends more sends something else."""
VOLUME_SPACES = ("MNI152NLin6Asym", "MNI152NLin2009cAsym")
SPACES = (*VOLUME_SPACES, "fsLR")
RESOLUTIONS = ("1", "2")
NO_BUCKNER = "no Buckner atlas in this space"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A repository at a commit, and its terms."""

    name: str
    repository: str
    commit: str
    licence: str
    reference: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file of an origin."""

    path: str
    """Inside the repository"""
    sha256: str
    """Of the uncompressed content, so that ``.nii`` and ``.nii.gz`` are the same file"""
    origin: Origin

    @property
    def name(self) -> str:
        """Original file name, without the compression suffix."""
        return self.path.rpartition("/")[2].removesuffix(".gz")

    @property
    def url(self) -> str:
        """Public address of the file at the pinned commit."""
        base = "https://raw.githubusercontent.com"
        return f"{base}/{self.origin.repository}/{self.origin.commit}/{self.path}"


TIAN = Origin(
    name="Schaefer-400 (7 networks) with Tian subcortex S3",
    repository="yetianmed/subcortex",
    commit="62751401be0dba587442799748a886d5d87b8364",
    licence="Melbourne Subcortex Atlas License (free use and redistribution; cite Tian et al. "
    "2020); Schaefer parcellation: MIT (CBIG)",
    reference="Tian et al. 2020, https://doi.org/10.1038/s41593-020-00711-6; "
    "Schaefer et al. 2018, https://doi.org/10.1093/cercor/bhx179",
)
BUCKNER = Origin(
    name="Buckner-7 cerebellum",
    repository="DiedrichsenLab/cerebellar_atlases",
    commit="1b62fdc0954d34ed768ec36e81ce6a007dbe9e3c",
    licence="CC BY-ND by the repository's README (its SUIT folder: CC BY-NC 3.0); use it, do "
    "not pass the merged atlas on",
    reference="Buckner et al. 2011, https://doi.org/10.1152/jn.00339.2011",
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


def sources_of(space: str) -> list[Source]:
    """Return all files that the atlas of a space is built from."""
    if space == "fsLR":
        return [GRAYORDINATES, CEREBELLUM[VOLUME_OF_GRAYORDINATES]]
    images = [CORTEX_SUBCORTEX[space, resolution] for resolution in RESOLUTIONS]
    return [CORTEX_SUBCORTEX_NAMES, *images, *([CEREBELLUM[space]] if space in CEREBELLUM else [])]


def read_from_folder(folder: Path, sources: Iterable[Source]) -> dict[Source, bytes]:
    """Find files by their original names anywhere below a folder, and verify them.

    Returns
    -------
    Uncompressed contents.

    Raises
    ------
    AtlasError
        Files are missing, or one that bears the name has another content.
    """
    wanted = {source.name: source for source in sources}
    paths: dict[str, list[Path]] = {name: [] for name in wanted}
    for root, _, names in os.walk(folder):
        for name in names:
            if name.removesuffix(".gz") in wanted:
                paths[name.removesuffix(".gz")].append(Path(root) / name)
    if missing := [name for name, found in paths.items() if not found]:
        raise AtlasError(
            f"{folder}: {len(missing)} of {len(wanted)} source files are not below this folder "
            f"(as .nii or .nii.gz): {', '.join(missing)}.",
            hint="Their addresses:\n  " + "\n  ".join(wanted[name].url for name in missing),
        )
    contents = {}
    for name, found in paths.items():
        for path in sorted(found):  # all are verified: two of one name must be one file
            contents[wanted[name]] = _verified(wanted[name], path)
    return contents


def download(
    sources: Iterable[Source], *, opener: Callable[[str], BinaryIO] | None = None
) -> dict[Source, bytes]:
    """Fetch files from their pinned addresses and verify them; nothing is kept on disk.

    Parameters
    ----------
    sources
        What to fetch.
    opener
        Opens an address for reading; None: over https, with a time limit.

    Returns
    -------
    Uncompressed contents.

    Raises
    ------
    AtlasError
        An address cannot be reached, or sends another content.
    """
    open_url = opener or _open_https
    contents = {}
    for source in sources:
        try:
            with open_url(source.url) as response:
                stored = response.read(LARGEST_BYTES)
        except OSError as err:
            raise AtlasError(
                f"{source.url}: cannot be fetched ({err}).",
                hint="Without internet: fetch the files elsewhere, put them into a folder, and "
                "run: semantoks-assets atlas --from FOLDER. docs/atlas.md lists their addresses.",
            ) from err
        contents[source] = _check(source, stored, where=source.url)
    return contents


def _open_https(url: str) -> BinaryIO:
    from urllib.request import urlopen

    response: BinaryIO = urlopen(url, timeout=TIMEOUT_S)  # noqa: S310 pinned https addresses
    return response


def _verified(source: Source, path: Path) -> bytes:
    try:
        stored = path.read_bytes()
    except OSError as err:
        raise AtlasError(
            f"{path}: cannot be read ({err.strerror}).",
            hint="A git-annex link that was never fetched? Get it with: datalad get FILE",
        ) from err
    return _check(source, stored, where=str(path))


def _check(source: Source, stored: bytes, *, where: str) -> bytes:
    try:
        content = gzip.decompress(stored) if stored.startswith(GZIP_MAGIC) else stored
    except (OSError, EOFError, zlib.error) as err:
        raise AtlasError(f"{where}: damaged compressed file ({err}).") from err
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        raise AtlasError(
            f"{where}: not the file that the atlas is built from: expected sha256 "
            f"{source.sha256} (uncompressed), found {found}.",
            hint=f"Remove or rename it, and take the original: {source.url}",
        )
    return content
