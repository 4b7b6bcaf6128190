"""A tiny derivative, its atlas, a tiny random checkpoint, and the command line in process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import builders
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def atlas(tmp_path_factory) -> Path:
    return builders.make_atlas(tmp_path_factory.mktemp("atlas") / "atlas")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return builders.make_checkpoint(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def semantoks(atlas: Path, checkpoint: Path) -> Callable[..., Result]:
    """Call ``semantoks BIDS OUT LEVEL …`` with the test atlas and checkpoint."""

    def call(bids: Path, out: Path, level: str = "participant", *words: str) -> Result:
        extra: list[object] = []
        if level == "participant":
            # In this process, where tests can replace functions; words may say otherwise.
            extra = ["--atlas", atlas, "--checkpoint", checkpoint, "--n-cpus", 1]
        else:
            extra = ["--tsv"]
        arguments = [str(word) for word in (bids, out, level, *extra, *words)]
        return CliRunner().invoke(main, arguments)

    return call
