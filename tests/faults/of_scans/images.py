"""Images and masks: damaged files, headers that lie, and voxels that are no signal."""

from __future__ import annotations

import bz2
import gzip
import math
import struct
from typing import TYPE_CHECKING

import builders
import nibabel as nib
import numpy as np
from damage import (
    NO_FILE,
    NOT_HERE,
    crc_flipped,
    edit,
    flipped,
    inside_gzip,
    length_flipped,
    poke,
    put,
    sparse,
    truncated,
)
from faults import (
    Promise,
    ScanFault,
    anyhow,
    flagged_or_refused,
    harmless,
    named,
    refused,
    sound,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt
    from damage import Damage
    from scenes import Victim

    Voxels = npt.NDArray[np.float32]

_DIM, _TYPE, _BITS, _PIXDIM, _OFFSET = 40, 70, 72, 76, 108
_SLOPE, _INTER, _UNITS = 112, 116, 123
_QFORM, _SFORM, _QUATERNION, _SROW, _MAGIC = 252, 254, 256, 280, 344
_NAN, _INF = math.nan, math.inf
_VOLUME = 12 * 14 * 12 * 2
_SHIFTED_ROW = (8.0, 0.0, 0.0, 1000.0)

_FILES: dict[str, Damage] = {
    "empty": put(b""),
    "one-byte": put(b"\x1f"),
    "text": put("this is no image\n" * 100),
    "html": put("<!DOCTYPE html><html><body>404</body></html>"),
    "png": put(b"\x89PNG\r\n\x1a\n" + bytes(400)),
    "zip": put(b"PK\x03\x04" + bytes(400)),
    "json": put('{"a": 1}'),
    "zeros": put(bytes(4000)),
    "bzip2": edit(lambda raw: bz2.compress(gzip.decompress(raw))),
    "gzip-of-nothing": put(gzip.compress(b"")),
    "gzip-of-text": put(gzip.compress(b"text\n" * 200)),
    "gzip-of-gzip": edit(lambda raw: gzip.compress(raw)),
    "gzip-header-only": edit(lambda raw: raw[:10]),
    "gzip-other-method": edit(lambda raw: raw[:2] + b"\x07" + raw[3:]),
    "crc": crc_flipped,
    "length": length_flipped,
    "without-trailer": edit(lambda raw: raw[:-8]),
    **{f"cut-at-{share}": truncated(share) for share in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)},
    **{f"bit-at-{share}": flipped(share) for share in (0.0, 0.2, 0.5, 0.8, 0.98)},
    "header-only": inside_gzip(lambda raw: raw[:352]),
    "half-a-header": inside_gzip(lambda raw: raw[:200]),
    "lacks-1-byte": inside_gzip(lambda raw: raw[:-1]),
    "lacks-100-bytes": inside_gzip(lambda raw: raw[:-100]),
    "1-byte-more": inside_gzip(lambda raw: raw + b"\0"),
    "100-bytes-more": inside_gzip(lambda raw: raw + bytes(100)),
    "twice-the-data": inside_gzip(lambda raw: raw + raw[352:]),
    "second-member": edit(lambda raw: raw + gzip.compress(bytes(4000))),
    "itself-appended": edit(lambda raw: raw + raw),
}
"""Damaged in a way that no reader may overlook"""
_LENIENT: dict[str, Damage] = {
    "bit-in-gzip-header": edit(lambda raw: raw[:5] + bytes([raw[5] ^ 4]) + raw[6:]),
    "plain-under-gz": edit(gzip.decompress),
    "zeros-behind-gzip": edit(lambda raw: raw + bytes(512)),
    "text-behind-gzip": edit(lambda raw: raw + b"behind the stream"),
    "two-members": edit(
        lambda raw: (
            gzip.compress(gzip.decompress(raw)[:5000]) + gzip.compress(gzip.decompress(raw)[5000:])
        )
    ),
}
"""Odd, and whole: refused, or read as what they are"""

