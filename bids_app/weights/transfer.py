"""Bring one file from an address to disk: goes on where it was cut off, and is what its hash says.

The downloads of ``huggingface_hub`` begin anew with each call, so the bytes are fetched here.
"""

from __future__ import annotations

import contextlib
import fcntl
from http import HTTPStatus
from typing import TYPE_CHECKING

from bids_app.errors import WeightsError
from model.files.write import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

TIMEOUT_S = 60
LARGEST_BYTES = 1 << 32
"""Of a file whose server does not tell its size"""
_BLOCK = 1 << 20


def fetch(
    url: str, part: Path, *, sha256: str, n_bytes: int | None, headers: Mapping[str, str]
) -> None:
    """Fetch a file, or what is missing of it, and verify it.

    Parameters
    ----------
    url
        Its address.
    part
        Where it goes. What is there already is taken for its beginning.
    sha256
        What it must hash to.
    n_bytes
        Its size; None: as the server says.
    headers
        Of the request.

    Raises
    ------
    WeightsError
        The address cannot be reached, or the connection was lost: what came stays, for the next
        call. Or the file is another one: it is removed.
    """
    with _opened(part) as file:
        if not _is(part, sha256, n_bytes=n_bytes):
            # Complete, or too long, and not the file: nothing to go on from.
            if n_bytes is not None and file.tell() >= n_bytes:
                _emptied(file)
            try:
                _receive(url, file, n_bytes=n_bytes, headers=headers)
            except BaseException:
                if file.tell() == 0:
                    part.unlink()
                raise
        found = file_sha256(part)
        if found != sha256:
            n_found = part.stat().st_size
            part.unlink()
            raise WeightsError(
                f"{url}: not the file that it should be: expected sha256 {sha256}, found {found} "
                f"in {n_found} bytes. It was removed.",
                hint="Call again; if it comes again like this, the server sends another file.",
            )


def _receive(url: str, file: BinaryIO, *, n_bytes: int | None, headers: Mapping[str, str]) -> None:
    """Append what is missing of a file; a lost connection is taken up while something comes."""
    from urllib.error import HTTPError

    while True:
        n_before = file.tell()
        try:
            _receive_once(url, file, n_bytes=n_bytes, headers=headers)
        except Exception as err:  # the network's, whatever it is
            code = err.code if isinstance(err, HTTPError) else None
            if isinstance(err, HTTPError):
                err.close()  # it is a response, too
            if file.tell() > n_before:
                continue
            if n_before and code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                _emptied(file)  # longer than the file: the beginning of another
                continue
            kept = f"{n_before:,} bytes of it are kept: the same command goes on from there."
            raise WeightsError(
                f"{url}: cannot be fetched ({err}).",
                hint=kept if n_before else "Nothing of it came: check address and connection.",
            ) from err
        return


def _receive_once(
    url: str, file: BinaryIO, *, n_bytes: int | None, headers: Mapping[str, str]
) -> None:
    from urllib.request import Request, urlopen

    from tqdm import tqdm

    request = Request(url)  # noqa: S310 http or https, as the caller saw to
    for name, value in headers.items():
        request.add_unredirected_header(name, value)  # not for who serves the bytes
    if start := file.tell():
        request.add_header("Range", f"bytes={start}-")
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        if start and response.status != HTTPStatus.PARTIAL_CONTENT:  # all of it comes again
            start = _emptied(file)
        length = response.headers["Content-Length"]
        total = n_bytes if n_bytes is not None else start + int(length or 0)
        with tqdm(
            total=total or None, initial=start, unit="B", unit_scale=True, disable=None
        ) as bar:
            while block := response.read1(_BLOCK):
                file.write(block)
                bar.update(len(block))
                if file.tell() > (total or LARGEST_BYTES):
                    break  # another file, as its hash will tell
        file.flush()
    if file.tell() < total:
        raise ConnectionError(f"it ended after {file.tell():,} of {total:,} bytes")


def _emptied(file: BinaryIO) -> int:
    file.seek(0)
    return file.truncate()


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[BinaryIO]:
    """Open a file at its end, for this process alone."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise WeightsError(f"{part}: another process fetches this file now.") from err
        except OSError:  # a file system without locks
            pass
        yield file


def _is(part: Path, sha256: str, *, n_bytes: int | None) -> bool:
    n_found = part.stat().st_size
    return n_found > 0 and n_bytes in (None, n_found) and file_sha256(part) == sha256
