"""Where everything that is written lies, and what it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.atlas.folder import ATLAS_LABEL
from model.cohort import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bids_app.inputs.scan import Scan

LOGS = "logs"
"""Folder of all that is no result: settings, statuses and tracebacks of invocations, scripts."""


def output_folder(output_dir: Path, scan: Scan) -> Path:
    """Return the ``func`` folder of a scan's outputs."""
    entities = scan.entities
    folder = output_dir / f"sub-{entities.sub}"
    if entities.ses is not None:
        folder = folder / f"ses-{entities.ses}"
    return folder / "func"


def output_path(output_dir: Path, scan: Scan, ending: str) -> Path:
    """Name one output: all source entities, then ``atlas`` and the ending."""
    stem = scan.entities.stem(atlas=ATLAS_LABEL, desc=None)
    return output_folder(output_dir, scan) / f"{stem}_{ending}"


def report_path(output_dir: Path, participant: str) -> Path:
    """Name the report of a participant."""
    return output_dir / f"sub-{participant}.html"


def find_statuses(folder: Path) -> Iterator[Path]:
    """Yield every status below an output folder, in the order of paths."""
    subjects = [entry.name for entry in os.scandir(folder) if entry.name.startswith("sub-")]
    for subject in sorted(subjects):
        yield from statuses_below(folder / subject)


def statuses_below(folder: Path) -> list[Path]:
    """Return the statuses below a participant's folder, in the order of paths."""
    found: list[Path] = []
    for inner, _, files in os.walk(folder):
        found += [Path(inner, file) for file in files if file.endswith(f"_{names.STATUS}")]
    return sorted(found)