_Header = tuple[int, str, tuple[object, ...], Promise]
_HEADER: dict[str, _Header] = {
    **{f"sizeof_hdr/{n}": (0, "i", (n,), sound()) for n in (0, -1, 349, 540, 2**31 - 1)},
    **{f"dim0/{n}": (_DIM, "h", (n,), named()) for n in (-1, 0, 1, 2, 3, 5, 7, 8, 32767, -32768)},
    **{
        f"dim{axis}/{n}": (_DIM + 2 * axis, "h", (n,), named())
        for axis in (1, 2, 3)
        for n in (-1, 0, 1, 13, 32767)
    },
    **{f"dim4/{n}": (_DIM + 8, "h", (n,), refused()) for n in (-1, 0, 1)},
    **{f"dim4/{n}": (_DIM + 8, "h", (n,), named("volumes|frames")) for n in (99, 101, 32767)},
    "dim5/2": (_DIM, "6h", (5, 12, 14, 12, 100, 2), named()),
    "dim5/0": (_DIM, "6h", (5, 12, 14, 12, 100, 0), named()),
    "dim-all/32767": (_DIM, "5h", (4, *[32767] * 4), named("_(bold|mask).nii|volumes")),
    **{
        f"datatype/{n}": (_TYPE, "h", (n,), named())
        for n in (
            -1,
            0,
            1,
            2,
            8,
            16,
            32,
            64,
            128,
            256,
            511,
            768,
            1024,
            1536,
            1792,
            2048,
            2304,
            999,
        )
    },
    "datatype/512": (_TYPE, "h", (512,), sound()),  # unsigned: no voxel is negative
    **{f"bitpix/{n}": (_BITS, "h", (n,), sound()) for n in (-1, 0, 1, 8, 32, 32767)},
    **{
        f"pixdim{axis}/{n}": (_PIXDIM + 4 * axis, "f", (n,), sound())
        for axis in (0, 1, 3)
        for n in (0.0, -1.0, 2.5, _NAN, _INF)
    },
    "pixdim4/1.0": (_PIXDIM + 16, "f", (1.0,), harmless()),
    "pixdim4/milliseconds": (_PIXDIM + 16, "f", (2000.0,), harmless()),
    **{f"pixdim4/{n}": (_PIXDIM + 16, "f", (n,), harmless()) for n in (0.0, -2.0, _NAN, _INF)},
    "pixdim4/3.0": (_PIXDIM + 16, "f", (3.0,), named("RepetitionTime|TR")),
    "pixdim4/1e38": (_PIXDIM + 16, "f", (1e38,), sound("RepetitionTime|TR")),
    "pixdim4/1e-44": (_PIXDIM + 16, "f", (1e-44,), sound("RepetitionTime|TR")),
    **{
        f"vox_offset/{n}": (_OFFSET, "f", (n,), named())
        for n in (0.0, 1.0, 16.0, 176.0, 348.0, 351.0, 353.0, 368.0, -352.0, 1e9, 1e30, _NAN, _INF)
    },
    "vox_offset/-inf": (_OFFSET, "f", (-_INF,), named()),
    "vox_offset/352.5": (_OFFSET, "f", (352.5,), sound()),
    "scl_slope/nan": (_SLOPE, "f", (_NAN,), anyhow()),
    "scl_slope/0": (_SLOPE, "f", (0.0,), anyhow()),  # the standard: values as stored
    "scl_slope/inf": (_SLOPE, "f", (_INF,), refused()),
    "scl_slope/1e38": (_SLOPE, "f", (1e38,), refused()),
    "scl_slope/1e-44": (_SLOPE, "f", (1e-44,), anyhow()),
    "scl_inter/nan": (_INTER, "f", (_NAN,), refused()),
    "scl_inter/inf": (_INTER, "f", (_INF,), refused()),
    "scl_inter/1e30": (_INTER, "f", (1e30,), flagged_or_refused(".")),
    **{
        f"xyzt_units/{n}": (_UNITS, "B", (n,), sound())
        for n in (0, 1, 2, 3, 7, 18, 26, 34, 66, 255)
    },
    "form-codes/both-0": (_QFORM, "2h", (0, 0), named("sform|qform|lie")),
    "form-codes/both-99": (_QFORM, "2h", (99, 99), sound()),
    "form-codes/qform-only": (_QFORM, "2h", (4, 0), sound()),
    "form-codes/negative": (_QFORM, "2h", (-1, -1), sound()),
    **{f"quaternion/{n}": (_QUATERNION, "3f", (n,) * 3, sound()) for n in (_NAN, _INF, 9.0)},
    **{f"srow/{n}": (_SROW, "12f", (n,) * 12, named()) for n in (0.0, _NAN, _INF, 1e38)},
    "srow/moved": (_SROW, "4f", _SHIFTED_ROW, named()),
    "magic/zeros": (_MAGIC, "4s", (b"\0\0\0\0",), named()),
    "magic/pair": (_MAGIC, "4s", (b"ni1\0",), sound()),
    "magic/nifti-2": (_MAGIC, "4s", (b"n+2\0",), sound()),
    "magic/text": (_MAGIC, "4s", (b"nope",), named()),
    "extension/claimed": (348, "4B", (1, 0, 0, 0), sound()),
    "intent_code/cifti": (68, "h", (3002,), sound()),
    "intent_code/32767": (68, "h", (32767,), sound()),
    "intent_name/html": (328, "16s", (b"<script>x<",), sound()),
    "descrip/bytes": (148, "80s", (b"\xff\xfe" * 40,), sound()),
    "aux_file/path": (228, "24s", (b"/etc/passwd",), sound()),
    "cal_max/nan": (124, "2f", (_NAN, _INF), sound()),
    "slices/odd": (120, "hb", (-5, 99), sound()),
    "toffset/nan": (136, "f", (_NAN,), sound()),
}
"""Offset in a NIfTI-1 header, form, values, and what becomes of the scan"""
_MASK_FIELDS = (
    "sizeof_hdr/0", "dim0/-1", "dim0/0", "dim0/8", "dim1/-1", "dim1/0", "dim1/13", "dim1/32767",
    "dim3/0", "dim-all/32767", "datatype/0", "datatype/1", "datatype/999", "datatype/1792",
    "datatype/1536", "datatype/64", "vox_offset/0.0", "vox_offset/176.0", "vox_offset/351.0",
    "vox_offset/353.0", "vox_offset/-352.0", "vox_offset/nan", "vox_offset/inf",
    "vox_offset/1000000000.0", "form-codes/both-0", "srow/0.0", "srow/nan", "srow/moved",
    "magic/zeros", "xyzt_units/0", "xyzt_units/255", "xyzt_units/7", "bitpix/32", "descrip/bytes",
    "form-codes/both-99", "extension/claimed", "scl_slope/inf", "scl_inter/nan",
)  # fmt: skip


