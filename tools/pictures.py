"""Take the pictures of the tutorial and the README from what `semantoks demo DEMO` wrote.

    pip install playwright          # drives the chromium that is installed
    python tools/pictures.py DEMO

Look at each before it is committed: `docs/figures/tutorial_*.png`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
SCALE, COLOURS = 1.5, 256
SCAN = "#ses-1_task-rest"
HEADING = SCAN + " h3:has-text('{}')"
# Name of the picture: page, width of its window, from which element on, up to which one.
PICTURES = {
    "summary": ("sub-02.html", 1200, "#Summary h2", f"{SCAN} h2"),
    "quality": ("sub-02.html", 1000, HEADING.format("Quality"), HEADING.format("Brain and atlas")),
    "brain": ("sub-02.html", 1000, HEADING.format("Brain and atlas"), HEADING.format("Coverage")),
    "denoising": (
        "sub-02.html",
        1000,
        HEADING.format("Before and after"),
        HEADING.format("Before and after") + " ~ figure >> nth=1",
    ),
    "result": ("sub-02.html", 1000, HEADING.format("Functional"), HEADING.format("Settings")),
    "cohort": ("group.html", 1200, "#Summary h2", "#Quality figure.strip >> nth=4"),
}


def main(demo: Path) -> None:
    """Write every picture, in few colours: they are committed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(device_scale_factor=SCALE, color_scheme="light")
        for name, (file, width, first, end) in PICTURES.items():
            page.set_viewport_size({"width": width, "height": 900})
            page.goto((demo / "semantoks" / file).resolve().as_uri())
            target = FIGURES / f"tutorial_{name}.png"
            take(page, first, end, target)
            image = Image.open(target).convert("RGB")
            image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                target, optimize=True
            )
            print(target, image.size, f"{target.stat().st_size / 1000:.0f} kB")


def take(page: Page, first: str, end: str, target: Path) -> None:
    """Take what lies between two elements."""
    top = page.locator(first).first.bounding_box()["y"] - 12
    bottom = page.locator(end).first.bounding_box()["y"] - 2
    clip = {"x": 0, "y": top, "width": page.viewport_size["width"], "height": bottom - top}
    page.screenshot(path=target, clip=clip, full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
