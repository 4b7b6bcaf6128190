"""A tiny derivative, its atlas, a tiny random checkpoint, and the command line in process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import builders
import pytest
from click.testing import CliRunner, Result

from bids_app.cli import main
from model.checkpoint import save_checkpoint
from model.encoder import build_encoder
from model.spec import EncoderSpec, InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def atlas(tmp_path_factory) -> Path:
    return builders.make_atlas(tmp_path_factory.mktemp("atlas") / "atlas")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_checkpoint(
        folder,
        build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=1),
        name="tiny-random",
        version="0",
        input=InputSpec(),
        readout=("networks",),
        source="tests",
        licence="none",
        training={"method": "random weights for tests"},
    )
    return folder


@pytest.fixture
def semantoks(atlas: Path, checkpoint: Path) -> Callable[..., Result]:
    """Call ``semantoks BIDS OUT LEVEL …`` with the test atlas and checkpoint."""

    def call(bids: Path, out: Path, level: str = "participant", *words: str) -> Result:
        extra = ["--atlas", atlas, "--checkpoint", checkpoint] if level == "participant" else []
        arguments = [str(word) for word in (bids, out, level, *extra, *words)]
        return CliRunner().invoke(main, arguments)

    return call
