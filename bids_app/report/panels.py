"""The section of one run in the report: figures with captions, coverage, settings, notes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from bids_app.report.figures import (
    DROPPED,
    OUTLIER,
    Motion,
    carpet_figure,
    connectivity_figure,
    coverage_figure,
    embedding_figure,
)
from bids_app.report.methods import filters_text, mask_text, thresholds_text
from bids_app.report.quality import flags_box, quality_list
from bids_app.report.svg import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from bids_app.report.runs import Extraction, Metadata, ReportRun, RunTables

LOW_COVERAGE = 0.75
"""Parcels that are used although they lost more than a quarter are named."""
OPEN_LIST = 12
"""Longer lists are folded."""
MODEL_LIMIT = 3.0
"""Standard deviations at both ends of the model input's grey scale."""


def run_section(run: ReportRun) -> str:
    """Return all about one run as HTML."""
    label = escape(run.label)
    parts = [
        f"<section class='run' id='{label}'><h2>{label.replace('_', ' ')}"
        f"<span class='badge {run.status}'>{run.status}</span></h2>"
        f"<p class='source'>{escape(str(run.record.get('Source', '')))}</p>"
    ]
    if run.status != "embedded":
        parts.append(f"<p class='reason-box {run.status}'>{escape(run.record['Reason'])}</p>")
    if run.problem:
        parts.append(f"<p class='reason-box'>{escape(run.problem)}</p>")
    parts.append(flags_box(run))
    if run.tables is not None:
        tables = run.tables
        parts += [_notes(tables), *_input(tables), _connectivity(tables), _embedding(tables)]
        parts += [quality_list(run), _settings(tables)]
    return "\n".join((*parts, "</section>"))


def _input(tables: RunTables) -> list[str]:
    """Show what was made of the image, or which parcels a series that others made lacks."""
    extraction = tables.extraction
    if extraction is None:
        missing = tables.coverage[tables.coverage["status"] != "used"]
        return [_model_input(tables, end_s=_series_end_s(tables)), _missing(missing)]
    end_s = _end_s(extraction)
    model_input = _model_input(tables, end_s=end_s)
    return [_denoised(extraction, end_s=end_s), model_input, _coverage(tables)]


def _notes(tables: RunTables) -> str:
    """Warn of what a reader must know before using the run."""
    coverage, embedding = tables.coverage_meta, tables.tokens_meta
    notes = []
    if coverage.get("Mask") == "derived":
        notes.append(
            "No brain mask was found: it was derived from the data (voxels with non-zero "
            "variance), so that parcels at the edge may hold signal from outside the brain."
        )
    if embedding["MissingNetworks"]:
        notes.append(
            f"Networks without signal: {', '.join(embedding['MissingNetworks'])}. Their tokens "
            "are masked and their embeddings n/a."
        )
    if coverage.get("NonFiniteVoxels"):
        notes.append(f"{coverage['NonFiniteVoxels']} voxels that are not finite were left out.")
    short = [share for share in embedding["Windows"]["ValidFraction"] if share < 1]
    if short:
        notes.append(
            f"The run is shorter than a window of {embedding['Windows']['Length']:g} s: "
            f"{1 - min(short):.0%} of it is padding, masked for the encoder."
        )
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<ul class='notes' aria-label='Warnings'>{items}</ul>" if notes else ""


