"""Every quality number: its column, its name in words, its limits, and how it is in good scans.

The one place of thresholds and ranges: flags, the report, the cohort's page and the tables'
sidecars take them from here. What they rest on: docs/quality.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from model.networks import parcel_names

if TYPE_CHECKING:
    from collections.abc import Mapping

Judgement = Literal["good", "within", "unusual", "flagged", "unknown"]
WORDS: dict[Judgement, str] = {
    "good": "as in good scans",
    "within": "within the limit",
    "unusual": "worse than most good scans",
    "flagged": "beyond the limit",
    "unknown": "",
}
"""What a judgement is called where it is shown; a colour never stands alone."""

ADVICE = {
    "high_motion": "look at the carpet; decide for the whole study",
    "many_interpolated": "look at the carpet; decide for the whole study",
    "frames_without_signal": "an aborted or damaged acquisition: look at the image at "
    "these frames",
    "short_scan": "the rest of the only window is padding: compare scans of like length",
    "few_degrees_of_freedom": "correlations are mostly chance: take a strategy with fewer "
    "regressors",
    "low_tsnr": "only failures reach it: look at the image",
    "low_coverage": "field of view, dropout, a wrong mask or series that do not vary: look at the "
    "slices, and at the reasons below them; compare scans of like coverage",
    "wrong_order": "parcels are not where their names say: check `--order` of series, and how an "
    "image was made; do not use the scan before",
    "mirrored": "left may be right: look at the image over the atlas; do not use the scan before",
    "implausible_parcels": "series scaled, repeated or lost: look at these parcels",
    "constant_parcels": "series lost: look at these parcels",
    "derived_mask": "parcels at the edge may hold signal from outside the brain",
    "tr_corrected": "right in fMRIPrep's known defects: look at the number once",
    "tr_from_header": "headers written by other software hold wrong repetition times: compare "
    "with the protocol",
}
"""What a flag may be, and what to do, by its code; docs/quality.md begins with the same words."""

OUTCOMES = {
    "embedded": ("embedded", "series, tokens and embedding are there"),
    "excluded": ("excluded", "deliberately left out, such as for too little usable data"),
    "failed": ("failed", "something is wrong with its files; tried again by the next call"),
}
"""The status of a scan: what pages call it, as tables do, and what it means."""

GOOD_COVERAGE = 0.8
"""Share of a parcel's voxels; parcels below are counted."""
MANY_PARCELS = 0.1
"""Share of the parcels from which on they are many."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """Where a number lies in real scans that nothing is known against."""

    low: float
    high: float
    """5th and 95th percentile"""
    n: int
    """Scans"""
    source: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One quality number, and what is to be said of it."""

    key: str
    """Its column in the group tables, its key under ``QC`` in a status"""
    name: str
    """In words that a reader knows"""
    unit: str = ""
    """Empty for counts, shares and correlations"""
    form: str = "g"
    """How it is written, for `format`"""
    meaning: str
    """In one sentence: what it says, and which way is bad"""
    better: Literal["low", "high"]
    """Which end nobody worries about"""
    above: float = np.inf
    below: float = -np.inf
    """Beyond these it raises its flag"""
    flag: str = ""
    """Code of the flag; empty: it raises none"""
    text: str = ""
    """What the flag says, for `str.format` with the value and the limit; empty: something else
    says it, from more than this number"""
    usual: Usual | None = None
    """None: no real scans at hand tell"""
    instead: str = ""
    """What to hold it against where no real scans tell"""
    anchor: str = "numbers"
    """Heading in docs/quality.md"""

    @property
    def limit(self) -> float | None:
        """The threshold that counts; None where there is none."""
        known = [end for end in (self.above, self.below) if np.isfinite(end)]
        return known[0] if known else None

    @property
    def limit_text(self) -> str:
        """The threshold in words, such as ``above 0.5 mm``; empty where there is none."""
        if self.limit is None:
            return ""
        side = "above" if np.isfinite(self.above) else "below"
        return f"{side} {self.shown(self.limit)}"

    @property
    def usual_text(self) -> str:
        """The end of the range in good scans that matters; empty where it is not known."""
        if self.usual is None:
            return ""
        if self.usual.low == self.usual.high:
            return self.shown(self.usual.low)
        if self.better == "high":
            return f"\N{GREATER-THAN OR EQUAL TO} {self.shown(self.usual.low)}"
        return f"\N{LESS-THAN OR EQUAL TO} {self.shown(self.usual.high)}"

    def shown(self, value: float) -> str:
        """Write a value with its unit."""
        number = format(value, self.form).replace("-", "\N{MINUS SIGN}")
        return f"{number} {self.unit}".rstrip()

    def exceeded(self, numbers: Mapping[str, Any]) -> str:
        """Return the text of the flag if the number is known and out of bounds, else ''."""
        value = numbers.get(self.key)
        if value is None or self.below <= value <= self.above:
            return ""
        limit = self.above if value > self.above else self.below
        return self.text.format(value=value, limit=limit)

    def judge(self, value: float | None, *, flags: Mapping[str, str]) -> Judgement:
        """Say how a value is, beside its limit and beside good scans.

        Parameters
        ----------
        value
            None: it is not known.
        flags
            Of the scan, text by code: a number is beyond its limit where that raised its flag.
        """
        if value is None:
            return "unknown"
        beyond = not self.below <= value <= self.above
        if beyond and (not self.flag or self.flag in flags):
            return "flagged"
        if self.usual is None:
            return "within" if self.limit is not None and not beyond else "unknown"
        worse = value > self.usual.high if self.better == "low" else value < self.usual.low
        return "unusual" if worse else "good"