def image_faults() -> Iterator[ScanFault]:
    """Yield what can be wrong with an image and its mask."""
    for kind in ("bold", "mask"):
        yield from _file_faults(kind)
        yield from _header_faults(kind)
    yield from _bombs()
    yield from _plain_faults()
    yield from _signal_faults()
    yield from _mask_faults()


def _file_faults(kind: str) -> Iterator[ScanFault]:
    name = rf"_{kind}\.nii"
    for value, damage in _FILES.items():
        yield _fault(f"image/{kind}/{value}", kind, damage, named(name))
    for value, damage in _LENIENT.items():
        yield _fault(f"image/{kind}/{value}", kind, damage, sound(name))
    for value, damage in NOT_HERE.items():
        yield _fault(f"image/{kind}/{value}", kind, damage, named("datalad get"))
    for value, damage in NO_FILE.items():
        alone = value in ("fifo", "zeros-without-end")
        promise = named(name)
        if value == "folder":
            # Where the image should be, there is none; a mask that is none is as one absent.
            promise = Promise(statuses=frozenset({"embedded", "failed", "left out"}))
        elif (kind == "bold" and alone) or value in ("socket", "null-device"):
            promise = named(rf"{name}|named pipe|socket|device")
        if value == "link-loop":
            promise = named(f"{name}|datalad get")
        yield _fault(f"image/{kind}/{value}", kind, damage, promise, alone=alone)


