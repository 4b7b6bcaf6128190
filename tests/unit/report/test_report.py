from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from cohorts import page_scans

from bids_app.cohort_page import page as cohort_page
from bids_app.errors import InputError
from bids_app.images.parcels import Coverage, Parcellated
from bids_app.images.slices import Slices, slices_of
from bids_app.inputs.entities import Entities
from bids_app.inputs.scan import Scan, Sources
from bids_app.options import SignalOptions
from bids_app.outputs.derivatives import ScanResult, scan_files
from bids_app.outputs.paths import find_statuses
from bids_app.outputs.status import status_path, write_outcome
from bids_app.report import environment
from bids_app.report.environment import made_with
from bids_app.report.page import is_current, participants_to_report, write_report
from bids_app.signal.denoise import Denoised
from bids_app.signal.effect import effect_of
from bids_app.signal.strategy import Strategy
from model.networks import network_columns, parcel_names
from model.series import ParcelSeries, ScanEmbedding
from model.spec import CheckpointCard, EncoderSpec, InputSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


N_PARCELS = 457
CEREBELLUM = network_columns("Cerebellum")
FIGURES = (
    "brain", "carpet", "connectivity", "coverage", "coveragemap", "denoising", "embedding",
    "input",
)  # fmt: skip
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def make_scan(root: Path, *, task: str, space: str = "MNI152NLin6Asym") -> Scan:
    entities = Entities(sub="01", task=task, space=space)
    bold = root / "in" / "sub-01" / "func" / f"{entities.stem(desc='preproc')}_bold.nii.gz"
    return Scan(
        entities=entities,
        name=bold.name.rpartition("_")[0],
        sources=Sources(data=bold),
        root=root / "in",
    )


def make_slices() -> Slices:
    """Cut a ball out of noise, with two parcels and a mask that lacks half of the second."""
    grid = np.indices((91, 109, 91))
    ball = ((grid - np.array([45, 54, 45])[:, None, None, None]) ** 2).sum(axis=0) < 40**2
    labels = np.where(ball, np.where(grid[0] < 45, 1, 2), 0)
    affine = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    mean = np.random.default_rng(0).uniform(50, 100, ball.shape) * ball
    return slices_of(mean, ball & (grid[0] < 65), affine, labels=labels, labels_affine=affine)


