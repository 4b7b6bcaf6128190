"""One page per participant: what became of each scan, drawn from the tables beside it.

The page holds no script and loads nothing but its figures, which lie beside the scans; same
tables, same bytes. Words and order of it are in ``templates``.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from bids_app.atlas.volumes import ATLAS_LABEL
from bids_app.errors import InputError
from bids_app.files import withdraw, write_all
from bids_app.outputs.paths import relative_text, report_path, statuses_below
from bids_app.outputs.scan_tables import read_scan_tables
from bids_app.outputs.status import read_status
from bids_app.quality import measures
from bids_app.report import brain, effect, figures
from bids_app.report.environment import made_with, open_templates
from model.cohort.names import STATUS
from model.figures import style
from model.figures.render import described, svg_bytes
from model.files.faults import FileError
from model.files.read import read_text
from model.files.write import stamp, text_bytes
from model.networks import parcel_names
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure

    from bids_app.outputs.scan_tables import ScanTables
    from model.cohort.record import ScanRecord

log = logging.getLogger(__name__)

# Entities that say how a scan was written, not which scan it is.
_RENDERING = ("space", "res", "den", "desc")


_REFERENCE = re.compile(r"(doi:|arXiv:)([^\s;]*[^\s;.,)])")
_FIGURE = re.compile(r'<img src="([^"]+)"')
_SUFFIX = "bold.svg"
_SPACE = re.compile(r"\s+")
_ADDRESS = {"doi:": "https://doi.org/", "arXiv:": "https://arxiv.org/abs/"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportScan:
    """How one scan ended, and its tables if it was embedded."""

    label: str
    """Entities that tell the scan from the participant's others; its anchor in the page."""
    record: ScanRecord
    """The status file"""
    tables: ScanTables | None
    files: dict[str, str]
    """Address of each output from the page, by name."""
    stem: str
    """What the names of its files begin with"""
    problem: str = ""
    """Why an embedded scan has no tables: a file that is gone or damaged."""

    __repr__ = shown

    @property
    def status(self) -> str:
        """``embedded``, ``excluded`` or ``failed``."""
        return self.record.status

    @property
    def qc(self) -> dict[str, Any]:
        """Numbers of the group table; empty unless embedded."""
        return dict(self.record.qc)

    @property
    def flags(self) -> dict[str, str]:
        """What to look at before using the scan, text by code; empty for an unremarkable one."""
        return dict(self.qc.get("flags", {}))

    def missing(self) -> dict[str, list[str]]:
        """Name the missing parcels by reason."""
        found: dict[str, list[str]] = {}
        if self.tables is not None:
            rows = zip(parcel_names(), self.tables.used, self.tables.reasons, strict=True)
            for name, _, reason in (row for row in rows if not row[1]):
                found.setdefault(reason or "no reason given", []).append(name)
        return dict(sorted(found.items()))

    def numbers(self) -> list[tuple[measures.Measure, float, measures.Judgement]]:
        """Return each quality number that is known, with what is to be thought of it."""
        known = [(one, self.qc[one.key]) for one in measures.MEASURES if one.key in self.qc]
        return [(one, value, one.judge(value, flags=self.flags)) for one, value in known]

    def notes(self) -> list[str]:
        """Say what a reader must know and no flag says."""
        if self.tables is None:
            return []
        coverage, embedding = self.tables.coverage_meta, self.tables.tokens_meta
        notes, said = [], self.flags.get("low_coverage", "")
        if gone := [name for name in embedding["MissingNetworks"] if name not in said]:
            notes.append(
                f"Networks without signal: {', '.join(gone)}. Their tokens are masked and their "
                "embeddings n/a."
            )
        if n_bad := coverage.get("NonFiniteVoxels"):
            notes.append(f"{n_bad} voxels that are not finite were left out.")
        shortest = min(embedding["Windows"]["ValidFraction"])
        if shortest < 1 and "short_scan" not in self.flags:
            notes.append(
                f"{1 - shortest:.0%} of the last window of {embedding['Windows']['Length']:g} s "
                "is padding, masked for the encoder."
            )
        return notes

    def low_coverage(self) -> list[str]:
        """Name the parcels that are used although they lost many voxels, worst first."""
        if self.tables is None:
            return []
        share = self.tables.coverage
        low = np.flatnonzero(self.tables.used & (share < measures.GOOD_COVERAGE))
        worst_first = low[np.argsort(share[low], kind="stable")]
        return [f"{parcel_names()[parcel]} ({share[parcel]:.0%})" for parcel in worst_first]


