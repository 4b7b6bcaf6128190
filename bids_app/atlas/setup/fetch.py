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

from bids_app.atlas.setup.origins import HCP, TEMPLATEFLOW
from bids_app.errors import AtlasError
from model.errors import numbered
from model.files.content import not_fetched
from model.files.faults import FETCH, faults_as, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import BinaryIO

    from bids_app.atlas.setup.origins import Source

GZIP_MAGIC = b"\x1f\x8b"
TIMEOUT_S = 60
LARGEST_BYTES = 1 << 28
"""No file is as large; a server that sends more sends something else."""
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
    hollow: dict[str, list[Path]] = {name: [] for name in wanted}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if name.removesuffix(".gz") in wanted:
                whole_or_not = hollow if is_hollow(path) else paths
                whole_or_not[name.removesuffix(".gz")].append(path)
    if missing := [source for source in sources if not paths[source.name]]:
        raise _missing(folder, missing, hollow)
    for source in further:
        cached = templateflow_home() / source.path
        if not paths[source.name] and cached.is_file() and not is_hollow(cached):
            paths[source.name].append(cached)
    contents = {}
    for name, found in paths.items():
        for path in sorted(found):  # all are verified: two of one name must be one file
            contents[wanted[name]] = _verified(wanted[name], path)
    return contents


def _missing(
    folder: Path, missing: Collection[Source], hollow: Mapping[str, Collection[Path]]
) -> AtlasError:
    names = ", ".join(source.name for source in missing)
    addresses = "\n  ".join(source.url for source in missing)
    hint = f"Their addresses:\n  {addresses}"
    if there := [str(path) for source in missing for path in sorted(hollow[source.name])]:
        hint = f"Without content, so not taken for files: {', '.join(there)}. {FETCH}? {hint}"
    are = f"{numbered(len(missing), 'source file')} {'is' if len(missing) == 1 else 'are'}"
    return AtlasError(
        f"{folder}: {are} not below this folder (as .nii or .nii.gz): {names}.",
        hint=hint,
    )


def templateflow_home() -> Path:
    """Return the folder where TemplateFlow's client keeps its files; make nothing there."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("TEMPLATEFLOW_HOME") or user_cache_dir("templateflow")).absolute()


def download(
    sources: Iterable[Source],
    *,
    mirror: str | None = None,
    opener: Callable[[str], BinaryIO] | None = None,
) -> dict[Source, bytes]:
    """Fetch files from their pinned addresses, or a mirror, and verify them.

    Those of TemplateFlow come through its client, which keeps them in its folder for all
    programs, and takes those that are there; where there is no writing to that folder, and of
    all others, nothing is kept on disk.

    Parameters
    ----------
    sources
        What to fetch.
    mirror
        Address of a folder that has all of them side by side, by their names as published;
        None: each comes from its own place.
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
        source: _from_templateflow(source, open_url)
        if source.origin is TEMPLATEFLOW and mirror is None
        else _from_address(source, _address(source, mirror), open_url)
        for source in sources
    }


def _address(source: Source, mirror: str | None) -> str:
    if mirror is None:
        return source.url
    return f"{mirror.rstrip('/')}/{source.path.rpartition('/')[2]}"


def _from_address(source: Source, url: str, open_url: Callable[[str], BinaryIO]) -> bytes:
    try:
        with open_url(url) as response:
            stored = response.read(LARGEST_BYTES)
    except Exception as err:  # the network's, whatever it is
        raise _unreachable(source, url, err) from err
    return _check(source, stored, where=url)


def _open_https(url: str) -> BinaryIO:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        response: BinaryIO = urlopen(url, timeout=TIMEOUT_S)  # noqa: S310 pinned addresses
    except HTTPError as err:
        err.close()  # it is a response, too
        raise
    return response


def _from_templateflow(source: Source, open_url: Callable[[str], BinaryIO]) -> bytes:
    path = templateflow_home() / source.path
    there = path.is_file() and not is_hollow(path)
    if not there and not _is_writable(path.parent):
        return _from_address(source, source.url, open_url)
    try:
        if not there:
            _ask_templateflow(source)
        return _verified(source, path)
    except AtlasError:
        if not there and path.is_file():
            path.write_bytes(b"")  # TemplateFlow's own sign for: not fetched yet
        raise


def _is_writable(folder: Path) -> bool:
    """Tell whether a folder can be written to, or made."""
    place = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    return os.access(place, os.W_OK)


def _ask_templateflow(source: Source) -> None:
    try:
        client = _templateflow_client(templateflow_home(), source.origin.address)
        entities = client.cache.layout.parse_file_entities(f"/{source.path}")
        # An entity that is not named would match any: the sphere in the space of fsaverage too.
        asked = {key: entities.get(key) for key in ("space", "hemi", "density", "from", "mode")}
        kind = {key: entities[key] for key in ("template", "suffix", "extension")}
        client.get(**kind, **asked)
    except Exception as err:  # the client's, whatever it is
        raise _unreachable(source, source.url, err) from err


@cache
def _templateflow_client(home: Path, address: str) -> Any:
    """Return TemplateFlow's client; listing its folder takes seconds, so it is kept."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # that its folder was made
        from templateflow import TemplateFlowClient

    return TemplateFlowClient(root=home, s3_root=address, timeout=TIMEOUT_S)


def _unreachable(source: Source, url: str, err: Exception) -> AtlasError:
    hint = (
        "Without internet: fetch the files elsewhere, put them into a folder, and "
        "run: semantoks assets atlas --from FOLDER. docs/atlas.md lists their addresses."
    )
    if source.origin in (TEMPLATEFLOW, HCP):
        hint = f"--without-templateflow leaves out what needs this file. {hint}"
    return AtlasError(f"{url}: cannot be fetched ({err}).", hint=hint)


def is_hollow(path: Path) -> bool:
    """Tell whether there is a name without content.

    That is an empty file, TemplateFlow's skeleton of one that was not fetched, or what git-annex
    and git-lfs put in its place.
    """
    return bool(not_fetched(path)) or (path.is_file() and not path.stat().st_size)


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
