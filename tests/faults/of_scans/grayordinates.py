"""Series on grayordinates: damaged files, headers that lie, XML of another matrix."""

from __future__ import annotations

import gzip
import math
import struct
from typing import TYPE_CHECKING

import numpy as np
from damage import NO_FILE, NOT_HERE, edit, flipped, poke, put, sparse, truncated
from faults import Promise, ScanFault, flagged_or_refused, harmless, named, refused, sound
from scenes import N_VOLUMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damage import Damage

_NAME = r"bold\.dtseries\.nii"
_FILES: dict[str, Damage] = {
    "empty": put(b""),
    "text": put("this is no image\n" * 100),
    "html": put("<!DOCTYPE html><html><body>404</body></html>"),
    "xml": put('<?xml version="1.0"?><CIFTI Version="2.0"/>'),
    "zeros": put(bytes(9000)),
    "compressed": edit(lambda raw: gzip.compress(raw, 1)),
    **{f"cut-at-{share}": truncated(share) for share in (0.0005, 0.005, 0.015, 0.5, 0.999)},
    "lacks-1-byte": edit(lambda raw: raw[:-1]),
    "1-byte-more": edit(lambda raw: raw + b"\0"),
    "twice-the-data": edit(lambda raw: raw + raw[8864:]),
    "itself-appended": edit(lambda raw: raw + raw),
    "bit-in-the-magic": flipped(5e-6),
}
"""Damaged in a way that no reader may overlook"""
_DIM, _TYPE, _OFFSET, _SLOPE, _INTENT, _CODE = 16, 12, 168, 176, 504, 548
_HEADER: dict[str, tuple[int, str, tuple[object, ...], Promise]] = {
    **{f"dim0/{n}": (_DIM, "q", (n,), named(_NAME)) for n in (-1, 0, 4, 5, 7, 2**62)},
    **{
        f"frames/{n}": (_DIM + 40, "q", (n,), refused(_NAME))
        for n in (-1, 0, 99, 101, 10**6, 2**40, 2**62)
    },
    **{
        f"places/{n}": (_DIM + 48, "q", (n,), named(_NAME))
        for n in (-1, 0, 1380, 1382, 10**6, 2**40, 2**62)
    },
    **{f"datatype/{n}": (_TYPE, "h", (n,), named(_NAME)) for n in (-1, 0, 1, 4, 64, 1792, 999)},
    **{
        f"vox_offset/{n}": (_OFFSET, "q", (n,), named(_NAME))
        for n in (-1, 0, 540, 8848, 8865, 2**40, 2**62)
    },
    "scl_slope/nan": (_SLOPE, "d", (math.nan,), sound()),
    "scl_slope/1e300": (_SLOPE, "d", (1e300,), named(_NAME)),
    "scl_slope/inf": (_SLOPE, "d", (math.inf,), refused()),
    "extension-code/4": (_CODE, "i", (4,), named(_NAME)),
    **{f"extension-size/{n}": (_CODE - 4, "i", (n,), named(_NAME)) for n in (-1, 0, 7, 16, 2**30)},
    **{f"intent/{n}": (_INTENT, "i", (n,), sound(_NAME)) for n in (0, 3001, 3006, -1)},
}


def _xml(change: Callable[[bytes], bytes]) -> Damage:
    """Change the XML; sizes and offset in the header follow."""

    def damage(raw: bytes) -> bytes:
        (offset,) = struct.unpack_from("<q", raw, _OFFSET)
        text = change(raw[552:offset].rstrip(b"\0"))
        text += bytes(-(552 + len(text)) % 16)
        head = bytearray(raw[:552])
        struct.pack_into("<q", head, _OFFSET, 552 + len(text))
        struct.pack_into("<i", head, 544, 8 + len(text))
        return bytes(head) + text + raw[offset:]

    return edit(damage)


def _word(old: str, new: str) -> Damage:
    return _xml(lambda text: text.replace(old.encode(), new.encode(), 1))


