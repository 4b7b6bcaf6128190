"""A cohort with a planted label, for all of this folder."""

from __future__ import annotations

import probe_builders
import pytest


@pytest.fixture(scope="session")
def values():
    return probe_builders.simulate_cohort(20)
