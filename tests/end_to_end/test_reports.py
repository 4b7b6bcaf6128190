"""Reports with the scans, later, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import builders
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path):
    return builders.make_dataset(tmp_path / "in", subjects=("01", "02"))


def times(out: Path, pattern: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(out.glob(pattern))}


def test_reports_are_left_out_and_made_later_without_touching_a_scan(
    tmp_path, data, semantoks
) -> None:
    with_them, later = tmp_path / "with", tmp_path / "later"
    semantoks(data.root, with_them)
    assert semantoks(data.root, later, "participant", "--no-reports").exit_code == 0
    assert not list(later.glob("*.html"))
    before = times(later, "sub-*/func/*")
    answer = semantoks(data.root, later, "participant", "--reports-only")
    assert answer.exit_code == 0, answer.output
    assert times(later, "sub-*/func/*") == before
    for name in ("sub-01.html", "sub-02.html"):
        assert (later / name).read_bytes() == (with_them / name).read_bytes()


def test_reports_that_are_current_are_made_again_only_when_asked(
    tmp_path, data, semantoks
) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out)
    (out / "sub-02.html").unlink()
    before = times(out, "sub-01.html")
    semantoks(data.root, out, "participant", "--reports-only")
    assert times(out, "sub-01.html") == before
    assert (out / "sub-02.html").exists()
    (out / "sub-01.html").write_text("spoilt")
    semantoks(data.root, out, "participant", "--reports-only", "--overwrite")
    assert (out / "sub-01.html").read_text() != "spoilt"


def test_reports_alone_name_participants_without_outputs_and_need_one_that_has_them(
    tmp_path, data, semantoks
) -> None:
    out = tmp_path / "out"
    semantoks(data.root, out, "participant", "--no-reports", "--participant-label", "01")
    refused = semantoks(
        data.root, out, "participant", "--reports-only", "--participant-label", "02"
    )
    assert refused.exit_code == 16, refused.output
    assert "sub-02" in refused.output
    assert not list(out.glob("*.html"))
    answer = semantoks(data.root, out, "participant", "--reports-only")
    assert answer.exit_code == 0, answer.output
    assert "no report: sub-02" in answer.output
    assert [path.name for path in out.glob("*.html")] == ["sub-01.html"]
