"""What `semantoks demo` wrote, as a part of the site; and: no page loads anything from outside."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//", re.IGNORECASE
)
STYLES = re.compile(
    r"<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))"
    r"[^>]*\bhref=[\"']?(?:https?:)?//",
    re.IGNORECASE,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Copy the example once the pages are written, then look at all of them."""
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    shutil.rmtree(site / "example", ignore_errors=True)
    shutil.copytree(
        Path(app.config.semantoks_example) / "semantoks",
        site / "example",
        # Private: times and paths of this machine.
        ignore=shutil.ignore_patterns("logs"),
    )
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if LOADED.search(text) or STYLES.search(text):
            log.warning("%s loads something from outside", page.relative_to(site))
    _refuse_dead_links(site)


def _refuse_dead_links(site: Path) -> None:
    """Warn of links into the example, or within it, that lead nowhere."""
    for page in [*site.glob("*.html"), *site.glob("example/*.html")]:
        for link in re.findall(
            r"(?:href|src)=\"([^\"#:]+)(?:#[^\"]*)?\"", page.read_text("utf-8")
        ):
            if "example/" in f"{page.parent.name}/{link}" and not (page.parent / link).exists():
                log.warning("%s: link that leads nowhere: %s", page.relative_to(site), link)