def _header_faults(kind: str) -> Iterator[ScanFault]:
    for name in _HEADER if kind == "bold" else _MASK_FIELDS:
        offset, form, values, promise = _HEADER[name]
        if promise.statuses == {"failed"} and not promise.says:
            promise = named(rf"_{kind}\.nii")
        if kind == "mask" and name.startswith("scl_"):
            promise = sound()  # zeros and ones, whatever stands there
        change = inside_gzip(poke(offset, form, *values))
        yield _fault(f"header/{kind}/{name}", kind, change, promise)


def _bombs() -> Iterator[ScanFault]:
    """Yield files that claim, or hold, far more than they are."""
    sizes = {"800": (800, 800, 800, 100), "3000": (3000, 3000, 3000, 100)}
    for kind in ("bold", "mask"):
        name = rf"_{kind}\.nii"
        for value, shape in sizes.items():
            dims = (4, *shape) if kind == "bold" else (3, *shape[:3], 1)
            change = inside_gzip(poke(_DIM, "5h", *dims))
            yield _bomb(f"bomb/{kind}/claims-{value}-cubed", kind, change, named(name))
        yield _bomb(f"bomb/{kind}/gigabytes-behind", kind, _gigabytes_behind, named(name))
    claim = inside_gzip(poke(_DIM, "5h", 4, 800, 800, 800, 100))
    yield ScanFault(
        name="bomb/bold/claims-800-cubed-without-mask",
        damage=lambda victim: (victim.mask.unlink(), claim(victim.bold)),
        promise=named(r"_bold\.nii"),
        alone=True,
    )


def _gigabytes_behind(path: Path) -> None:
    member = gzip.compress(bytes(2**26), 6)
    with path.open("ab") as file:
        for _ in range(80):
            file.write(member)


def _plain_faults() -> Iterator[ScanFault]:
    """Yield faults of an image that is not compressed."""
    cases: dict[str, tuple[Damage, Promise]] = {
        "whole": (lambda _: None, harmless()),
        "1-byte-more": (edit(lambda raw: raw + b"\0"), named()),
        "lacks-1-byte": (edit(lambda raw: raw[:-1]), named()),
        "cut-in-half": (truncated(0.5), named()),
        "offset-0": (edit(poke(_OFFSET, "f", 0.0)), named()),
        "offset-176": (edit(poke(_OFFSET, "f", 176.0)), named()),
        "offset-past-the-end": (edit(poke(_OFFSET, "f", 1e9)), named()),
        "ten-gigabytes-sparse": (sparse(10**10), named()),
        "a-volume-more": (edit(lambda raw: raw + bytes(_VOLUME)), named()),
        "padded-offset": (
            edit(lambda raw: poke(_OFFSET, "f", 1024.0)(raw)[:352] + bytes(672) + raw[352:]),
            harmless(),
        ),
        "extension-of-672": (
            edit(
                lambda raw: poke(_OFFSET, "f", 1024.0)(raw)[:348]
                + bytes([1, 0, 0, 0])
                + struct.pack("<2i", 672, 6)
                + bytes(664)
                + raw[352:]
            ),
            harmless(),
        ),
        "extension-of-minus-1": (
            edit(
                lambda raw: raw[:348] + bytes([1, 0, 0, 0]) + struct.pack("<2i", -1, 6) + raw[360:]
            ),
            named(),
        ),
        "gzip-under-nii": (edit(lambda raw: gzip.compress(raw)), sound()),
    }  # fmt: skip
    for name, (damage, promise) in cases.items():
        if promise.statuses == {"failed"}:
            promise = named(r"_bold\.nii")

        def plant(victim: Victim, damage: Damage = damage) -> None:
            plain = victim.bold.with_suffix("")
            plain.write_bytes(gzip.decompress(victim.bold.read_bytes()))
            victim.bold.unlink()
            damage(plain)

        yield ScanFault(name=f"image/plain/{name}", damage=plant, promise=promise)


