"""One page for a cohort: whom to look at, and how its scans and embeddings lie to one another.

The page is one file that loads nothing. It has the same bytes for the same scans; words and order
of it are in ``templates``, what moves in it is ``page.js``, which draws from the data inside.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.cohort_page import maps
from bids_app.cohort_page.findings import Findings, find
from bids_app.cohort_page.outliers import EMBEDDING, FAR, LEAST_SCANS
from bids_app.cohort_page.payload import is_measured, payload
from bids_app.cohort_page.scans import badge, counted, outcome
from bids_app.files import write_bytes
from bids_app.quality.measures import BY_KEY, OUTCOMES, WORDS
from bids_app.report.environment import made_with, open_templates
from model.files.faults import FileError
from model.files.read import read_bytes
from model.files.write import text_bytes, text_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jinja2 import Environment

    from bids_app.cohort_page.scans import Embedded, PageScan

log = logging.getLogger(__name__)

COHORT_PAGE = "group.html"
_PACKAGE = "bids_app.cohort_page"
MOST_SCANS = 20_000
"""With more, a browser hardly draws the page, and all pairs of scans take minutes."""
_MADE_OF = '<meta name="semantoks:made-of" content="{}">'
_LARGEST = 64 * 2**20
_LISTED = 100
"""Scans that a list names; all stand in the table."""
_NAMED = 10
"""Scans that the summary names"""


def write_cohort_page(
    folder: Path,
    scans: Sequence[PageScan],
    embedded: Sequence[Embedded],
    *,
    with_umap: bool = False,
    note: str = "",
    tables: Sequence[str] = (),
) -> Path:
    """Write ``group.html``, unless it is there and made of the same.

    Parameters
    ----------
    scans
        Every scan of the cohort, whatever its status.
    embedded
        Embeddings of those that have one, once for each group table.
    with_umap
        Also draw a map by UMAP.
    note
        Why there is no table of embeddings, if there is none.
    tables
        Names of the files that hold all numbers, beside the page.

    Raises
    ------
    OptionsError
        UMAP is asked for and not installed.
    OutputError
        The page cannot be written.
    """
    path = folder / COHORT_PAGE
    if with_umap:
        maps.refuse_without_umap()
    made_of = _made_of(scans, embedded, with_umap=with_umap, note=note, tables=tables)
    if _is_current(path, made_of):
        log.info("%s is up to date", COHORT_PAGE)
        return path
    found = find(scans, embedded, with_umap=with_umap)
    html = render(scans, found, note=note, tables=tables, made_of=made_of)
    return write_bytes(path, text_bytes(sealed(html)))


def is_written(
    folder: Path,
    scans: Sequence[PageScan],
    embedded: Sequence[Embedded],
    *,
    with_umap: bool = False,
    tables: Sequence[str] = (),
) -> bool:
    """Tell whether the page is there, made of the same."""
    made_of = _made_of(scans, embedded, with_umap=with_umap, note="", tables=tables)
    return _is_current(folder / COHORT_PAGE, made_of)


def render(
    scans: Sequence[PageScan],
    findings: Findings,
    *,
    note: str = "",
    tables: Sequence[str] = (),
    made_of: str = "",
) -> str:
    """Return the page as HTML."""
    script = _resource("page.js")
    data = json.dumps(payload(scans, findings), ensure_ascii=False, separators=(",", ":"))
    return (
        _templates()
        .get_template("page.html")
        .render(
            scans=scans,
            findings=findings,
            counts=counted(scans),
            outcomes=OUTCOMES,
            outcome=outcome,
            badge=badge,
            people=_people(scans),
            not_embedded=_not_embedded(scans),
            flags=Counter(flag for scan in scans for flag in scan.flags).most_common(),
            odd=[scans[at] for at in dict.fromkeys(one.place for one in findings.outliers)],
            without=[scan for scan in scans if scan.status != "embedded"],
            lacking=_lacking(scans),
            measured=[BY_KEY[c.key] for c in findings.columns if is_measured(c)],
            note=note,
            tables=tables,
            data=_inlined(data),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            made_of=_MADE_OF.format(made_of),
        )
    )


def _inlined(data: str) -> str:
    r"""Make JSON safe inside a ``script`` element: no tag can begin or end within it.

    Examples
    --------
    >>> _inlined('{"a":"</script>"}')
    '{"a":"\\u003c/script\\u003e"}'
    """
    for letter in "<>&\u2028\u2029":
        data = data.replace(letter, f"\\u{ord(letter):04x}")
    return data


def _made_of(
    scans: Sequence[PageScan],
    embedded: Sequence[Embedded],
    *,
    with_umap: bool,
    note: str,
    tables: Sequence[str],
) -> str:
    """Hash everything that the page is made of, the program included."""
    digest = hashlib.sha256(f"{made_with(_PACKAGE)} {with_umap} {note} {tables}".encode())
    for scan in scans:
        digest.update(json.dumps(vars(scan), sort_keys=True, default=str).encode())
    for one in embedded:
        digest.update(json.dumps([one.table, one.space, one.places]).encode())
        digest.update(np.ascontiguousarray(one.vectors).data)
    return digest.hexdigest()


def _is_current(path: Path, made_of: str) -> bool:
    """Tell whether a page is there, made of the same, and still as it was written."""
    try:
        text = read_bytes(path, most=_LARGEST).decode()
    except (FileError, UnicodeDecodeError):
        return False
    return _MADE_OF.format(made_of) in text and text.rstrip().endswith(_seal(text))


def sealed(html: str) -> str:
    """End a page with a hash of what stands before."""
    return f"{html}{_seal(html)}\n"


def _seal(html: str) -> str:
    body = html.partition("<!-- sha256:")[0]
    return f"<!-- sha256:{text_sha256(body)} -->"


def _people(scans: Sequence[PageScan]) -> list[dict[str, Any]]:
    """List everybody, with the address of their page and how many scans they have."""
    found: dict[str, list[PageScan]] = {}
    for scan in scans:
        found.setdefault(scan.person, []).append(scan)
    return [
        {
            "name": person,
            "page": next((s.page.partition("#")[0] for s in its if s.page), ""),
            "n_scans": len(its),
            "n_embedded": sum(s.status == "embedded" for s in its),
            "n_flagged": sum(bool(s.flags) for s in its),
        }
        for person, its in found.items()
    ]


def _lacking(scans: Sequence[PageScan]) -> list[tuple[str, int]]:
    """Count the scans that lack a network, of networks that most embedded scans lack."""
    there = [scan for scan in scans if scan.status == "embedded"]
    found = Counter(name for scan in there for name in scan.numbers.get("missing_networks") or ())
    return [(name, n) for name, n in found.items() if 2 * n > len(there)]


def _not_embedded(scans: Sequence[PageScan]) -> list[tuple[str, str, list[PageScan]]]:
    """Group the scans without an embedding by status and reason, most first."""
    found: dict[tuple[str, str], list[PageScan]] = {}
    for scan in scans:
        if scan.status != "embedded":
            found.setdefault((scan.status, scan.reason), []).append(scan)
    rows = [(status, reason, its) for (status, reason), its in found.items()]
    return sorted(rows, key=lambda row: (-len(row[2]), row[0], row[1]))


@cache
def _templates() -> Environment:
    """Open the templates; what they may use beside what is rendered is named here."""
    templates = open_templates(_PACKAGE)
    templates.globals |= {
        "measures": BY_KEY,
        "judgements": WORDS,
        "listed": _LISTED,
        "named": _NAMED,
        "far": FAR,
        "least_scans": LEAST_SCANS,
        "embedding_key": EMBEDDING,
    }
    templates.filters["shown"] = _shown
    templates.filters["sure"] = sureness
    return templates


def _shown(value: float, key: str) -> str:
    """Write a quality number as its measure says."""
    return BY_KEY[key].shown(value) if key in BY_KEY else format(value, ".4g")


def sureness(probability: float) -> str:
    """Say in words how sure a suspicion is.

    Examples
    --------
    >>> sureness(0.995)
    'almost certain'
    """
    if probability >= 0.99:
        return "almost certain"
    return "likely" if probability >= 0.9 else "uncertain"


@cache
def _resource(name: str) -> str:
    return files("bids_app.cohort_page").joinpath("templates", name).read_text(encoding="utf-8")