def make_result(
    scan: Scan,
    *,
    tr_s: float = 2.0,
    n_volumes: int = 60,
    n_windows: int = 2,
    missing: Sequence[int] = (),
    mask_source: str = "file",
) -> ScanResult:
    """Fabricate a scan: noise of the right shapes, two dummies, one outlier."""
    rng = np.random.default_rng(0)
    gone = np.isin(np.arange(N_PARCELS), missing)
    kept = np.arange(n_volumes - 2) != 10
    values = rng.normal(0, 5, (n_volumes - 2, N_PARCELS))
    values[:, gone] = np.nan
    model_values = rng.normal(size=(50, N_PARCELS))
    model_values[:, gone] = np.nan
    raw = 1000 + np.concatenate([values[:2], values])
    variance = np.full((3, N_PARCELS), 1 / 3)
    cleaned = Denoised(
        values=values,
        kept=kept,
        n_dropped_start=2,
        regressor_names=("trans_x", "csf"),
        dof=40,
        high_pass_hz=0.01,
        low_pass_hz=0.1,
        variance=variance,
    )
    fd_mm = np.r_[np.nan, rng.gamma(2, 0.1, n_volumes - 1)]
    valid = np.ones((n_windows, 9, 5), dtype=bool)
    valid[-1, :, 3:] = False
    valid[:, 8] &= not gone[CEREBELLUM].all()
    used = np.where(gone, 0, rng.integers(12, 21, N_PARCELS))
    return ScanResult(
        scan=scan,
        image=SimpleNamespace(
            n_frames=n_volumes, kind="NIfTI", atlas=SimpleNamespace(space="MNI152NLin6Asym")
        ),
        tr_source="header",
        extracted=Parcellated(
            values=raw,
            coverage=Coverage(
                n_voxels_atlas=np.full(N_PARCELS, 20),
                n_voxels_used=used,
                fraction=used / 20,
                reason=tuple("outside the field of view" if g else "" for g in gone),
            ),
            mask_source=mask_source,
            n_nonfinite_voxels=3,
            blank=np.zeros(n_volumes),
            slices=make_slices(),
        ),
        lost=np.full(n_volumes, ""),
        confounds=SimpleNamespace(
            kept=np.r_[True, True, kept],
            fd_mm=fd_mm,
            std_dvars=np.full(n_volumes, np.nan),
            outlier_reasons=("",) * n_volumes,
            computed=(),
        ),
        despiked_fraction=0.001,
        cleaned=cleaned,
        effect=effect_of(raw, raw, cleaned, fd_mm=fd_mm, tr_s=tr_s),
        denoised=ParcelSeries(
            values=values, tr_s=tr_s, unit="residual", start_s=2 * tr_s, kept=kept
        ),
        model_series=ParcelSeries(values=model_values, tr_s=2.0, unit="robust", start_s=4.0),
        embedding=ScanEmbedding(
            cls=rng.normal(size=(n_windows, 8)),
            tokens=rng.normal(size=(n_windows, 9, 5, 8)),
            valid=valid,
            start_s=4.0 + 50.0 * np.arange(n_windows),
            valid_fraction=np.r_[np.ones(n_windows - 1), 0.6],
            readout=("networks",),
        ),
        card=CheckpointCard(
            name="tiny",
            version="3",
            weights_sha256="ab" * 32,
            parcels_sha256="0" * 64,
            input=InputSpec(),
            encoder=EncoderSpec(),
            readout=("networks",),
            source="a test",
            licence="CC0",
            training={},
        ),
        strategy=Strategy(name="default", motion="basic", fd_threshold_mm=0.5),
        signal=SignalOptions(
            despike=True,
            high_pass_hz=0.01,
            low_pass_hz=0.1,
            min_coverage=0.5,
            dummy_scans=None,
            tr_s=None,
            normalization=None,
        ),
        configuration="0123456789abcdef-01234567",
    )


def write_embedded(out: Path, result: ScanResult) -> None:
    write_outcome(
        out, result.scan, "embedded",
        configuration=result.configuration, files=scan_files(result, out), qc=result.qc(),
    )  # fmt: skip


def write_unembedded(out: Path, scan: Scan, status: str, reason: str) -> Path:
    write_outcome(out, scan, status, reason=reason)
    return status_path(out, scan)


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """Outputs of one participant: a whole scan, one with gaps, a failed and an excluded one."""
    out = tmp_path_factory.mktemp("derivatives")
    write_embedded(out, make_result(make_scan(out, task="rest")))
    write_embedded(
        out,
        make_result(
            make_scan(out, task="movie"),
            tr_s=0.72,
            n_windows=1,
            missing=CEREBELLUM,
            mask_source="derived",
        ),
    )
    write_unembedded(out, make_scan(out, task="broken"), "failed", f"gzip ends early {ATTACK}")
    write_unembedded(out, make_scan(out, task="short"), "excluded", "too short: 8 frames")
    return out


@pytest.fixture(scope="module")
def page(output) -> str:
    return write_report(output, "01").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.found if attribute in attrs]


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}">')[1].split("</section>")[0]


def scan_section(page: str, label: str) -> str:
    return page.split(f'<section class="scan" id="{label}">')[1].split("</section>")[0]


def test_the_page_stands_in_the_root_named_after_the_participant(output, page) -> None:
    assert (output / "sub-01.html").read_text(encoding="utf-8") == page
    assert [p.name for p in output.iterdir() if p.is_file()] == ["sub-01.html"]


