"""The page of a cohort: what stands in it, and when it is written."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from cohorts import EVIL, embeddings, page_scans

from bids_app.cohort_page.findings import find
from bids_app.cohort_page.page import render, write_cohort_page


def data_in(text: str):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    found = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs) -> None:
            found.append((tag, dict(attrs)))

    Parser().feed(text)
    return found


def words(text: str) -> str:
    body = re.sub(r"<(script|style).*?</\1>", " ", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_a_second_call_leaves_an_unchanged_page_alone_and_a_changed_one_not(tmp_path) -> None:
    scans, vectors = page_scans(8), embeddings(8)
    path = write_cohort_page(tmp_path, scans, [vectors])
    before = path.stat().st_mtime_ns, path.read_bytes()
    write_cohort_page(tmp_path, scans, [vectors])
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    path.write_bytes(before[1].replace(b"Cohort", b"Cahort"))
    write_cohort_page(tmp_path, scans, [vectors])
    assert path.read_bytes() == before[1]
    write_cohort_page(tmp_path, [replace(scans[0], page=""), *scans[1:]], [vectors])
    assert path.read_bytes() != before[1]


def test_everybody_who_has_a_page_is_linked_and_nothing_lies_outside() -> None:
    scans = page_scans(5)
    scans[8:] = [replace(scan, page="") for scan in scans[8:]]
    found = elements(render(scans, find(scans, [embeddings(5)])))
    links = {attributes["href"] for tag, attributes in found if tag == "a"}
    assert {f"sub-{person:04d}.html" for person in range(4)} <= links
    assert not any("sub-0004" in link for link in links)
    addresses = [a.get(key) or "" for _, a in found for key in ("src", "href")]
    assert not [address for address in addresses if "//" in address]


def test_the_left_out_stand_by_reason_and_a_swap_in_the_summary() -> None:
    scans = page_scans(10)
    swapped = [scans[1].identifiers, scans[3].identifiers]
    scans[1], scans[3] = (
        replace(scans[1], identifiers=swapped[1]),
        replace(scans[3], identifiers=swapped[0]),
    )
    gone = [
        replace(scan, status="excluded", reason="too short", numbers={}, flags={})
        for scan in page_scans(2)
    ]
    text = words(render([*scans, *gone], find([*scans, *gone], [embeddings(10)])))
    assert "4 labels in doubt" in text
    assert "yes: exchanged" in text
    assert "excluded 4 scans: too short" in text
    assert "4 scans without an embedding : sub-0000_ses-1_task-rest , sub-0000_ses-2" in text


@pytest.mark.parametrize(
    ("n_people", "n_sessions", "said"),
    [
        (1, 1, ("No identity check: nobody has two scans", "it takes three scans", "Nothing to")),
        (1, 2, ("there is only one person", "it takes three scans")),
        (12, 1, ("No identity check: nobody has two scans",)),
        (12, 2, ("No label is in doubt",)),
    ],
)
def test_small_cohorts_say_what_cannot_be_said(n_people, n_sessions, said) -> None:
    scans = page_scans(n_people, n_sessions)
    text = words(render(scans, find(scans, [embeddings(n_people, n_sessions)])))
    assert all(one in text for one in said), text


def test_numbers_are_judged_as_on_a_participants_page() -> None:
    scans = page_scans(4)
    values = [0.1, 0.3, 0.9, 0.9]
    flags = [{}, {}, {"high_motion": "x"}, {}]
    scans[:4] = [
        replace(scan, numbers={**scan.numbers, "mean_fd": value}, flags=flag)
        for scan, value, flag in zip(scans, values, flags, strict=False)
    ]
    scans[4] = replace(scans[4], numbers={})
    found = data_in(render(scans, find(scans, [])))
    (column,) = (one for one in found["columns"] if one["key"] == "mean_fd")
    judged = [found["judgements"][int(digit)][0] for digit in column["judged"]]
    assert judged[:5] == ["good", "unusual", "flagged", "unusual", "unknown"]


def test_figures_say_how_they_should_look_and_where_an_average_pair_lies() -> None:
    scans = page_scans(4)
    text = words(render(scans, find(scans, [embeddings(4)])))
    assert text.count("As it should be:") == 4
    assert "\u22120.14 for all 8" in text


def test_a_cohort_of_which_nothing_is_embedded_has_a_page_too() -> None:
    scans = [
        replace(scan, status="failed", reason="no mask", numbers={}, page="")
        for scan in page_scans(2)
    ]
    text = words(render(scans, find(scans, []), note="none was embedded"))
    for said in ("none was embedded", "there are no embeddings", "No scan has quality numbers"):
        assert said in text


def test_what_is_called_like_a_script_is_text() -> None:
    scans = page_scans(6, **{EVIL: EVIL})
    scans[0] = replace(
        scans[0],
        identifiers={"participant_id": f"sub-{EVIL}", "session_id": "ses-1"},
        flags={EVIL: EVIL},
    )
    scans[1] = replace(scans[1], status="failed", reason=f"{EVIL}\u2028</script><img src=x>")
    text = render(scans, find(scans, [embeddings(6)]), note=EVIL)
    tags = [tag for tag, _ in elements(text)]
    assert tags.count("script") == 2
    assert "img" not in tags
    assert EVIL not in text
    assert EVIL in data_in(text)["scans"]["name"][0]


def test_numbers_that_json_cannot_say_are_left_out() -> None:
    scans = page_scans(4)
    scans[0] = replace(scans[0], numbers={**scans[0].numbers, "mean_fd": float("nan")})
    columns = {c["key"]: c for c in data_in(render(scans, find(scans, [])))["columns"]}
    assert columns["mean_fd"]["values"][0] is None
    assert columns["age"]["about"] == "known"


def test_the_same_data_under_two_names_is_said() -> None:
    scans, vectors = page_scans(6), embeddings(6)
    vectors.vectors[7] = vectors.vectors[0]
    text = words(render(scans, find(scans, [vectors])))
    assert "The same data under 2 names" in text


def test_almost_the_same_data_under_two_names_is_said_once() -> None:
    scans, vectors = page_scans(8), embeddings(8)
    text = words(render(scans, find(scans, [vectors])))
    assert "Almost the same data" not in text
    vectors.vectors[7] = vectors.vectors[0] + 0.01 * vectors.vectors[4]
    text = words(render(scans, find(scans, [vectors])))
    assert text.count("Almost the same data twice") == 1
    assert "The same data under" not in text


def test_nobody_stands_out_only_where_nothing_is_named() -> None:
    scans, found = page_scans(8), find(page_scans(8), [embeddings(8)])
    (compared,) = found.compared
    a, b = compared.identity.compared[:2]
    alike = replace(a, own=0.9, other=0.995, nearest=b.unit, probability=None)
    pairs = [replace(alike, unit=replace(a.unit, name=f"{n}")) for n in range(12)]
    near = replace(compared, identity=replace(compared.identity, compared=tuple(pairs)))
    scans = [replace(scan, flags={}) for scan in scans]
    calm = replace(found, outliers=())
    assert "Nobody stands out" in words(render(scans, calm))
    text = words(render(scans, replace(calm, compared=(near,))))
    assert "Nobody stands out" not in text
    assert text.count("Almost the same data twice") == 10
    assert "2 more pairs of almost the same data" in text


def test_the_summary_names_whom_to_look_at_and_networks_that_most_scans_lack() -> None:
    scans = page_scans(14)
    lacking = {**scans[0].numbers, "missing_networks": ["Cerebellum"]}
    scans = [replace(scan, numbers=lacking, flags={"short": "why"}) for scan in scans]
    text = words(render(scans, find(scans, [embeddings(14)])))
    assert "Network missing in most scans : Cerebellum (in 28 of 28)" in text
    assert re.search(
        r"28 scans flagged : short \(28\)\. sub-0000_ses-1_task-rest , .* and 18 more", text
    )


def test_spaces_are_compared_apart() -> None:
    scans = page_scans(8)
    halves = [
        replace(embeddings(4, seed=k), space=space, places=tuple(range(8 * k, 8 * k + 8)))
        for k, space in enumerate(("MNI", "fsLR"))
    ]
    text = render(scans, find(scans, halves))
    assert [space["name"] for space in data_in(text)["spaces"]] == ["MNI", "fsLR"]
    assert "Space fsLR" in words(text)


def test_two_thousand_scans_stay_below_fifteen_megabytes() -> None:
    scans = page_scans(1000)
    text = render(scans, find(scans, [embeddings(1000)]))
    assert len(text.encode()) < 2e6
    assert len(data_in(text)["spaces"][0]["pca"]["axes"][0]) == 2000


def test_a_missing_network_leaves_the_map_whole() -> None:
    scans, vectors = page_scans(6), embeddings(6)
    vectors.vectors[3, :50] = np.nan
    axes = data_in(render(scans, find(scans, [vectors])))["spaces"][0]["pca"]["axes"]
    assert all(value is not None for axis in axes for value in axis)
