"""Flags and quality numbers of a run in the report, from its status file."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bids_app.report.runs import ReportRun

_NUMBERS = (
    ("coverage, mean over used parcels", "coverage_mean", "{:.1%}"),
    ("coverage, smallest of used parcels", "coverage_min", "{:.0%}"),
    ("parcels below 80% coverage", "n_low_coverage_parcels", "{}"),
    ("temporal signal-to-noise ratio, median", "tsnr", "{:.0f}"),
    ("framewise displacement, mean (mm)", "mean_fd", "{:.3f}"),
    ("framewise displacement, largest (mm)", "max_fd", "{:.2f}"),
    ("standardized DVARS, mean", "mean_std_dvars", "{:.2f}"),
    ("frames interpolated", "interpolated_fraction", "{:.1%}"),
    ("degrees of freedom left", "degrees_of_freedom", "{}"),
    ("correlation of mirror parcels", "homotopic_correlation", "{:.2f}"),
    ("correlation within networks minus between", "network_contrast", "{:.2f}"),
    ("the same, minus that in the best other order", "order_margin", "{:.3f}"),
    ("atlas inside the mask, minus its mirror image", "mirror_margin", "{:.1%}"),
    ("constant parcels", "n_constant_parcels", "{}"),
    ("implausible parcels", "n_implausible_parcels", "{}"),
)
"""Name, key and format of each number."""


def flag_names(run: ReportRun) -> list[str]:
    """Return the codes of a run's flags as words."""
    return [code.replace("_", " ") for code in run.flags]


def flags_box(run: ReportRun) -> str:
    """Return the flags with their texts as HTML; nothing for a run without any."""
    if not run.flags:
        return ""
    items = "".join(
        f"<li><b>{escape(code.replace('_', ' '))}:</b> {escape(text)}</li>"
        for code, text in run.flags.items()
    )
    return f"<ul class='notes' aria-label='Flags'>{items}</ul>"


def quality_list(run: ReportRun) -> str:
    """Return the quality numbers that are known as HTML."""
    rows = "".join(
        f"<dt>{name}</dt><dd>{form.format(run.qc[key])}</dd>"
        for name, key, form in _NUMBERS
        if key in run.qc
    )
    return f"<h3>Quality</h3><dl>{rows}</dl>" if rows else ""
