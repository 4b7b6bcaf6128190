"""Methods text of the report: what was done, in words, with the numbers of the sidecars."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_app.report.runs import Extraction, ReportRun, RunTables

_REFERENCE = re.compile(r"(doi:|arXiv:)([^\s;]*[^\s;.,)])")
_ADDRESS = {"doi:": "https://doi.org/", "arXiv:": "https://arxiv.org/abs/"}


def methods_section(runs: Sequence[ReportRun]) -> str:
    """Return one paragraph per step, or several where runs differ, and the references, as HTML."""
    parts = []
    for describe in (_extraction, _denoising, _model_input, _embedding):
        variants: dict[str, list[str]] = {}
        for run in runs:
            if run.tables is not None:
                variants.setdefault(describe(run.tables), []).append(run.label)
        for text, labels in variants.items():
            which = f"<b>{escape(', '.join(labels))}:</b> " if len(variants) > 1 else ""
            parts.append(f"<p>{which}{escape(text)}</p>")
    if parts:
        parts.append("<p class='quiet'>This text may be copied into a manuscript (CC0).</p>")
    else:
        parts.append("<p>No run was embedded.</p>")
    return "".join(parts) + _citations()


def filters_text(extraction: Extraction) -> str:
    """Say in words which frequencies were kept."""
    edges = extraction.denoised_meta["SoftwareFilters"].get("Butterworth", {})
    low, high = edges.get("HighPass"), edges.get("LowPass")
    if low is not None and high is not None:
        return f"band-pass {low:g}-{high:g} Hz"
    if low is not None:
        return f"high-pass {low:g} Hz"
    return f"low-pass {high:g} Hz" if high is not None else "no filter"


def thresholds_text(extraction: Extraction) -> str:
    """Say in words what makes a volume an outlier; empty if nothing does."""
    limits = extraction.outliers_meta.get("Thresholds", {})
    named = (
        ("FramewiseDisplacement", "framewise displacement above {:g} mm"),
        ("StdDVARS", "standardized DVARS above {:g}"),
    )
    return " or ".join(
        words.format(limits[key]) for key, words in named if limits.get(key) is not None
    )


def mask_text(source: str) -> str:
    """Say where the brain mask came from."""
    if source == "derived":
        return "derived from the data, as no mask file was found: voxels with non-zero variance"
    if source == "grayordinates":
        return "none: a CIFTI file lists gray matter only"
    return "fMRIPrep's brain mask"


def _extraction(tables: RunTables) -> str:
    coverage = tables.coverage_meta
    if tables.extraction is None:
        return (
            "Series of parcels that were extracted and denoised elsewhere were processed with "
            f"{coverage['SoftwareVersion']}. Of the 457 parcels of the model "
            f"{(tables.coverage['status'] == 'used').sum()} were given."
        )
    if coverage["Mask"] == "grayordinates":
        left_out = "Grayordinates that were not finite or constant"
    else:
        mask = mask_text(coverage["Mask"])
        left_out = f"Voxels outside the mask ({mask}), not finite, or constant"
    return (
        f"Preprocessed BOLD series in {coverage['Space']} space (fMRIPrep; Esteban et al., 2019) "
        f"were processed with {coverage['SoftwareVersion']}. The mean signal of 457 parcels was "
        "extracted: 400 cortical (Schaefer et al., 2018, seven networks), 50 subcortical (Tian "
        "et al., 2020, scale III) and 7 cerebellar (Buckner et al., 2011). "
        f"{left_out} were left out. A parcel with less than {coverage['MinimumCoverage']:.0%} "
        "of them left was missing."
    )


def _denoising(tables: RunTables) -> str:
    extraction = tables.extraction
    if extraction is None:
        return "They were neither filtered nor regressed here."
    meta = extraction.denoised_meta
    outliers = thresholds_text(extraction)
    steps = ["Leading non-steady-state volumes were dropped."]
    if meta["DespikedFraction"] is not None:
        steps.append(
            "Spikes of one or two volumes in single parcels were bridged linearly "
            f"({meta['DespikedFraction']:.2%} of the values)."
        )
    if outliers:
        steps.append(
            f"Volumes with {outliers} were interpolated linearly in time, took no part in the "
            "regression, and were interpolated again after it; the time axis stays whole."
        )
    regression = (
        f"the confounds of strategy '{meta['DenoiseStrategy']}' were regressed out"
        if meta["ConfoundRegressors"]
        else "no confounds were regressed out"
    )
    steps.append(
        f"Series were detrended and filtered ({filters_text(extraction)}; Butterworth, zero "
        "phase), "
        f"and {regression}, the regressors being filtered in the same way."
        if meta["SoftwareFilters"].get("Butterworth") and meta["ConfoundRegressors"]
        else f"Series were detrended ({filters_text(extraction)}), and {regression}."
    )
    return " ".join(steps)


def _model_input(tables: RunTables) -> str:
    meta = tables.model_meta
    resampling = meta["Resampling"]
    first = (
        f"Series were acquired at the model's repetition time of {resampling['To']:g} s"
        if resampling["Method"] == "none"
        else f"Series were resampled from {resampling['From']:g} s to {resampling['To']:g} s "
        f"({resampling['Method']})"
    )
    ways = {
        "robust": "to mean and standard deviation of the frames within 4 scaled median absolute "
        "deviations, with a soft limit on spikes",
        "zscore": "to zero mean and unit standard deviation",
    }
    way = ways.get(meta["Normalization"], meta["Normalization"])
    return f"{first} and normalized per parcel and scan {way}."


def _embedding(tables: RunTables) -> str:
    meta = tables.tokens_meta
    model, windows = meta["Model"], meta["Windows"]
    _, n_networks, n_patches, dimension = tables.tokens.shape
    return (
        f"Windows of {windows['Length']:g} s that cover the scan were embedded with the "
        f"Brain-Semantoks encoder (Gijsen et al., 2026) '{model['Name']}' {model['Version']} "
        f"(sha256 {model['WeightsSHA256'][:12]}) into {n_networks} networks x {n_patches} patches "
        f"of {dimension}-dimensional tokens. Tokens of networks without more than half of their "
        "parcels were masked."
    )


def _citations() -> str:
    """Render data/CITATION.md: a heading, paragraphs, and one list."""
    text = files("bids_app").joinpath("data/CITATION.md").read_text(encoding="utf-8")
    blocks = []
    for block in text.split("\n\n")[1:]:
        if block.startswith("- "):
            items = re.split(r"\n- ", block[2:])
            listed = "".join(f"<li>{_linked(item)}</li>" for item in items)
            blocks.append(f"<ul>{listed}</ul>")
        else:
            blocks.append(f"<p>{_linked(block)}</p>")
    return "<h3>References</h3>" + "".join(blocks)


def _linked(text: str) -> str:
    def link(match: re.Match[str]) -> str:
        return f"<a href='{_ADDRESS[match[1]]}{match[2]}'>{match[0]}</a>"

    return _REFERENCE.sub(link, escape(" ".join(text.split())))
