"""The drawing ground of the report's figures."""

from __future__ import annotations

import numpy as np
import pytest

from bids_app.report.svg import INK, Drawing, ticks

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.mark.parametrize("high", [1e-6, 0.01, 0.37, 1, 7.3, 99.9, 600, 14_399, 3e6])
@pytest.mark.parametrize("most", [2, 5, 6])
def test_ticks_are_few_and_round_and_lie_inside(high, most) -> None:
    places, labels = ticks(0, high, most=most)
    assert 2 <= len(places) <= most + 1
    assert places[0] == 0
    assert places[-1] <= high * (1 + 1e-9)
    np.testing.assert_allclose([float(label) for label in labels], places, rtol=1e-9)
    assert max(map(len, labels)) <= 9


def test_ticks_of_a_signed_scale_have_a_typographic_minus() -> None:
    assert ticks(-3, 3, most=5)[1] == ["\N{MINUS SIGN}2", "0", "2"]


def test_a_line_is_interrupted_where_a_value_is_unknown() -> None:
    figure = Drawing(height=10)
    figure.lines([0, 1, 2, 3], [5, np.nan, 5, 6], colour=INK)
    assert 'd="M0 5M2 5L3 6"' in figure.svg()


def test_text_in_a_figure_is_escaped() -> None:
    figure = Drawing(height=10)
    figure.text(0, 0, ATTACK)
    assert "<script>" not in figure.svg()