_BOMB = (
    '<!DOCTYPE l [<!ENTITY a "lol">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 20}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)
_XML: dict[str, Damage] = {
    "nothing": _xml(lambda _: b""),
    "half": _xml(lambda text: text[: len(text) // 2]),
    "not-utf-8": _word("CORTEX_LEFT", "CORTEX_\udcff".encode("utf-8", "replace").decode() + "ü"),
    "another-root": _xml(lambda _: b"<html/>"),
    "deep": _xml(lambda _: b"<a>" * 5000 + b"</a>" * 5000),
    "entities-without-end": _xml(lambda text: _BOMB.encode() + text.replace(b"SECOND", b"&i;", 1)),
    "entity-of-a-file": _xml(
        lambda text: (
            b'<!DOCTYPE c [<!ENTITY x SYSTEM "/etc/passwd">]>'
            + text.replace(b"<VertexIndices>", b"<VertexIndices>&x; ", 1)
        )
    ),
    "unit-unknown": _word('SeriesUnit="SECOND"', 'SeriesUnit="FORTNIGHT"'),
    "unit-hertz": _word('SeriesUnit="SECOND"', 'SeriesUnit="HERTZ"'),
    "points-99": _word('NumberOfSeriesPoints="100"', 'NumberOfSeriesPoints="99"'),
    "points-text": _word('NumberOfSeriesPoints="100"', 'NumberOfSeriesPoints="many"'),
    "points-digits": _word('NumberOfSeriesPoints="100"', f'NumberOfSeriesPoints="{"9" * 400}"'),
    "exponent-400": _word('SeriesExponent="0"', 'SeriesExponent="400"'),
    "step-text": _word('SeriesStep="2.0"', 'SeriesStep="two"'),
    "axes-exchanged": _xml(
        lambda text: (
            text.replace(b'Dimension="0"', b'Dimension="9"')
            .replace(b'Dimension="1"', b'Dimension="0"')
            .replace(b'Dimension="9"', b'Dimension="1"')
        )
    ),
    "one-axis-gone": _xml(
        lambda text: text.replace(b'AppliesToMatrixDimension="0"', b'AppliesToMatrixDimension="1"')
    ),
    "scalars-for-a-series": _word("CIFTI_INDEX_TYPE_SERIES", "CIFTI_INDEX_TYPE_SCALARS"),
    "parcels-for-models": _word("CIFTI_INDEX_TYPE_BRAIN_MODELS", "CIFTI_INDEX_TYPE_PARCELS"),
    "count-too-large": _word('IndexCount="600"', 'IndexCount="601"'),
    "count-10-to-the-12": _word('IndexCount="600"', f'IndexCount="{10**12}"'),
    "count-negative": _word('IndexCount="600"', 'IndexCount="-600"'),
    "offset-elsewhere": _word('IndexOffset="0"', 'IndexOffset="7"'),
    "offset-10-to-the-12": _word('IndexOffset="600"', f'IndexOffset="{10**12}"'),
    "vertex-beyond-surface": _word("<VertexIndices>60 ", "<VertexIndices>6000 "),
    "vertex-negative": _word("<VertexIndices>60 ", "<VertexIndices>-60 "),
    "vertex-text": _word("<VertexIndices>60 ", "<VertexIndices>sixty "),
    "vertex-twice": _word("<VertexIndices>60 ", "<VertexIndices>61 "),
    "surface-of-another-density": _word('NumberOfVertices="660"', 'NumberOfVertices="32492"'),
    "surface-of-no-vertices": _word('NumberOfVertices="660"', 'NumberOfVertices="0"'),
    "structure-unknown": _word("STRUCTURE_CORTEX_LEFT", "STRUCTURE_APPENDIX"),
    "structure-of-the-other-side": _word("STRUCTURE_CORTEX_LEFT", "STRUCTURE_CORTEX_RIGHT"),
    "volume-missing": _xml(
        lambda text: text[: text.index(b"<Volume ")] + text[text.index(b"</Volume>") + 9 :]
    ),
    "volume-of-a-smaller-grid": _word('VolumeDimensions="12,14,12"', 'VolumeDimensions="4,4,4"'),
    "voxel-beyond-volume": _word("5 10 0\n", "5 10 99\n"),
}
_EMBEDDED_ALL_THE_SAME: dict[str, tuple[Damage, Promise]] = {
    "step-zero": (_word('SeriesStep="2.0"', 'SeriesStep="0.0"'), harmless()),
    "step-nan": (_word('SeriesStep="2.0"', 'SeriesStep="nan"'), harmless()),
    "step-3": (_word('SeriesStep="2.0"', 'SeriesStep="3.0"'), named("RepetitionTime|TR|--tr")),
    "step-milliseconds": (_word('SeriesStep="2.0"', 'SeriesStep="2000"'), harmless()),
    "exponent-milliseconds": (
        _xml(
            lambda text: text.replace(b'SeriesStep="2.0"', b'SeriesStep="2000"').replace(
                b'SeriesExponent="0"', b'SeriesExponent="-3"'
            )
        ),
        harmless(),
    ),
    "version-1": (_word('Version="2.0"', 'Version="1.0"'), sound(_NAME)),
    "nul-behind-the-xml": (_xml(lambda text: text + bytes(500)), harmless()),
}


def grayordinate_faults() -> Iterator[ScanFault]:
    """Yield what can be wrong with a series on grayordinates."""
    for name, damage in _FILES.items():
        yield _fault(f"file/{name}", damage, named(_NAME))
    for name, damage in NOT_HERE.items():
        yield _fault(f"file/{name}", damage, named("datalad get"))
    for name, damage in NO_FILE.items():
        says = "expected a file|datalad get|Is a directory"
        alone = name in ("fifo", "zeros-without-end")
        yield _fault(f"file/{name}", damage, named(says), alone=alone)
    yield _fault("file/sparse-20-GB", sparse(20 * 10**9), named(_NAME), alone=True)
    for name, (offset, form, values, promise) in _HEADER.items():
        yield _fault(f"header/{name}", edit(poke(offset, form, *values)), promise)
    for name, damage in _XML.items():
        alone = name in ("entities-without-end", "points-digits")
        yield _fault(f"xml/{name}", damage, named(_NAME), alone=alone)
    for name, (damage, promise) in _EMBEDDED_ALL_THE_SAME.items():
        yield _fault(f"xml/{name}", damage, promise)
    for name, (damage, promise) in _values().items():
        yield _fault(f"values/{name}", damage, promise)


def _values() -> dict[str, tuple[Damage, Promise]]:
    """Return values that are no signal."""

    def frames(first: int, last: int, value: float) -> Damage:
        def change(raw: bytes) -> bytes:
            # Place by place, each with all of its frames.
            values = np.frombuffer(raw[8864:], "<f4").reshape(-1, N_VOLUMES).copy()
            values[:, first:last] = value
            return raw[:8864] + values.tobytes()

        return edit(change)

    return {
        "all-zero": (frames(0, 100, 0.0), refused(_NAME)),
        "all-nan": (frames(0, 100, math.nan), refused(_NAME)),
        "all-infinite": (frames(0, 100, math.inf), refused(_NAME)),
        "a-frame-nan": (frames(50, 51, math.nan), flagged_or_refused("signal")),
        "a-frame-zero": (frames(50, 51, 0.0), flagged_or_refused("signal")),
        "second-half-zero": (frames(50, 100, 0.0), refused("hold no signal")),
        "a-frame-huge": (frames(50, 51, 1e30), named("values reach")),
    }


def _fault(name: str, damage: Damage, promise: Promise, *, alone: bool = False) -> ScanFault:
    return ScanFault(
        name=f"grayordinates/{name}",
        damage=lambda victim: damage(victim.bold),
        promise=promise,
        images="grayordinates",
        alone=alone,
    )
