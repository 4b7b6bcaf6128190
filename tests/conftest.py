"""Shared fixtures: where the real material lies, and small things made from seeds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real atlases, series, confounds and fMRIPrep trees; skip where absent."""
    folder = Path(os.environ.get("SEMANTOKS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data not at {folder} (set SEMANTOKS_TEST_DATA)")
    return folder