def test_the_page_loads_nothing_but_its_figures(output, page) -> None:
    tags = Tags(page)
    assert not {"script", "link", "iframe", "object", "embed", "svg"} & {t for t, _ in tags.found}
    assert not re.search(r"@import|url\((?!#)", page)
    pictures = [attrs["src"] for tag, attrs in tags.found if tag == "img"]
    assert len(pictures) == 2 * len(FIGURES)
    assert sorted(tags.values("src")) == sorted(pictures)
    for address in pictures:
        assert address.startswith("sub-01/figures/sub-01_task-")
        svg = (output / address).read_text(encoding="utf-8")
        assert not re.search(r"<script|<foreignObject|xlink:href=\"(?!data:|#)", svg)
    assert any("default-src 'none'" in content for content in tags.values("content"))


def test_every_figure_is_a_whole_file_that_a_click_enlarges(output, page) -> None:
    found = sorted((output / "sub-01" / "figures").iterdir())
    assert [path.name for path in found] == sorted(
        f"sub-01_task-{task}_space-MNI152NLin6Asym_atlas-Semantoks457_desc-{name}_bold.svg"
        for task in ("movie", "rest")
        for name in FIGURES
    )
    tags = Tags(page)
    for tag, attrs in tags.found:
        if tag == "img":
            assert attrs["alt"]
            assert attrs["src"] in tags.values("href")
    for path in found:
        ours = ElementTree.parse(path)  # noqa: S314 written above
        assert ours.getroot().find("{*}title").text


def test_figures_of_scans_that_are_gone_are_removed_and_others_stay(output, tmp_path) -> None:
    shutil.copytree(output / "sub-01", tmp_path / "sub-01")
    write_report(tmp_path, "01")
    figures = tmp_path / "sub-01" / "figures"
    (figures / "mine.svg").write_text("of the user")
    for path in (tmp_path / "sub-01" / "func").glob("*task-movie*"):
        path.unlink()
    write_report(tmp_path, "01")
    left = {path.name for path in figures.iterdir()}
    assert "mine.svg" in left
    assert len(left) == 1 + len(FIGURES)
    assert not any("task-movie" in name for name in left)


def test_a_page_without_one_of_its_figures_is_not_current(output, tmp_path) -> None:
    shutil.copytree(output / "sub-01", tmp_path / "sub-01")
    write_report(tmp_path, "01")
    assert is_current(tmp_path, "01")
    next((tmp_path / "sub-01" / "figures").iterdir()).unlink()
    assert not is_current(tmp_path, "01")


