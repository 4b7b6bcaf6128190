"""When the volumes of a scan were measured: the sidecar leads, and no contradiction is silent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bids_app.errors import ScanError
from bids_app.images.nifti import LONGEST_TR_S

if TYPE_CHECKING:
    from bids_app.images.image import Image
    from bids_app.inputs.scan import Scan

log = logging.getLogger(__name__)

RELATIVE_TOLERANCE = 0.01
"""Difference of two repetition times beyond which neither is trusted."""
NOTICE_S = 0.001
"""Difference worth a warning."""


def repetition_time(scan: Scan, image: Image, *, override_s: float | None) -> tuple[float, str]:
    """Return the repetition time in seconds and where it was found.

    Parameters
    ----------
    scan
        With the repetition time of its sidecar, if there is one.
    image
        With the repetition time of its header, if the header gives a unit.
    override_s
        The user's word (``--tr``), which wins.

    Raises
    ------
    ScanError
        No repetition time anywhere, one that can only be milliseconds, header and sidecar
        contradict one another, or the volumes are not equally spaced.
    """
    if "VolumeTiming" in scan.metadata:
        raise ScanError(
            f"{scan.name}: the sidecar gives VolumeTiming (sparse acquisition); expected "
            "equally spaced volumes.",
            hint="Such scans cannot be embedded.",
        )
    tr_s, source = _leading(scan, image, override_s)
    if tr_s > LONGEST_TR_S:
        raise ScanError(
            f"{scan.name}: {tr_s:g} s between volumes ({source}); expected at most "
            f"{LONGEST_TR_S:g} s.",
            hint="Milliseconds? Give the right number of seconds with --tr.",
        )
    return tr_s, source


def contradict(one_s: float, other_s: float) -> bool:
    """Tell whether two repetition times differ by more than rounding."""
    return abs(one_s - other_s) > RELATIVE_TOLERANCE * other_s


def start_time(scan: Scan, *, tr_s: float) -> float:
    """Return when, after a volume's onset, its values count as measured, in seconds.

    fMRIPrep writes ``StartTime`` where it corrected slice timing: half the time in which the
    slices of a volume were acquired, as a rule. Without the key the onset itself is meant.

    Raises
    ------
    ScanError
        ``StartTime`` is no number from zero to the repetition time.
    """
    value = scan.metadata.get("StartTime", 0.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= tr_s:
        raise ScanError(
            f"{scan.name}: StartTime in the sidecar is {value!r}; expected a number of seconds "
            f"from 0 to the repetition time, {tr_s:g}.",
            hint="Correct the sidecar, or remove the key if slice timing was not corrected.",
        )
    return float(value)


def _leading(scan: Scan, image: Image, override_s: float | None) -> tuple[float, str]:
    """Return the repetition time of the first that gives one: user, sidecar, header."""
    if override_s is not None:
        return override_s, "--tr"
    header_s, sidecar_s = image.tr_header_s, scan.tr_s
    header = f"{image.kind} header"
    if sidecar_s is None:
        if header_s is None:
            raise ScanError(
                f"{scan.name}: no repetition time: neither a JSON sidecar with RepetitionTime "
                f"nor a {header} with a step in time.",
                hint="Give it with --tr SECONDS.",
            )
        return header_s, header
    if header_s is not None:
        difference = abs(header_s - sidecar_s)
        if contradict(header_s, sidecar_s):
            raise ScanError(
                f"{scan.name}: RepetitionTime is {sidecar_s:g} s in the sidecar but "
                f"{header_s:g} s in the {header}.",
                hint="Correct the wrong one, or give the right one with --tr SECONDS.",
            )
        if difference > NOTICE_S:
            log.warning(
                "%s: RepetitionTime %g s (sidecar, used) and %g s (header) differ",
                scan.name,
                sidecar_s,
                header_s,
            )
    return sidecar_s, "sidecar"
