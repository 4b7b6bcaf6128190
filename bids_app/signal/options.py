"""Settings that change the numbers of a scan, apart from strategy, atlas and checkpoint."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
import math
from dataclasses import dataclass
from typing import Annotated

from bids_app.errors import OptionsError
from model.files.settings import CountOrZero, Option, Share, Strict
from model.files.shared_options import NormalizationOption, RepetitionTime

LOWEST_HIGH_PASS_HZ = 1e-4
"""A period of three hours: no scan holds slower ones, and the filter's design breaks down."""


def cutoff(words: str) -> float | None:
    """Read the edge of a filter in Hz; None where it is switched off.

    Raises
    ------
    OptionsError
        It is neither a positive frequency nor ``none``.
    """
    if words.lower() == "none":
        return None
    try:
        number = float(words)
    except ValueError:
        number = -1.0
    if not 0 < number < math.inf:
        raise OptionsError(
            f"{words!r} is neither a positive frequency in Hz nor 'none'.",
            hint="For example --high-pass 0.01 --low-pass none.",
        )
    return number


@dataclass(frozen=True, kw_only=True)
class SignalOptions(Strict):
    """How parcel series are cleaned."""

    high_pass_hz: Annotated[
        float | None,
        Option("--high-pass", "Lower edge of the band-pass.", metavar="HZ|none", read=cutoff),
    ] = 0.01
    """None: no high-pass."""
    low_pass_hz: Annotated[
        float | None,
        Option("--low-pass", "Upper edge of the band-pass.", metavar="HZ|none", read=cutoff),
    ] = 0.1
    """None: no low-pass."""
    despike: Annotated[
        bool,
        Option(
            "--no-despike",
            "Do not bridge spikes of one or two volumes in single parcels before the filter.",
            value=False,
        ),
    ] = True
    min_coverage: Annotated[
        Share,
        Option(
            "--min-coverage",
            "Share of a parcel's voxels that must carry signal; below, it is missing.",
            metavar="SHARE",
        ),
    ] = 0.5
    dummy_scans: Annotated[
        CountOrZero | None,
        Option(
            "--dummy-scans",
            "Leading volumes to drop. Default: fMRIPrep's non-steady-state columns.",
            metavar="COUNT",
        ),
    ] = None
    tr_s: RepetitionTime = None
    normalization: NormalizationOption = None
    """None: as the checkpoint was trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        high, low = self.high_pass_hz, self.low_pass_hz
        if high is not None and high < LOWEST_HIGH_PASS_HZ:
            raise OptionsError(
                f"--high-pass {high} Hz: expected at least {LOWEST_HIGH_PASS_HZ} Hz.",
                hint="--high-pass none switches it off.",
            )
        if high is not None and low is not None and high >= low:
            raise OptionsError(f"--high-pass {high} Hz must lie below --low-pass {low} Hz.")