_SERIES = "98 scans of STAGES and ds000220, cortex alone"
_MOTION = "230 scans of ds005165 and ds001499, fMRIPrep's confounds"
_DENOISED = "50 resting scans of 6 minutes of ds005165, default strategy"
_LEVELS = "56 scans of STAGES"

MEASURES = (
    Measure(
        key="duration",
        name="length of the series",
        unit="s",
        form=".0f",
        meaning="Time that is left after leading volumes were dropped; what is shorter than a "
        "window of 200 s is filled up with padding.",
        better="high",
        below=200.0,
        flag="short_scan",
        instead="your protocol",
        text="{value:.0f} s of data, less than a window of {limit:g} s",
    ),
    Measure(
        key="mean_fd",
        name="head motion, mean",
        unit="mm",
        form=".2f",
        meaning="Mean framewise displacement over all volumes: how far the head moves from one "
        "volume to the next; motion makes near parcels look more alike, and far ones less.",
        better="low",
        above=0.5,
        flag="high_motion",
        text="mean framewise displacement {value:.2f} mm, above {limit:g} mm",
        usual=Usual(low=0.08, high=0.19, n=230, source=_MOTION),
    ),
    Measure(
        key="max_fd",
        name="head motion, largest",
        unit="mm",
        form=".2f",
        meaning="Largest framewise displacement of any volume: a jerk leaves traces in the "
        "volumes after it.",
        better="low",
        above=5.0,
        flag="high_motion",
        text="largest framewise displacement {value:.1f} mm, above {limit:g} mm",
        usual=Usual(low=0.22, high=0.95, n=230, source=_MOTION),
    ),
    Measure(
        key="mean_std_dvars",
        name="change of the image from volume to volume (DVARS)",
        form=".2f",
        meaning="Mean standardized DVARS over all volumes: 1 is what noise alone would give; "
        "more is motion, drift or physiology.",
        better="low",
        usual=Usual(low=1.14, high=1.35, n=230, source=_MOTION),
    ),
    Measure(
        key="interpolated_fraction",
        name="frames interpolated",
        form=".1%",
        meaning="Share of the frames that were replaced from their neighbours, for motion or for "
        "want of signal; the rest is what was measured.",
        better="low",
        above=0.2,
        flag="many_interpolated",
        text="{value:.0%} of the frames were interpolated, more than {limit:.0%}",
        usual=Usual(low=0.0, high=0.0095, n=50, source=_DENOISED),
    ),
    Measure(
        key="n_without_signal",
        name="frames without signal",
        form=".0f",
        meaning="Volumes in which nothing was measured: blank, constant, repeated or dim ones.",
        better="low",
        above=0,
        flag="frames_without_signal",
        usual=Usual(low=0, high=0, n=182, source="182 series of STAGES, ds000220 and ds004592"),
        anchor="frames-without-signal",
    ),
    Measure(
        key="degrees_of_freedom",
        name="degrees of freedom left",
        form=".0f",
        meaning="How many independent values the filter and the confounds left of each series: "
        "the longer the scan, the more; correlations of few are mostly chance.",
        better="high",
        below=20,
        flag="few_degrees_of_freedom",
        text="{value} degrees of freedom are left after denoising, fewer than {limit}",
        instead="scans of like length",
    ),
    Measure(
        key="tsnr",
        name="signal-to-noise of parcels, median",
        form=".0f",
        meaning="Mean over standard deviation in time of the raw parcel series; several times "
        "that of voxels. Low where coil, sequence or motion are bad.",
        better="high",
        below=20.0,
        flag="low_tsnr",
        instead="your cohort",
        text="median temporal signal-to-noise ratio of the parcels {value:.1f}, below {limit:g}",
    ),
    Measure(
        key="coverage_mean",
        name="coverage, mean of the parcels used",
        form=".1%",
        meaning="Share of a parcel's voxels that carry signal, averaged over the parcels with a "
        "series; low where the field of view cuts the brain or signal drops out.",
        better="high",
        instead="100%, and your cohort",
    ),
    Measure(
        key="coverage_min",
        name="coverage, worst parcel used",
        form=".0%",
        meaning="Share of voxels with signal in the parcel that is covered worst and still used.",
        better="high",
        instead="your cohort",
    ),
    Measure(
        key="n_low_coverage_parcels",
        name=f"parcels with less than {GOOD_COVERAGE:.0%} of their voxels",
        form=".0f",
        meaning="Parcels that lost voxels, missing ones among them; a flag is raised where they "
        f"are more than {MANY_PARCELS:.0%} of the atlas, or most of a network are missing.",
        better="low",
        above=int(MANY_PARCELS * len(parcel_names())),
        flag="low_coverage",
        instead="0, and your cohort",
    ),
    Measure(
        key="n_missing_parcels",
        name="parcels missing",
        form=".0f",
        meaning="Parcels without a series: n/a in every table, and guessed from the others by "
        "the encoder where their network has enough.",
        better="low",
        instead="0, and your cohort",
    ),
    Measure(
        key="homotopic_correlation",
        name="left and right alike",
        form=".2f",
        meaning="Mean correlation of parcels whose names mirror one another, the mean signal "
        "removed; near zero, parcels are not where their names say.",
        better="high",
        below=0.06,
        flag="wrong_order",
        text="correlation of mirror parcels {value:.2f}, below {limit:g}: are the parcels in "
        "order?",
        usual=Usual(low=0.22, high=0.42, n=98, source=_SERIES),
        anchor="what-the-order-thresholds-rest-on",
    ),
    Measure(
        key="network_contrast",
        name="networks hold together",
        form=".2f",
        meaning="Mean correlation within networks minus that between them, the mean signal "
        "removed; near zero, labels and series do not belong together.",
        better="high",
        below=0.03,
        flag="wrong_order",
        text="correlation within networks minus between {value:.2f}, below {limit:g}: are the "
        "parcels in order?",
        usual=Usual(low=0.14, high=0.29, n=98, source=_SERIES),
        anchor="what-the-order-thresholds-rest-on",
    ),
    Measure(
        key="order_margin",
        name="networks fit better than in another order",
        form=".3f",
        meaning="By how much networks hold together better in the model's order of parcels than "
        "in the best other order that is in use; below zero, another one fits better.",
        better="high",
        below=0.0,
        flag="wrong_order",
        usual=Usual(low=0.015, high=0.050, n=98, source=_SERIES),
        anchor="what-the-order-thresholds-rest-on",
    ),
    Measure(
        key="mirror_margin",
        name="atlas fits better than its mirror image",
        form=".1%",
        meaning="Share of the atlas inside the brain mask minus that of the mirrored atlas; below "
        "zero, left may be right.",
        better="high",
        below=-0.002,
        flag="mirrored",
        text="the brain mask holds less of the atlas than of its mirror image ({value:.1%}): are "
        "left and right where the header says?",
        instead="0.6% to 2.3%, of templates",
        anchor="a-wrong-space-a-wrong-order-left-for-right",
    ),
    Measure(
        key="n_constant_parcels",
        name="constant parcels",
        form=".0f",
        meaning="Parcels whose series does not change, to rounding.",
        better="low",
        above=0,
        flag="constant_parcels",
        text="parcels that are constant to rounding: {value}",
        usual=Usual(low=0, high=0, n=56, source=_LEVELS),
    ),
    Measure(
        key="n_implausible_parcels",
        name="implausible parcels",
        form=".0f",
        meaning="Parcels whose mean is far from the others', or which repeat another parcel.",
        better="low",
        above=0,
        flag="implausible_parcels",
        text="{value} parcels have a mean far from the others', or repeat another parcel",
        usual=Usual(low=0, high=0, n=56, source=_LEVELS),
        anchor="what-the-parcel-thresholds-rest-on",
    ),
)
"""In the order in which they are shown."""

BY_KEY = {measure.key: measure for measure in MEASURES}

ORDER = ("homotopic_correlation", "network_contrast")
"""Those that say too little of short series."""

_WINDOWS = f"windows of {_SERIES}, through the bundled weights 0.5.0"
NEAR_WINDOWS = Usual(low=0.41, high=0.58, n=98, source=_WINDOWS)
"""Cosine similarity of two windows of a scan that share half of their time or more; no column
holds it."""
APART_WINDOWS = Usual(low=0.14, high=0.24, n=98, source=_WINDOWS)
"""The same of windows that share a third or less."""
NOISE_WINDOWS = (0.64, 0.35)
"""Both of smooth noise, medians of the same lengths: this number does not tell a good scan
(`benchmarks/good_scans.py`)"""
DISTURBED_WINDOW = 0.1
"""Where noise stands for the first window of STAGES, its similarity to the others has a median of
0.02 to 0.07, and of 0.16 to 0.22 without (5th to 95th percentile of 16 scans;
`benchmarks/good_scans.py`)"""
