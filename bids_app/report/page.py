"""One page per participant: what became of each run, drawn from the tables beside it.

The page is one file that loads nothing, holds no script, and has the same bytes for the same
tables.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from bids_app import __version__
from bids_app.errors import InputError
from bids_app.files import write_bytes
from bids_app.report.methods import methods_section
from bids_app.report.panels import run_section
from bids_app.report.quality import flag_names
from bids_app.report.runs import read_runs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from bids_app.report.runs import ReportRun

NONE = "\N{EN DASH}"
"""Stands where there is nothing to say."""
_STATUSES = ("embedded", "excluded", "failed")
_COLUMNS = (
    ("TR (s)", "tr"),
    ("volumes", "n_volumes"),
    ("usable (min)", "usable_seconds"),
    ("mean FD (mm)", "mean_fd"),
    ("inter\N{SOFT HYPHEN}polated", "n_interpolated"),
    ("parcels missing", "n_missing_parcels"),
    ("networks missing", "missing_networks"),
    ("windows", "n_windows"),
)
"""Heading of the summary, and key of the run's quality numbers."""


def report_path(output_dir: Path, participant: str) -> Path:
    """Name the report of a participant."""
    return output_dir / f"sub-{participant}.html"


def is_current(output_dir: Path, participant: str) -> bool:
    """Tell whether the report of a participant is there and no scan of theirs ended after it."""
    path = report_path(output_dir, participant)
    if not path.exists():
        return False
    written_ns = path.stat().st_mtime_ns
    statuses = (output_dir / f"sub-{participant}").rglob("*_status.json")
    return all(status.stat().st_mtime_ns <= written_ns for status in statuses)


def participants_to_report(
    output_dir: Path, wanted: Collection[str] | None = None
) -> tuple[str, ...]:
    """Find the participants of an output folder that have a status, of whom a page can be made.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote.
    wanted
        Labels without ``sub-``; None: all.

    Raises
    ------
    InputError
        There is none, or one that is wanted has none.
    """
    found = {folder.name.removeprefix("sub-"): folder for folder in output_dir.glob("sub-*/")}
    labels = sorted(found) if wanted is None else list(dict.fromkeys(wanted))
    lacking = [
        label
        for label in labels
        if label not in found or next(found[label].rglob("*_status.json"), None) is None
    ]
    with_status = tuple(label for label in labels if label not in lacking)
    if not with_status or (wanted is not None and lacking):
        named = ", ".join(f"sub-{label}" for label in lacking) or "no participant"
        raise InputError(
            f"{output_dir}: expected a *_status.json of every participant to report on, found "
            f"none ({named}).",
            hint="Run the participant level first: reports are made from what it wrote.",
        )
    return with_status


def write_report(output_dir: Path, participant: str) -> Path:
    """Write ``sub-<label>.html`` into the output folder, from what stands below ``sub-<label>``.

    All runs that have a status are shown, whichever invocation made them.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote; images are not needed any more.
    participant
        Label without ``sub-``.

    Raises
    ------
    InputError
        The folder holds no run of the participant, or a damaged status.
    OutputError
        The page cannot be written.
    """
    runs = read_runs(output_dir, participant)
    name = f"sub-{participant}"
    links = (f"<a href='#{escape(run.label)}'>{escape(run.label)}</a>" for run in runs)
    page = Template(files("bids_app").joinpath("data/report.html").read_text("utf-8"))
    html = page.substitute(
        title=escape(f"{name} | semantoks"),
        participant=escape(name),
        links="".join(links),
        summary=_summary(runs),
        runs="\n".join(run_section(run) for run in runs),
        methods=methods_section(runs),
        about=_about(runs),
        errors=_errors(runs),
    )
    return write_bytes(report_path(output_dir, participant), html.encode())


