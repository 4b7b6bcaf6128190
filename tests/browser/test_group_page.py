"""The page of a cohort in a real browser: drawn, sorted, filtered, pointed at, and harmless."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from cohorts import EVIL, embeddings, page_scans

from bids_app.cohort_page.page import write_cohort_page

MISSING = "\N{EN DASH}"


def write(folder, n_people: int = 8, **known):
    """Write a cohort with one failure, an outlier, and pages of participants that are there."""
    scans = page_scans(n_people, **known)
    scans[0] = replace(
        scans[0],
        numbers={**scans[0].numbers, "mean_fd": 0.9},
        flags={"high_motion": "mean framewise displacement 0.90 mm, above 0.5 mm"},
    )
    scans[1] = replace(scans[1], status="failed", reason="no mask", numbers={}, known={})
    kept = tuple(i for i in range(len(scans)) if i != 1)
    vectors = embeddings(n_people)
    vectors = replace(vectors, places=kept, vectors=vectors.vectors[list(kept)])
    for scan in scans:
        anchor = f'<p id="{scan.page.partition("#")[2]}">'
        page = folder / scan.page.partition("#")[0]
        page.write_text((page.read_text() if page.exists() else "") + anchor)
    return write_cohort_page(folder, scans, [vectors])


def names(page) -> list[str]:
    return page.eval_on_selector_all(
        "#table tbody tr td:first-child", "all => all.map(e => e.textContent)"
    )


def column(page, title: str) -> list[str]:
    titles = page.eval_on_selector_all("#table thead th", "all => all.map(e => e.textContent)")
    place = titles.index(title) + 1
    return page.eval_on_selector_all(
        f"#table tbody tr td:nth-child({place})", "all => all.map(e => e.textContent)"
    )


def test_it_draws_without_a_complaint_and_asks_for_nothing(tmp_path, opened, unresolved) -> None:
    path = write(tmp_path)
    opened.open(path)
    assert opened.page.evaluate("document.documentElement.dataset.drawn") == "yes"
    for figure in (".strip", ".identity", ".map", ".spread"):
        assert opened.page.locator(f"{figure} svg.plain").count() >= 1
    assert opened.complaints == []
    assert opened.requests == [path.as_uri()]
    links = opened.links()
    assert (tmp_path / "sub-0003.html").as_uri() in links
    assert unresolved(links) == []


def test_the_table_sorts_by_mouse_and_keyboard_with_what_is_missing_last(tmp_path, opened) -> None:
    opened.open(write(tmp_path))
    title = "head motion, mean"
    button = opened.page.get_by_role("button", name=title)
    button.click()
    found = column(opened.page, title)
    numbers = [float(text.split()[0]) for text in found[:-1]]
    assert numbers == sorted(numbers)
    assert found[-1] == MISSING
    header = opened.page.locator("#table th", has_text=title)
    assert header.get_attribute("aria-sort") == "ascending"
    assert opened.page.evaluate("document.activeElement.textContent") == title
    opened.page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    found = column(opened.page, title)
    assert found[0].startswith("0.90 mm beyond the limit")
    assert found[-1] == MISSING


def test_the_table_filters_by_text_status_and_what_stands_out(tmp_path, opened) -> None:
    opened.open(write(tmp_path))
    page, filters = opened.page, opened.page.locator(".filters")
    page.get_by_label("find").fill("sub-0003")
    assert names(page) == ["sub-0003_ses-1_task-rest", "sub-0003_ses-2_task-rest"]
    assert "2 of 16" in page.locator(".filters [role=status]").text_content()
    page.get_by_label("find").fill("")
    filters.get_by_label("status").select_option("failed")
    assert names(page) == ["sub-0000_ses-2_task-rest"]
    filters.get_by_label("status").select_option("")
    filters.get_by_label("stands out by").select_option("fhigh motion")
    assert names(page) == ["sub-0000_ses-1_task-rest"]


def test_numbers_within_the_limit_but_unlike_good_scans_are_unusual_here_too(
    tmp_path, opened
) -> None:
    scans = page_scans(8)
    numbers = [0.14 + 0.001 * at for at in range(len(scans) - 4)] + [0.2] * 4
    scans = [
        replace(scan, numbers={**scan.numbers, "mean_fd": value})
        for scan, value in zip(scans, numbers, strict=True)
    ]
    opened.open(write_cohort_page(tmp_path, scans, [embeddings(8)]))
    found = column(opened.page, "head motion, mean")
    assert found[-4:] == ["0.20 mm worse than most good scans"] * 4
    assert found[0] == "0.14 mm"
    strip = '.strip[data-key="mean_fd"]'
    assert opened.page.locator(f"{strip} path.unusual").count() == 1
    # The whole range of good scans, however near to one another those of the cohort lie.
    axis, good = (
        opened.page.locator(f"{strip} {name}").first.bounding_box()
        for name in ("path.axis", "rect.range")
    )
    assert axis["x"] < good["x"]
    assert good["x"] + good["width"] < axis["x"] + axis["width"]


def test_no_word_of_the_flags_is_broken(tmp_path, opened) -> None:
    scans = page_scans(8)
    scans[0] = replace(scans[0], flags={"implausible_parcels": "x", "high_motion": "y"})
    opened.page.set_viewport_size({"width": 1200, "height": 800})
    opened.open(write_cohort_page(tmp_path, scans, [embeddings(8)]))
    cell = opened.page.locator("#table tbody tr").first.locator("td").nth(3)
    lines = cell.evaluate(
        "e => { const r = document.createRange(); r.selectNodeContents(e);"
        " return new Set([...r.getClientRects()].map(b => b.top)).size; }"
    )
    assert cell.text_content() == "implausible parcels, high motion"
    assert lines <= 4  # words


def test_a_mark_says_its_scan_and_a_click_opens_its_page(tmp_path, opened) -> None:
    opened.open(write(tmp_path))
    svg = opened.page.locator('.strip[data-key="mean_fd"] svg.plain')
    svg.scroll_into_view_if_needed()
    svg.focus()
    opened.page.keyboard.press("ArrowLeft")  # the last, which is the highest
    tip = opened.page.locator("#tip")
    assert "sub-0000_ses-1_task-rest" in tip.text_content()
    assert "0.90 mm, beyond the limit" in tip.text_content()
    ring = svg.locator("circle.ring").bounding_box()
    opened.page.keyboard.press("Escape")
    assert tip.is_hidden()
    opened.page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    assert "sub-0000_ses-1_task-rest" in tip.text_content()
    opened.page.mouse.down()
    opened.page.mouse.up()
    opened.page.wait_for_url("**/sub-0000.html#ses-1_task-rest")


def test_the_map_takes_the_colours_that_are_chosen(tmp_path, opened) -> None:
    opened.open(write(tmp_path))
    legend = opened.page.locator(".map .legend")
    assert opened.page.locator(".map").get_by_label("colour by").input_value()
    assert "A (" in legend.text_content()
    for choice in ("head motion, mean", "age", "session", "nothing"):
        opened.page.locator(".map").get_by_label("colour by").select_option(label=choice)
        assert opened.page.locator(".map svg.plain path").count() > 3
    assert opened.complaints == []


@pytest.mark.parametrize("width", [800, 400])
def test_narrow_windows_need_no_scrolling_to_the_side(tmp_path, opened, width: int) -> None:
    opened.page.set_viewport_size({"width": width, "height": 800})
    opened.open(write(tmp_path))
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.page.evaluate(over) <= 0


def test_a_participant_or_a_column_called_like_a_script_harms_nothing(tmp_path, opened) -> None:
    scans = page_scans(8, **{EVIL: f"{EVIL}</script><img src=x onerror=alert(2)>"})
    scans[0] = replace(
        scans[0],
        identifiers={"participant_id": f"sub-{EVIL}", "session_id": f'ses-"{EVIL}'},
        flags={EVIL: EVIL},
    )
    scans[2] = replace(scans[2], known={EVIL: "other"})
    scans[1] = replace(scans[1], status="failed", reason="<img src=x onerror=alert(3)>")
    path = write_cohort_page(tmp_path, scans, [embeddings(8)])
    opened.open(path)
    opened.page.locator(".map").get_by_label("colour by").select_option(label=EVIL)
    opened.page.get_by_label("find").fill(EVIL)
    assert names(opened.page)[0].startswith(f"sub-{EVIL}")
    svg = opened.page.locator(".map svg.plain")
    svg.focus()
    opened.page.keyboard.press("ArrowRight")
    assert opened.page.locator("img").count() == 0
    assert opened.complaints == []
    assert opened.requests == [path.as_uri()]


@pytest.mark.parametrize(("n_people", "n_sessions"), [(0, 1), (1, 1), (1, 2), (2, 1), (12, 1)])
def test_small_cohorts_draw_too(tmp_path, opened, n_people: int, n_sessions: int) -> None:
    scans = page_scans(n_people, n_sessions)
    if not scans:
        scans = [replace(page_scans(1, 1)[0], status="failed", reason="no mask", numbers={})]
    vectors = [embeddings(n_people, n_sessions)] if n_people else []
    opened.open(write_cohort_page(tmp_path, scans, vectors))
    assert opened.page.evaluate("document.documentElement.dataset.drawn") == "yes"
    assert opened.complaints == []
    assert len(names(opened.page)) == len(scans)


def test_two_thousand_scans_open_in_three_seconds(tmp_path, opened) -> None:
    path = write_cohort_page(tmp_path, page_scans(1000), [embeddings(1000)])
    assert path.stat().st_size < 15e6
    begun = time.perf_counter()
    opened.open(path)
    assert opened.page.evaluate("document.documentElement.dataset.drawn") == "yes"
    # Three seconds where nothing else runs; tests may share their two cores with others.
    assert time.perf_counter() - begun < 10
    opened.page.get_by_role("button", name="show all 2,000").click()
    assert len(names(opened.page)) == 2000
    assert opened.complaints == []