def read_scans(output_dir: Path, participant: str) -> tuple[ReportScan, ...]:
    """Read all scans of a participant, in the order of their file names.

    Raises
    ------
    InputError
        The folder holds no status of any scan of the participant, or a damaged one.
    """
    folder = output_dir / f"sub-{participant}"
    paths = statuses_below(folder)
    if not paths:
        raise InputError(
            f"{folder}: expected at least one *_{STATUS}, found none.",
            hint="Run the participant level for this participant first.",
        )
    records = [read_status(path) for path in paths]
    labels = scan_labels([record.entities for record in records])
    return tuple(
        _read_scan(path, record, label, output_dir)
        for path, record, label in zip(paths, records, labels, strict=True)
    )


def scan_labels(entities: list[Mapping[str, str]]) -> list[str]:
    """Name the scans of a participant by their entities, as the anchors of the page do.

    By space and resolution only where it takes them.
    """
    short = [_label(scan, without=("sub", *_RENDERING)) for scan in entities]
    return [
        _label(scan, without=("sub", "desc")) if short.count(label) > 1 else label
        for scan, label in zip(entities, short, strict=True)
    ]


def _label(entities: Mapping[str, str], *, without: tuple[str, ...]) -> str:
    return "_".join(f"{key}-{value}" for key, value in entities.items() if key not in without)


def _read_scan(path: Path, record: ScanRecord, label: str, output_dir: Path) -> ReportScan:
    tables, problem = None, ""
    if record.status == "embedded":
        try:
            _refuse_changed(path.parent, record)
            tables = read_scan_tables(path)
        except FileError as fault:
            said = relative_text(fault.message, output_dir)
            problem = f"the figures are left out, as a file cannot be read or believed: {said}"
            log.warning("%s: %s", path.name.removesuffix(f"_{STATUS}"), problem)
    folder = path.parent.relative_to(output_dir)
    return ReportScan(
        label=label,
        record=record,
        tables=tables,
        files={name: quote(str(folder / name)) for name in record.outputs},
        stem=path.name.removesuffix(f"_{STATUS}"),
        problem=problem,
    )


def _refuse_changed(folder: Path, record: ScanRecord) -> None:
    """Refuse to draw from files that are not as the status lists them.

    Those that are gone are left to their readers, who say so.
    """
    for path in (folder / name for name in record.differing(folder)):
        if path.exists():
            raise FileError(path, "not as it was written: the status has another size or SHA256")