def test_an_interrupted_report_leaves_the_page_that_was_there(output, tmp_path, monkeypatch):
    shutil.copytree(output / "sub-01", tmp_path / "sub-01")
    before = write_report(tmp_path, "01").read_bytes()

    def interrupted(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("bids_app.report.page.svg_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, "01")
    assert (tmp_path / "sub-01.html").read_bytes() == before


def test_ten_scans_take_less_than_5_mb(output, page) -> None:
    n_bytes = sum(path.stat().st_size for path in (output / "sub-01" / "figures").iterdir())
    assert 5 * (n_bytes + len(page.encode())) < 5e6  # two scans here


def test_every_section_and_every_scan_is_there_once_and_linked(page) -> None:
    ids = Tags(page).values("id")
    assert len(ids) == len(set(ids))
    scans = {"task-rest", "task-movie", "task-broken", "task-short"}
    assert {"Summary", "Methods", "About", "Errors"} | scans <= set(ids)
    links = {link[1:] for link in Tags(page).values("href") if link.startswith("#")}
    assert scans < links
    assert links <= set(ids)


def test_an_embedded_scan_has_all_its_figures(page) -> None:
    titles = ("Brain and atlas", "Coverage", "Before and after denoising", "Model input")
    for title in (*titles, "Functional connectivity", "Embedding", "Settings"):
        assert page.count(f"<h3>{title}</h3>") == 2, title


def test_language_title_and_alternative_texts_are_given(page) -> None:
    tags = Tags(page)
    assert ("html", {"lang": "en"}) in tags.found
    assert "<title>sub-01 | semantoks</title>" in page
    figures = [attrs["alt"] for tag, attrs in tags.found if tag == "img"]
    assert all(figures)
    assert any("of the atlas on these slices lies outside" in alt for alt in figures)


def test_the_summary_counts_and_lists_scans(page) -> None:
    summary = section(page, "Summary")
    assert "<b>2</b>embedded" in summary
    assert "<b>1</b>excluded" in summary
    assert "<b>1</b>failed" in summary
    assert "too short: 8 frames" in summary
    assert ">Cerebellum</td>" in summary
    assert ">1.9</td>" in summary  # 57 of 60 volumes of 2 s


def test_reasons_of_failures_are_shown_as_text(page) -> None:
    assert "gzip ends early &lt;script&gt;" in section(page, "Errors")
    assert page.count("gzip ends early") == 1  # the summary and the scan only lead there
    assert ATTACK not in page
    assert "onerror=alert(2)>" not in page
    assert page.index('<section id="Errors">') < page.index('<section id="Summary">')


def test_a_scan_without_a_network_says_so(page) -> None:
    scan = scan_section(page, "task-movie")
    assert scan.split("</ul>")[0].count("Cerebellum") == 1  # said once, in one box
    assert "7 missing: outside the field of view" in scan
    assert f"<li>{parcel_names()[CEREBELLUM[0]]}</li>" in scan
    assert scan.count("no brain mask was found; it was derived") == 1


def test_flags_stand_in_the_summary_and_with_their_text_on_top_of_the_scan(page) -> None:
    assert "derived mask" in section(page, "Summary")
    assert "<b>2</b>to look at" in page
    scan = scan_section(page, "task-movie")
    flags = scan.split("<b>Look at this first</b>")[1].split("</ul>")[0]
    assert "<b>derived mask:</b> no brain mask was found" in flags
    assert "parcels at the edge may hold signal from outside the brain" in flags  # what it may be
    assert "Cerebellum" in flags
    assert scan.index("<b>Look at this first</b>") < scan.index("<h3>Quality</h3>")


def test_quality_numbers_are_listed_and_unknown_ones_left_out(page) -> None:
    assert page.count("<h3>Quality</h3>") == 2
    row = scan_section(page, "task-rest").split(">left and right alike</a>")[1].split("</tr>")[0]
    assert "below 0.06" in row
    assert "\N{GREATER-THAN OR EQUAL TO} 0.22" in row
    assert any(
        word in row
        for word in ("as in good scans", "worse than most good scans", "beyond the limit")
    )
    assert "#number-mean_std_dvars" not in scan_section(page, "task-rest")
    assert "change of the image" in section(page, "Numbers")  # explained all the same


def test_a_scan_of_an_earlier_version_without_flags_is_still_shown(tmp_path) -> None:
    write_embedded(tmp_path, make_result(make_scan(tmp_path, task="rest")))
    (path,) = tmp_path.rglob("*_status.json")
    record = json.loads(path.read_text())
    del record["QC"]["flags"]
    path.write_text(json.dumps(record))
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    assert "<b>0</b>to look at" in page
    assert "<b>derived mask:</b>" not in page


def test_a_flag_of_another_version_is_shown_without_advice(tmp_path) -> None:
    write_embedded(tmp_path, make_result(make_scan(tmp_path, task="rest")))
    (path,) = tmp_path.rglob("*_status.json")
    record = json.loads(path.read_text())
    record["QC"]["flags"] = {"too_loud": "the scanner was heard"}
    path.write_text(json.dumps(record))
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    assert "<b>too loud:</b> the scanner was heard</li>" in page


def test_a_scan_whose_sides_are_in_doubt_shows_both_ways(tmp_path) -> None:
    write_embedded(tmp_path, make_result(make_scan(tmp_path, task="rest")))
    (path,) = tmp_path.rglob("*_status.json")
    record = json.loads(path.read_text())
    record["QC"]["mirror_margin"] = -0.012
    record["QC"]["flags"]["mirrored"] = "left or right?"
    path.write_text(json.dumps(record))
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    assert "Left and right are in doubt:" in page
    assert re.search(r"would fit better by 1\.2%", page)
    drawn = {
        name: next(tmp_path.rglob(f"*_desc-{name}_bold.svg")).read_text(encoding="utf-8")
        for name in ("brain", "mirror")
    }
    assert all(">L?</text>" in svg for svg in drawn.values())
    assert ">1.2% more of the</text>" in drawn["mirror"]


def test_unknown_traces_are_named_as_unknown(output, page) -> None:
    svgs = (output / "sub-01" / "figures").glob("*_desc-carpet_bold.svg")
    assert page
    assert all("not in the confounds" in path.read_text(encoding="utf-8") for path in svgs)


def test_methods_hold_the_numbers_used(page) -> None:
    methods = section(page, "Methods")
    assert "framewise displacement above 0.5 mm" in methods
    assert "band-pass 0.01-0.1 Hz" in methods
    assert "<b>task-movie:</b> Series were resampled from 0.72 s to 2 s" in methods
    assert "less than 50%" in methods
    assert "https://doi.org/10.1038/s41592-018-0235-4" in methods


def test_about_names_checkpoint_and_configuration(page) -> None:
    about = section(page, "About")
    assert "tiny 3" in about
    assert "sha256:" + "ab" * 32 in about
    assert "0123456789abcdef-01234567" in about


def test_no_errors_are_reported_as_none(tmp_path) -> None:
    write_unembedded(tmp_path, make_scan(tmp_path, task="short"), "excluded", "too short")
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    assert "None: no scan was stopped by an error." in section(page, "Errors")
    assert "No scan was embedded." in section(page, "Methods")


def test_labels_in_a_status_cannot_inject_markup(tmp_path) -> None:
    scan = make_scan(tmp_path, task="rest")
    path = write_unembedded(tmp_path, scan, "failed", "damaged")
    record = json.loads(path.read_text())
    record["Source"] = record["ConfigurationHash"] = record["Reason"] = f"'\">{ATTACK}"
    name = path.name.replace("_status.json", f"_'\">{ATTACK.replace('/', '')}")
    record["Outputs"] = {name: {"Size": 1, "SHA256": 64 * "0"}}
    path.write_text(json.dumps(record))
    tags = Tags(write_report(tmp_path, "01").read_text(encoding="utf-8"))
    assert not {"img", "script"} & {tag for tag, _ in tags.found}  # no scan has figures
    assert not tags.values("onerror")
    assert not [
        link for link in tags.values("href") if not link.startswith(("#", "sub-01/", "https://"))
    ]


def test_a_participants_name_cannot_inject_markup(tmp_path) -> None:
    write_unembedded(tmp_path, make_scan(tmp_path, task="rest"), "failed", "damaged")
    hostile = "<img src=x onerror=alert(2)>"
    (tmp_path / "sub-01").rename(tmp_path / f"sub-{hostile}")
    page = write_report(tmp_path, hostile).read_text(encoding="utf-8")
    assert "<h1>sub-&lt;img src=x onerror=alert(2)&gt;</h1>" in page
    assert "img" not in {tag for tag, _ in Tags(page).found}


def test_a_scan_in_two_spaces_gets_two_anchors(tmp_path) -> None:
    for space in ("MNI152NLin6Asym", "MNI152NLin2009cAsym"):
        scan = make_scan(tmp_path, task="rest", space=space)
        write_unembedded(tmp_path, scan, "failed", "damaged")
    ids = Tags(write_report(tmp_path, "01").read_text(encoding="utf-8")).values("id")
    assert "task-rest_space-MNI152NLin6Asym" in ids
    assert "task-rest_space-MNI152NLin2009cAsym" in ids


def test_a_lost_table_is_reported_and_the_page_still_written(output, tmp_path) -> None:
    shutil.copytree(output / "sub-01", tmp_path / "sub-01")
    for table in (tmp_path / "sub-01").rglob("*_coverage.tsv"):
        table.unlink()
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    assert "coverage.tsv" in section(page, "Errors")
    assert "<b>2</b>embedded" in page


def test_figures_are_not_drawn_from_a_file_that_is_not_as_written(output, tmp_path, caplog):
    shutil.copytree(output / "sub-01", tmp_path / "sub-01")
    shutil.rmtree(tmp_path / "sub-01" / "figures")
    (path,) = (tmp_path / "sub-01").rglob("*task-rest*_desc-pictures_quality.npz")
    with np.load(path) as held:
        arrays = dict(held)
    np.savez(path, **arrays | {"power": np.full_like(arrays["power"], np.nan)})
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    said = f"{path.name}: not as it was written"
    assert said in section(page, "Errors")
    assert said in caplog.text
    drawn = (tmp_path / "sub-01" / "figures").iterdir()
    assert all("task-movie" in figure.name for figure in drawn)


def test_a_session_that_is_a_link_is_read_and_a_link_in_a_circle_ends(tmp_path) -> None:
    scan = make_scan(tmp_path, task="rest")
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    name = write_unembedded(elsewhere, scan, "failed", "damaged").name
    session = out / "sub-01" / "ses-1"
    session.parent.mkdir(parents=True)
    session.symlink_to(elsewhere / "sub-01", target_is_directory=True)
    (elsewhere / "sub-01" / "again").symlink_to(elsewhere / "sub-01", target_is_directory=True)
    (elsewhere / "sub-01" / "home").symlink_to(out, target_is_directory=True)
    (out / "sub-01" / "up").symlink_to(out, target_is_directory=True)
    assert [path.name for path in find_statuses(out)] == [name]


def test_a_participant_without_scans_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(InputError, match=r"sub-07.*_status\.json.*participant level"):
        write_report(tmp_path, "07")
    assert not list(tmp_path.iterdir())


def test_a_report_is_current_until_a_scan_ends_after_it(tmp_path) -> None:
    status = write_unembedded(tmp_path, make_scan(tmp_path, task="rest"), "failed", "damaged")
    assert not is_current(tmp_path, "01")
    page = write_report(tmp_path, "01")
    assert is_current(tmp_path, "01")
    later_ns = page.stat().st_mtime_ns + 1
    os.utime(status, ns=(later_ns, later_ns))
    assert not is_current(tmp_path, "01")


def test_pages_are_made_again_by_another_program_or_with_any_other_template(
    tmp_path, monkeypatch, request
) -> None:
    request.addfinalizer(made_with.cache_clear)
    write_unembedded(tmp_path, make_scan(tmp_path, task="rest"), "failed", "damaged")
    write_report(tmp_path, "01")
    scans = page_scans(4)
    cohort_page.write_cohort_page(tmp_path, scans, [])

    def are_current() -> tuple[bool, bool]:
        made_with.cache_clear()
        return is_current(tmp_path, "01"), cohort_page.is_written(tmp_path, scans, [])

    def folder_of(package: str) -> Path:
        return tmp_path / "program" / package

    originals = {name: files(name) for name in ("bids_app.report", "bids_app.cohort_page")}
    for name, original in originals.items():
        shutil.copytree(original / "templates", folder_of(name) / "templates")
    monkeypatch.setattr(environment, "files", folder_of)
    assert are_current() == (True, True)
    for name in originals:
        templates = sorted((folder_of(name) / "templates").iterdir())
        assert {"page.html"} < {template.name for template in templates}
        for template in templates:
            content = template.read_bytes()
            template.write_bytes(content + b"\n")
            assert are_current() == (name == "bids_app.cohort_page", False), template
            template.write_bytes(content)
    assert are_current() == (True, True)
    monkeypatch.setattr(environment, "__version__", "0.0.0")
    assert are_current() == (False, False)


def test_participants_with_a_status_can_be_reported_on_and_others_are_named(
    tmp_path, caplog
) -> None:
    with pytest.raises(InputError, match=r"no participant.*participant level"):
        participants_to_report(tmp_path)
    write_unembedded(tmp_path, make_scan(tmp_path, task="rest"), "failed", "damaged")
    (tmp_path / "sub-02").mkdir()
    assert participants_to_report(tmp_path) == ("01",)
    assert participants_to_report(tmp_path, ["01"]) == ("01",)
    assert participants_to_report(tmp_path, ["01", "02", "03"]) == ("01",)
    assert "sub-02, sub-03" in caplog.text
    with pytest.raises(InputError, match=r"\(sub-02, sub-03\)"):
        participants_to_report(tmp_path, ["02", "03"])


@pytest.mark.parametrize("content", ["{", "[]", '{"Status": "lost", "Entities": {}}'])
def test_a_damaged_status_is_named(tmp_path, content) -> None:
    scan = make_scan(tmp_path, task="rest")
    path = write_unembedded(tmp_path, scan, "failed", "damaged")
    path.write_text(content)
    with pytest.raises(InputError, match=path.name):
        write_report(tmp_path, "01")


def test_templates_and_figures_are_loaded_only_once_a_report_is_made() -> None:
    code = (
        "import sys; import bids_app.cli.app, bids_app.report.page\n"
        "sys.exit(bool({'matplotlib', 'PIL', 'jinja2', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_tables_give_the_same_bytes_whatever_the_users_own_settings(
    output, page, tmp_path
) -> None:
    """Another process, folder and home; what matplotlib keeps in a home is not left there."""
    shutil.copytree(output / "sub-01", tmp_path / "out" / "sub-01")
    home = tmp_path / "home"
    home.mkdir()
    (home / "matplotlibrc").write_text("font.size: 20\nfigure.facecolor: red\n")
    code = (
        "import sys; from pathlib import Path; from bids_app.report.page import write_report\n"
        f"write_report(Path({str(tmp_path / 'out')!r}), '01')\n"
        "import matplotlib; assert matplotlib.rcParams['font.size'] == 20\n"
        "sys.exit(bool({'torch', 'scipy', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in home.iterdir()] == ["matplotlibrc"]
    assert (tmp_path / "out" / "sub-01.html").read_text(encoding="utf-8") == page


def test_every_output_is_linked_from_its_scan(output, page) -> None:
    links = {link for link in Tags(page).values("href") if link.startswith("sub-01/")}
    assert links
    assert all((output / link).is_file() for link in links)
    assert any(
        link.endswith("task-rest_space-MNI152NLin6Asym_atlas-Semantoks457_coverage.tsv")
        for link in links
    )


def test_filters_and_outliers_that_are_off_are_described_as_off(tmp_path) -> None:
    result = make_result(make_scan(tmp_path, task="rest"))
    open_band = replace(result.signal, high_pass_hz=None, low_pass_hz=None)
    cleaned = replace(result.cleaned, regressor_names=(), high_pass_hz=None, low_pass_hz=None)
    plain = replace(
        result,
        despiked_fraction=None,
        signal=open_band,
        cleaned=cleaned,
        strategy=Strategy(name="none"),
        confounds=None,
    )
    write_embedded(tmp_path, plain)
    page = write_report(tmp_path, "01").read_text(encoding="utf-8")
    assert "no confounds were regressed out" in page
    assert "no filter" in page
    assert "none defined" in page
    assert "framewise displacement not known" in page
    assert "Spikes" not in page


def test_a_scan_with_every_step_switched_off_has_a_page(tmp_path) -> None:
    result = make_result(make_scan(tmp_path, task="rest"))
    cleaned = replace(result.cleaned, regressor_names=(), high_pass_hz=None, low_pass_hz=None)
    result = replace(
        result,
        despiked_fraction=None,
        confounds=None,
        cleaned=cleaned,
        strategy=Strategy(name="none"),
        signal=replace(result.signal, despike=False, high_pass_hz=None, low_pass_hz=None),
    )
    write_embedded(tmp_path, result)
    methods = section(write_report(tmp_path, "01").read_text(encoding="utf-8"), "Methods")
    assert "no confounds were regressed out" in methods
    assert "Spikes" not in methods
