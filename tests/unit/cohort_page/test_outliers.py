"""Numbers that are far from a cohort's others."""

from __future__ import annotations

import numpy as np

from bids_app.cohort_page.outliers import EMBEDDING, LEAST_SCANS, outliers
from bids_app.cohort_page.scans import Column

LOW_IS_GOOD = {"mean_fd": "low", "tsnr": "high"}


def column(key: str, values) -> Column:
    return Column(key=key, name=key, about="quality", values=tuple(values))


def test_the_bad_side_alone_counts_and_the_farthest_comes_first() -> None:
    values = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.9, 0.6, -5.0]
    found = outliers([column("mean_fd", values)], LOW_IS_GOOD)
    assert [(one.place, one.value) for one in found] == [(8, 0.9), (9, 0.6)]
    mirrored = outliers([column("tsnr", [-v for v in values])], LOW_IS_GOOD)
    assert [one.place for one in mirrored] == [8, 9]


def test_how_a_scan_was_acquired_may_not_differ_either_way() -> None:
    values = [2.0] * 30 + [0.8, None]
    found = outliers([column("tr", values)], LOW_IS_GOOD)
    assert [(one.place, one.distance) for one in found] == [(30, np.inf)]
    assert outliers([column("tr", [2.0] * 8 + [0.8] * 2)], LOW_IS_GOOD) == []
    length = [column("n_volumes", [300] * 30 + [100]), column("duration", [600.0] * 30 + [200.0])]
    assert [one.key for one in outliers(length, LOW_IS_GOOD)] == ["duration"]  # once


def test_few_scans_and_numbers_without_a_bad_side_have_no_outliers() -> None:
    few = [0.1] * (LEAST_SCANS - 2) + [9.0]
    assert outliers([column("mean_fd", few)], LOW_IS_GOOD) == []
    assert outliers([column("n_windows", [1] * 30 + [99])], LOW_IS_GOOD) == []


def test_an_embedding_unlike_all_others_is_one() -> None:
    usual = np.concatenate([np.random.default_rng(0).normal(0, 0.01, 40), [-0.5, np.nan]])
    found = outliers([], LOW_IS_GOOD, usual)
    assert [(one.place, one.key) for one in found] == [(40, EMBEDDING)]
