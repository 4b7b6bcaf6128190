"""The registry of quality numbers says of each what a reader needs, and nothing of others."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bids_app.quality.measures import ADVICE, BY_KEY, MEASURES, WORDS, Measure, Usual

DOCS = Path(__file__).resolve().parents[3] / "docs/quality.md"


NONE = "\N{EN DASH}"


def anchors(text: str) -> set[str]:
    """Headings as GitHub and Sphinx name them in addresses."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_number_is_named_once_and_explained() -> None:
    assert len(BY_KEY) == len(MEASURES)
    assert len({one.name for one in MEASURES}) == len(MEASURES)
    for one in MEASURES:
        assert one.meaning.endswith("."), one.key
        assert one.name[0].islower(), one.key


@pytest.mark.parametrize("one", MEASURES, ids=lambda one: one.key)
def test_limits_ranges_and_directions_agree(one: Measure) -> None:
    if one.limit is not None:
        assert one.flag
        assert (one.better == "low") == bool(np.isfinite(one.above))
    if one.usual is not None:
        assert one.usual.low <= one.usual.high
        assert one.below <= one.usual.low
        assert one.usual.high <= one.above


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("network_contrast", 0.4, "\N{GREATER-THAN OR EQUAL TO} 0.14"),
        ("mean_fd", 0.05, "\N{LESS-THAN OR EQUAL TO} 0.19 mm"),
        ("interpolated_fraction", 0, "\N{LESS-THAN OR EQUAL TO} 0.9%"),
        ("n_without_signal", 0, "0"),
    ],
)
def test_the_range_in_words_has_all_values_that_are_as_in_good_scans(key, value, text) -> None:
    assert BY_KEY[key].judge(value, flags={}) == "good"
    assert BY_KEY[key].usual_text == text


def test_the_documentation_has_every_number_with_its_limit_and_its_range() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert {one.anchor for one in MEASURES} <= anchors(text)
    for one in MEASURES:
        (row,) = re.findall(rf"^\| .*\(`{one.key}`\) \| .*$", text, flags=re.M)
        assert one.name in row
        assert f"| {one.limit_text or NONE} |" in row
        assert one.usual_text in row


def test_a_number_is_judged_by_its_limit_then_by_good_scans() -> None:
    one = Measure(
        key="x", name="x", meaning="x.", better="low", above=5.0, flag="bad",
        usual=Usual(low=1, high=2, n=9, source="nine"),
    )  # fmt: skip
    flagged = {"bad": "too much"}
    assert one.judge(None, flags={}) == "unknown"
    assert one.judge(0.5, flags={}) == "good"
    assert one.judge(1.5, flags=flagged) == "good"
    assert one.judge(3, flags={}) == "unusual"
    assert one.judge(6, flags=flagged) == "flagged"
    assert one.judge(6, flags={}) == "unusual"  # of a scan too short to tell
    assert all(WORDS[word] for word in ("good", "unusual", "flagged"))


def test_values_are_written_with_unit_and_sign() -> None:
    assert BY_KEY["mean_fd"].shown(0.123) == "0.12 mm"
    assert BY_KEY["mirror_margin"].shown(-0.01) == "\N{MINUS SIGN}1.0%"
    assert BY_KEY["mean_fd"].limit_text == "above 0.50 mm"


def test_every_flag_has_advice_and_the_page_gives_the_same() -> None:
    text = DOCS.read_text(encoding="utf-8")
    codes = set(re.findall(r"^\| `(\w+)` \| ", text.split("## Numbers")[0], flags=re.M))
    assert codes == set(ADVICE) >= {one.flag for one in MEASURES if one.flag}
    for code, advice in ADVICE.items():
        assert re.search(rf"^\| `{code}` \| .*? \| {re.escape(advice)}", text, flags=re.M), code