def _denoised(extraction: Extraction, *, end_s: float) -> str:
    meta, volumes = extraction.denoised_meta, extraction.denoised_meta["NumberOfVolumes"]
    thresholds = extraction.outliers_meta.get("Thresholds", {})
    limit = float(np.nanpercentile(np.abs(extraction.denoised), 97.5))
    svg = carpet_figure(
        extraction.denoised,
        tr_s=meta["RepetitionTime"],
        start_s=meta["StartTime"],
        end_s=end_s,
        limit=limit or 1.0,
        unit="BOLD units",
        motion=Motion(
            outliers=extraction.outliers,
            fd_threshold_mm=thresholds.get("FramewiseDisplacement"),
            std_dvars_threshold=thresholds.get("StdDVARS"),
        ),
    )
    mean_fd = meta.get("MeanFramewiseDisplacement")
    motion = "not known" if mean_fd is None else f"{mean_fd:.2f} mm on average"
    facts = f"{volumes['Dropped']} volumes dropped, {volumes['Interpolated']} interpolated"
    return _figure(
        "Denoised parcels",
        svg,
        alt=f"Carpet of {extraction.denoised.shape[1]} parcels in network order over "
        f"{end_s:g} s; above it framewise displacement ({motion}) and DVARS; {facts}.",
        caption=f"{escape(facts[:1].upper() + facts[1:])}; framewise displacement {motion}. "
        f"{_key(DROPPED, 'dropped')} {_key(OUTLIER, 'interpolated')} {_key(MISSING, 'missing')}. "
        "Each line is a parcel, ordered by network; DVARS is standardized.",
    )


def _model_input(tables: RunTables, *, end_s: float) -> str:
    meta = tables.model_meta
    svg = carpet_figure(
        tables.model,
        tr_s=meta["RepetitionTime"],
        start_s=meta["StartTime"],
        end_s=end_s,
        limit=MODEL_LIMIT,
        unit="standard deviations",
    )
    samples = tables.model.shape[0]
    return _figure(
        "Model input",
        svg,
        alt=f"Carpet of the {samples} samples that the encoder saw, normalized per parcel.",
        caption=f"What the encoder saw: {samples} samples at {meta['RepetitionTime']:g} s, "
        f"normalization {escape(meta['Normalization'])}.",
    )


def _coverage(tables: RunTables) -> str:
    table, minimum = tables.coverage, tables.coverage_meta["MinimumCoverage"]
    used = table["status"] == "used"
    svg = coverage_figure(table, minimum=minimum)
    low = table[used & (table["coverage"] < LOW_COVERAGE)].sort_values("coverage")
    shares = [
        f"{name} ({share:.0%})" for name, share in zip(low["name"], low["coverage"], strict=True)
    ]
    figure = _figure(
        "Coverage",
        svg,
        alt=f"Share of usable voxels per parcel and network: {used.sum()} of {len(table)} "
        "parcels are used.",
        caption=f"One tick per parcel; {_key(OUTLIER, 'missing')}. The bar is the network's mean, "
        f"the dashed line the minimum ({minimum:.0%}); right: parcels used.",
    )
    lost = f"{len(low)} parcels are used although they lost more than {1 - LOW_COVERAGE:.0%}"
    return figure + _missing(table[~used]) + (_folded(lost, shares) if shares else "")


def _missing(rows: pd.DataFrame) -> str:
    """List missing parcels by reason, with counts."""
    if rows.empty:
        return "<p>No parcel is missing.</p>"
    parts = [
        _folded(f"{len(part)} missing: {reason}", list(part["name"]))
        for reason, part in rows.fillna({"reason": "no reason given"}).groupby("reason")
    ]
    return "".join(parts)


def _connectivity(tables: RunTables) -> str:
    return _figure(
        "Functional connectivity",
        connectivity_figure(tables.model),
        alt="Matrix of Pearson correlations between all parcels in network order, and their "
        "means within and between the nine networks.",
        caption="Correlation of the model input. Right: mean over pairs of different parcels. "
        f"{_key(MISSING, 'missing')}.",
    )


def _embedding(tables: RunTables) -> str:
    windows = tables.tokens_meta["Windows"]
    svg = embedding_figure(tables.tokens, windows["Onsets"])
    norms = np.linalg.norm(tables.tokens, axis=3)
    low, high = np.nanmin(norms), np.nanmax(norms)
    return _figure(
        "Embedding",
        svg,
        alt=f"Cosine similarity between {windows['Number']} windows, and cosine distance of each "
        "token from its network's mean, by network and patch.",
        caption=f"{windows['Number']} windows of {windows['Length']:g} s. Left: cosine similarity "
        "of their networks' mean tokens, joined. Right: distance of each token from the mean of "
        f"its network's tokens in this run; {_key(MISSING, 'masked')}. Norms of the tokens: "
        f"{low:.3g} to {high:.3g}.",
    )