def is_current(output_dir: Path, participant: str) -> bool:
    """Tell whether a participant's page and figures are there, made as today.

    By this program with its templates, and of scans none of which ended afterwards.
    """
    path = report_path(output_dir, participant)
    if not path.exists():
        return False
    statuses = statuses_below(output_dir / f"sub-{participant}")
    try:
        html = read_text(path)
        return (
            made_with("bids_app.report") in html
            and all((output_dir / unquote(one)).exists() for one in _FIGURE.findall(html))
            and all(stamp(status).mtime_ns <= stamp(path).mtime_ns for status in statuses)
        )
    except FileError:  # told when the page is made
        return False


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
        There is none.
    """
    if wanted is None:
        labels = sorted(folder.name.removeprefix("sub-") for folder in output_dir.glob("sub-*/"))
    else:
        labels = list(dict.fromkeys(wanted))
    lacking = [label for label in labels if not statuses_below(output_dir / f"sub-{label}")]
    with_status = tuple(label for label in labels if label not in lacking)
    named = ", ".join(f"sub-{label}" for label in lacking) or "no participant"
    if not with_status:
        raise InputError(
            f"{output_dir}: expected a *_{STATUS} of the participants to report on, found "
            f"none ({named}).",
            hint="Run the participant level first: reports are made from what it wrote.",
        )
    if wanted is not None and lacking:
        log.warning("%d participants without a status have no report: %s", len(lacking), named)
    return with_status


def write_report(output_dir: Path, participant: str) -> Path:
    """Write ``sub-<label>.html`` into the output folder, from what stands below ``sub-<label>``.

    All scans that have a status are shown, whichever invocation made them. Figures lie in
    ``sub-<label>/figures``; those of scans that are gone are removed.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote; images are not needed any more.
    participant
        Label without ``sub-``.

    Raises
    ------
    InputError
        The folder holds no scan of the participant, or a damaged status.
    OutputError
        The page cannot be written.
    """
    scans = read_scans(output_dir, participant)
    gallery = Gallery(participant)
    with style.figure_style():
        page = _templates().get_template("page.html")
        html = page.render(participant=f"sub-{participant}", scans=scans, gallery=gallery)
    path = report_path(output_dir, participant)
    drawn = {output_dir / place: content for place, content in gallery.contents.items()}
    write_all({**drawn, path: text_bytes(html)})
    for old in gallery.found(output_dir):
        if old not in drawn:
            withdraw(old)
    return path


class Gallery:
    """The figures of a page: drawn while it is, and written with it."""

    def __init__(self, participant: str) -> None:
        """Start without any."""
        self._folder = f"sub-{participant}/figures"
        self.contents: dict[str, bytes] = {}
        """Bytes by place below the output folder"""

    def add(self, scan: ReportScan, name: str, figure: Figure, *, alt: str) -> str:
        """Take a figure in; return its address from the page."""
        place = f"{self._folder}/{scan.stem}_desc-{name}_{_SUFFIX}"
        self.contents[place] = svg_bytes(figure, alt=alt)
        return quote(place)

    def found(self, output_dir: Path) -> list[Path]:
        """Return the figures that any call left."""
        return sorted((output_dir / self._folder).glob(f"*_atlas-{ATLAS_LABEL}_*desc-*_{_SUFFIX}"))


@cache
def _templates() -> Environment:
    """Open the templates; what they may use beside the scans is named here, and only here."""
    templates = open_templates("bids_app.report")
    templates.globals |= {
        "figures": figures,
        "brain": brain,
        "effect": effect,
        "colours": style,
        "measures": measures,
        "described": described,
        "documentation": _documentation(),
        "references": _references(),
    }
    templates.filters |= {
        "grouped": _grouped,
        "cited": _cited,
    }
    return templates


def _documentation() -> str:
    """Return the address of the documentation, as the package names it; empty if it has none."""
    try:
        named = metadata("semantoks").get_all("Project-URL") or []
    except PackageNotFoundError:
        named = []
    places: dict[str, str] = dict(one.split(", ", 1) for one in named if ", " in one)
    return places.get("Documentation", "").rstrip("/")


def _grouped(
    scans: Sequence[ReportScan], describe: Callable[[ReportScan], Markup]
) -> list[tuple[Markup, list[str]]]:
    """Describe all scans in a line each, and tell the labels of those that share it."""
    from markupsafe import Markup

    groups: dict[Markup, list[str]] = {}
    for scan in scans:
        # The lines of a template end where it has room, not where the text has a break.
        line = _SPACE.sub(" ", describe(scan).strip())
        groups.setdefault(Markup(line), []).append(scan.label)  # noqa: S704 escaped already
    return list(groups.items())


def _references() -> list[str]:
    """Return the blocks of data/CITATION.md below its heading: paragraphs, and one list."""
    text = files("bids_app").joinpath("data/CITATION.md").read_text(encoding="utf-8")
    return text.split("\n\n")[1:]


def _cited(text: str) -> Markup:
    """Make links of the identifiers in a reference."""
    from markupsafe import Markup, escape

    def link(match: re.Match[str]) -> str:
        return f'<a href="{_ADDRESS[match[1]]}{match[2]}">{match[0]}</a>'

    return Markup(_REFERENCE.sub(link, escape(" ".join(text.split()))))  # noqa: S704
