"""The page that the group level writes beside its tables."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import outputs
import pytest

from bids_app.errors import NothingSelectedError, OptionsError
from bids_app.group.export import export_group, preview_group
from bids_app.group.options import GroupOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for seed, sub in enumerate(("01", "02", "03", "04")):
        outputs.write_run(tmp_path, sub, seed=seed)
    return tmp_path


def data(out: Path):
    text = (out / "group.html").read_text(encoding="utf-8")
    return json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])


def test_it_is_asked_for_and_named_among_what_was_written(out) -> None:
    export_group(out)
    assert not (out / "group.html").exists()
    assert out / "group.html" in export_group(out, page=True).paths


def test_a_second_call_leaves_it_alone_until_a_scan_or_a_page_changes(out) -> None:
    export_group(out, page=True)
    before = (out / "group.html").stat().st_mtime_ns
    export_group(out, page=True)
    assert (out / "group.html").stat().st_mtime_ns == before
    (out / "sub-01.html").write_text("a page")
    export_group(out, page=True)
    assert (out / "group.html").stat().st_mtime_ns != before
    assert [bool(page) for page in data(out)["scans"]["page"]] == [True, False, False, False]
    old = (out / "group.html").read_bytes()
    outputs.write_run(out, "02", seed=100)
    export_group(out, page=True)
    assert (out / "group.html").read_bytes() != old


def test_a_dry_run_says_whether_it_would_be_written(out) -> None:
    would = "would write group.html: 4 scans"
    assert would in preview_group(out, GroupOptions(), page=True).lines
    assert not any("html" in line for line in preview_group(out, GroupOptions()).lines)
    export_group(out, page=True)
    lines = preview_group(out, GroupOptions(), page=True).lines
    assert "would leave group.html as it is" in lines
    assert not any(line.startswith("would write") for line in lines)


def test_scans_lead_to_their_place_in_their_persons_page(out) -> None:
    (out / "sub-03.html").write_text("a page")
    export_group(out, page=True)
    (page,) = filter(None, data(out)["scans"]["page"])
    assert page.startswith("sub-03.html#")
    assert "sub" not in page.partition("#")[2]


def test_damaged_scans_stand_in_it_with_their_reason_and_without_numbers(out) -> None:
    (table,) = (out / "sub-02").rglob("*_desc-scan_embedding.tsv")
    table.write_text("cut short")
    (status,) = (out / "sub-03").rglob("*_status.json")
    status.rename(status.with_name("strange_status.json"))
    export_group(out, page=True)
    scans = data(out)["scans"]
    said = [scans["status"]["levels"][code] for code in scans["status"]["codes"]]
    assert said == ["embedded", "damaged", "damaged", "embedded"]
    assert str(out) not in (out / "group.html").read_text()


def test_nothing_embedded_or_not_alike_has_a_page_that_says_so(out) -> None:
    for sub in ("01", "02", "03", "04"):
        (status,) = (out / f"sub-{sub}").rglob("*_status.json")
        status.write_text(status.read_text().replace('"embedded"', '"failed"'))
    with pytest.raises(NothingSelectedError):
        export_group(out, page=True)
    text = (out / "group.html").read_text()
    assert "none of 4 scans was embedded" in text
    assert str(out) not in text
    outputs.write_run(out, "01", seed=0)
    outputs.write_run(out, "02", seed=1, ConfigurationHash="fedcba9876543210-01234567")
    with pytest.raises(OptionsError):
        export_group(out, page=True)
    assert "cannot stand in one table" in (out / "group.html").read_text()


def test_columns_of_participants_colour_the_map(out) -> None:
    table = out / "participants.tsv"
    table.write_text("participant_id\tsite\n01\tA\n02\tB\n03\tA\n04\tB\n")
    export_group(out, GroupOptions(participants=table), page=True)
    (column,) = [c for c in data(out)["columns"] if c["about"] == "known"]
    assert column["levels"] == ["A", "B"]
    assert column["codes"] == [0, 1, 0, 1]


def test_umap_where_it_is_not_installed_ends_before_anything_is_read(out, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(OptionsError, match="umap-learn"):
        export_group(out, GroupOptions(umap=True), page=True)
    assert not list(out.glob("group*"))


def test_more_scans_than_a_browser_draws_have_no_page_and_an_old_one_is_named(
    out, monkeypatch, caplog
) -> None:
    export_group(out, page=True)
    old = (out / "group.html").read_bytes()
    outputs.write_run(out, "05", seed=5)
    export_group(out)
    assert "group.html is of an earlier call" in caplog.text
    monkeypatch.setattr("bids_app.group.page.MOST_SCANS", 4)
    assert out / "group.html" not in export_group(out, page=True).paths
    assert "group.html is left out: 5 scans" in caplog.text
    assert (out / "group.html").read_bytes() == old


def test_its_about_links_the_files_that_were_written_by_the_names_they_have(out) -> None:
    def linked() -> list[str]:
        text = (out / "group.html").read_text(encoding="utf-8")
        return re.findall(r'href="(group_[^"]*)"', text.partition('id="About"')[2])

    for options in (GroupOptions(), GroupOptions(split_by="space", tsv=True)):
        paths = export_group(out, options, page=True).paths
        written = {p.name for p in paths if p.suffix not in (".json", ".html")}
        assert set(linked()) == written
        assert all((out / name).is_file() for name in linked())
        assert "would leave group.html as it is" in preview_group(out, options, page=True).lines