def _signal_faults() -> Iterator[ScanFault]:
    """Yield voxels that are numbers and no signal: never embedded without a word."""
    told, gone = flagged_or_refused("."), refused()
    cases: dict[str, tuple[Callable[[Voxels], Voxels], type, Promise]] = {
        "zeros-throughout": (np.zeros_like, np.int16, gone),
        "constant": (lambda v: np.full_like(v, 7.0), np.float32, gone),
        "nan-throughout": (lambda v: np.full_like(v, _NAN), np.float32, gone),
        "infinity-throughout": (lambda v: np.full_like(v, _INF), np.float32, gone),
        "1e308": (lambda v: v * 1e305, np.float64, gone),
        "1e30": (lambda v: v * 1e27, np.float64, anyhow()),
        "denormals": (lambda v: v.astype(np.float64) * 1e-320, np.float64, anyhow()),
        "negative": (lambda v: -v, np.float32, anyhow()),
        "first-half-zero": (_filled(slice(0, 50), 0), np.float32, told),
        "last-half-zero": (_filled(slice(50, None), 0), np.float32, told),
        "last-30-zero": (_filled(slice(-30, None), 0), np.float32, told),
        "one-zero": (_filled(slice(40, 41), 0), np.float32, told),
        "first-5-zero": (_filled(slice(0, 5), 0), np.float32, told),
        "last-zero": (_filled(slice(-1, None), 0), np.float32, told),
        "every-second-zero": (_filled(slice(0, None, 2), 0), np.float32, told),
        "all-but-20-zero": (_filled(slice(20, None), 0), np.float32, gone),
        "one-nan": (_filled(slice(40, 41), _NAN), np.float32, told),
        "last-30-nan": (_filled(slice(-30, None), _NAN), np.float32, told),
        "one-infinity": (_filled(slice(40, 41), _INF), np.float32, told),
        "one-constant": (_filled(slice(40, 41), 500.0), np.float32, told),
        "30-frozen": (_frozen(30, 60), np.float32, told),
        "last-30-frozen": (_frozen(70, 100), np.float32, told),
        "two-frozen": (_frozen(50, 52), np.float32, told),
        "every-frame-twice": (lambda v: np.repeat(v[..., ::2], 2, axis=-1), np.float32, told),
        "first-half-repeated": (
            lambda v: np.concatenate([v[..., :50], v[..., :50]], axis=-1), np.float32, told,
        ),
        "slice-dropped-in-10": (_slices(slice(4, 6), slice(30, 40)), np.float32, told),
        "slices-dropped-in-one": (_slices(slice(0, 6), slice(30, 31)), np.float32, told),
        "slices-dropped-throughout": (_slices(slice(2, 7), slice(None)), np.float32, told),
        "lower-half-empty": (_slices(slice(0, 6), slice(None)), np.float32, told),
        "left-half-empty": (_emptied(np.s_[:6]), np.float32, told),
        "one-voxel-nan": (_emptied(np.s_[6, 7, 6], _NAN), np.float32, anyhow()),
        "one-value-nan": (_emptied(np.s_[6, 7, 6, 50], _NAN), np.float32, anyhow()),
        "one-value-1e30": (_emptied(np.s_[6, 7, 6, 50], 1e30), np.float32, anyhow()),
        "noise-of-one-bit": (lambda v: (v > v.mean()).astype(np.float32), np.int16, anyhow()),
        "mirrored": (lambda v: v[::-1], np.float32, anyhow()),
    }  # fmt: skip
    for name, (change, dtype, promise) in cases.items():
        yield ScanFault(
            name=f"signal/{name}",
            damage=lambda victim, change=change, dtype=dtype: builders.edit_bold(
                victim, change, dtype=dtype
            ),
            promise=promise,
        )


