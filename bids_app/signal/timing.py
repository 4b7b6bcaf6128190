"""When the volumes of a scan were measured: the sidecar leads, and no contradiction is silent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bids_app.errors import ScanError
from model.files.shared_options import TR_LIMITS_S

if TYPE_CHECKING:
    from bids_app.images.image import Image
    from bids_app.inputs.scan import Scan

log = logging.getLogger(__name__)

RELATIVE_TOLERANCE = 0.01
"""Difference of two repetition times beyond which neither is trusted."""
NOTICE_S = 0.001
"""Difference worth a warning."""
UNSET_S = 1.0
"""In a header: what software writes that does not know."""


def repetition_time(scan: Scan, image: Image, *, override_s: float | None) -> tuple[float, str]:
    """Return the repetition time in seconds and where it was found.

    Parameters
    ----------
    scan
        With what its sidecars say.
    image
        With the repetition time of its header, if the header gives one.
    override_s
        The user's word (``--tr``), which wins.

    Raises
    ------
    ScanError
        No repetition time anywhere, one that is none in seconds, header and sidecar contradict
        one another, or the volumes are not equally spaced.
    """
    if "VolumeTiming" in scan.metadata:
        raise ScanError(
            f"{scan.name}: the sidecar gives VolumeTiming (sparse acquisition); expected "
            "equally spaced volumes.",
            hint="Such scans cannot be embedded.",
        )
    if override_s is not None:
        tr_s, source = override_s, "option"
        if scan.tr_s is not None and contradict(tr_s, scan.tr_s):
            log.warning("%s: --tr %g s overrides %g s (sidecar)", scan.name, tr_s, scan.tr_s)
    elif scan.metadata.get("RepetitionTime") is None:
        tr_s, source = _of_header(scan, image)
    else:
        tr_s, source = _of_sidecar(scan), "sidecar"
    shortest_s, longest_s = TR_LIMITS_S
    if not shortest_s <= tr_s <= longest_s:
        raise ScanError(
            f"{scan.name}: a repetition time of {tr_s:g} s ({source}); expected {shortest_s:g} to "
            f"{longest_s:g} s.",
            hint=f"{'Milliseconds? ' * (tr_s > longest_s)}Give the right number of seconds with "
            "--tr.",
        )
    if source == "sidecar":
        doubts = [*_odd_writing(scan), *_doubtful_header(scan, image, tr_s)]
        source = f"sidecar ({'; '.join(doubts)})" if doubts else source
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


def _of_header(scan: Scan, image: Image) -> tuple[float, str]:
    header = f"{image.kind} header"
    if image.tr_header_s is None:
        raise ScanError(
            f"{scan.name}: no repetition time: neither a JSON sidecar with RepetitionTime "
            f"nor a {header} with a step in time.",
            hint="Give it with --tr SECONDS.",
        )
    return image.tr_header_s, header


def _of_sidecar(scan: Scan) -> float:
    if scan.tr_s is None:
        raise ScanError(
            f"{scan.name}: RepetitionTime in the sidecar is "
            f"{scan.metadata['RepetitionTime']!r:.60}; expected a number of seconds above 0.",
            hint="Correct the sidecar, or give the right number of seconds with --tr.",
        )
    return scan.tr_s


def _odd_writing(scan: Scan) -> list[str]:
    """Warn of a sidecar that gives its number as text or in a list, and name what it gives."""
    written = scan.metadata["RepetitionTime"]
    if isinstance(written, int | float):
        return []
    log.warning(
        "%s: RepetitionTime in the sidecar is %r; read as %g s", scan.name, written, scan.tr_s
    )
    return [f"written {written!r}"]


def _doubtful_header(scan: Scan, image: Image, sidecar_s: float) -> list[str]:
    """Warn of a header that says another time than the sidecar, and name what it says.

    fMRIPrep 23.2.0 wrote 1 s into every header, other versions copied milliseconds as seconds:
    the sidecar is right then. Who is right else cannot be told from here.

    Raises
    ------
    ScanError
        The two contradict one another in another way.
    """
    header_s = image.tr_header_s
    if header_s is None or abs(header_s - sidecar_s) <= NOTICE_S:
        return []
    log_as = "%s: RepetitionTime %g s (sidecar, used) and %g s (header) differ"
    if not contradict(header_s, sidecar_s):
        log.warning(log_as, scan.name, sidecar_s, header_s)
        return []
    known = header_s == UNSET_S or any(
        not contradict(header_s, sidecar_s * unit) for unit in (1e-6, 1e-3, 1e3, 1e6)
    )
    if not known:
        raise ScanError(
            f"{scan.name}: RepetitionTime is {sidecar_s:g} s in the sidecar but "
            f"{header_s:g} s in the {image.kind} header.",
            hint="Correct the wrong one, or give the right one with --tr SECONDS.",
        )
    log.warning(log_as, scan.name, sidecar_s, header_s)
    return [f"{image.kind} header: {header_s:g} s"]
