"""What is installed once serves everyone: read-only, under its name, as its card says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import builders
import pytest
import torch
from click.testing import CliRunner, Result

from bids_app.cli.app import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "tests/golden/reference_model/small_ckpt.pth"
NOBODY = 65534


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def home(atlas: Path) -> Iterator[Path]:
    """A home with an atlas and weights of the published layout, that other users can look into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(atlas, folder / "home/atlas")
        content = torch.load(PUBLISHED, weights_only=True)
        pth = folder / "small.pth"
        torch.save(content | {"config": {"model": {"num_heads": 4}}}, pth)
        digest = hashlib.sha256(pth.read_bytes()).hexdigest()
        words = ["assets", "checkpoint", "--from", pth, "--sha256", digest, "--accept-licence"]
        answer = call(*words, "--home", folder / "home")
        assert answer.exit_code == 0, answer.output
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield folder / "home"


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def run(
    *words: object, home: Path, scratch: Path, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Call semantoks in a process of its own, with this home."""
    told = {"SEMANTOKS_HOME": home, "HOME": scratch, "OMP_NUM_THREADS": 1, "MPLCONFIGDIR": scratch}
    return subprocess.run(
        [sys.executable, "-m", "bids_app", *map(str, words)],
        cwd=scratch,
        env=os.environ | {name: str(value) for name, value in told.items()},
        capture_output=True,
        text=True,
        check=False,
        **settings,
    )


@pytest.fixture(params=["another user's", "mounted read-only"])
def closed(request, home: Path, scratch: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A home that cannot be written to, and how to start a process for which that is so."""
    if request.param == "mounted read-only":
        place = scratch / "mounted"
        place.mkdir()
        mount = ["mount", "--bind", str(home), str(place)]
        again = ["mount", "-o", "remount,ro,bind", str(place)]
        if os.getuid() or any(subprocess.run(w, check=False).returncode for w in (mount, again)):
            pytest.skip("nothing can be mounted here")
        yield place, {}
        subprocess.run(["umount", str(place)], check=True)
        return
    if os.getuid():
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode & 0o555)
        yield home, {}
        for path in (home, *home.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        return
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        code = run("--version", home=home, scratch=scratch, **nobody).returncode
    except PermissionError:
        code = 1
    if code:
        pytest.skip("another user does not see this installation")
    yield home, nobody


def test_a_home_that_cannot_be_written_to_serves_all_the_same(closed, scratch) -> None:
    home, settings = closed
    data = builders.make_dataset(scratch / "in")

    def calls(*words: object) -> subprocess.CompletedProcess[str]:
        return run(*words, home=home, scratch=scratch, **settings)

    before = sorted(home.rglob("*"))
    for words in (["list"], ["verify"], ["checkpoint", "--download", "published"]):
        answer = calls("assets", *words)
        assert answer.returncode == 0, answer.stderr
        assert "published" in answer.stdout
    words = (data.root, scratch / "out", "participant", "--checkpoint", "published")
    answer = calls(*words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    digest = hashlib.sha256(PUBLISHED.read_bytes()).hexdigest()
    more = ("--from", PUBLISHED, "--sha256", digest, "--accept-licence", "--heads", 4)
    refused = calls("assets", "checkpoint", "--download", "published:seed2", *more)
    assert refused.returncode == 73, refused.stderr
    assert "cannot be written" in refused.stderr
    assert sorted(home.rglob("*")) == before


def test_series_are_brought_to_what_installed_weights_take(home, tmp_path, monkeypatch) -> None:
    """TR, scale, windows and vector are the card's; the band is the default one."""
    monkeypatch.setenv("SEMANTOKS_HOME", str(home))
    data = builders.make_dataset(tmp_path / "in", tasks={"rest": 0.8}, n_volumes=400)
    out = tmp_path / "out"
    words = (data.root, out, "participant", "--checkpoint", "published:seed1", "--no-reports")
    assert call(*words).exit_code == 78
    answer = call(*words, "--checkpoint", "published", "--n-cpus", 1)
    assert answer.exit_code == 0, answer.output
    sidecars = [json.loads(path.read_text()) for path in out.glob("sub-*/**/*.json")]
    text = json.dumps(sidecars)
    assert '"zscore"' in text
    assert '"robust"' not in text
    (embedding,) = (one for one in sidecars if "Model" in one and "Shape" in one)
    assert embedding["Model"]["Name"] == "published"


def test_the_file_of_options_of_a_run_names_the_place(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEMANTOKS_HOME", str(home))
    data = builders.make_dataset(tmp_path / "in")
    words = (data.root, tmp_path / "out", "participant", "--no-reports", "--n-cpus", 1)
    assert call(*words, "--checkpoint", "published").exit_code == 0
    (file,) = (tmp_path / "out/logs").glob("*/*.toml")
    assert f'checkpoint = "{home}/checkpoints/published"' in file.read_text()


def test_what_departs_from_the_input_of_the_weights_is_told(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEMANTOKS_HOME", str(home))
    data = builders.make_dataset(tmp_path / "in")
    words = (data.root, tmp_path / "out", "participant", "--no-reports", "--n-cpus", 1)
    words = (*words, "--checkpoint", "published")
    answer = call(*words)
    assert answer.exit_code == 0
    assert "are of series" not in answer.stderr
    answer = call(*words, "--low-pass", "none", "--normalization", "robust")
    assert answer.exit_code == 0
    assert "--high-pass 0.01 --low-pass none: the weights of published are of" in answer.stderr
    assert "of series from 0.01 to 0.1 Hz" in answer.stderr
    assert "--normalization robust: the weights of published are of" in answer.stderr
    assert "normalized as zscore" in answer.stderr
