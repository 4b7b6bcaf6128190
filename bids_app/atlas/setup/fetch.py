"""Get the atlas' sources, from disk or from the internet, each verified by its hash.

Set-up only: ``templateflow`` makes a folder of its own when it is imported, so nothing that
runs on a participant may import this module's downloads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_app.atlas.setup.origins import TEMPLATEFLOW
from bids_app.errors import AtlasError
from model.files.faults import faults_as, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import BinaryIO

    from bids_app.atlas.setup.origins import Source

GZIP_MAGIC = b"\x1f\x8b"
TIMEOUT_S = 60
LARGEST_BYTES = 1 << 26
"""No file of a repository is nearly as large; a server that sends more sends something else."""
LARGEST_UNPACKED = 1 << 28


def read_from_folder(
    folder: Path, sources: Collection[Source], *, further: Collection[Source] = ()
) -> dict[Source, bytes]:
    """Find files by their original names anywhere below a folder, and verify them.

    Parameters
    ----------
    folder
        Where to look.
    sources
        Must be there.
    further
        Are taken where they are, below the folder or in TemplateFlow's own.

    Returns
    -------
    Uncompressed contents.

    Raises
    ------
    AtlasError
        Files are missing, or one that bears the name has another content.
    """
    wanted = {source.name: source for source in (*sources, *further)}
    paths: dict[str, list[Path]] = {name: [] for name in wanted}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if name.removesuffix(".gz") in wanted and not _is_stub(path):
                paths[name.removesuffix(".gz")].append(path)
    if missing := [source for source in sources if not paths[source.name]]:
        raise AtlasError(
            f"{folder}: {len(missing)} source files are not below this folder (as .nii or "
            f".nii.gz): {', '.join(source.name for source in missing)}.",
            hint="Their addresses:\n  " + "\n  ".join(source.url for source in missing),
        )
    for source in further:
        cached = templateflow_home() / source.path
        if not paths[source.name] and cached.is_file() and not _is_stub(cached):
            paths[source.name].append(cached)
    contents = {}
    for name, found in paths.items():
        for path in sorted(found):  # all are verified: two of one name must be one file
            contents[wanted[name]] = _verified(wanted[name], path)
    return contents


def templateflow_home() -> Path:
    """Return the folder where TemplateFlow's client keeps its files; make nothing there."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("TEMPLATEFLOW_HOME") or user_cache_dir("templateflow")).absolute()


def download(
    sources: Iterable[Source], *, opener: Callable[[str], BinaryIO] | None = None
) -> dict[Source, bytes]:
    """Fetch files from their pinned addresses and verify them.

    Those of TemplateFlow come through its client, which keeps them in its folder for all
    programs, and takes those that are there; of the others nothing is kept on disk.

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
    return {
        source: _from_templateflow(source)
        if source.origin is TEMPLATEFLOW
        else _from_repository(source, open_url)
        for source in sources
    }


def _from_repository(source: Source, open_url: Callable[[str], BinaryIO]) -> bytes:
    try:
        with open_url(source.url) as response:
            stored = response.read(LARGEST_BYTES)
    except Exception as err:  # the network's, whatever it is
        raise _unreachable(source, err) from err
    return _check(source, stored, where=source.url)


def _open_https(url: str) -> BinaryIO:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        response: BinaryIO = urlopen(url, timeout=TIMEOUT_S)  # noqa: S310 pinned addresses
    except HTTPError as err:
        err.close()  # it is a response, too
        raise
    return response


def _from_templateflow(source: Source) -> bytes:
    path = templateflow_home() / source.path
    there = path.is_file() and not _is_stub(path)
    try:
        if not there:
            _ask_templateflow(source)
        return _verified(source, path)
    except AtlasError:
        if not there and path.is_file():
            path.write_bytes(b"")  # TemplateFlow's own sign for: not fetched yet
        raise


def _ask_templateflow(source: Source) -> None:
    try:
        client = _templateflow_client(templateflow_home(), source.origin.address)
        entities = client.cache.layout.parse_file_entities(f"/{source.path}")
        # An entity that is not named would match any: the sphere in the space of fsaverage too.
        asked = {key: entities.get(key) for key in ("space", "hemi", "density", "from", "mode")}
        kind = {key: entities[key] for key in ("template", "suffix", "extension")}
        client.get(**kind, **asked)
    except Exception as err:  # the client's, whatever it is
        raise _unreachable(source, err) from err


@cache
def _templateflow_client(home: Path, address: str) -> Any:
    """Return TemplateFlow's client; listing its folder takes seconds, so it is kept."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # that its folder was made
        from templateflow import TemplateFlowClient

    return TemplateFlowClient(root=home, s3_root=address, timeout=TIMEOUT_S)


def _unreachable(source: Source, err: Exception) -> AtlasError:
    return AtlasError(
        f"{source.url}: cannot be fetched ({err}).",
        hint="Without internet: fetch the files elsewhere, put them into a folder, and "
        "run: semantoks assets atlas --from FOLDER. docs/atlas.md lists their addresses.",
    )


def _is_stub(path: Path) -> bool:
    """Tell whether this is an empty file, TemplateFlow's stand-in for one not fetched."""
    return path.is_file() and not path.stat().st_size


def _verified(source: Source, path: Path) -> bytes:
    with faults_as(AtlasError), reading(path):
        stored = path.read_bytes()
    return _check(source, stored, where=str(path))


def _check(source: Source, stored: bytes, *, where: str) -> bytes:
    content = _unpacked(stored, where=where) if stored.startswith(GZIP_MAGIC) else stored
    found = hashlib.sha256(content).hexdigest()
    if source.sha256 not in (found, hashlib.sha256(stored).hexdigest()):
        raise AtlasError(
            f"{where}: not the file that the atlas is built from: expected sha256 "
            f"{source.sha256} (uncompressed), found {found} in {len(stored)} bytes.",
            hint=f"A transfer that was cut off? Take the original again: {source.url}",
        )
    return content


def _unpacked(stored: bytes, *, where: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(stored)) as file:
            content = file.read(LARGEST_UNPACKED + 1)
    except Exception as err:
        raise AtlasError(f"{where}: damaged compressed file ({err}).") from err
    if len(content) > LARGEST_UNPACKED:
        raise AtlasError(f"{where}: unpacks to more than {LARGEST_UNPACKED >> 20} MB.")
    return content
