"""Pages of participants in a real browser, and the way to them from the cohort's."""

from __future__ import annotations

import builders
import pytest
from click.testing import CliRunner

from bids_app.cli.app import main


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Outputs of two people with two sessions, one scan of which cannot be embedded."""
    folder = tmp_path_factory.mktemp("pages")
    atlas = builders.make_atlas(folder / "atlas")
    checkpoint = builders.make_checkpoint(folder / "tiny")
    data = builders.make_dataset(folder / "in", subjects=("01", "02"), sessions=("1", "2"))
    builders.blank_image(data.scans[3])
    own = ["--atlas", atlas, "--checkpoint", checkpoint, "--n-cpus", 1]
    for level, words in (("participant", own), ("group", [])):
        called = [str(word) for word in (data.root, folder / "out", level, *words)]
        answer = CliRunner().invoke(main, called)
    assert answer.exit_code == 0, answer.output
    return folder / "out"


@pytest.mark.parametrize("name", ["sub-01.html", "sub-02.html", "group.html"])
def test_every_link_resolves_and_nothing_is_asked_for(out, name, opened, unresolved) -> None:
    opened.open(out / name)
    assert opened.complaints == []
    assert opened.outside() == []
    assert unresolved(opened.links()) == []


def test_the_cohort_leads_to_the_place_of_each_scan(out, opened) -> None:
    opened.open(out / "group.html")
    links = {link.rpartition("/")[2] for link in opened.links()}
    assert {"sub-01.html", "sub-02.html", "sub-01.html#ses-1_task-rest_run-1"} & links >= {
        "sub-01.html", "sub-02.html",
    }  # fmt: skip
    assert any(link.startswith("sub-02.html#ses-2") for link in links)
