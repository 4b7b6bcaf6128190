"""Ways to damage files. Each takes a path and changes what lies there, whatever it is."""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Damage = Callable[[Path], object]

ANNEX = "/annex/objects/MD5E-s4243123--0f3e1b3c3d7d6a0a5c1f2d9e8b7a6c5d.nii.gz\n"
"""What stands in an unlocked file of git-annex whose content is not here."""
LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 4243123\n"
)


def put(content: bytes | str) -> Damage:
    """Write this in place of the file."""
    raw = content.encode() if isinstance(content, str) else content

    def damage(path: Path) -> None:
        _clear(path)
        path.write_bytes(raw)

    return damage


def edit(change: Callable[[bytes], bytes]) -> Damage:
    """Write what `change` makes of the file's bytes."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def edit_json(**keys: object) -> Damage:
    """Set keys of a JSON object; values of type bytes are put in as they are."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text())
        raw = {key: value for key, value in keys.items() if isinstance(value, bytes)}
        text = json.dumps(content | {k: f"@{k}@" if k in raw else v for k, v in keys.items()})
        encoded = text.encode()
        for key, value in raw.items():
            encoded = encoded.replace(f'"@{key}@"'.encode(), value)
        path.write_bytes(encoded)

    return damage


def inside_gzip(change: Callable[[bytes], bytes]) -> Damage:
    """Change what a gzip file holds."""
    return edit(lambda raw: gzip.compress(change(gzip.decompress(raw)), 1))


def poke(offset: int, form: str, *values: object) -> Callable[[bytes], bytes]:
    """Return a change of some bytes of a little-endian header."""

    def change(raw: bytes) -> bytes:
        edited = bytearray(raw)
        struct.pack_into("<" + form, edited, offset, *values)
        return bytes(edited)

    return change


def truncated(share: float) -> Damage:
    return edit(lambda raw: raw[: int(len(raw) * share)])


def flipped(share: float, *, mask: int = 0x10) -> Damage:
    """Flip a bit at this place of the file."""

    def change(raw: bytes) -> bytes:
        place = min(int(len(raw) * share), len(raw) - 1)
        return raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :]

    return edit(change)


def crc_flipped(path: Path) -> None:
    """Spoil the check sum at the end of a gzip file."""
    edit(lambda raw: raw[:-8] + bytes([raw[-8] ^ 0xFF]) + raw[-7:])(path)


def length_flipped(path: Path) -> None:
    """Spoil the length at the end of a gzip file."""
    edit(lambda raw: raw[:-4] + struct.pack("<I", (struct.unpack("<I", raw[-4:])[0] + 1)))(path)


def link_nowhere(path: Path) -> None:
    _clear(path)
    path.symlink_to("../../.git/annex/objects/gone/away")


def link_to_itself(path: Path) -> None:
    _clear(path)
    path.symlink_to(path.name)


def link_to(target: str) -> Damage:
    def damage(path: Path) -> None:
        _clear(path)
        path.symlink_to(target)

    return damage


def fifo(path: Path) -> None:
    _clear(path)
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    _clear(path)
    here = os.getcwd()  # noqa: PTH109 names of sockets may hold 107 bytes only
    with socket.socket(socket.AF_UNIX) as made:
        try:
            os.chdir(path.parent)
            made.bind("s")
        finally:
            os.chdir(here)
    (path.parent / "s").rename(path)


def folder(path: Path) -> None:
    _clear(path)
    path.mkdir()


def remove(path: Path) -> None:
    _clear(path)


def sparse(size: int) -> Damage:
    """Let the file end in zeros up to this size; they take no place on the disk."""
    return lambda path: os.truncate(path, size)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


DEEP = 200_000
"""Levels of nesting"""
NOT_HERE: dict[str, Damage] = {
    "annex-link": link_nowhere,
    "annex-pointer": put(ANNEX),
    "annex-pointer-old": put("../../.git" + ANNEX),
    "lfs-pointer": put(LFS),
}
"""Content that is elsewhere: the hint is `datalad get`."""
NO_FILE: dict[str, Damage] = {
    "link-loop": link_to_itself,
    "fifo": fifo,
    "socket": unix_socket,
    "zeros-without-end": link_to("/dev/zero"),
    "null-device": link_to("/dev/null"),
    "folder": folder,
}
"""What bears the name of a file and is none: refused, never waited for."""
BYTES: dict[str, Damage] = {
    "empty": put(b""),
    "text": put("no weights\n" * 100),
    "cut-in-half": truncated(0.5),
    "last-byte-cut": edit(lambda raw: raw[:-1]),
    "a-byte-more": edit(lambda raw: raw + b"\0"),
    "bit-at-0.9": flipped(0.9),
    "zeros": edit(lambda raw: bytes(len(raw))),
    "missing": remove,
}
"""Of files of numbers, whatever their form"""
NO_JSON: dict[str, Damage] = {
    "empty": put(""),
    "blanks": put(" \n\n"),
    "open-brace": put("{"),
    "no-value": put('{"RepetitionTime":}'),
    "trailing-comma": put('{"RepetitionTime": 2.0,}'),
    "list": put("[1, 2]"),
    "text": put('"text"'),
    "number": put("2.0"),
    "null": put("null"),
    "deep-lists": put("[" * DEEP + "]" * DEEP),
    "deep-open": put("[" * DEEP),
    "deep-objects": put('{"a":' * DEEP + "1" + "}" * DEEP),
    "deep-value": put('{"Deep": ' + "[" * DEEP + "]" * DEEP + "}"),
    "digits-5000": put('{"RepetitionTime": ' + "9" * 5000 + "}"),
    "utf-16": put('{"RepetitionTime": 2.0}'.encode("utf-16")),
    "latin-1": put('{"Name": "Zürich"}'.encode("latin-1")),
    "nul-bytes": put(b"\0" * 64),
    "binary": put(bytes(range(256))),
    "gzip": put(gzip.compress(b"{}")),
    "html": put("<!DOCTYPE html><html><body>404</body></html>"),
}
"""Files that hold no JSON object"""
