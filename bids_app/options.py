"""Every setting of an invocation, resolved once and frozen; the command line is made of these."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
import json
import math
import re
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from bids_app import __version__
from bids_app.errors import OptionsError
from bids_app.inputs.given_tr import GivenTr, read_given_trs
from bids_app.inputs.selection import Selection
from model.files.settings import Count, CountOrZero, Option, Positive, Share, Strict
from model.files.shared_options import CheckpointOptions, NormalizationOption, RepetitionTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_app.signal.strategy import Strategy
    from model.spec import CheckpointCard

LOWEST_HIGH_PASS_HZ = 1e-4
"""A period of three hours: no scan holds slower ones, and the filter's design breaks down."""


Reports: TypeAlias = Literal["with", "none", "only"]
"""With the scans; not at all; of scans that were embedded earlier, and nothing else"""
CheckInputs: TypeAlias = Literal["time", "content"]
"""What tells that an input is still the same: size and time of change, or its bytes"""
_MB = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


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
    trs_by_label: Annotated[
        tuple[GivenTr, ...],
        Option(
            "--tr-for",
            "Repetition times of scans with certain labels, such as task-rest=2.0 or "
            "task-rest_acq-fast=0.8; of several, that with most labels, and --tr for the others.",
            metavar="LABELS=SECONDS ...",
            read=read_given_trs,
        ),
    ] = ()
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


def megabytes(words: str) -> float:
    """Read an amount of memory: ``8G``, ``8GB``, ``8000M``; a plain number is in MB.

    Raises
    ------
    OptionsError
        It is none of these, or nothing.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", words.strip().lower())
    if found is None or not float(found[1]):
        raise OptionsError(f"--mem {words}: expected an amount such as 8G, 8000M or 8000 (MB).")
    return float(found[1]) * _MB[found[2]]


def millimetres(words: str) -> float:
    """Read a threshold of framewise displacement; 0 where it is switched off.

    Raises
    ------
    OptionsError
        It is neither a length nor ``none``.
    """
    try:
        number = 0.0 if words.lower() == "none" else float(words)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise OptionsError(f"--fd-threshold {words}: expected millimetres, 0 or none.")
    return number


@dataclass(frozen=True, kw_only=True)
class LogOptions(Strict):
    """How much is told on the way."""

    verbose: Annotated[
        int, Option("--verbose -v", "More log lines (-vv: libraries' too).", count=True)
    ] = 0
    quiet: Annotated[bool, Option("--quiet -q", "Errors only.")] = False


@dataclass(frozen=True, kw_only=True)
class AcceptedOptions(Strict):
    """What other BIDS Apps take, accepted and without effect here."""

    omp_nthreads: Annotated[
        Count | None,
        Option(
            "--omp-nthreads",
            "Accepted for compatibility: each process has one thread.",
            metavar="COUNT",
        ),
    ] = None
    skip_bids_validation: Annotated[
        bool,
        Option(
            "--skip-bids-validation --skip-bids-validator --notrack",
            "Accepted for compatibility: nothing is validated online or tracked.",
        ),
    ] = False
    work_dir: Annotated[
        Path | None,
        Option("--work-dir -w", "Accepted for compatibility: no working files are kept."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(CheckpointOptions):
    """Which encoder, where it runs, how much at a time."""

    batch_size: Annotated[
        Count,
        Option(
            "--batch-size",
            "Windows per forward pass; results do not depend on it.",
            metavar="COUNT",
        ),
    ] = 16


@dataclass(frozen=True, kw_only=True)
class InvocationOptions(EncoderOptions):
    """What commands share that embed many scans: encoder, processes, output."""

    n_cpus: Annotated[
        Count,
        Option(
            "--n-cpus --nprocs --nthreads",
            "Scans processed at a time, each by a process of one thread. Default: the CPUs this "
            "job may use.",
            metavar="COUNT",
        ),
    ]
    memory_mb: Annotated[
        Positive,
        Option(
            "--mem --mem-mb",
            "Memory for all processes together, such as 8G or 8000M (a plain number: MB), by "
            "which fewer may run at a time. Default: what this job may use.",
            metavar="SIZE",
            read=megabytes,
        ),
    ]
    reports: Annotated[
        Reports,
        Option("--reports-only", "Write the reports of what is done already.", value="only"),
        Option(
            "--no-reports",
            "Write no reports; --reports-only makes them later. At group level: no group.html, "
            "which the same call without it makes later.",
            value="none",
        ),
    ] = "with"
    overwrite: Annotated[bool, Option("--overwrite --force", "Redo what is done already.")] = False
    stop_on_first_crash: Annotated[
        bool, Option("--stop-on-first-crash", "Stop at the first scan that fails.")
    ] = False
    check_inputs: Annotated[
        CheckInputs,
        Option(
            "--check-inputs",
            "What tells whether the inputs of a scan that is done have changed: their sizes and "
            "times, or their content, all of which is read for it.",
        ),
    ] = "time"
    config: str = ""
    """All options of this invocation as TOML, as ``--config-file`` takes them; for the log."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(InvocationOptions):
    """One invocation at participant level."""

    bids_dir: Path
    output_dir: Path
    selection: Selection
    derivatives: Annotated[
        Path | None,
        Option(
            "--derivatives -d",
            "fMRIPrep derivative, if it is not BIDS_DIR itself or below it.",
            path="folder",
        ),
    ] = None
    atlas: Annotated[
        Path | None,
        Option(
            "--atlas",
            "Folder of an installed 457-parcel atlas. Default: where 'semantoks assets' puts it "
            "($SEMANTOKS_HOME/atlas).",
            metavar="FOLDER",
        ),
    ] = None
    denoise_strategy: Annotated[
        str,
        Option(
            "--denoise-strategy --nuisance-regressors",
            "Named strategy of semantoks, giga_connectome or xcp_d, 'none', or a JSON file of "
            "your own (docs/denoising.md).",
            metavar="NAME|FILE",
        ),
    ] = "default"
    fd_threshold_mm: Annotated[
        float | None,
        Option(
            "--fd-threshold",
            "Framewise displacement beyond which a volume is an outlier; 0 or none: no limit. "
            "Default: the strategy's.",
            metavar="MM",
            read=millimetres,
        ),
    ] = None
    """None: the strategy's; 0: no limit."""
    signal: SignalOptions

    def __post_init__(self) -> None:
        super().__post_init__()
        self.strategy  # noqa: B018 - a wrong name ends the command before anything is looked at

    @cached_property
    def strategy(self) -> "Strategy":
        """The confounds strategy, with the threshold that is asked for in place of its own.

        Raises
        ------
        OptionsError
            Neither a name nor a file; or the file holds unknown keys or impossible values.
        """
        from bids_app.signal.strategy import load_strategy

        strategy = load_strategy(self.denoise_strategy)
        if self.fd_threshold_mm is None:
            return strategy
        return replace(strategy, fd_threshold_mm=self.fd_threshold_mm or None)


