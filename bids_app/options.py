"""Every setting of a run, resolved once, frozen, and written down with the outputs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bids_app import __version__
from bids_app.errors import OptionsError
from model.files.fingerprint import text_sha256

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.selection import Selection
    from bids_app.signal.strategy import Strategy
    from model.spec import CheckpointCard, Normalization


Reports: TypeAlias = Literal["with", "none", "only"]
"""With the scans; not at all; of scans that were embedded earlier, and nothing else"""
LOWEST_HIGH_PASS_HZ = 1e-4
"""A period of three hours: no scan holds slower ones, and the filter's design breaks down."""


@dataclass(frozen=True, kw_only=True)
class SignalOptions:
    """Settings that change numbers, apart from strategy, atlas and checkpoint."""

    high_pass_hz: float | None
    """Lower edge of the band-pass; None: no high-pass."""
    low_pass_hz: float | None
    """Upper edge of the band-pass; None: no low-pass."""
    despike: bool
    """Bridge spikes of one or two volumes in single parcels before the filter."""
    min_coverage: float
    """Share of a parcel's voxels that must carry signal."""
    dummy_scans: int | None
    """Leading volumes to drop; None: fMRIPrep's non-steady-state columns decide."""
    tr_s: float | None
    """Repetition time that overrides sidecar and header."""
    normalization: Normalization | None
    """None: as the checkpoint was trained."""

    def __post_init__(self) -> None:
        high, low = self.high_pass_hz, self.low_pass_hz
        for flag, value in (
            ("--high-pass", high),
            ("--low-pass", low),
            ("--tr", self.tr_s),
            ("--min-coverage", self.min_coverage),
        ):
            if value is not None and not math.isfinite(value):
                raise OptionsError(f"{flag} {value}: expected a finite number.")
        if high is not None and high < LOWEST_HIGH_PASS_HZ:
            raise OptionsError(
                f"--high-pass {high} Hz: expected at least {LOWEST_HIGH_PASS_HZ} Hz.",
                hint="--high-pass none switches it off.",
            )
        if high is not None and low is not None and high >= low:
            raise OptionsError(f"--high-pass {high} Hz must lie below --low-pass {low} Hz.")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One invocation at participant level."""

    bids_dir: Path
    output_dir: Path
    derivatives: Path | None
    selection: Selection
    atlas: Path | None
    """Folder of an installed atlas; None: where ``semantoks assets`` puts it."""
    checkpoint: Path | None
    """None: the bundled one."""
    strategy: Strategy
    signal: SignalOptions
    device: str
    batch_size: int
    n_cpus: int
    """Processes, each at one scan with one thread."""
    memory_mb: float
    """What all processes may need together."""
    overwrite: bool
    stop_on_first_crash: bool
    reports: Reports
    command: str
    """The command line, for the log."""

    def to_json(self) -> str:
        """Return all settings as JSON."""
        return json.dumps(asdict(self), indent=2, default=str) + "\n"


def configuration_hash(
    *,
    strategy: Strategy,
    signal: SignalOptions,
    card: CheckpointCard,
    space: str,
    atlas_sha256: str,
) -> str:
    """Identify what determines the numbers of a scan.

    Device, batch size, processes and paths do not enter: results do not depend on them.

    Returns
    -------
    ``SETTINGS-ATLAS``: a hash of version, settings, weights and space, and one of the atlas'
    voxels. Scans with the same first part may stand in one table; the second part may
    differ, as the resolution of the atlas follows the BOLD grid.
    """
    settings: dict[str, Any] = {
        "version": __version__,
        "strategy": asdict(strategy),
        "signal": asdict(signal),
        "checkpoint": card.weights_sha256,
        "space": space,
    }
    text = json.dumps(settings, sort_keys=True, default=str)
    return f"{text_sha256(text)[:16]}-{atlas_sha256[:8]}"
