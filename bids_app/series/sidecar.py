"""Times of a series that others made: from the user or its sidecar, never assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bids_app.errors import ScanError
from bids_app.inputs.scan import positive
from bids_app.signal.timing import contradict
from model.files.faults import faults_as
from model.files.read import read_json
from model.files.settings import fits
from model.files.shared_options import TR_LIMITS_S

if TYPE_CHECKING:
    from pathlib import Path


def series_tr(path: Path, *, override_s: float | None) -> tuple[float, str]:
    """Return the repetition time in seconds, and whether ``--tr`` or the sidecar gives it.

    Raises
    ------
    ScanError
        Neither does, they contradict one another, or it cannot be one in seconds.
    """
    sidecar_s = _sidecar_tr(path.with_suffix(".json"))
    if override_s is None and sidecar_s is None:
        raise ScanError(
            f"{path.name}: no repetition time: no --tr, and no JSON of the same name with "
            "RepetitionTime or SamplingFrequency.",
            hint="Give the seconds between frames with --tr.",
        )
    if override_s is not None and sidecar_s is not None:
        _agree(override_s, sidecar_s, where=path.name, sources=("--tr", "the sidecar"))
    tr_s = override_s if override_s is not None else sidecar_s
    if tr_s is None or not TR_LIMITS_S[0] <= tr_s <= TR_LIMITS_S[1]:
        raise ScanError(
            f"{path.name}: expected a repetition time of {TR_LIMITS_S[0]} to {TR_LIMITS_S[1]} s, "
            f"found {tr_s}.",
            hint="It is given in seconds, not milliseconds.",
        )
    return tr_s, "option" if override_s is not None else "sidecar"


def series_start(path: Path) -> float:
    """Return when the first frame was acquired, in seconds, as ``StartTime`` of the sidecar says.

    Raises
    ------
    ScanError
        The sidecar is damaged, or gives no time there.
    """
    start = _sidecar(path.with_suffix(".json")).get("StartTime", 0.0)
    if not fits(start, float):
        raise ScanError(
            f"{path.with_suffix('.json').name}: StartTime is {start!r:.60}; expected seconds."
        )
    return float(start)


def told_interpolated(path: Path) -> int:
    """Return how many frames the sidecar of our own ``desc-denoised`` series calls interpolated.

    Raises
    ------
    ScanError
        The sidecar is damaged.
    """
    volumes = _sidecar(path.with_suffix(".json")).get("NumberOfVolumes")
    told = volumes.get("Interpolated") if isinstance(volumes, dict) else None
    return told if isinstance(told, int) else 0


def _sidecar(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty where there is none."""
    if not path.is_file():
        return {}
    with faults_as(ScanError, where=path.name):
        return read_json(path)


def _sidecar_tr(sidecar: Path) -> float | None:
    found = _sidecar(sidecar)
    given = found.get("RepetitionTime")
    tr_s = positive(given)
    if tr_s is None and given is not None:
        raise ScanError(
            f"{sidecar.name}: RepetitionTime is {given!r:.60}; expected seconds above 0.",
            hint="Correct it, or remove it and give the seconds between frames with --tr.",
        )
    rate_hz = positive(found.get("SamplingFrequency"))  # "TR" in BIDS, which says nothing
    if tr_s is not None and rate_hz is not None:
        names = ("RepetitionTime", "1 / SamplingFrequency")
        _agree(tr_s, 1 / rate_hz, where=sidecar.name, sources=names)
    return tr_s if tr_s is not None or rate_hz is None else 1 / rate_hz


def _agree(one_s: float, other_s: float, *, where: str, sources: tuple[str, str]) -> None:
    if contradict(one_s, other_s):
        raise ScanError(
            f"{where}: repetition time {one_s:g} s ({sources[0]}) and {other_s:g} s "
            f"({sources[1]}) contradict one another.",
            hint="Correct the wrong one.",
        )