def scan_settings(
    *, strategy: "Strategy", signal: SignalOptions, card: "CheckpointCard", space: str
) -> dict[str, Any]:
    """Return what determines the numbers of a scan, apart from the voxels of the atlas.

    Version, settings, weights with all that their card says, and space. Device, batch size,
    processes and paths do not enter: results do not depend on them.
    """
    return {
        "version": __version__,
        "space": space,
        "strategy": asdict(strategy),
        "signal": asdict(signal),
        "checkpoint": card.identity(),
    }


def settings_hash(settings: dict[str, Any], *, length: int = 16) -> str:
    """Identify settings: scans that differ in it must not be mixed."""
    from model.files.write import text_sha256

    return text_sha256(json.dumps(settings, sort_keys=True))[:length]


def departures(signal: SignalOptions, card: "CheckpointCard") -> "Iterator[str]":
    """Tell what the user asks for that differs from what the weights were made of."""
    taken = card.input
    asked = (signal.high_pass_hz, signal.low_pass_hz)
    if asked != taken.band_hz:
        low, high = ("none" if edge is None else f"{edge:g}" for edge in asked)
        yield (
            f"--high-pass {low} --low-pass {high}: the weights of {card.name} are of series from "
            f"{taken.band_hz[0]:g} to {taken.band_hz[1]:g} Hz"
        )
    if signal.normalization not in (None, taken.normalization):
        yield (
            f"--normalization {signal.normalization}: the weights of {card.name} are of series "
            f"that were normalized as {taken.normalization}"
        )
