"""A headless chromium that says what pages ask for and complain about."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="session")
def chromium():
    """A browser, or a skip that says what is lacking."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on the path")
    with playwright.sync_playwright() as running:
        try:
            browser = running.chromium.launch(executable_path=found, args=list(_QUIET))
        except playwright.Error as err:
            pytest.skip(f"{found} does not start: {str(err).splitlines()[0]}")
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, what it asked for, and what it complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: Path) -> None:
        """Open a file, wait until all is drawn."""
        self.page.goto(path.as_uri(), wait_until="load")

    def outside(self) -> list[str]:
        """Return what was asked for and is no file and not in the page itself."""
        return [url for url in self.requests if urlsplit(url).scheme not in ("file", "data")]

    def links(self) -> list[str]:
        """Return the addresses of all links as the browser resolves them."""
        return self.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")


@pytest.fixture
def opened(chromium):
    """A fresh window of 1,100 points' width."""
    context = chromium.new_context(viewport={"width": 1100, "height": 800})
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on(
        "console",
        lambda said: (
            found.complaints.append(said.text) if said.type in ("error", "warning") else None
        ),
    )
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("dialog", lambda dialog: found.complaints.append(f"dialog {dialog.message}"))
    yield found
    context.close()


@pytest.fixture
def unresolved():
    """Tell which links to files, and to places in files, lead nowhere."""
    return _unresolved


def _unresolved(links: list[str]) -> list[str]:
    gone = []
    for link in links:
        parts = urlsplit(link)
        if parts.scheme != "file":
            continue
        path = Path(unquote(parts.path))
        anchor = unquote(parts.fragment)
        text = path.read_text(encoding="utf-8") if path.suffix == ".html" and path.exists() else ""
        if not path.exists() or (anchor and f'id="{anchor}"' not in text):
            gone.append(link)
    return gone
