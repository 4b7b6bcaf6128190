"""Which repetition time a scan has: the sidecar leads, and a contradiction is never silent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bids_app.errors import ScanError

if TYPE_CHECKING:
    from bids_app.bold import BoldImage
    from bids_app.query import BoldScan

log = logging.getLogger(__name__)

RELATIVE_TOLERANCE = 0.01
"""Difference of header and sidecar beyond which neither is trusted."""
NOTICE_S = 0.001
"""Difference worth a warning."""


def repetition_time(
    scan: BoldScan, bold: BoldImage, *, override_s: float | None
) -> tuple[float, str]:
    """Return the repetition time in seconds and where it was found.

    Parameters
    ----------
    scan
        With the repetition time of its sidecar, if there is one.
    bold
        With the repetition time of its header, if the header gives a unit.
    override_s
        The user's word (``--tr``), which wins.

    Raises
    ------
    ScanError
        No repetition time anywhere, header and sidecar contradict one another, or the
        volumes are not equally spaced.
    """
    if "VolumeTiming" in scan.sidecar:
        raise ScanError(
            f"{scan.name}: the sidecar gives VolumeTiming (sparse acquisition); expected "
            "equally spaced volumes.",
            hint="Such scans cannot be embedded.",
        )
    if override_s is not None:
        return override_s, "--tr"
    header_s, sidecar_s = bold.tr_header_s, scan.tr_s
    if sidecar_s is None:
        if header_s is None:
            raise ScanError(
                f"{scan.name}: no repetition time: neither a JSON sidecar with RepetitionTime "
                "nor a NIfTI header with a time unit.",
                hint="Give it with --tr SECONDS.",
            )
        return header_s, "NIfTI header"
    if header_s is not None:
        difference = abs(header_s - sidecar_s)
        if difference > RELATIVE_TOLERANCE * sidecar_s:
            raise ScanError(
                f"{scan.name}: RepetitionTime is {sidecar_s:g} s in the sidecar but "
                f"{header_s:g} s in the NIfTI header.",
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