def _summary(runs: Sequence[ReportRun]) -> str:
    counts = Counter(run.status for run in runs)
    tiles = "".join(
        f"<div class='tile {status}'><b>{counts[status]}</b>{status}</div>" for status in _STATUSES
    )
    flagged = sum(bool(run.flags) for run in runs)
    tiles += f"<div class='tile excluded'><b>{flagged}</b>flagged</div>"
    heads = "".join(f"<th class='number' scope='col'>{title}</th>" for title, _ in _COLUMNS)
    rows = "".join(_summary_row(run) for run in runs)
    return (
        f"<div class='tiles'>{tiles}</div><div class='scroll'><table class='wide'>"
        f"<thead><tr><th scope='col'>run</th><th scope='col'>status</th>{heads}"
        "<th scope='col'>flags</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        "<p class='quiet'>Usable: time that was neither dropped nor interpolated. "
        "FD: framewise displacement over all acquired volumes. Flags: what to look at before "
        "using a run; no run is left out for one.</p>"
    )


def _summary_row(run: ReportRun) -> str:
    label = escape(run.label)
    first = (
        f"<td class='run'><a href='#{label}'>{label}</a></td>"
        f"<td><span class='badge {run.status}'>{run.status}</span></td>"
    )
    if run.status == "embedded":
        cells = "".join(
            f"<td class='number'>{escape(_shown(key, run.qc.get(key)))}</td>"
            for _, key in _COLUMNS
        )
        cells += f"<td>{escape(', '.join(flag_names(run)) or NONE)}</td>"
    else:
        cells = (
            f"<td class='reason' colspan='{len(_COLUMNS) + 1}'>{escape(run.record['Reason'])}</td>"
        )
    return f"<tr>{first}{cells}</tr>"


def _shown(key: str, value: Any) -> str:
    """Write one quality number as a reader wants it; a dash where it is not known."""
    if value is None:
        return NONE
    if key == "usable_seconds":
        return f"{value / 60:.1f}"
    if key == "mean_fd":
        return f"{value:.2f}"
    if key == "missing_networks":
        return ", ".join(value) or "0"
    return f"{value:g}"


def _about(runs: Sequence[ReportRun]) -> str:
    """List software, checkpoint and configuration, once for runs that share them."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for run in runs:
        key = (
            str(run.record.get("SoftwareVersion", "")),
            _checkpoint(run),
            str(run.record.get("ConfigurationHash", "")) or "(stopped before it was known)",
        )
        groups.setdefault(key, []).append(run.label)
    rows = "".join(
        f"<tr><td>{escape(version)}</td><td>{checkpoint}</td>"
        f"<td><code>{escape(configuration)}</code></td><td>{escape(', '.join(labels))}</td></tr>"
        for (version, checkpoint, configuration), labels in groups.items()
    )
    return (
        "<div class='scroll'><table><thead><tr><th>software</th><th>checkpoint</th>"
        f"<th>configuration</th><th>runs</th></tr></thead><tbody>{rows}</tbody></table></div>"
        "<p class='quiet'>Runs of one configuration (the part before the hyphen; the rest is the "
        f"atlas on the grid) may stand in one table. Page made by semantoks {__version__}.</p>"
    )


def _checkpoint(run: ReportRun) -> str:
    if run.tables is None:
        return NONE
    model = run.tables.tokens_meta["Model"]
    facts = " \N{MIDDLE DOT} ".join(
        escape(str(model[key])) for key in ("Source", "License") if model.get(key)
    )
    return (
        f"{escape(model['Name'])} {escape(model['Version'])}<br>"
        f"<code>sha256:{escape(model['WeightsSHA256'])}</code>"
        f"<br><span class='quiet'>{facts}</span>"
    )


def _errors(runs: Sequence[ReportRun]) -> str:
    reasons = [(run.label, run.record["Reason"]) for run in runs if run.status == "failed"]
    reasons += [(run.label, run.problem) for run in runs if run.problem]
    if not reasons:
        return "<p>None.</p>"
    items = "".join(
        f"<p><a href='#{escape(label)}'>{escape(label)}</a></p>"
        f"<p class='reason-box'>{escape(reason)}</p>"
        for label, reason in reasons
    )
    return f"{items}<p class='quiet'>Failed runs are tried again by the next invocation.</p>"