def _settings(tables: RunTables) -> str:
    extraction, model, embedding = tables.extraction, tables.model_meta, tables.tokens_meta
    change = model["Resampling"]
    first = _series_rows(model) if extraction is None else _image_rows(extraction, tables)
    rows = {
        **first,
        "resampling": "none"
        if change["Method"] == "none"
        else f"{change['From']:g} s to {change['To']:g} s ({change['Method']})",
        "normalization": model["Normalization"],
        "scan vector": ", ".join(embedding["ScanVector"]),
    }
    listed = "".join(f"<dt>{key}</dt><dd>{escape(str(text))}</dd>" for key, text in rows.items())
    sources = "<br>".join(escape(source) for source in model["Sources"])
    regressors = [] if extraction is None else extraction.denoised_meta["ConfoundRegressors"]
    confounds = _folded(f"{len(regressors)} confounds regressed out", regressors)
    return (
        f"<h3>Settings</h3><dl>{listed}<dt>sources</dt><dd>{sources}</dd></dl>"
        f"{confounds if regressors else ''}"
    )


def _image_rows(extraction: Extraction, tables: RunTables) -> dict[str, str]:
    denoised = extraction.denoised_meta
    return {
        "space": denoised["Space"],
        "brain mask": mask_text(denoised["Mask"]),
        "minimum coverage": f"{tables.coverage_meta['MinimumCoverage']:.0%} of a parcel's voxels",
        "repetition time": f"{denoised['RepetitionTime']:g} s "
        f"(from {denoised['RepetitionTimeSource']})",
        "denoising": f"strategy {denoised['DenoiseStrategy']}, {filters_text(extraction)}",
        "outlier volumes": thresholds_text(extraction) or "none defined",
        "degrees of freedom left": f"{denoised['DegreesOfFreedomLeft']}",
    }


def _series_rows(model: Metadata) -> dict[str, str]:
    given = model["InputSeries"]
    return {
        "input": f"a parcel series of {given['NumberOfFrames']} frames that others made",
        "parcels by": given["Mapping"],
        "columns left out": ", ".join(given["IgnoredColumns"]) or "none",
        "repetition time": f"{given['RepetitionTime']:g} s (from {given['RepetitionTimeSource']})",
    }


def _figure(title: str, svg: str, *, alt: str, caption: str) -> str:
    """Frame a figure; `caption` is HTML, `alt` is text."""
    described = svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
    return f"<h3>{title}</h3><figure>{described}<figcaption>{caption}</figcaption></figure>"


def _folded(title: str, names: Sequence[str]) -> str:
    """List names below a title, folded away if they are many."""
    items = "".join(f"<li>{escape(str(name))}</li>" for name in names)
    shown = "open" if len(names) <= OPEN_LIST else ""
    return (
        f"<details {shown}><summary>{escape(title)}</summary>"
        f"<ul class='names'>{items}</ul></details>"
    )


def _key(colour: str, meaning: str) -> str:
    """Explain a colour in a caption."""
    swatch = f"<span class='swatch' style='background:{colour}'></span>"
    return f"<span class='key'>{swatch}{meaning}</span>"


def _end_s(extraction: Extraction) -> float:
    """Return the end of the acquisition, in seconds after its first volume."""
    return float(len(extraction.outliers) * extraction.denoised_meta["RepetitionTime"])


def _series_end_s(tables: RunTables) -> float:
    given = tables.model_meta["InputSeries"]
    return float(given["NumberOfFrames"] * given["RepetitionTime"])
