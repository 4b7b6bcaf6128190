"""What the report's figures need of a scan and no table holds: one small archive beside them."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.images.slices import PLANES, STEP_MM, Slices, mesh
from bids_app.signal.effect import REACH, SHADES, Effect
from model.files.arrays import read_arrays
from model.files.faults import FileError
from model.networks import parcel_names
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bids_app.images.parcels import Parcellated

_EFFECT = (
    "raw", "despiked", "global_signal", "frequency_hz", "power", "fd_correlation", "variance",
)  # fmt: skip
PICTURES_METADATA = {
    "Description": "What the figures of the report are drawn from; nothing else reads it.",
    "StepOfSlices": STEP_MM,
    "PlacesOfSlices": {plane: list(places) for plane, (_, places) in PLANES.items()},
    "Arrays": {
        "<plane>_labels, _grey, _mask": "slices at fixed places of the template (mm): parcels of "
        "the atlas, mean image (0: outside its grid), brain mask",
        "surface": "parcels on fsaverage5, left and right (CIFTI)",
        "level": "mean of each parcel over the median parcel",
        "raw, despiked": "parcels over time in standard deviations of the raw series: "
        f"{REACH:g} x (2 (byte - 1) / {SHADES} - 1); 0: missing",
        "global_signal": "mean over parcels, standard deviations of the raw series",
        "frequency_hz, power": "median spectrum before and after, shares of all power before",
        "fd_correlation": "of framewise displacement with each parcel, before and after",
        "variance": "shares: outside the band, explained by confounds, left",
    },
}
"""Keys beside those that every sidecar has"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """The arrays of one scan, read back."""

    slices: Slices
    effect: Effect
    level: npt.NDArray[np.float32]
    """(P,) mean of each parcel over that of the median one; NaN where it is missing"""

    __repr__ = shown


def pictures_npz(extracted: Parcellated, effect: Effect) -> bytes:
    """Write slices and effect of denoising; the same arrays give the same bytes."""
    slices, arrays = extracted.slices, dict[str, npt.NDArray[Any]]()
    if slices is not None:
        for what in ("labels", "grey", "mask"):
            for plane, values in (getattr(slices, what) or {}).items():
                arrays[f"{plane}_{what}"] = values.view(np.uint8) if what == "mask" else values
        if slices.surface is not None:
            arrays["surface"] = slices.surface
    arrays |= {name: getattr(effect, name) for name in _EFFECT}
    # Few values differ from the raw ones: their differences take no room.
    arrays["despiked"] = effect.despiked - effect.raw
    mean = extracted.values.mean(axis=0)
    known = np.isfinite(mean)
    arrays["level"] = (mean / (np.median(mean[known]) or 1.0)).astype(np.float32)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), version=(1, 0))
            # With a date of its own the archive would never be the same twice.
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_pictures(path: Path) -> Pictures:
    """Read what `pictures_npz` wrote.

    Raises
    ------
    FileError
        The file is gone, damaged, or holds other arrays.
    """
    arrays = read_arrays(path)
    _check(path, arrays)

    def planes(what: str) -> dict[str, npt.NDArray[Any]] | None:
        found = {
            plane: arrays[f"{plane}_{what}"] for plane in PLANES if f"{plane}_{what}" in arrays
        }
        return found or None

    masks = planes("mask")
    effect = {name: arrays[name] for name in _EFFECT}
    effect["despiked"] = effect["raw"] + effect["despiked"]
    return Pictures(
        slices=Slices(
            labels=planes("labels") or {},
            grey=planes("grey"),
            mask=masks and {plane: values > 0 for plane, values in masks.items()},
            surface=arrays.get("surface"),
        ),
        effect=Effect(**effect),
        level=arrays["level"],
    )


def _check(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse an archive whose arrays are not those that figures can be drawn from."""
    n_parcels = len(parcel_names())
    needed = {*_EFFECT, "level", *(f"{plane}_labels" for plane in PLANES)}
    if lacking := sorted(needed - set(arrays)):
        raise FileError(path, f"lacks the arrays {', '.join(lacking)}")
    carpet, power = arrays["raw"].shape, arrays["frequency_hz"].shape
    expected: dict[str, tuple[int, ...]] = {
        "raw": (carpet[0], n_parcels),
        "despiked": (carpet[0], n_parcels),
        "power": (2, *power),
        "fd_correlation": (2, n_parcels),
        "variance": (3, n_parcels),
        "level": (n_parcels,),
    }
    for plane in PLANES:
        labels = arrays[f"{plane}_labels"]
        if labels.ndim != 3 or labels.dtype.kind != "u" or labels.max() > n_parcels:
            raise FileError(path, f"{plane}_labels are no slices of the atlas")
        expected |= {f"{plane}_{what}": labels.shape for what in ("grey", "mask")}
    for name in ("raw", "despiked", "surface"):
        if name in arrays and arrays[name].dtype.kind != "u":
            raise FileError(path, f"{name} holds {arrays[name].dtype}, expected bytes or labels")
    if "surface" in arrays:
        expected["surface"] = (2, len(mesh("white", "left")[0]))
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            raise FileError(path, f"{name} has shape {arrays[name].shape}, expected {shape}")
    _check_values(path, arrays)


def _check_values(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse numbers that are not finite, other than those of missing parcels."""
    whole = ("global_signal", "frequency_hz", "power")
    for name in (*whole, "variance", "level"):
        values = arrays[name]
        known = ~np.isnan(values)
        if np.isinf(values).any() or not (known if name in whole else known.any(axis=-1)).all():
            raise FileError(path, f"{name} holds values that are not finite")
