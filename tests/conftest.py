"""Shared fixtures: where the real material lies, and how many threads tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Tiny arrays: threads only get in one another's way. Before numpy or torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real atlases, series, confounds and fMRIPrep trees; skip where absent."""
    folder = Path(os.environ.get("SEMANTOKS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data not at {folder} (set SEMANTOKS_TEST_DATA)")
    return folder
