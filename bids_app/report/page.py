"""One page per participant: what became of each scan, drawn from the tables beside it.

The page is one file that loads nothing, holds no script, and has the same bytes for the same
tables. Words and order of it are in ``templates``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bids_app import __version__
from bids_app.errors import InputError
from bids_app.files import write_bytes
from bids_app.outputs.paths import report_path, statuses_below
from bids_app.report import figures, numbers, style
from bids_app.report.scans import read_scans
from model.cohort.names import STATUS
from model.files.fingerprint import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from jinja2 import Environment
    from markupsafe import Markup

    from bids_app.report.scans import ReportScan

_REFERENCE = re.compile(r"(doi:|arXiv:)([^\s;]*[^\s;.,)])")
_SPACE = re.compile(r"\s+")
_ADDRESS = {"doi:": "https://doi.org/", "arXiv:": "https://arxiv.org/abs/"}


def is_current(output_dir: Path, participant: str) -> bool:
    """Tell whether the report of a participant is there and no scan of theirs ended after it."""
    path = report_path(output_dir, participant)
    if not path.exists():
        return False
    statuses = statuses_below(output_dir / f"sub-{participant}")
    return all(stamp(status).mtime_ns <= stamp(path).mtime_ns for status in statuses)


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
    if wanted is None:
        labels = sorted(folder.name.removeprefix("sub-") for folder in output_dir.glob("sub-*/"))
    else:
        labels = list(dict.fromkeys(wanted))
    lacking = [label for label in labels if not statuses_below(output_dir / f"sub-{label}")]
    with_status = tuple(label for label in labels if label not in lacking)
    if not with_status or (wanted is not None and lacking):
        named = ", ".join(f"sub-{label}" for label in lacking) or "no participant"
        raise InputError(
            f"{output_dir}: expected a *_{STATUS} of every participant to report on, found "
            f"none ({named}).",
            hint="Run the participant level first: reports are made from what it wrote.",
        )
    return with_status


def write_report(output_dir: Path, participant: str) -> Path:
    """Write ``sub-<label>.html`` into the output folder, from what stands below ``sub-<label>``.

    All scans that have a status are shown, whichever invocation made them.

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
    with style.figure_style():
        page = _templates().get_template("page.html")
        html = page.render(participant=f"sub-{participant}", scans=scans)
    return write_bytes(report_path(output_dir, participant), html.encode())


@cache
def _templates() -> Environment:
    """Open the templates; what they may use beside the scans is named here, and only here."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("bids_app.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {
        "figures": figures,
        "numbers": numbers,
        "colours": style,
        "references": _references(),
        "version": __version__,
    }
    templates.filters |= {
        "svg": _svg,
        "number": lambda value, form: format(value, form),
        "grouped": _grouped,
        "cited": _cited,
    }
    return templates


def _svg(figure: Any, *, name: str, alt: str) -> Markup:
    from markupsafe import Markup

    # What a scan is called is drawn into no figure; `inline_svg` escapes the rest.
    return Markup(style.inline_svg(figure, name=name, alt=alt))  # noqa: S704


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