def _filled(volumes: slice, value: float) -> Callable[[Voxels], Voxels]:
    return _emptied((..., volumes), value)


def _frozen(start: int, stop: int) -> Callable[[Voxels], Voxels]:
    def change(values: Voxels) -> Voxels:
        values[..., start:stop] = values[..., start - 1 : start]
        return values

    return change


def _slices(slices: slice, volumes: slice) -> Callable[[Voxels], Voxels]:
    return _emptied((slice(None), slice(None), slices, volumes))


def _emptied(where: object, value: float = 0.0) -> Callable[[Voxels], Voxels]:
    def change(values: Voxels) -> Voxels:
        values[where] = value
        return values

    return change


def _mask_faults() -> Iterator[ScanFault]:
    """Yield masks that are whole images and no mask of this one."""
    told = r"_mask\.nii"
    cases: dict[str, tuple[Callable[[nib.Nifti1Image], nib.Nifti1Image], Promise]] = {
        "empty": (lambda m: _like(m, np.zeros(m.shape)), named(told)),
        "everywhere": (lambda m: _like(m, np.ones(m.shape)), anyhow()),
        "negative": (lambda m: _like(m, -m.get_fdata()), named(told)),
        "nan": (lambda m: _like(m, np.where(m.get_fdata() > 0, 1, _NAN)), named(told)),
        "infinity": (lambda m: _like(m, np.where(m.get_fdata() > 0, _INF, 0)), named(told)),
        "soft": (lambda m: _like(m, m.get_fdata() * 0.5), anyhow()),
        "one-voxel": (lambda m: _like(m, _one_voxel(m.shape)), refused()),
        "a-row-less": (lambda m: _like(m, m.get_fdata()[:-1]), named(told)),
        "a-row-more": (lambda m: _like(m, np.pad(m.get_fdata(), 1)), named(told)),
        "four-axes": (lambda m: _like(m, np.stack([m.get_fdata()] * 2, -1)), named(told)),
        "two-axes": (lambda m: _like(m, m.get_fdata()[..., 0]), named(told)),
        "moved": (lambda m: _like(m, m.get_fdata(), move=3.0), named(told)),
        "other-voxels": (lambda m: _like(m, m.get_fdata(), scale=1.1), named(told)),
        "complex": (lambda m: _like(m, m.get_fdata().astype(complex)), named(told)),
    }
    for name, (change, promise) in cases.items():

        def plant(
            victim: Victim, change: Callable[[nib.Nifti1Image], nib.Nifti1Image] = change
        ) -> None:
            changed = change(nib.load(victim.mask))
            victim.mask.unlink()
            nib.save(changed, victim.mask)

        yield ScanFault(name=f"mask/{name}", damage=plant, promise=promise)


def _like(
    mask: nib.Nifti1Image, values: npt.NDArray[np.generic], *, move: float = 0, scale: float = 1
) -> nib.Nifti1Image:
    affine = mask.affine @ np.diag([scale, scale, scale, 1.0])
    affine[:3, 3] += move
    kind = np.complex64 if np.iscomplexobj(values) else np.float32
    made = nib.Nifti1Image(values.astype(kind), affine)
    made.set_sform(affine, code="mni")
    return made


def _one_voxel(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    values = np.zeros(shape, dtype=np.float32)
    values[6, 7, 6] = 1
    return values


def _fault(
    name: str, kind: str, damage: Damage, promise: Promise, *, alone: bool = False
) -> ScanFault:
    return ScanFault(
        name=name,
        damage=lambda victim: damage(victim.bold if kind == "bold" else victim.mask),
        promise=promise,
        alone=alone,
    )


def _bomb(name: str, kind: str, damage: Damage, promise: Promise) -> ScanFault:
    return _fault(name, kind, damage, promise, alone=True)
