"""Bring one file from an address to disk: goes on where it was cut off, and is what its hash says.

The downloads of ``huggingface_hub`` begin anew with each call, so the bytes are fetched here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from http import HTTPStatus
from typing import TYPE_CHECKING

from bids_app.errors import OutputError, WeightsError
from model.errors import SemantoksError
from model.files.write import ResultError, file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO
    from pathlib import Path

TIMEOUT_S = 60
LARGEST_BYTES = 1 << 32
"""Of a file whose server does not tell its size"""
_BLOCK = 1 << 20
REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
WHO = (
    "It asks who you are, or whether you accepted its terms: HF_TOKEN is sent to the hub, or to a "
    "mirror that speaks its paths. Or fetch the file elsewhere, and give it by --from FILE."
)
"""What helps where a server refuses"""


@contextlib.contextmanager
def fetched(
    url: str, part: Path, *, sha256: str, n_bytes: int | None, headers: Mapping[str, str]
) -> Iterator[None]:
    """Fetch a file, or what is missing of it, and verify it; no other process has it meanwhile.

    Afterwards it is removed, also where it proves to be of no use; but not where there was no
    room for what is made of it, nor after an interrupt.

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
    OutputError
        There is no room for it: what came stays, too.
    """
    with _opened(part) as file:
        _fetch(url, file, part, sha256=sha256, n_bytes=n_bytes, headers=headers)
        try:
            yield
        except ResultError:
            raise
        except SemantoksError:
            part.unlink(missing_ok=True)
            raise
        part.unlink(missing_ok=True)


def _fetch(
    url: str,
    file: FileIO,
    part: Path,
    *,
    sha256: str,
    n_bytes: int | None,
    headers: Mapping[str, str],
) -> None:
    if _is(part, sha256, n_bytes=n_bytes):
        return
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


def _receive(url: str, file: FileIO, *, n_bytes: int | None, headers: Mapping[str, str]) -> None:
    """Append what is missing of a file; a lost connection is taken up while something comes."""
    from urllib.error import HTTPError

    n_kept = file.tell()
    while True:
        n_before = file.tell()
        try:
            _receive_once(url, file, n_bytes=n_bytes, headers=headers)
        except SemantoksError:
            raise
        except Exception as err:  # the network's, whatever it is
            code = err.code if isinstance(err, HTTPError) else None
            if isinstance(err, HTTPError):
                err.close()  # it is a response, too
            if file.tell() > n_before:
                continue
            if n_before and code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if n_before > n_kept:
                    return  # it ends here, whatever was announced: its hash will tell
                n_kept = _emptied(file)  # longer than the file: the beginning of another
                continue
            n_kept = file.tell()  # less than before, where all of it came again
            kept = f"{n_kept:,} bytes of it are kept: the same command goes on from there."
            hint = WHO if code in REFUSED else "Nothing of it came: check address and connection."
            raise WeightsError(
                f"{url}: cannot be fetched ({' '.join(str(err).split())}).",
                hint=kept if n_kept else hint,
            ) from err
        return


def _receive_once(
    url: str, file: FileIO, *, n_bytes: int | None, headers: Mapping[str, str]
) -> None:
    from urllib.request import Request, urlopen

    from tqdm import tqdm

    request = Request(url)  # noqa: S310 http or https, as the caller saw to
    for name, value in headers.items():
        request.add_unredirected_header(name, value)  # not for who serves the bytes
    if start := file.tell():
        request.add_header("Range", f"bytes={start}-")
    with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            start = 0  # all of it comes again
        elif not response.headers.get("Content-Range", f"bytes {start}-").startswith(
            f"bytes {start}-"
        ):
            _emptied(file)  # the next call asks for all of it
            raise ConnectionError("another part of it came than was asked for")
        length = response.headers["Content-Length"]
        total = start + int(length) if length else n_bytes or 0
        if n_bytes not in (None, total):
            raise WeightsError(
                f"{url}: not the file that it should be: expected {n_bytes:,} bytes, found "
                f"{total:,}.",
                hint="The server sends another file, or a page in its place.",
            )
        if not start:
            _emptied(file)
        with tqdm(
            total=total or None, initial=start, unit="B", unit_scale=True, disable=None
        ) as bar:
            while block := response.read1(_BLOCK):
                _append(file, block)
                bar.update(len(block))
                if file.tell() > (total or LARGEST_BYTES):
                    break  # another file, as its hash will tell
    if file.tell() < total:
        raise ConnectionError(f"it ended after {file.tell():,} of {total:,} bytes")


def _append(file: FileIO, block: bytes) -> None:
    """Write a block, unbuffered: a buffer that does not fit the disk fails again when closed."""
    left = memoryview(block)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as err:
        raise OutputError(
            f"{file.name!s}: cannot be written ({err.strerror}).",
            hint="What came is kept: with more room there, the same command goes on from there.",
        ) from err


def _emptied(file: FileIO) -> int:
    file.seek(0)
    return file.truncate()


@contextlib.contextmanager
def _opened(part: Path) -> Iterator[FileIO]:
    """Open a file at its end, for this process alone."""
    try:
        opened = open(part, "ab", buffering=0, opener=_open_file)  # noqa: SIM115
    except OSError as err:
        raise OutputError(
            f"{part}: cannot be written ({err.strerror}).", hint="Remove it, and call again."
        ) from err
    with opened as file:
        held = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = True
        except OSError:  # a file system without locks
            pass
        if held or not part.exists():  # it ended, and removed the file, before the lock was ours
            raise WeightsError(
                f"{part}: another process fetches this file now.", hint="Wait for it."
            )
        yield file


def _open_file(name: str, flags: int) -> int:
    """Open a file, and nothing that a link leads to or that is waited for."""
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _is(part: Path, sha256: str, *, n_bytes: int | None) -> bool:
    n_found = part.stat().st_size
    return n_found > 0 and n_bytes in (None, n_found) and file_sha256(part) == sha256
