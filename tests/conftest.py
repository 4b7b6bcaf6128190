"""Shared fixtures: where the real material lies, and how many threads tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

# Tiny arrays: threads only get in one another's way. Before numpy or torch are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


# For the mutation check, which asks only whether a test fails: the smallest example costs minutes.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], database=None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real atlases, series, confounds and fMRIPrep trees; skip where absent."""
    folder = Path(os.environ.get("SEMANTOKS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real test data not at {folder} (set SEMANTOKS_TEST_DATA)")
    return folder
